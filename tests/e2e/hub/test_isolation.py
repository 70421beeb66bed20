"""Tokens of two users of one hub never meet, in memory, file, keyring or Redis.

Both users' servers run under one account of the machine, and both sign in at one provider as one client: nothing but
the hub's word tells the two apart. In Redis each has a user, a prefix and a key of their own, which the example gives.
"""

from __future__ import annotations

import json
import runpy
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis

from pywry_auth_nb.token_store.redis import _FREE, _STAMP, _SWAP, _TAKE
from tests.e2e.sign_in import sign_in
from tests.stores.servers import RedisServer, SecretService
from tests.support.ports import free_port

from .conftest import CALL, STATUS, Person
from .doctor import in_terminal
from .hub import Hub, HubKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)

EXAMPLE = Path(__file__).parents[3] / "examples" / "jupyterhub" / "redis_for_each.py"
GRANT = next(line.split() for line in EXAMPLE.read_text("utf-8").splitlines() if "ACL SETUSER hub" in line)
PASSWORD = "p@ss/w:rd#%"
QUOTED = "p%40ss%2Fw%3Ard%23%25"
HUB_SECRET = secrets.token_urlsafe(32)
STORES = ["memory", "file", "keyring", "redis"]
#: A session on each kind of store, all with the same provider, client and session key. Only Redis encrypts: a key of
#: each user's own would keep them apart by itself.
SESSIONS = """
import json, os
from pywry_auth_nb import FileTokenStore, KeyringTokenStore, MemoryTokenStore, SessionManager

os.environ.update(PYWRY_OAUTH2__SCOPES="openid profile offline_access", PYWRY_OAUTH2__PROMPT="consent")
os.environ.update(BUS)
names = "PYWRY_OAUTH2__REDIS_URL", "PYWRY_OAUTH2__REDIS_PREFIX", "PYWRY_AUTH_ENCRYPTION_KEY"
given = [os.environ[name] for name in names]
sessions = {"redis": SessionManager.from_settings()}
del os.environ["PYWRY_AUTH_ENCRYPTION_KEY"]
for name, store in (("memory", MemoryTokenStore()), ("file", FileTokenStore(FOLDER)), ("keyring", KeyringTokenStore())):
    sessions[name] = SessionManager.from_settings(token_store=store)
for session in sessions.values():
    await session.provider.prepare()
    await session.initialize()

def use(name):
    global session, provider
    session = sessions[name]
    provider = session.provider
"""
ANOTHER = "session = SessionManager(provider, session.token_store); await session.initialize()"
SUB = "print(session.user['sub'])"
TOKENS = """
held = session._engine.state.tokens
print(json.dumps([held.access_token, held.refresh_token, held.id_token]))
"""


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("redis://hub:x@h/0", ""),
        ("redis://hub:x@h/0", "short"),
        ("unix:///r.sock?username=hub&password=CANARY", HUB_SECRET),
        ("redis://h/0?password=CANARY", HUB_SECRET),
    ],
    ids=["no secret", "short secret", "user and password in the query", "password in the query"],
)
def test_what_the_spawner_hook_refuses(url: str, secret: str) -> None:
    """A secret that can be guessed, and a URL whose query would give the administrator's password to every user."""
    refused = pytest.raises(ValueError, match=r"secret must have|before the host")
    with refused as caught:
        runpy.run_path(str(EXAMPLE))["RedisForEach"](url, secret)

    assert "CANARY" not in str(caught.value)


class Redis(RedisServer):
    """A Redis on a port, closed to unknown users; the hub's users have the permissions of the example."""

    def __init__(self) -> None:
        self.port = free_port()
        super().__init__("--port", str(self.port), "--bind", "127.0.0.1")

    def start(self) -> RedisServer:
        """Start it, and make the users."""
        super().start()
        key = secrets.token_hex(16)
        commands = (
            ["acl", "setuser", "root", "on", f">{key}", "~*", "&*", "+@all"],
            [word.replace("PASSWORD", PASSWORD) for word in GRANT],
            ["acl", "setuser", "default", "off"],
        )
        assert [self.cli(*command) for command in commands] == ["OK"] * 3
        self.root = redis.Redis.from_url(f"unix://root:{key}@{self.socket}", decode_responses=True)
        return self

    def names_of(self, user: str) -> list[str]:
        """Return the keys of a user of the hub."""
        return [name for name in self.root.scan_iter() if name.startswith(f"pywry:{user}:")]


class Credential(NamedTuple):
    """What a user's server is given for Redis."""

    url: str
    prefix: str
    encryption_key: str


class Pair(NamedTuple):
    """A kernel of each user."""

    alice: HubKernel
    bob: HubKernel

    def using(self, store: str) -> Pair:
        """Return them, with ``session`` being the one on this kind of store."""
        for one in self:
            one.run(f"use({store!r})")
        return self


@pytest.fixture(scope="module")
def database() -> Iterator[Redis]:
    """One Redis for the whole hub."""
    with Redis() as server:
        yield server
        server.root.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, hub_provider_process: Provider, database: Redis) -> Iterator[Hub]:
    """A hub as the example has it, with Redis."""
    url = f"redis://hub:{QUOTED}@127.0.0.1:{database.port}/0"
    env = {"HUB_REDIS": url, "HUB_REDIS_SECRET": HUB_SECRET}
    with Hub(tmp_path_factory.mktemp("hub"), provider=hub_provider_process, env=env) as hub:
        yield hub


@pytest.fixture(scope="module")
def kernel(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], HubKernel]]:
    """Start a kernel of a user with sessions on one folder, one keyring and one Redis: ``kernel("alice")``."""
    folder, started = tmp_path_factory.mktemp("shared") / "tokens", []
    with SecretService() as service:
        setup = SESSIONS.replace("BUS", repr(service.environment())).replace("FOLDER", repr(str(folder)))

        def start(user: str) -> HubKernel:
            started.append(HubKernel(hub.server(user), setup))
            return started[-1]

        yield start
        for one in started:
            one.close()


@pytest.fixture(scope="module")
def firsts(hub: Hub, browser: Browser, kernel: Callable[[str], HubKernel]) -> Pair:
    """Kernels in which alice has signed in as ada, and bob as grace, with every kind of store."""
    pair = Pair(kernel("alice"), kernel("bob"))
    for one, login in zip(pair, ("ada", "grace"), strict=True):
        person = Person(browser, hub, one.server.user)
        page = person.context.new_page()
        page.add_init_script("window.close = () => {}")
        for store in STORES:
            one.run(f"use({store!r})")
            page.goto(f"{one.server.url}pywry-auth/stopped")
            page.goto(one.link())
            sign_in(page, login)
            page.get_by_role("heading", name=f"Signed in as {login}").wait_for()
        person.context.close()
    return pair


@pytest.fixture(scope="module")
def seconds(kernel: Callable[[str], HubKernel], firsts: Pair) -> Pair:
    """Kernels that were not there at the sign-ins."""
    return Pair(kernel("alice"), kernel("bob"))


def tokens(kernel: HubKernel) -> list[str]:
    """Return the access, refresh and ID token of a kernel's session."""
    return list(json.loads(kernel.run(TOKENS)))


def credential(kernel: HubKernel) -> Credential:
    """Return what a kernel was told about Redis."""
    return Credential(*json.loads(kernel.run("print(json.dumps(given))")))


def told(pair: Pair) -> list[str]:
    """Return who each is, as the provider says of the token, and as the session says."""
    return [one.run(CALL) + one.run(SUB) for one in pair]


@pytest.mark.parametrize("store", STORES)
def test_each_sees_only_their_own(firsts: Pair, seconds: Pair, store: str) -> None:
    """A session, and a second one that was not there at the sign-in, have their own user's token and person alone."""
    pair, others = firsts.using(store), seconds.using(store)
    held = [tokens(one) for one in pair]

    assert told(pair) == ["ada\n" * 2, "grace\n" * 2]
    assert not set(held[0]) & set(held[1])
    if store == "memory":  # which is one kernel's
        assert [other.run(STATUS) for other in others] == ["signed_out None\n"] * 2
        others = pair
        for other in others:
            other.run(ANOTHER)
    assert told(others) == ["ada\n" * 2, "grace\n" * 2]
    assert [tokens(other) for other in others] == held


@pytest.mark.parametrize("store", STORES)
def test_nothing_else_tells_them_apart(firsts: Pair, store: str) -> None:
    """Their tokens have different names in the store, for which the users' names alone make the difference."""
    hers, his = (one.run("print(session.store_key)") for one in firsts.using(store))

    assert hers.startswith("default-")
    assert his.startswith("default-")
    assert hers != his


@pytest.mark.parametrize("store", ["file", "keyring"])
def test_both_are_in_one_place(firsts: Pair, store: str) -> None:
    """The folder and the keyring are really shared: each kernel finds both records there."""
    kernels = firsts.using(store)
    both = {one.run("print(session.store_key)").strip() for one in kernels}
    for one in kernels:
        names = json.loads(one.run("print(json.dumps(await session.token_store.list_keys()))"))
        assert set(names) == both
        assert len(names) == len(both) == 2


# -- Redis ------------------------------------------------------------------------------------------------------------


def test_each_has_a_credential(firsts: Pair, database: Redis) -> None:
    """User, password, prefix and encryption key differ between two users, and so do their keys in Redis."""
    hers, his = (credential(one) for one in firsts)

    assert not set(hers) & set(his)
    assert (hers.prefix, his.prefix) == ("pywry:alice", "pywry:bob")
    assert len(database.names_of("alice")) == len(database.names_of("bob")) == 1
    assert database.root.dbsize() == 2


@pytest.mark.parametrize("kind", ["tokens", "lock"])
def test_her_credential_does_not_reach_his(firsts: Pair, database: Redis, kind: str) -> None:
    """With all that Alice's server was given, Bob's record and his lock can be neither read, written nor deleted."""
    pair, [name] = firsts.using("redis"), database.names_of("bob")
    if kind == "lock":
        name = name.replace(":oauth:tokens:", ":oauth:lock:")
        database.root.set(name, "of bob", ex=60)
    before = database.root.get(name)
    with redis.Redis.from_url(credential(pair.alice).url) as hers:
        assert hers.ping()
        for command in (
            ("GET", name),
            ("SET", name, "of alice"),
            ("SET", name, "of alice", "NX"),
            ("DEL", name),
            ("EVAL", _SWAP, 1, name, "", "of alice", 1000),
            ("EVAL", _STAMP, 1, name),
            ("EVAL", _TAKE, 1, name, "of alice", 1000),
            ("EVAL", _FREE, 1, name, "of alice"),
            ("EVAL", f"return redis.call('GET', '{name}')", 0),
            ("COPY", name, "pywry:alice:x"),
            ("ACL", "SETUSER", "pywry:alice", "allkeys"),
        ):
            with pytest.raises(redis.ResponseError, match=r"no permission|can't access"):
                hers.execute_command(*command)

    assert database.root.get(name) == before
    if kind == "lock":
        database.root.delete(name)
    assert database.root.dbsize() == 2
    assert pair.bob.run(CALL) == "grace\n"


def test_his_record_under_her_name(firsts: Pair, kernel: Callable[[str], HubKernel], database: Redis) -> None:
    """A record of Bob's that is copied to Alice's place does not open with her key, and signs no user in."""
    [hers], [his] = database.names_of("alice"), database.names_of("bob")
    database.root.copy(hers, "kept")
    database.root.copy(his, hers, replace=True)
    one = kernel("alice")
    one.run("use('redis')")
    try:
        assert one.run(STATUS) == "signed_out store_key\n"
    finally:
        database.root.copy("kept", hers, replace=True)
        database.root.delete("kept")

    one.run(ANOTHER)
    assert one.run(CALL) == "ada\n"


def test_redis_holds_no_token_in_clear(firsts: Pair, database: Redis) -> None:
    """The whole database holds no token in clear."""
    secret = [token for one in firsts.using("redis") for token in tokens(one)]
    names = list(database.root.scan_iter())
    found = "\n".join([*names, *(database.root.get(name) for name in names)])

    assert len(found) > 2000
    for token in secret:
        assert len(token) > 20
        assert token not in found


def test_what_the_hub_hands_out_is_not_written_down(firsts: Pair, hub: Hub) -> None:
    """No password and no key is in what hub, proxy and servers wrote at DEBUG, nor in the hub's database."""
    handed_out = [credential(one) for one in firsts]
    passwords = [one.url.rpartition("@")[0].rpartition(":")[2] for one in handed_out]
    words = [*passwords, *(one.encryption_key for one in handed_out)]
    written = hub.log_text() + (hub.home / "hub.sqlite").read_bytes().decode("latin-1")

    assert "/user/alice/" in written
    for secret in (*(word.removesuffix("%3D").rstrip("=") for word in words), HUB_SECRET, PASSWORD, QUOTED):
        assert len(secret) > 10
        assert secret not in written


def test_the_doctor_agrees(firsts: Pair, hub: Hub) -> None:
    """In a terminal of such a server it finds that the store works, encrypts, and keeps users apart."""
    report = in_terminal(hub, hub.url)

    assert (report.status, report.redirect_uri) == (0, hub.redirect_uri)
    assert report.having("ok") >= {"store", "store_encrypted", "redis_acl"}
    assert not report.having("warning")


# -- and at the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["file", "keyring", "redis"])
def test_signing_out_is_ones_own_affair(firsts: Pair, seconds: Pair, store: str) -> None:
    """When Alice signs out, her other kernel follows, and Bob stays signed in, in both of his."""
    pair, others = firsts.using(store), seconds.using(store)

    assert pair.alice.run("print((await session.logout()).complete)") == "True\n"
    others.alice.run(ANOTHER)
    assert [one.run(STATUS) for one in (pair.alice, others.alice)] == ["signed_out None\n"] * 2
    assert [one.run(CALL) for one in (pair.bob, others.bob)] == ["grace\n"] * 2


def test_a_restarted_server_goes_on(
    firsts: Pair, kernel: Callable[[str], HubKernel], hub: Hub, hub_provider_process: Provider
) -> None:
    """It is given the same credential, and finds the sign-in again without a click, in the token that was there."""
    bob = firsts.using("redis").bob
    before = credential(bob), tokens(bob)
    asked = [hub_provider_process.requests_to(path) for path in ("/auth", "/token")]
    hub.stop_server("bob")
    again = kernel("bob")
    again.run("use('redis')")

    assert again.run(CALL) == "grace\n"
    assert (credential(again), tokens(again)) == before
    assert [hub_provider_process.requests_to(path) for path in ("/auth", "/token")] == asked
