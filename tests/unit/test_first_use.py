"""Newcomers' mistakes: each ends in one typed error, where the mistake is, whose sentence says what to do; or it works.

One table has what is typed or done, and the error; the tests after it have what works.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socketserver
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import keyring.backends.fail
import pytest
import requests

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowManager,
    AuthFlowTimeout,
    ConfigurationError,
    FileTokenStore,
    GenericOIDCProvider,
    GoogleProvider,
    KeyringTokenStore,
    LoginRequired,
    MemoryTokenStore,
    RedisTokenStore,
    SessionManager,
    TokenError,
    TokenStoreError,
)
from pywry_auth_nb._io import tls
from pywry_auth_nb._sign_in import notebook
from pywry_auth_nb.token_store import reset_token_store
from tests.conftest import sign_in
from tests.doctor.wire import Wire
from tests.stores.servers import certificate
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ISSUER = "https://login.example.org"
KEYS = ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=")


class World:
    """What a newcomer has: a provider, a folder, and an environment that a test may change."""

    def __init__(self, idp: Idp, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.idp, self.folder, self.patch = idp, folder, patch

    def provider(self, **options: Any) -> GenericOIDCProvider:
        """A client registered there."""
        return GenericOIDCProvider(CLIENT, **({"issuer_url": self.idp.issuer} | options))

    def sign_in(self, provider: GenericOIDCProvider | None = None, store: Any = None) -> SessionManager:
        """Click, and answer as Ada."""
        flow = AuthFlowManager(provider or self.provider(), store or MemoryTokenStore())
        sign_in(flow, self.idp)
        return flow.session

    def not_stored(self, store: Any) -> None:
        """Sign in with a store that keeps nothing, and raise what the session shows."""
        session = self.sign_in(store=store)
        assert session.error is not None
        raise session.error


@pytest.fixture
def world(idp: Idp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world, without settings of the tests' own environment."""
    for name in list(os.environ):
        if name.startswith("PYWRY_") or name in tls.VARIABLES or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    reset_token_store()
    yield World(idp, tmp_path, monkeypatch)
    reset_token_store()


class Mistake(NamedTuple):
    """What is typed or done, the error's class and code, and words of its sentence."""

    make: Callable[[World], object]
    kind: type[AuthenticationError]
    code: str
    words: tuple[str, ...]


def _google_with(world: World, **settings: str) -> None:
    for name, value in settings.items():
        world.patch.setenv(f"PYWRY_OAUTH2__{name}", value)
    SessionManager("google")


def _other_metadata(world: World, issuer: str) -> None:
    world.idp.metadata = {"issuer": issuer}
    world.sign_in()


def _answers(world: World, path: str, answer: Answer, **options: Any) -> None:
    world.idp.answers[path] = answer
    world.sign_in(world.provider(**options))


def _clock(world: World, seconds: int) -> None:
    now = int(time.time()) + seconds
    world.idp.claims = {"iat": now, "exp": now + 300}
    world.sign_in()


def _no_id_token(world: World) -> None:
    world.idp.token_extra = {"id_token": ...}
    world.sign_in(world.provider(scopes="profile"))


def _self_signed(world: World) -> None:
    certificate(world.folder)
    with Wire(world.folder) as wire:
        asyncio.run(world.provider(issuer_url=wire.url).prepare())


def _unknown_name(world: World) -> None:
    asyncio.run(world.provider(issuer_url="https://login.exampel.invalid").prepare())


def _refused(world: World) -> None:
    asyncio.run(world.provider(issuer_url=f"http://127.0.0.1:{free_port()}").prepare())


@contextmanager
def _redis_that_says(line: bytes) -> Iterator[str]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                self.wfile.write(line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"redis://ada:secret@127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


def _wrong_redis_password(_: World) -> None:
    with _redis_that_says(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n") as url:
        asyncio.run(RedisTokenStore(url).list_keys())


def _no_keyring(world: World) -> None:
    world.patch.setattr("keyring.get_keyring", keyring.backends.fail.Keyring)
    asyncio.run(KeyringTokenStore().list_keys())


def _fails(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def _forbidden_folder(world: World) -> None:
    world.patch.setattr("pathlib.Path.mkdir", _fails(errno.EACCES))
    world.not_stored(FileTokenStore(world.folder / "tokens"))


def _full_disk(world: World) -> None:
    world.patch.setattr(os, "fsync", _fails(errno.ENOSPC))
    world.not_stored(FileTokenStore(world.folder / "tokens"))


def _another_key(world: World) -> None:
    world.sign_in(store=FileTokenStore(world.folder / "t", encryption_key=KEYS[0]))
    _ = SessionManager(world.provider(), FileTokenStore(world.folder / "t", encryption_key=KEYS[1])).access_token


def _no_answer(world: World) -> None:
    session = SessionManager(world.provider(), MemoryTokenStore())
    world.patch.setattr(notebook, "has_front_end", lambda: True)
    world.patch.setattr(session, "_show", lambda: asyncio.run(session._sign_ins.begin(REDIRECT_URI)))
    session.login(timeout=0.5)


MISTAKES: dict[str, Mistake] = {
    "issuer over http": Mistake(
        lambda w: w.provider(issuer_url="http://login.example.org"),
        ConfigurationError, "insecure_url", ("issuer_url", "https://", "http://localhost"),
    ),
    "issuer without a scheme": Mistake(
        lambda w: w.provider(issuer_url="login.example.org"),
        ConfigurationError, "insecure_url", ("issuer_url must begin with https://",),
    ),
    "issuer with a query": Mistake(
        lambda w: w.provider(issuer_url=f"{ISSUER}?tenant=x"),
        ConfigurationError, "insecure_url", ("without a query", "metadata_url"),
    ),
    "issuer empty": Mistake(
        lambda w: w.provider(issuer_url=" "),
        ConfigurationError, "configuration", ("no address", "issuer_url=", "authorize_url and token_url"),
    ),
    "issuer as the secret": Mistake(
        lambda _: GenericOIDCProvider("id", ISSUER), ConfigurationError, "configuration", ("an address", "issuer_url="),
    ),
    "issuer=": Mistake(
        lambda _: GenericOIDCProvider("id", issuer=ISSUER),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("no argument 'issuer'", "Use issuer_url="),
    ),
    "clientid=": Mistake(
        lambda _: GenericOIDCProvider("id", issuer_url=ISSUER, client_sercet="CANARY"),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("Use client_secret=",),
    ),
    "store=": Mistake(
        lambda w: SessionManager(w.provider(), store="file"),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("no argument 'store'", "Use token_store="),
    ),
    "session=": Mistake(
        lambda w: AuthFlowManager(w.provider(), session=SessionManager(w.provider())),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("AuthFlowManager", "Use session_manager="),
    ),
    "nonsense=": Mistake(
        lambda w: SessionManager(w.provider(), xyz=1),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("It takes: provider, token_store",),
    ),
    "client_id None": Mistake(
        lambda _: GoogleProvider(None),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("client_id is missing", "environment"),
    ),
    "client_id empty": Mistake(
        lambda _: GenericOIDCProvider("", issuer_url=ISSUER),
        ConfigurationError, "configuration", ("client_id is missing",),
    ),
    "scopes that are no text": Mistake(
        lambda w: w.provider(scopes=5), ConfigurationError, "configuration", ("scopes='openid profile'",),
    ),
    "a store class": Mistake(
        lambda w: SessionManager(w.provider(), FileTokenStore),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("FileTokenStore is a class", "FileTokenStore()"),
    ),
    "a store of another name": Mistake(
        lambda w: SessionManager(w.provider(), "disk"), ConfigurationError, "configuration", ("file, keyring, memory",),
    ),
    "a session as the store": Mistake(
        lambda w: AuthFlowManager(w.provider(), SessionManager(w.provider())),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("token_store must be", "FileTokenStore()", "SessionManager"),
    ),
    "a provider class": Mistake(
        lambda _: SessionManager(GoogleProvider),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("GoogleProvider is a class", "GoogleProvider(client_id)"),
    ),
    "no provider": Mistake(
        lambda _: SessionManager(None),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("GoogleProvider(client_id)", "'google'", "NoneType"),
    ),
    "google without settings": Mistake(
        _google_with, ConfigurationError, "configuration", ("PYWRY_OAUTH2__CLIENT_ID",),
    ),
    "google with another provider's settings": Mistake(
        lambda w: _google_with(w, PROVIDER="oidc", CLIENT_ID="x", CLIENT_SECRET="CANARY", ISSUER_URL=ISSUER),
        ConfigurationError, "configuration", ("'oidc'", "PYWRY_OAUTH2__PROVIDER=google"),
    ),
    "a provider of an unknown name": Mistake(
        lambda _: SessionManager("gogle"), ConfigurationError, "configuration", ("'provider'", "'google', 'github'"),
    ),
    "requests, headers=session.auth": Mistake(
        lambda w: requests.get(w.idp.issuer, headers=w.sign_in().auth, timeout=5),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("auth=session.auth", "headers=session.headers"),
    ),
    "httpx, headers=session.auth": Mistake(
        lambda w: httpx.get(w.idp.issuer, headers=w.sign_in().auth),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("auth=session.auth", "headers=session.headers"),
    ),
    "timeout as text": Mistake(
        lambda w: SessionManager(w.provider()).login(timeout="60"),  # type: ignore[arg-type]
        ConfigurationError, "configuration", ("number of seconds", "None for no limit"),
    ),
    "auth_timeout of 0": Mistake(
        lambda w: AuthFlowManager(w.provider(), auth_timeout=0),
        ConfigurationError, "configuration", ("auth_timeout", "above 0"),
    ),
    "login() in a script": Mistake(
        lambda w: SessionManager(w.provider()).login(), LoginRequired, "no_front_end",
        ("terminal", "token store", "PYWRY_OAUTH2__ACCESS_TOKEN_FILE"),
    ),
    "a token before the sign-in": Mistake(
        lambda w: SessionManager(w.provider()).access_token, LoginRequired, "login_required", ("session.login()",),
    ),
    "another issuer's address": Mistake(
        lambda w: _other_metadata(w, "https://other.example.org"), TokenError, "metadata_issuer", ("issuer",),
    ),
    "an issuer with one slash too few": Mistake(
        lambda w: _other_metadata(w, w.idp.issuer + "/"), TokenError, "metadata_issuer", ("slash",),
    ),
    "the provider is down": Mistake(
        lambda w: _answers(w, "/.well-known/openid-configuration", Answer({}, 503)),
        TokenError, "discovery_failed", ("not working (HTTP 503)", "Check issuer_url"),
    ),
    "a clock ten minutes slow": Mistake(
        lambda w: _clock(w, 700), TokenError, "id_token_iat", ("clock",),
    ),
    "a clock ten minutes fast": Mistake(
        lambda w: _clock(w, -700), TokenError, "id_token_exp", ("clock",),
    ),
    "a secret is needed": Mistake(
        lambda w: _answers(w, "/token", Answer({"error": "invalid_client"}, 401)),
        TokenError, "invalid_client", ("client",),
    ),
    "the secret is wrong": Mistake(
        lambda w: _answers(w, "/token", Answer({"error": "invalid_client"}, 401), client_secret="CANARY-wrong"),
        TokenError, "invalid_client", ("secret",),
    ),
    "openid is missing": Mistake(_no_id_token, TokenError, "id_token_missing", ("openid",)),
    "Redis is down": Mistake(
        lambda _: asyncio.run(RedisTokenStore(f"redis://127.0.0.1:{free_port()}/0").list_keys()),
        TokenStoreError, "store_unavailable", ("Redis server at redis://127.0.0.1", "Check that it runs"),
    ),
    "a wrong password of Redis": Mistake(
        _wrong_redis_password, TokenStoreError, "store_forbidden", ("user and password in the URL",),
    ),
    "no keyring": Mistake(_no_keyring, TokenStoreError, "store_missing", ("FileTokenStore(",)),
    "a self-signed certificate": Mistake(_self_signed, TokenError, "certificate", ("self-signed", "SSL_CERT_FILE")),
    "a host name that is misspelt": Mistake(_unknown_name, TokenError, "unknown_host", ("spelling",)),
    "a port where nothing listens": Mistake(_refused, TokenError, "connection_refused", ("Check the port",)),
    "a client ID or redirect URI that is not registered": Mistake(
        _no_answer, AuthFlowTimeout, "flow_timeout", (f"register {REDIRECT_URI}", "client ID"),
    ),
    "a folder that cannot be made": Mistake(
        _forbidden_folder, TokenStoreError, "store_unavailable", ("/tokens", "Permission denied"),
    ),
    "a full disk": Mistake(
        _full_disk, TokenStoreError, "store_unavailable", ("/tokens", "No space left on device"),
    ),
    "another encryption key": Mistake(_another_key, LoginRequired, "login_required", ("key",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_sentence(name: str, world: World) -> None:
    """The error has its class and code, says what to do, and shows in a notebook as that sentence and the own lines."""
    make, kind, code, words = MISTAKES[name]
    with pytest.raises(AuthenticationError) as caught:
        make(world)
    error = caught.value

    assert (type(error), error.code) == (kind, code), str(error)
    assert all(word in str(error) for word in words), str(error)
    [shown] = error._render_traceback_()
    assert shown.splitlines()[-1] == f"{kind.__name__} [{code}]: {error}"
    assert "CANARY" not in str(error)


@pytest.mark.parametrize("name", [name for name, each in MISTAKES.items() if each.kind is ConfigurationError])
def test_a_wrong_argument_is_found_before_any_request(name: str, world: World) -> None:
    """Where an argument is wrong, the provider has heard nothing but the sign-ins that the case needs."""
    with pytest.raises(ConfigurationError):
        MISTAKES[name].make(world)

    assert all(request.method == "GET" or request.path == "/token" for request in world.idp.requests)
    assert bool(world.idp.requests) is ("session.auth" in name)


def test_there_are_enough() -> None:
    """Of the 37 mistakes of first use at least 35 are in the table, besides those that work now."""
    assert len(MISTAKES) >= 35


# -- what works -------------------------------------------------------------------------------------------------------


def test_the_address_of_the_metadata_is_an_issuer(world: World) -> None:
    """``issuer_url=".../.well-known/openid-configuration"`` is understood, with a line end as well."""
    provider = world.provider(issuer_url=f"{world.idp.issuer}/.well-known/openid-configuration\n")

    assert world.sign_in(provider).status == "signed_in"


def test_scopes_as_text(world: World) -> None:
    """``scopes="openid profile"`` is two scopes."""
    assert world.provider(scopes="openid profile").scopes == ["openid", "profile"]


def test_scopes_that_were_dropped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A scope that the provider does not grant is named once, and ``session.scopes`` lacks it."""
    session = world.sign_in(world.provider(scopes=["openid", "nonsense"]))

    assert session.scopes == ("openid",)
    assert sum("nonsense" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("name", ["memory", "file"])
def test_a_store_by_its_name(name: str, world: World) -> None:
    """``SessionManager(p, "file")`` keeps the tokens there: a second session finds them."""
    world.patch.setenv("XDG_DATA_HOME", str(world.folder))
    world.sign_in(store=name)
    again = SessionManager(world.provider(), name)

    assert again.access_token
    assert name in type(again.token_store).__name__.lower()


def test_no_client_secret_from_the_environment(world: World) -> None:
    """``client_secret=os.environ.get(…)`` of an unset variable is no secret, and not the text ``None``."""
    assert world.provider(client_secret=None).client_secret == ""


def test_a_provider_by_its_name(world: World) -> None:
    """``SessionManager("google")`` takes client and store from the settings."""
    world.patch.setenv("PYWRY_OAUTH2__CLIENT_ID", "mine")
    world.patch.setenv("PYWRY_OAUTH2__TOKEN_STORE_BACKEND", "file")
    world.patch.setenv("XDG_DATA_HOME", str(world.folder))
    session = SessionManager("google")

    assert isinstance(session.provider, GoogleProvider)
    assert session.provider.client_id == "mine"
    assert isinstance(session.token_store, FileTokenStore)


def test_an_access_token_with_parentheses(world: World) -> None:
    """``session.access_token()`` returns the token, and a warning says to leave the parentheses out."""
    session = world.sign_in()
    with pytest.warns(UserWarning, match="leave out the parentheses"):
        token = session.access_token()

    assert token == session.access_token


def test_functions_that_call_what_they_can_call_get_the_token(world: World) -> None:
    """``re.sub`` and its like, which call a value that can be called, get the token without a warning."""
    import re

    token = world.sign_in().access_token

    assert re.sub("TOKEN", token, "Bearer TOKEN") == f"Bearer {token}"


def test_there_is_no_sign_in_method(world: World) -> None:
    """``session.sign_in()`` is not there: it is ``session.login()``."""
    assert not hasattr(SessionManager(world.provider()), "sign_in")


def test_a_sign_out_without_await(world: World) -> None:
    """``session.logout()`` begins at once, and the cell's last line shows the outcome."""
    session = world.sign_in()
    begun = session.logout()
    until(lambda: session.status == "signed_out")

    assert "revoked both tokens" in _displayed(begun)
    assert world.idp.requests_to("/revoke") == 2


def _displayed(value: object) -> str:
    """What IPython shows for the value of a cell's last line."""
    from IPython.lib.pretty import pretty

    return pretty(value)


def test_a_sign_out_that_is_left_alone(world: World) -> None:
    """A sign-out that is neither awaited nor shown causes no warning, and revokes the tokens."""
    session = world.sign_in()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.logout()
        until(lambda: world.idp.requests_to("/revoke") == 2)

    assert session.status == "signed_out"


def test_a_sign_out_may_be_awaited_twice(world: World) -> None:
    """Each ``await`` returns the outcome, and so does ``asyncio.run``."""
    session = world.sign_in()

    async def go() -> list[bool]:
        begun = session.logout()
        return [(await begun).complete, (await begun).complete]

    assert asyncio.run(go()) == [True, True]
    assert asyncio.run(session.logout()).complete


def test_a_sign_out_survives_its_caller(world: World) -> None:
    """A caller that is cancelled does not end the sign-out."""
    session = world.sign_in()
    gate = threading.Event()
    world.idp.answers["/revoke"] = Answer({}, gate=gate)

    async def go() -> None:
        waiting = asyncio.ensure_future(session.logout())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(go())
    gate.set()
    until(lambda: world.idp.requests_to("/revoke") == 2)


def test_a_sign_in_with_await(world: World) -> None:
    """``await session.login()`` returns what ``session.login()`` does, and ``timeout=None`` has no limit."""
    session = world.sign_in()

    async def go() -> object:
        return await session.login(timeout=None)

    assert asyncio.run(go()) == session.login()


def test_a_sign_in_without_a_limit(world: World) -> None:
    """``login(timeout=None)`` and ``auth_timeout=None`` wait for the click."""
    flow = AuthFlowManager(world.provider(), MemoryTokenStore(), auth_timeout=None)
    world.patch.setattr(notebook, "has_front_end", lambda: True)
    clicking = threading.Thread(target=lambda: sign_in(flow, world.idp), daemon=True)
    world.patch.setattr(flow.session, "_show", clicking.start)

    assert flow.session.login(timeout=None).success
    shown = flow.run_native(lambda url, _: httpx.get(_back(world.idp, url)))
    assert shown.success


def _back(idp: Idp, url: str) -> httpx.URL:
    """Where the provider sends the browser."""
    params = idp.authorize(url)
    return httpx.URL(dict(httpx.URL(url).params)["redirect_uri"], params=params)


def test_two_cells_that_wait_at_once(world: World) -> None:
    """The parameters of the cell that came last count; when it has ended, those of the other do again."""
    sign_ins = SessionManager(world.provider())._sign_ins

    def asked() -> dict[str, str]:
        url = str(asyncio.run(sign_ins.begin(REDIRECT_URI)).url)
        return {name: value for name, value in httpx.URL(url).params.items() if name in {"prompt", "login_hint"}}

    with sign_ins.adding_params(prompt="login"):
        with sign_ins.adding_params(login_hint="grace"):
            assert asked() == {"login_hint": "grace"}
        assert asked() == {"prompt": "login"}
    assert asked() == {}


def test_the_redirect_uri_of_the_newest_sign_in(world: World) -> None:
    """``open_redirect_uri`` is that of the newest sign-in without an answer, and empty once there is none."""
    sign_ins = SessionManager(world.provider())._sign_ins
    assert sign_ins.open_redirect_uri == ""
    for port in (1, 2):
        asyncio.run(sign_ins.begin(f"http://127.0.0.1:{port}/callback"))

    assert sign_ins.open_redirect_uri == "http://127.0.0.1:2/callback"
    sign_ins.cancel()
    until(lambda: sign_ins.open_redirect_uri == "")


def test_a_wrong_key_takes_two_lines_in_a_notebook(tmp_path: Path) -> None:
    """A store with a key that is none shows the own line and the sentence, and no frame of ours."""
    cell = "from pywry_auth_nb import FileTokenStore\nFileTokenStore('t', encryption_key='short')"
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        f"InteractiveShell.instance().run_cell({cell!r}, store_history=False)"
    )
    environ = os.environ | {"IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    own, sentence = done.stdout.strip().splitlines()

    assert "line 2: FileTokenStore(" in own
    assert "TokenStoreError [store_key]" in sentence
