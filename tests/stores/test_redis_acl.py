"""The permissions that docs/token-stores.md gives a Redis user: enough for the user's own tokens, and no others."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import OAuthTokenSet, SessionManager
from pywry_auth_nb._io.loop import run
from pywry_auth_nb.token_store import NOTHING, RedisTokenStore, redis
from tests.stores.asking import forget, loaded, refused, save
from tests.stores.permissions import LINE, QUOTED, everything, words
from tests.support.cases import case
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import GenericOIDCProvider
    from tests.stores.servers import RedisServer
    from tests.support.idp import Idp

BOBS = "pywry:bob:oauth:tokens:default"
BOBS_LOCK = "pywry:bob:oauth:lock:default"


@pytest.fixture
def server(server: RedisServer, opened: Callable[..., RedisTokenStore]) -> RedisServer:
    """A server with a user ada as documented, and something of Bob's."""
    grant(server)
    save(opened(server.url, prefix="pywry:bob"), "-bobs")
    server.cli("set", BOBS_LOCK, "of bob")
    return server


@pytest.fixture
def ada(server: RedisServer, opened: Callable[..., RedisTokenStore]) -> RedisTokenStore:
    """Ada's store."""
    return opened(adas(server), prefix="pywry:ada")


@pytest.fixture
def intruder(server: RedisServer, opened: Callable[..., RedisTokenStore]) -> RedisTokenStore:
    """A store of Ada's that is set up to use Bob's prefix."""
    return opened(adas(server), prefix="pywry:bob")


def adas(server: RedisServer) -> str:
    """The URL with her name and password."""
    return f"unix://ada:{QUOTED}@{server.socket}"


def grant(server: RedisServer, line: str = LINE) -> None:
    """Give Ada what a line says, and nothing that she had before."""
    server.cli("acl", "deluser", "ada")
    assert server.cli(*words(line)) == "OK"


def ask(store: RedisTokenStore, *command: Any) -> Any:
    """Give the server a command of Ada's own choice."""
    return run(store._redis.ask(lambda client: client.execute_command(*command)), 10)


def test_ada_can_do_everything(ada: RedisTokenStore) -> None:
    """The documented line suffices, and nothing shows her password."""
    everything(ada)

    assert "CANARY" not in repr(ada) + repr(ada.__dict__) + repr(ada._redis.__dict__)


def test_every_word_is_needed(server: RedisServer, opened: Callable[..., RedisTokenStore]) -> None:
    """Without any one of its permissions something does not work, and says that it is a matter of permission."""
    for word in filter(re.compile("[+]").match, LINE.split()):
        with case(word):
            grant(server, LINE.replace(f" {word}", "", 1))
            store = opened(f"{adas(server)}?db=1", prefix="pywry:ada")

            assert refused(everything, store).code == "store_forbidden"

            grant(server)
            server.cli("-n", "1", "flushdb")
            everything(store)


def test_a_whole_session(ada: RedisTokenStore, provider: GenericOIDCProvider, idp: Idp) -> None:
    """Signing in, renewing, reading in a second session, and signing out."""
    first, second = sessions = [SessionManager(provider, ada) for _ in range(2)]
    idp.refresh_tokens["CANARY-rt"] = True
    asyncio.run(first.save_tokens(OAuthTokenSet("CANARY-old", refresh_token="CANARY-rt", expires_in=3600)))

    new = asyncio.run(first.refresh()).access_token

    assert loaded(ada, first.store_key) == new
    until(lambda: sessions[1].access_token == new)
    assert idp.requests_to("/token") == 1
    assert asyncio.run(second.logout()).complete
    until(lambda: sessions[0].status == "signed_out", "the first session does not follow")
    assert asyncio.run(ada.read(first.store_key)).generation > 0
    del first, second
    forget(sessions)


def test_ada_and_bobs_tokens(server: RedisServer, ada: RedisTokenStore, intruder: RedisTokenStore) -> None:
    """She can neither read nor watch, replace, remove nor lock them."""
    before = server.cli("get", BOBS)

    async def swap() -> None:
        await intruder.swap("default", NOTHING, NOTHING.signed_out())

    for action in (
        lambda: loaded(intruder),
        lambda: asyncio.run(intruder.exists("default")),
        lambda: asyncio.run(intruder.stamp("default")),
        lambda: save(intruder, "-adas"),
        lambda: asyncio.run(swap()),
        lambda: asyncio.run(intruder.delete("default")),
        lambda: asyncio.run(intruder.try_lease("default")),
        lambda: asyncio.run(intruder.try_lease("other")),
    ):
        assert refused(action).code == "store_forbidden"

    assert "CANARY-bobs" in before
    assert server.cli("get", BOBS) == before
    assert server.cli("get", BOBS_LOCK) == "of bob"
    assert asyncio.run(ada.list_keys()) == []


COMMANDS: list[tuple[Any, ...]] = [
    ("EVAL", redis._SWAP, 1, BOBS, "", "CANARY", 1000),
    ("EVAL", redis._FREE, 1, BOBS_LOCK, "of bob"),
    ("EVAL", f"return redis.call('GET', '{BOBS}')", 0),
    ("EVAL", f"return redis.call('GET', '{BOBS}')", 1, "pywry:ada:x"),
    ("EVAL", f"return redis.call('DEL', '{BOBS}')", 0),
    ("EVAL", f"return redis.call('SET', '{BOBS}', 'CANARY')", 0),
    ("EVAL", f"return redis.call('RENAME', '{BOBS}', 'pywry:ada:x')", 0),
    ("EVAL", "return redis.call('FLUSHALL')", 0),
    ("EVAL", "return redis.call('KEYS', '*')", 0),
    ("COPY", BOBS, "pywry:ada:x"),
    ("RENAME", BOBS, "pywry:ada:x"),
    ("DUMP", BOBS),
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("MONITOR",),
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SHUTDOWN", "NOSAVE"),
    ("SUBSCRIBE", "x"),
]


def test_commands_of_adas_own(server: RedisServer, ada: RedisTokenStore) -> None:
    """A script or another command does not reach Bob's tokens: a script has the permissions of the user who runs it."""
    for command in COMMANDS:
        with case(command):
            before = server.cli("get", BOBS)

            assert "let this user" in str(refused(ask, ada, *command))

            assert server.cli("get", BOBS) == before
            assert server.cli("get", BOBS_LOCK) == "of bob"
