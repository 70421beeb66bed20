"""What a sign-out does at the provider, and what its result says is left to do."""

from __future__ import annotations

import asyncio
import threading
import webbrowser
from html import unescape
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    GenericOIDCProvider,
    LogoutResult,
    MemoryTokenStore,
    SessionManager,
)
from pywry_auth_nb._sign_in import end_session
from tests.conftest import sign_in
from tests.support.cases import case
from tests.support.idp import CLIENT, Answer, Idp, Request

if TYPE_CHECKING:
    from collections.abc import Callable

SIGN_OUT_PAGE = "/oidc/end"


def log_out(session: SessionManager, **options: bool) -> LogoutResult:
    """Sign out."""
    return asyncio.run(session.logout(**options))


class Family(Idp):
    """Answers 400 to the revocation of a token that is dead, as all access tokens of a dead refresh token are."""

    def be_honest(self) -> None:
        """Forget what a test did."""
        super().be_honest()
        self.alive: dict[str, str] = {}

    def _tokens(self, nonce: str | None) -> dict[str, Any]:
        body = super()._tokens(nonce)
        self.alive |= {body["access_token"]: body["refresh_token"], body["refresh_token"]: ""}
        return body

    def _revoke(self, request: Request) -> tuple[int, Any]:
        token = request.form["token"]
        if token not in self.alive:
            return 400, {"error": "invalid_request"}
        self.alive = {each: parent for each, parent in self.alive.items() if token not in (each, parent)}
        return 200, None


def test_both_tokens_are_revoked_where_one_kills_the_other() -> None:
    """H216: the access token goes first, so that no provider has reason to refuse it."""
    with Family() as idp:
        session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer))
        sign_in(AuthFlowManager(session.provider, session_manager=session), idp)
        result = log_out(session)

        assert (result.access_token, result.refresh_token, idp.alive) == ("revoked", "revoked", {})


def test_a_slow_access_token_does_not_use_up_the_time_of_the_refresh_token(
    signed_in: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that hangs at the first token is still asked to revoke the second, which is worth more."""
    monkeypatch.setattr("pywry_auth_nb.providers.revocation._DEADLINE", 2.0)
    idp.answers["/revoke"] = Answer(gate=threading.Event(), times=1)
    result = log_out(signed_in)

    assert (result.access_token, result.refresh_token) == ("timeout", "revoked")


#: The answer to a revocation; what became of the token of a client without a secret, and of one with a secret.
OUTCOMES: dict[str, tuple[Answer, str, str]] = {
    "H230-201": (Answer({}, 201), "revoked", "revoked"),
    "H230-204": (Answer(b"", 204), "revoked", "revoked"),
    "H231-type": (Answer({"error": "unsupported_token_type"}, 400), "refused", "refused"),
    "H231-unknown-path": (Answer(b"<html>", 404, {"Content-Type": "text/html"}), "refused", "refused"),
    "H231-client": (Answer({"error": "invalid_client"}, 401), "public_client", "refused"),
    "H231-client-400": (Answer({"error": "unauthorized_client"}, 400), "public_client", "refused"),
    "H231-no-body": (Answer(b"", 401), "public_client", "refused"),
    "H231-list": (Answer(["invalid_client"], 403), "refused", "refused"),
    "H218-down": (Answer({}, 503), "provider_unavailable", "provider_unavailable"),
    "H218-too-many": (Answer({}, 429), "provider_unavailable", "provider_unavailable"),
}


def test_the_ways_to_refuse_are_told_apart(idp: Idp) -> None:
    """H230, H231: only a 2xx revokes; what the provider says no to differs from what no public client may do."""
    tokens = SimpleNamespace(access_token="CANARY-t", refresh_token=None)
    public = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
    confidential = GenericOIDCProvider(CLIENT, "CANARY-s", idp.issuer)
    for name, (answer, *expected) in OUTCOMES.items():
        with case(name):
            idp.answers["/revoke"] = answer
            became = [asyncio.run(rp.revoke_tokens(tokens)) for rp in (public, confidential)]  # type: ignore[arg-type]

            assert became == [{"access_token": outcome} for outcome in expected]


class Bool(GenericOIDCProvider):
    """A provider of a user's own, written for the interface of ``pywry.auth``."""

    def __init__(self, *, answer: bool) -> None:
        super().__init__(CLIENT)
        self.answer = answer

    async def revoke_token(self, token: str, token_type_hint: str = "access_token") -> bool:  # noqa: ARG002
        """Say whether it was revoked."""
        return self.answer


def test_a_provider_class_with_its_own_revoke_token() -> None:
    """A sign-out uses a subclass's ``revoke_token``, which returns a bool."""
    tokens = SimpleNamespace(access_token="CANARY-t", refresh_token="CANARY-r")
    for answer, outcome in ((True, "revoked"), (False, "refused")):
        became = asyncio.run(Bool(answer=answer).revoke_tokens(tokens))  # type: ignore[arg-type]

        assert became == {"access_token": outcome, "refresh_token": outcome}


#: A result, words that its text has, and words that it has not.
SAID: list[tuple[LogoutResult, list[str], list[str]]] = [
    (LogoutResult(), ["Signed out here."], ["revoke", "provider"]),
    (LogoutResult("revoked", "revoked"), ["has revoked both tokens"], ["stays valid"]),
    (LogoutResult("refused", "revoked"), ["refused to revoke the refresh token", "stays valid"], ["both"]),
    (LogoutResult("none", "no_endpoint"), ["no way to revoke the access token", "stays valid"], ["refresh token"]),
    (LogoutResult("public_client", "public_client"), ["only clients with a secret", "both tokens"], ["refused"]),
    (LogoutResult("timeout", "network"), ["refresh token failed (timeout)", "access token failed (network)"], []),
    (LogoutResult("unreadable", "unreadable", "store_key"), ["still stored (store_key)", "could not be read"], []),
    (LogoutResult("revoked", "revoked", other_tokens_left=True), ["further tokens", "stays valid"], []),
    (LogoutResult(end_session="no_endpoint"), ["no address for signing out there"], []),
    (LogoutResult(end_session="network"), ["is not known (network)"], []),
    (LogoutResult(end_session="offered", end_session_url="https://op.example/out"), ["https://op.example/out"], []),
]


def test_a_result_says_what_is_left_to_do() -> None:
    """``str`` and ``repr`` of a ``LogoutResult`` are sentences, and name the tokens that are still valid."""
    for result, has, has_not in SAID:
        with case(str(result)):
            assert all(words in str(result) for words in has)
            assert not any(words in str(result) for words in has_not)
            assert result.complete is (not any(words in str(result) for words in ("still", "stays valid")))
            assert repr(result) == f"<LogoutResult: {result}>"


# -- signing out at the provider, too -----------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the default browser is asked to open."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))  # type: ignore[func-returns-value]
    return opened


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What is displayed in a notebook, in which this then is."""
    displayed: list[dict[str, str]] = []
    monkeypatch.setattr(end_session, "current_kernel", SimpleNamespace)
    monkeypatch.setattr(end_session, "has_front_end", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda data, **_: displayed.append(data))
    return displayed


@pytest.fixture
def leaving(idp: Idp) -> SessionManager:
    """A session in which Ada is signed in, at a provider with a page for signing out."""
    idp.metadata["end_session_endpoint"] = f"{idp.issuer}{SIGN_OUT_PAGE}?ui=plain&client_id=other"
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), MemoryTokenStore())
    sign_in(AuthFlowManager(session.provider, session_manager=session), idp)
    return session


def test_logout_everywhere_opens_the_provider_s_page(leaving: SessionManager, idp: Idp, opened: list[str]) -> None:
    """H232: the page learns which client it is, and keeps its own query; it is told no token."""
    result = log_out(leaving, everywhere=True)
    parts = urlsplit(result.end_session_url)

    assert opened == [result.end_session_url]
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{idp.issuer}{SIGN_OUT_PAGE}"
    assert parse_qsl(parts.query) == [("ui", "plain"), ("client_id", CLIENT)]
    assert (result.end_session, result.complete, leaving.status) == ("offered", True, "signed_out")


def test_logout_alone_opens_nothing(leaving: SessionManager, opened: list[str]) -> None:
    """Other applications keep their sign-in unless the user asks."""
    result = log_out(leaving)

    assert (result.end_session, result.end_session_url, opened) == ("none", "", [])


def test_without_a_browser_the_address_is_printed(
    leaving: SessionManager, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a terminal on a machine without a browser, the user can copy it."""
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    result = log_out(leaving, everywhere=True)

    assert result.end_session_url in capfd.readouterr().out


def test_a_notebook_shows_a_link(
    leaving: SessionManager, idp: Idp, displayed: list[dict[str, str]], opened: list[str]
) -> None:
    """H232: a kernel opens no browser, which would be that of a server; the link tells the page nothing of this one."""
    leaving.provider.end_session_url = f"{idp.issuer}/end?a=1&b='2'"
    result = log_out(leaving, everywhere=True)
    (data,) = displayed

    assert f'href="{result.end_session_url}"' in unescape(data["text/html"])
    assert 'target="_blank" rel="noopener noreferrer"' in data["text/html"]
    assert result.end_session_url in data["text/plain"]
    assert opened == []


def test_a_batch_run_shows_nothing(
    leaving: SessionManager, displayed: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no user looks, the result alone has the address."""
    monkeypatch.setattr(end_session, "has_front_end", lambda: False)

    assert log_out(leaving, everywhere=True).end_session_url
    assert displayed == []


def no_endpoint(idp: Idp) -> None:
    """Say nothing of a page for signing out."""


def insecure(idp: Idp) -> None:
    """Name a page that would be opened over plain http."""
    idp.metadata["end_session_endpoint"] = "http://login.example.org/end"


def script(idp: Idp) -> None:
    """Name something that is no page."""
    idp.metadata["end_session_endpoint"] = "javascript:alert(1)//x"


def malformed(idp: Idp) -> None:
    """Name no text."""
    idp.metadata["end_session_endpoint"] = ["https://op.example/end"]


def down(idp: Idp) -> None:
    """Do not answer."""
    idp.answers["/.well-known/openid-configuration"] = Answer({}, 500)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (no_endpoint, "no_endpoint"),
        (malformed, "no_endpoint"),
        (insecure, "no_endpoint"),
        (script, "no_endpoint"),
        (down, "discovery_failed"),
    ],
)
def test_a_provider_without_a_usable_page(how: Callable[[Idp], None], said: str, idp: Idp, opened: list[str]) -> None:
    """H232: the result says so, nothing is opened, and no such page stops a sign-in or a sign-out."""
    how(idp)
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer))
    if how is not down:
        sign_in(AuthFlowManager(session.provider, session_manager=session), idp)
    result = log_out(session, everywhere=True)

    assert (result.end_session, result.end_session_url, opened) == (said, "", [])
    assert result.complete


def test_a_configured_page_needs_no_discovery(idp: Idp, opened: list[str]) -> None:
    """``end_session_url`` is used as it is, also with what else a provider wants, while the provider is down."""
    down(idp)
    url = "https://login.example.org/logout?logout_uri=https%3A%2F%2Fapp.example.org"
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, end_session_url=url))

    assert log_out(session, everywhere=True).end_session_url == f"{url}&client_id={CLIENT}"


def test_looking_for_the_page_has_a_deadline(idp: Idp, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose metadata never come does not hold a sign-out up."""
    monkeypatch.setattr(end_session, "_DISCOVERY_DEADLINE", 0.2)
    idp.answers["/.well-known/openid-configuration"] = Answer(gate=threading.Event())
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer))

    assert log_out(session, everywhere=True).end_session == "timeout"
