"""`HubTokenSource`: a session whose tokens are the hub's. Here the hub is the wire; a real one is in tests/e2e."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pywry_auth_nb import (
    AuthFlowCancelled,
    AuthFlowTimeout,
    ConfigurationError,
    FileTokenStore,
    HubTokenSource,
    LoginRequired,
    MemoryTokenStore,
    SessionManager,
    TokenError,
    TokenExpiredError,
)
from pywry_auth_nb._io.http import HttpClient
from pywry_auth_nb._io.loop import run, submit
from pywry_auth_nb.providers import create_provider_from_settings, jupyterhub
from tests.support.idp import Answer, Idp, compact
from tests.support.waiting import soon, until

if TYPE_CHECKING:
    from pathlib import Path

    from pywry_auth_nb.token_store import Record
    from tests.support.api import Api

USER, WHOAMI = "/hub/api/users/alice", "/hub/api/user"
API_TOKEN = "CANARY-api-token"


class HubApi:
    """A hub that keeps a sign-in, and says what a test wants it to say."""

    def __init__(self, idp: Idp) -> None:
        self.idp = idp
        self.url = f"{idp.issuer}/hub/api"
        self.keeps(expires_in=3600)
        self.answer(WHOAMI, {"kind": "user", "name": "alice", "scopes": ["users:activity!user=alice"]})

    def answer(self, path: str, body: Any, status: int = 200) -> None:
        """Answer ``path`` with this from now on."""
        self.idp.answers[path] = Answer(body, status)

    def keeps(self, token: str = "CANARY-at-1", *, age: float = 0, **response: Any) -> None:
        """Keep this token, which is ``age`` seconds old: as an authenticator with an ID token does."""
        id_token = self.idp.id_token(iat=int(time.time() - age))
        state = {
            "access_token": token,
            "refresh_token": "CANARY-rt",
            "scope": ["openid", "email"],
            "token_response": {"access_token": token, "id_token": id_token, **response},
            "oauth_user": {"sub": "ada", "name": "Ada Lovelace"},
        }
        self.says(state)

    def says(self, state: Any) -> None:
        """Keep this auth state."""
        self.answer(USER, {"kind": "user", "name": "alice", "auth_state": state})

    def asked(self) -> int:
        """How often it was asked for the auth state."""
        return self.idp.requests_to(USER)


@pytest.fixture
def hub(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> HubApi:
    """A hub, and the environment that it gives a user's server."""
    api = HubApi(idp)
    monkeypatch.setenv("JUPYTERHUB_API_URL", api.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", API_TOKEN)
    monkeypatch.setenv("JUPYTERHUB_USER", "alice")
    return api


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No patience with a hub that does not renew."""
    monkeypatch.setattr(jupyterhub, "_PATIENCE", 0.3)
    monkeypatch.setattr(jupyterhub, "_PAUSES", (0.05, 0.1))


def refusal(session: SessionManager) -> LoginRequired:
    """Why there is no token to read."""
    with pytest.raises(LoginRequired) as caught:
        _ = session.access_token
    return caught.value


# -- no click ---------------------------------------------------------------------------------------------------------


def test_the_token_is_there(hub: HubApi) -> None:
    """Reading the token is enough: no click is needed, and the session knows its user and lifetime."""
    session = SessionManager(HubTokenSource())

    assert session.access_token == "CANARY-at-1"
    assert (session.status, session.display_name) == ("signed_in", "Ada Lovelace")
    assert session.expires_at == pytest.approx(time.time() + 3600, abs=2)
    assert session._engine.state.tokens is not None
    assert session._engine.state.tokens.scope == "openid email"
    for _ in range(100):
        _ = session.access_token
    assert hub.asked() == 1
    assert hub.idp.last(USER).headers["authorization"] == f"token {API_TOKEN}"


def test_login_and_initialize_need_no_click(hub: HubApi) -> None:
    """Every way in works, also without a front end."""
    assert SessionManager(HubTokenSource()).login().success
    assert asyncio.run(SessionManager(HubTokenSource()).initialize()) is not None
    assert asyncio.run(SessionManager(HubTokenSource()).get_access_token()) == "CANARY-at-1"
    assert asyncio.run(SessionManager(HubTokenSource()).refresh()).access_token == "CANARY-at-1"


def test_many_readers_ask_once(hub: HubApi) -> None:
    """Readers at the same time share one question."""
    session = SessionManager(HubTokenSource())

    async def read() -> set[str]:
        return set(await asyncio.gather(*(session.get_access_token() for _ in range(20))))

    assert asyncio.run(read()) == {"CANARY-at-1"}
    assert hub.asked() == 1


def test_the_refresh_token_stays_in_the_hub(hub: HubApi, tmp_path: Path) -> None:
    """Neither the session nor its store has it, and no repr shows a token."""
    session = SessionManager(HubTokenSource(), FileTokenStore(tmp_path / "tokens"))
    _ = session.access_token
    source = session.provider

    stored = b"".join(path.read_bytes() for path in (tmp_path / "tokens").iterdir() if path.is_file())
    assert b"CANARY-at-1" in stored
    assert b"CANARY-rt" not in stored
    assert session._engine.state.tokens is not None
    assert session._engine.state.tokens.refresh_token != "CANARY-rt"
    assert "CANARY" not in f"{session!r} {source!r} {vars(source)!r} {session._engine.state.tokens!r}"


def test_from_settings(hub: HubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator chooses it with one variable."""
    monkeypatch.setenv("PYWRY_OAUTH2__PROVIDER", "jupyterhub")
    session = SessionManager.from_settings(token_store=MemoryTokenStore())

    assert session.access_token == "CANARY-at-1"
    assert isinstance(session.provider, HubTokenSource)


def test_signing_out_lasts(hub: HubApi) -> None:
    """A sign-out lasts until the user signs in; the hub's token is not revoked, for it is not ours."""
    session = SessionManager(HubTokenSource())
    _ = session.access_token
    result = asyncio.run(session.logout())

    assert (result.access_token, result.refresh_token, result.store) == ("no_endpoint", "none", "deleted")
    assert refusal(session).code == "login_required"
    assert hub.idp.requests_to("/revoke") == 0
    session.login()
    assert session.access_token == "CANARY-at-1"


def test_userinfo(hub: HubApi) -> None:
    """What the hub knows now."""
    session = SessionManager(HubTokenSource())

    assert session.userinfo() == {"preferred_username": "alice", "sub": "ada", "name": "Ada Lovelace"}


@pytest.mark.parametrize("key", ["github_user", "user", "google_user"])
def test_authenticators_have_their_own_names(hub: HubApi, key: str) -> None:
    """The profile is found under whatever an authenticator calls it."""
    hub.says({"access_token": "CANARY-at-2", key: {"login": "ada-l"}})
    session = SessionManager(HubTokenSource())
    _ = session.access_token

    assert session.user == {"preferred_username": "alice", "login": "ada-l"}


# -- fresh ------------------------------------------------------------------------------------------------------------

ENDS = {
    "auth state": lambda now, _: {"access_token": "CANARY-x", "expires_at": now + 100},
    "auth state, as text": lambda now, _: {"access_token": "CANARY-x", "expires_at": f"{now + 100:.3f}"},
    "answer": lambda now, _: {"access_token": "CANARY-x", "token_response": {"expires_at": now + 100}},
    "answer, as text": lambda now, _: {"access_token": "CANARY-x", "token_response": {"expires_at": str(now + 100)}},
    "JWT that no client can verify": lambda now, _: {
        "access_token": compact({"alg": "HS256", "typ": "at+jwt"}, {"exp": now + 100}, b"CANARY" * 6, "HS256")
    },
    "lifetime, as text": lambda _, idp: {
        "access_token": "CANARY-x",
        "token_response": {"id_token": idp.id_token(iat=int(time.time())), "expires_in": "100"},
    },
    "JWT": lambda now, idp: {"access_token": idp.id_token(exp=int(now) + 100), "token_response": {"expires_in": 9}},
    "ID token": lambda now, idp: {
        "access_token": "CANARY-x",
        "token_response": {"id_token": idp.id_token(iat=int(now) - 20), "expires_in": 120},
    },
}


@pytest.mark.parametrize("where", ENDS)
def test_how_long_it_lives(hub: HubApi, where: str) -> None:
    """Authenticators say it in several ways."""
    hub.says(ENDS[where](time.time(), hub.idp))
    session = SessionManager(HubTokenSource())
    _ = session.access_token

    assert session.expires_at == pytest.approx(time.time() + 100, abs=2)


@pytest.mark.parametrize(
    "extra",
    [{}, {"expires_at": None}, {"expires_at": True}, {"token_response": []}, {"token_response": {"expires_in": 3600}}],
)
def test_an_unknown_lifetime(hub: HubApi, extra: dict[str, Any]) -> None:
    """The hub is asked again after five minutes; a lifetime without its beginning counts as unknown."""
    hub.says({"access_token": "CANARY-x", **extra})
    session = SessionManager(HubTokenSource())
    _ = session.access_token

    assert session.expires_at == pytest.approx(time.time() + 300, abs=2)


def test_a_new_token_after_the_old_one(hub: HubApi) -> None:
    """The token is read again when it has expired and not before, since the hub would not refresh it earlier."""
    hub.keeps(age=3593, expires_in=3600)
    session = SessionManager(HubTokenSource(), refresh_buffer_seconds=60)
    assert session.access_token == "CANARY-at-1"
    asked, end = hub.asked(), time.monotonic() + 2
    while time.monotonic() < end:
        assert session.access_token == "CANARY-at-1"
        time.sleep(0.05)
    assert hub.asked() == asked
    hub.keeps("CANARY-at-2", expires_in=3600)
    until(lambda: session.access_token == "CANARY-at-2", seconds=20)


def test_a_hub_that_takes_its_time(hub: HubApi) -> None:
    """While the hub has not refreshed an expired token, readers wait."""
    hub.keeps(age=3600, expires_in=3600)
    session = SessionManager(HubTokenSource())
    running = asyncio.new_event_loop()

    async def renew() -> str:
        reading = asyncio.ensure_future(session.get_access_token())
        await asyncio.sleep(0.8)
        assert not reading.done()
        hub.keeps("CANARY-at-2", expires_in=3600)
        return await asyncio.wait_for(reading, 10)

    assert running.run_until_complete(renew()) == "CANARY-at-2"
    running.close()


@pytest.mark.usefixtures("quick")
def test_a_hub_that_does_not_renew(hub: HubApi) -> None:
    """An old token is not handed out; the error says what to set, and the session is good again when the hub is."""
    hub.keeps(age=4000, expires_in=3600)
    session = SessionManager(HubTokenSource())
    error = refusal(session)

    assert error.code == "hub_token_expired"
    assert "auth_refresh_age" in error.message
    hub.keeps("CANARY-at-2", expires_in=3600)
    time.sleep(2.1)
    assert session.access_token == "CANARY-at-2"


@pytest.mark.usefixtures("quick")
def test_a_hub_that_stops_renewing(hub: HubApi) -> None:
    """A session whose token ends says so, and goes on when there is a new one: it is not ended."""
    hub.keeps(age=3595, expires_in=3600)
    session = SessionManager(HubTokenSource())
    _ = session.access_token
    time.sleep(5)
    with pytest.raises(TokenExpiredError) as caught:
        _ = session.access_token

    assert caught.value.code == "hub_token_expired"
    assert session.status in {"signed_in", "refreshing"}
    hub.keeps("CANARY-at-2", expires_in=3600)
    assert asyncio.run(session.refresh()).access_token == "CANARY-at-2"


# -- who may not ------------------------------------------------------------------------------------------------------


def test_the_scope_is_missing(hub: HubApi) -> None:
    """The hub answers without the auth state: the error, and the widget's text, name the scope."""
    hub.answer(USER, {"kind": "user", "name": "alice", "last_activity": None})
    session = SessionManager(HubTokenSource())
    error = refusal(session)

    assert error.code == "hub_scope_missing"
    assert "admin:auth_state!user" in error.message
    assert session.error is not None
    assert session.error.code == "hub_scope_missing"


@pytest.mark.parametrize("status", [403, 404])
def test_another_scope_is_missing(hub: HubApi, status: int) -> None:
    """Where the server may read auth state and not its user, it is the other scope that is named."""
    hub.answer(USER, {"status": status, "message": "CANARY"}, status)
    hub.answer(WHOAMI, {"scopes": ["admin:auth_state!user=alice"]})

    assert "read:users:name!user" in refusal(SessionManager(HubTokenSource())).message


def test_the_servers_token_is_refused(hub: HubApi) -> None:
    """A server that the hub has forgotten is told to restart."""
    for path in (USER, WHOAMI):
        hub.answer(path, {"status": 403}, 403)

    assert refusal(SessionManager(HubTokenSource())).code == "hub_refused"


@pytest.mark.parametrize("state", [None, {}, [], "x", {"access_token": None}, {"access_token": 7}])
def test_nothing_is_kept(hub: HubApi, state: Any) -> None:
    """A hub without auth state, or whose user did not sign in at a provider, says what to set."""
    hub.says(state)
    error = refusal(SessionManager(HubTokenSource()))

    assert error.code == "hub_auth_state_missing"
    assert "enable_auth_state" in error.message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer({"message": "CANARY"}, 500), "hub_refused"),
        (Answer(b"<html>CANARY</html>", 200, {"Content-Type": "text/html"}), "hub_scope_missing"),
        (Answer(None, 302, {"Location": "http://127.0.0.1/elsewhere"}), "redirect_refused"),
    ],
)
def test_a_hub_that_is_broken(hub: HubApi, answer: Answer, code: str) -> None:
    """Whatever comes instead of an answer is an error with a code, and quotes nothing."""
    hub.idp.answers[USER] = answer
    error = refusal(SessionManager(HubTokenSource()))

    assert error.code == code
    assert "CANARY" not in str(error)


def test_a_broken_hub_is_not_asked_at_every_read(hub: HubApi) -> None:
    """Reading in a loop does not become a storm."""
    hub.answer(USER, None, 500)
    session = SessionManager(HubTokenSource())
    for _ in range(20):
        assert refusal(session).code == "hub_refused"

    assert hub.asked() == 1


def test_another_program_answers_instead_of_a_hub(hub: HubApi) -> None:
    """A page instead of an API is not taken for a server that is unknown."""
    hub.idp.answers[USER] = hub.idp.answers[WHOAMI] = Answer(b"<html>")

    error = refusal(SessionManager(HubTokenSource()))

    assert "is not a JupyterHub" in error.message


def test_signing_out_overtakes_a_silent_sign_in(hub: HubApi) -> None:
    """A sign-out while the hub is asked wins, and no waiting reader gets a token."""
    gate = threading.Event()
    session = SessionManager(HubTokenSource())
    hub.idp.answers[USER] = Answer(hub.idp.answers[USER].body, gate=gate)
    begun = submit(session._engine.acquire_silently())
    until(lambda: hub.asked() == 1)
    asyncio.run(session.logout())
    gate.set()

    with pytest.raises(AuthFlowCancelled):
        begun.result(10)
    assert session.status == "signed_out"


def test_two_silent_sign_ins(hub: HubApi) -> None:
    """A double click, or a click while a cell reads the token, is one sign-in, and neither reports a failure."""
    session = SessionManager(HubTokenSource(), SlowToSave())

    async def both() -> list[Any]:
        return await asyncio.gather(
            session._engine.acquire_silently(), session._engine.acquire_silently(), session.get_access_token()
        )

    assert run(both(), 10)[2] == "CANARY-at-1"
    assert hub.asked() == 1


class SlowToSave(MemoryTokenStore):
    """A store that takes a moment."""

    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Take a moment."""
        await asyncio.sleep(0.3)
        return await super().swap(key, old, new)


def test_a_hub_that_does_not_answer_in_time(hub: HubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a session that is signed out raises ``LoginRequired``, whatever the reason."""
    monkeypatch.setattr("pywry_auth_nb.providers.jupyterhub.HttpClient", partial(HttpClient, deadline=0.3))
    hub.idp.answers[USER] = Answer({}, delay=8)

    assert "did not answer" in refusal(SessionManager(HubTokenSource())).message


def test_certificates_that_are_not_there(hub: HubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a hub with internal_ssl has named files that cannot be read, that is said."""
    for name in ("CLIENT_CA", "CERTFILE", "KEYFILE"):
        monkeypatch.setenv(f"JUPYTERHUB_SSL_{name}", f"/nowhere/{name}")
    monkeypatch.setenv("JUPYTERHUB_API_URL", os.environ["JUPYTERHUB_API_URL"].replace("http:", "https:"))

    error = refusal(SessionManager(HubTokenSource()))

    assert "JUPYTERHUB_SSL_" in error.message
    assert hub.asked() == 0


@pytest.mark.parametrize("name", ["JUPYTERHUB_API_URL", "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_USER"])
def test_no_hub(hub: HubApi, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Anywhere else the constructor says so."""
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError) as caught:
        HubTokenSource()

    assert caught.value.code == "no_hub"
    with pytest.raises(ConfigurationError):
        create_provider_from_settings(type("Settings", (), {"provider": "jupyterhub"})())


def test_it_opens_nothing(hub: HubApi) -> None:
    """``HubTokenSource`` builds no authorize URL."""
    with pytest.raises(TokenError) as caught:
        HubTokenSource().build_authorize_url("http://127.0.0.1/cb", "state")
    assert caught.value.code == "hub_signs_in"


def test_plain_http_to_the_hub_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own address may be plain http in its network; no other address may, nor one that begins like it.

    Nor may an address that a notebook gave: only the hub knows its network.
    """
    url = "http://hub.invalid:8081/hub/api"
    with pytest.raises(TokenError) as refused:
        asyncio.run(HubTokenSource(url, API_TOKEN, "alice").acquire_token_silent())
    assert refused.value.code == "insecure_url"
    monkeypatch.setenv("JUPYTERHUB_API_URL", f"{url}/")
    source = HubTokenSource(api_token=API_TOKEN, user="alice")

    async def ask(url: str) -> str:
        with pytest.raises(TokenError) as caught:
            await source._http.request("GET", url)
        return caught.value.code

    assert asyncio.run(ask("http://hub.invalid:8081/hub/api/user")) == "unknown_host"
    for url in ("http://hub.invalid/", "http://hub.invalid:80810/", "http://hub.invalid:8081@evil.example/"):
        assert asyncio.run(ask(url)) == "insecure_url"


# -- what a review tried ----------------------------------------------------------------------------------------------


def test_two_users_have_two_sessions(hub: HubApi) -> None:
    """Whose token it is belongs to its name in a store."""
    hub.answer("/hub/api/users/bob", {"name": "bob", "auth_state": {"access_token": "CANARY-bobs"}})
    store = MemoryTokenStore()
    alices, bobs = (SessionManager(HubTokenSource(user=user), store) for user in ("alice", "bob"))

    assert (alices.access_token, bobs.access_token) == ("CANARY-at-1", "CANARY-bobs")
    assert alices.store_key != bobs.store_key


@pytest.mark.usefixtures("quick")
def test_signing_out_while_the_hub_is_asked(hub: HubApi) -> None:
    """A token that comes after the sign-out is not taken."""
    gate = threading.Event()
    hub.idp.answers[USER].gate = gate
    session = SessionManager(HubTokenSource())

    async def race() -> None:
        reading = asyncio.ensure_future(session.get_access_token())
        await soon(hub.asked)
        await session.logout()
        gate.set()
        with pytest.raises(LoginRequired):
            await reading

    asyncio.run(race())
    assert session.status == "signed_out"
    assert refusal(session).code == "login_required"


def test_a_sign_out_elsewhere_is_kept(hub: HubApi, tmp_path: Path) -> None:
    """A kernel that finds a sign-out in the store takes nothing, and leaves it there."""
    store = FileTokenStore(tmp_path / "tokens")
    first = SessionManager(HubTokenSource(), store)
    _ = first.access_token
    asyncio.run(first.logout())
    asked = hub.asked()
    second = SessionManager(HubTokenSource(), FileTokenStore(tmp_path / "tokens"))

    assert refusal(second).code == "login_required"
    assert hub.asked() == asked


def test_a_store_that_cannot_tell(hub: HubApi, tmp_path: Path) -> None:
    """A store that cannot be read may hold a sign-out: no token is taken from the hub, and no record is replaced."""
    folder = tmp_path / "tokens"
    first = SessionManager(HubTokenSource(), FileTokenStore(folder, encryption_key="QQ" * 21 + "Q="))
    _ = first.access_token
    asyncio.run(first.logout())
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    other = SessionManager(HubTokenSource(), FileTokenStore(folder, encryption_key="AA" * 21 + "A="))

    assert "key" in refusal(other).message
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_another_user_at_the_hub(hub: HubApi) -> None:
    """If another person's sign-in is kept under this user, the session ends and says so; signing in again is theirs."""
    session = SessionManager(HubTokenSource())
    _ = session.access_token
    hub.says({"access_token": "CANARY-grace", "oauth_user": {"sub": "grace", "name": "Grace"}})
    with pytest.raises(TokenError) as caught:
        asyncio.run(session.refresh())

    assert caught.value.code == "identity_changed"
    assert session.status == "reauth_required"
    session.login()
    assert (session.access_token, session.display_name) == ("CANARY-grace", "Grace")


def test_a_refused_token_is_not_sent_twice(hub: HubApi, api: Api) -> None:
    """Where the hub has no other token, a request that was refused is not repeated with the same one."""
    api.refuse = lambda _: True
    session = SessionManager(HubTokenSource())

    assert httpx.post(f"{api.url}/x", auth=session.auth).status_code == 401
    assert len(api.tokens()) == 1


@pytest.mark.parametrize("ahead", [-400, 400])
def test_another_clock(hub: HubApi, ahead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a token lives is counted by the hub's clock."""
    now = time.time() - ahead
    hub.says({"access_token": "CANARY-x", "expires_at": now + 200})
    date = formatdate(now, usegmt=True)
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda _: date)
    session = SessionManager(HubTokenSource())
    _ = session.access_token

    assert session.expires_at == pytest.approx(time.time() + 200, abs=3)


@pytest.mark.parametrize("when", [10**400, 1.8e12, -5, float("1e308"), "soon", "1e400", True, [1]])
def test_no_time_at_all(hub: HubApi, when: Any) -> None:
    """An invalid time counts as unknown."""
    hub.says({"access_token": "CANARY-x", "expires_at": when})
    session = SessionManager(HubTokenSource())
    _ = session.access_token

    assert session.expires_at == pytest.approx(time.time() + 300, abs=2)


@pytest.mark.parametrize("token", ["", "a b", "x\n", "\u00e9"])
def test_no_token_at_all(hub: HubApi, token: str) -> None:
    """A value that cannot be sent as a token is refused."""
    hub.says({"access_token": token})

    assert refusal(SessionManager(HubTokenSource())).code == "hub_auth_state_missing"


def test_patience_of_login(hub: HubApi) -> None:
    """``login(timeout)`` raises its own error when its time is up."""
    hub.keeps(age=4000, expires_in=3600)
    begun = time.monotonic()
    with pytest.raises(AuthFlowTimeout):
        SessionManager(HubTokenSource()).login(timeout=1)

    assert time.monotonic() - begun < 4


def test_a_dead_sign_in_is_asked_for_less_often(hub: HubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first wait in vain, each try is one question."""
    monkeypatch.setattr(jupyterhub, "_PATIENCE", 1.0)
    monkeypatch.setattr(jupyterhub, "_PAUSES", (0.1, 0.2))
    hub.keeps(age=4000, expires_in=3600)
    source = HubTokenSource()
    counts = []
    for _ in range(3):
        before = hub.asked()
        with pytest.raises(TokenError):
            asyncio.run(source.acquire_token_silent())
        counts.append(hub.asked() - before)

    assert counts[0] > 2
    assert counts[1:] == [1, 1]


def test_it_is_not_copied(hub: HubApi) -> None:
    """``HubTokenSource`` cannot be pickled: it holds the hub's token."""
    with pytest.raises(TypeError):
        pickle.dumps(HubTokenSource())


def test_others_need_a_person(session: SessionManager) -> None:
    """With any other provider a silent sign-in fails with ``person_needed``."""
    with pytest.raises(TokenError) as caught:
        asyncio.run(session._engine.acquire_silently())

    assert caught.value.code == "person_needed"


def test_an_invalid_address(hub: HubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken environment is a sentence."""
    monkeypatch.setenv("JUPYTERHUB_API_URL", "http://[bad")
    with pytest.raises(ConfigurationError):
        HubTokenSource()
