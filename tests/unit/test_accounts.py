"""Accounts: another person on the same store, several accounts, and the set-up cell that is run again."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import comm
import pytest

from pywry_auth_nb import (
    AuthFlowCancelled,
    AuthFlowManager,
    FileTokenStore,
    GenericOIDCProvider,
    GoogleProvider,
    LoginRequired,
    LoginWidget,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenError,
    TokenRefreshError,
)
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._session import watcher
from pywry_auth_nb._sign_in import channel, notebook
from pywry_auth_nb.providers import GitHubProvider, OAuthProvider
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.people import Nowhere, sign_in_as
from tests.support.waiting import soon, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pywry_auth_nb import TokenStore

    Kernel = Callable[..., SessionManager]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels look at their stores every tenth of a second, and comms lead nowhere."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    monkeypatch.setattr(comm, "create_comm", Nowhere)


@pytest.fixture(params=["file", "memory"])
def kernel(request: pytest.FixtureRequest, idp: Idp, tmp_path: Path) -> Kernel:
    """Make a session as another kernel would have it; or, in memory, as another notebook's cell would."""

    def make(session_key: str = "default") -> SessionManager:
        store: TokenStore | None = FileTokenStore(tmp_path / "tokens") if request.param == "file" else None
        return SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), store, session_key)

    return make


def asked(url: str) -> dict[str, str]:
    """The parameters of an authorize URL."""
    return dict(parse_qsl(urlsplit(url).query))


def identity_changed(session: SessionManager) -> str:
    """Read the token, see that another user's sign-in is why there is none, and return the words."""
    with pytest.raises(LoginRequired) as caught:
        _ = session.access_token
    assert caught.value.code == "identity_changed"
    return caught.value.message


# -- another person -----------------------------------------------------------------------------------------------


def test_a_running_session_does_not_become_another_person(kernel: Kernel, idp: Idp) -> None:
    """R53: it ends and says so, once; it never has a token of the other, who stays signed in."""
    adas, bobs = kernel(), kernel()
    told: list[str] = []
    adas.on_reauth_required = lambda: told.append(adas.status)
    sign_in_as("ada", adas, idp)
    seen: list[Any] = []
    adas.observe(lambda change: seen.append(change.new), names="access_token")
    sign_in_as("bob", bobs, idp)
    until(lambda: adas.status == "reauth_required")

    assert "session_key" in identity_changed(adas)
    with pytest.raises(LoginRequired, match="session_key"):
        asyncio.run(adas.refresh())
    assert (adas.display_name, bobs.display_name) == ("Ada", "Bob")
    asyncio.run(bobs.refresh())
    run(adas._engine._sync.now(), 5)
    until(lambda: told == ["reauth_required"])
    until(lambda: seen == [None])
    assert adas.status == "reauth_required"
    assert bobs.access_token


def test_signing_in_again_takes_over(kernel: Kernel, idp: Idp) -> None:
    """R53: then the other session ends in the same way."""
    adas, bobs = kernel(), kernel()
    sign_in_as("ada", adas, idp)
    sign_in_as("bob", bobs, idp)
    until(lambda: adas.status == "reauth_required")
    sign_in_as("ada", adas, idp)

    assert (adas.status, adas.error, adas.display_name) == ("signed_in", None, "Ada")
    until(lambda: bobs.status == "reauth_required")
    assert kernel().access_token == adas.access_token


def test_the_other_signs_in_as_the_same_person_after_all(kernel: Kernel, idp: Idp) -> None:
    """R53: her sign-in elsewhere is followed again."""
    adas, other = kernel(), kernel()
    for person in ("ada", "bob", "ada"):
        sign_in_as(person, other, idp)
        until(lambda: adas.status == ("reauth_required" if other.display_name == "Bob" else "signed_in"))

    assert adas.access_token == other.access_token


def test_the_tokens_of_the_person_before_are_revoked(kernel: Kernel, idp: Idp) -> None:
    """R53: a switch of the account signs the person before out, whom this session or the store knows."""
    first = kernel()
    sign_in_as("ada", first, idp)
    adas = {str(first.access_token), str(first._engine.state.tokens.refresh_token)}  # type: ignore[union-attr]
    sign_in_as("bob", first, idp)
    until(lambda: idp.requests_to("/revoke") == 2)
    assert {request.form["token"] for request in idp.requests if request.path == "/revoke"} == adas
    sign_in_as("ada", kernel(), idp)  # in a kernel that did not know of Bob

    until(lambda: idp.requests_to("/revoke") == 4)
    assert list(idp.refresh_tokens.values()) == [True], "hers alone is left"


def test_tokens_of_the_same_or_of_an_unknown_person_are_not_revoked(kernel: Kernel, idp: Idp) -> None:
    """R53: a provider may count both sign-ins as one grant, and would end the new one."""
    session = kernel()
    sign_in_as("ada", session, idp)
    sign_in_as("ada", session, idp)
    asyncio.run(session._engine.sign_in(session._engine.state.tokens, {}))  # type: ignore[arg-type]
    sign_in_as("bob", session, idp)

    assert idp.requests_to("/revoke") == 0


def test_the_old_sign_in_lasts_until_the_new_one_succeeds(kernel: Kernel, idp: Idp) -> None:
    """R53: whoever declines, or gives up, is signed in as before."""
    session = kernel()
    sign_in_as("ada", session, idp)
    token = session.access_token
    flow = AuthFlowManager(session.provider, session_manager=session)
    request = asyncio.run(flow.begin(REDIRECT_URI, prompt="select_account"))
    assert (session.status, session.access_token) == ("authorizing", token)
    with pytest.raises(AuthFlowCancelled):
        asyncio.run(flow.complete({"state": request.state, "error": "access_denied", "iss": idp.issuer}))

    assert (session.status, session.access_token, session.display_name) == ("signed_in", token, "Ada")
    assert idp.requests_to("/revoke") == 0


@pytest.mark.parametrize("knows", [True, False])
def test_a_sign_out_leaves_another_person_signed_in(kernel: Kernel, idp: Idp, knows: bool) -> None:
    """R53: also where this session has not heard of them yet."""
    adas, bobs = kernel(), kernel()
    sign_in_as("ada", adas, idp)
    before = adas._engine.state
    sign_in_as("bob", bobs, idp)
    until(lambda: adas.status == "reauth_required")
    if not knows:
        adas._engine.apply(before)
    result = asyncio.run(adas.logout())

    assert result.store == "deleted"
    assert adas.status == "signed_out"
    run(adas._engine._sync.now(), 5)
    assert (adas.status, bobs.status) == ("signed_out", "signed_in")
    assert kernel().access_token == bobs.access_token
    assert any(idp.refresh_tokens.values()), "Bob's"


def test_a_sign_out_ends_what_the_same_person_began_anew_elsewhere(kernel: Kernel, idp: Idp) -> None:
    """R53: also where this session has heard of another person last."""
    one, other = kernel(), kernel()
    sign_in_as("ada", one, idp)
    sign_in_as("bob", other, idp)
    until(lambda: one.status == "reauth_required")
    heard = one._engine.state
    sign_in_as("ada", other, idp)
    one._engine.apply(heard)
    result = asyncio.run(one.logout())

    assert (result.store, result.refresh_token) == ("deleted", "revoked")
    until(lambda: other.status == "signed_out")
    assert not any(idp.refresh_tokens.values())


def test_a_sign_out_touches_no_record_that_may_be_another_persons(idp: Idp, tmp_path: Path) -> None:
    """R53: another person signed in last, and the record cannot be read now."""
    adas, bobs = (
        SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), FileTokenStore(tmp_path)) for _ in range(2)
    )
    sign_in_as("ada", adas, idp)
    sign_in_as("bob", bobs, idp)
    until(lambda: adas.status == "reauth_required")
    [file] = tmp_path.glob("*.tokens")
    del bobs  # whose session would mend it
    gc.collect()
    file.write_text(damaged := file.read_text()[:-9])
    asyncio.run(adas.logout())

    assert file.read_text() == damaged


def test_after_a_sign_out_here_a_session_is_like_a_new_one(kernel: Kernel, idp: Idp) -> None:
    """R53: the user has ended what was theirs, so the next sign-in is followed, whoever it is."""
    one, other = kernel(), kernel()
    sign_in_as("ada", one, idp)
    asyncio.run(one.logout())
    sign_in_as("bob", other, idp)

    until(lambda: one.display_name == "Bob")
    assert one.access_token == other.access_token


def test_a_sign_out_elsewhere_does_not_hide_the_other_person(kernel: Kernel, idp: Idp) -> None:
    """R53: a cell that goes on running must not go on as somebody else."""
    adas, other = kernel(), kernel()
    sign_in_as("ada", adas, idp)
    until(lambda: other.status == "signed_in")
    asyncio.run(other.logout())
    until(lambda: adas.status == "signed_out")
    sign_in_as("bob", other, idp)

    until(lambda: adas.status == "reauth_required")
    identity_changed(adas)


def test_a_refresh_that_another_person_overtakes(kernel: Kernel, idp: Idp) -> None:
    """R53: what it brings is of the person before: it is revoked, and replaces nothing."""
    adas, bobs = kernel(), kernel()
    sign_in_as("ada", adas, idp)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate, times=1)

    async def go() -> None:
        refreshing = asyncio.ensure_future(adas.refresh())
        await soon(lambda: idp.requests_to("/token") == 2)
        await bobs._engine.sign_in(OAuthTokenSet("CANARY-bob", expires_in=3600), {"sub": "bob"})
        gate.set()
        await asyncio.gather(refreshing, return_exceptions=True)

    asyncio.run(go())
    until(lambda: adas.status == "reauth_required")

    assert bobs.access_token == "CANARY-bob"
    assert kernel().access_token == "CANARY-bob"
    until(lambda: not any(idp.refresh_tokens.values()))


class Plain(OAuthProvider):
    """Plain OAuth, without anything that says who signed in."""

    async def exchange_code(self, code: str, *_: Any, **__: Any) -> Any:
        """Return tokens named after the code."""
        return OAuthTokenSet(f"CANARY-{code}", expires_in=3600)

    async def refresh_tokens(self, refresh_token: str) -> Any:
        """Refuse."""
        del refresh_token
        raise TokenRefreshError(code="invalid_grant")


def plain() -> Plain:
    """A client of such a provider."""
    return Plain(CLIENT, authorize_url="https://plain.example/a", token_url="https://plain.example/t")


def test_people_who_are_not_known_cannot_be_told_apart() -> None:
    """R53: without an identifier the latest sign-in is followed."""
    one, other = SessionManager(plain()), SessionManager(plain())
    for session in (one, other):
        flow = AuthFlowManager(session.provider, session_manager=session)
        request = asyncio.run(flow.begin("https://app.example/cb"))
        asyncio.run(flow.complete({"state": request.state, "code": f"of-{id(session)}"}))

    until(lambda: one.access_token == other.access_token == f"CANARY-of-{id(other)}")


# -- two accounts ---------------------------------------------------------------------------------------------------


def test_a_session_key_is_all_that_a_second_account_needs(kernel: Kernel, idp: Idp) -> None:
    """R53: both stay signed in, whatever is run again."""
    work, home = kernel("work"), kernel("home")
    sign_in_as("ada", work, idp)
    sign_in_as("bob", home, idp)
    again = kernel("work"), kernel("home")

    assert (work.display_name, home.display_name) == ("Ada", "Bob")
    assert [session.access_token for session in again] == [work.access_token, home.access_token]
    assert idp.requests_to("/revoke") == 0


def test_a_second_account_without_a_session_key_says_what_is_missing(kernel: Kernel, idp: Idp) -> None:
    """R53: in one kernel, with the same provider, client, key and store."""
    first, second = kernel(), kernel()
    sign_in_as("ada", first, idp)
    sign_in_as("bob", second, idp)
    until(lambda: first.status == "reauth_required")

    assert first.error is not None
    assert "give each session its own session_key" in first.error.message
    widget = LoginWidget(first)
    assert (widget.status, widget.error_code, widget.name) == ("reauth_required", "identity_changed", "Ada")


# -- asking for another account ---------------------------------------------------------------------------------------


def prompt_of(provider: OAuthProvider, **options: Any) -> str | None:
    """The prompt in the authorize URL of a sign-in that switches the account."""
    sign_ins = SessionManager(provider, MemoryTokenStore())._sign_ins
    return asked(asyncio.run(sign_ins.begin(REDIRECT_URI, **options)).url).get("prompt")


@pytest.mark.parametrize(
    ("offered", "scopes", "prompt"),
    [
        (None, ["openid"], "select_account"),
        ([], ["openid"], "select_account"),
        (["none", "select_account"], ["openid"], "select_account"),
        (["none", "login", "consent"], ["openid"], "login"),
        ("none login", ["openid"], "login"),
        (["login", "consent"], ["openid", "offline_access"], "login consent"),
        (["select_account", "consent"], ["openid", "offline_access"], "select_account consent"),
    ],
)
@pytest.mark.parametrize("options", [{"switches": True}, {"prompt": "select_account"}])
def test_the_provider_is_asked_for_an_account_in_its_words(
    idp: Idp, offered: Any, scopes: list[str], prompt: str, options: dict[str, Any]
) -> None:
    """R55: ``select_account`` unless the metadata leave it out; with consent where a refresh token depends on that."""
    idp.metadata = {} if offered is None else {"prompt_values_supported": offered}
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, scopes=scopes)

    assert prompt_of(provider, **options) == prompt
    assert prompt_of(provider, prompt="login", switches=True) == "login"
    assert prompt_of(provider) in {None, "consent"}


def test_the_usual_consent_is_kept() -> None:
    """R55: Google gives a refresh token only with it; a prompt that was given otherwise is replaced."""
    assert GoogleProvider("me").account_prompt == "select_account consent"
    assert GoogleProvider("me", prompt="login").account_prompt == "select_account"
    assert GitHubProvider("me").account_prompt == "select_account"
    assert plain().account_prompt == "select_account"


def test_another_account_is_not_the_expected_one(idp: Idp) -> None:
    """R55: the configured hint names the account to leave; a hint for this one sign-in stays."""
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, login_hint="ada"))
    sign_ins = session._sign_ins

    def hint(**options: Any) -> str | None:
        return asked(asyncio.run(sign_ins.begin(REDIRECT_URI, **options)).url).get("login_hint")

    assert (hint(), hint(switches=True, login_hint="bob")) == ("ada", "bob")
    assert hint(switches=True) is None
    with sign_ins.adding_params(login_hint="grace"):
        assert hint(switches=True) == "grace"


def test_a_switch_that_is_opened_again_is_still_a_switch(idp: Idp, session: SessionManager) -> None:
    """R55: "Open again" is the plain link; after the switch has ended it asks for nothing."""
    sign_ins = session._sign_ins

    def prompt(**options: Any) -> str | None:
        return asked(asyncio.run(sign_ins.begin(REDIRECT_URI, **options)).url).get("prompt")

    assert [prompt(), prompt(switches=True), prompt()] == [None, "select_account", "select_account"]
    sign_ins.cancel()
    until(lambda: not sign_ins.is_open)
    assert prompt() is None


@pytest.mark.parametrize(
    ("sent", "prompt"),
    [
        ({"prompt": "select_account"}, "select_account"),
        ({}, None),
        ({"prompt": "none"}, None),
        ({"prompt": ["x"]}, None),
    ],
)
def test_a_link_can_ask_for_another_account_and_for_nothing_else(
    session: SessionManager, sent: dict[str, Any], prompt: str | None
) -> None:
    """R55: the member is new: a server that does not send it begins an ordinary sign-in."""
    channel._lead_to(session._sign_ins, "key")
    content = {"protocol": 1, "flow": "key", "redirect_uri": REDIRECT_URI, **sent}
    reply = run(channel._answer("pywry_auth_begin", content), 10)

    assert asked(reply["authorize_url"]).get("prompt") == prompt


@pytest.mark.parametrize(
    ("options", "waits"), [({"prompt": "select_account"}, True), ({"prompt": "none"}, False), ({}, False)]
)
def test_login_with_a_prompt_waits_for_a_new_sign_in(
    session: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], waits: bool
) -> None:
    """R55: ``login(prompt="select_account")`` switches the person; without a prompt the one who is there is enough."""
    sign_in_as("ada", session, idp)
    monkeypatch.setattr(notebook, "has_front_end", lambda: True)
    shown = threading.Event()
    monkeypatch.setattr(session, "_show", shown.set)

    def click() -> None:
        if shown.wait(10) and waits:
            sign_in_as("bob", session, idp)

    clicking = threading.Thread(target=click)
    clicking.start()
    result = session.login(20, **options)  # type: ignore[arg-type]
    clicking.join()

    assert result.user_info is not None
    assert result.user_info["sub"] == ("bob" if waits else "ada")


def test_login_with_a_prompt_that_is_declined(
    session: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R55: the cell says so, and the session is still the one of before."""
    sign_in_as("ada", session, idp)
    monkeypatch.setattr(notebook, "has_front_end", lambda: True)
    flow = AuthFlowManager(session.provider, session_manager=session)

    def decline() -> None:
        until(lambda: session._engine.notifier._waiters)
        request = asyncio.run(flow.begin(REDIRECT_URI))
        with pytest.raises(AuthFlowCancelled):
            asyncio.run(flow.complete({"state": request.state, "error": "access_denied", "iss": idp.issuer}))

    declining = threading.Thread(target=decline)
    monkeypatch.setattr(session, "_show", declining.start)
    with pytest.raises(AuthFlowCancelled):
        session.login(20, prompt="select_account")
    declining.join()

    assert (session.status, session.display_name) == ("signed_in", "Ada")


# -- whose answer it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [plain, lambda: GenericOIDCProvider(CLIENT, authorize_url="https://a.b/a", token_url="https://a.b/t")]
)
@pytest.mark.parametrize("iss", ["https://honest.example", "https://a.b:444/", "http://a.b", "a.b", "https://[", ""])
def test_without_an_issuer_an_answer_of_another_origin_is_refused(make: Callable[[], OAuthProvider], iss: str) -> None:
    """B4: it may be another provider's code (RFC 9207 §2.4), which is sent to no token endpoint."""
    flow = AuthFlowManager(make())
    request = asyncio.run(flow.begin("https://app.example/cb"))
    with pytest.raises(TokenError, match="issuer_url") as caught:
        asyncio.run(flow.complete({"state": request.state, "code": "CANARY", "iss": iss}))

    assert caught.value.code == "issuer_mismatch"
    assert flow.session.status == "signed_out"


def test_without_an_issuer_an_answer_of_its_own_origin_is_taken() -> None:
    """B4: a provider with hand-written endpoints may name itself (Keycloak always does)."""
    provider = GenericOIDCProvider(CLIENT, authorize_url="https://a.b/a", token_url="https://a.b/t")

    provider.check_issuer("https://a.b/realms/main")
    provider.check_issuer(None)
