"""`AuthFlowManager`: what we ask the provider for, and which of its answers we believe."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowManager,
    AuthFlowState,
    AuthFlowTimeout,
    ConfigurationError,
    GenericOIDCProvider,
    LoginRequired,
    MemoryTokenStore,
    SessionManager,
    TokenError,
)
from tests.conftest import REDIRECT_URI, sign_in
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.stores import GatedStore
from tests.support.waiting import soon, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pywry_auth_nb import AuthFlowResult
    from pywry_auth_nb._sign_in.authorization import AuthorizationRequest
    from pywry_auth_nb.token_store import Record

FOREIGN = "Mallory <b>says</b>: call 555-0100"  # a text that only a provider could have chosen


def begin(flow: AuthFlowManager, redirect_uri: str = REDIRECT_URI) -> AuthorizationRequest:
    """Open a sign-in, from an event loop of its own."""
    return asyncio.run(flow.begin(redirect_uri))


def complete(flow: AuthFlowManager, params: Mapping[str, str]) -> AuthFlowResult:
    """Answer a sign-in, from an event loop of its own."""
    return asyncio.run(flow.complete(params))


def refused(flow: AuthFlowManager, params: Mapping[str, str]) -> AuthenticationError:
    """Answer a sign-in in a way that must fail, and return the error."""
    with pytest.raises(AuthenticationError) as caught:
        complete(flow, params)
    return caught.value


def query(request: AuthorizationRequest) -> dict[str, str]:
    """What an authorize URL asks for."""
    return dict(parse_qsl(urlsplit(request.url).query))


def revoked(idp: Idp) -> list[str]:
    """Which kinds of token were revoked, in order."""
    return [request.form["token_type_hint"] for request in idp.requests if request.path == "/revoke"]


# -- what we ask for --------------------------------------------------------------------------------------------


def test_the_authorize_url_has_each_parameter_once(flow: AuthFlowManager, idp: Idp) -> None:
    """H001: everything that an authorization code request with PKCE needs, and nothing twice."""
    request = begin(flow)
    asked = parse_qsl(urlsplit(request.url).query)
    secret = {"nonce", "code_challenge"}

    assert request.url.startswith(f"{idp.issuer}/authorize?")
    assert sorted(pair for pair in asked if pair[0] not in secret) == [
        ("client_id", CLIENT),
        ("code_challenge_method", "S256"),
        ("redirect_uri", REDIRECT_URI),
        ("response_type", "code"),
        ("scope", "openid email profile"),
        ("state", request.state),
    ]
    assert sorted(name for name, _ in asked if name in secret) == sorted(secret)


def test_every_sign_in_has_secrets_of_its_own(flow: AuthFlowManager) -> None:
    """H003: state, nonce and verifier are never reused, not derived from one another, and 256 bits long."""
    seen: set[str] = set()
    for _ in range(100):
        asked = query(begin(flow))
        pending = flow._sign_ins._pending[asked["state"]]
        assert pending.verifier is not None
        seen |= {asked["state"], asked["nonce"], asked["code_challenge"], str(pending.verifier)}

    assert len(seen) == 400
    assert min(len(secret) for secret in seen) >= 43


def test_the_verifier_stays_here(flow: AuthFlowManager) -> None:
    """T04: what the browser is told holds the challenge and not the verifier."""
    request = begin(flow)
    verifier = flow._sign_ins._pending[request.state].verifier

    assert verifier is not None
    assert str(verifier) not in request.url + request.state


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://hub.example.org/hub/user-redirect/pywry-auth/callback",
        "https://hub.example.org:8443/user/ada%40example.org/lab/pywry-auth/callback?x=1&y=%20z",
        "http://localhost:8888/pywry-auth/callback",
        "http://[::1]:8888/pywry-auth/callback",
        "http://127.0.0.2/pywry-auth/callback",
    ],
)
def test_the_redirect_uri_is_sent_to_the_letter(flow: AuthFlowManager, idp: Idp, redirect_uri: str) -> None:
    """RFC 6749 §4.1.3: the authorize URL and the code exchange carry the very same redirect URI."""
    request = begin(flow, redirect_uri)
    complete(flow, idp.authorize(request.url))

    assert query(request)["redirect_uri"] == redirect_uri
    assert idp.last("/token").form["redirect_uri"] == redirect_uri


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://jupyter.example.org/pywry-auth/callback",
        "http://192.168.1.7:8888/pywry-auth/callback",
        "http://localhost.example.org/pywry-auth/callback",
        "http://127.0.0.1.example.org/pywry-auth/callback",
        "ftp://localhost/pywry-auth/callback",
        "javascript:alert(1)",
        "//localhost/pywry-auth/callback",
        "/pywry-auth/callback",
        "http://[::1/pywry-auth/callback",
        "",
    ],
)
def test_a_code_never_travels_in_the_clear(flow: AuthFlowManager, idp: Idp, redirect_uri: str) -> None:
    """RFC 9700 §2.1: a redirect URI is https or loopback; another is refused before anything happens."""
    with pytest.raises(AuthenticationError) as caught:
        begin(flow, redirect_uri)

    assert caught.value.code == "insecure_redirect_uri"
    assert (idp.requests, flow.session.status, flow.flow_state) == ([], "signed_out", AuthFlowState.FAILED)
    assert flow.session.error is caught.value


def test_a_nonce_is_for_openid_alone(idp: Idp) -> None:
    """Without the scope ``openid`` no ID token comes that could repeat a nonce, so none is sent."""
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, scopes=["email"], require_id_token_validation=False)
    flow = AuthFlowManager(provider)
    request = begin(flow)

    assert "nonce" not in query(request)
    assert complete(flow, idp.authorize(request.url)).success


def test_pkce_can_be_left_out(provider: GenericOIDCProvider) -> None:
    """``use_pkce=False`` is for a provider that refuses the parameters: then none of them is sent."""
    provider.client_secret = "CANARY-secret"
    asked = query(begin(AuthFlowManager(provider, use_pkce=False)))

    assert not {name for name in asked if name.startswith("code_challenge")}


def test_an_open_sign_in_shows(flow: AuthFlowManager) -> None:
    """From the click on, the session's status is ``authorizing``."""
    assert flow.flow_state is AuthFlowState.PENDING
    begin(flow)

    assert flow.flow_state is AuthFlowState.IN_PROGRESS
    assert flow.session.status == "authorizing"


@pytest.mark.parametrize(
    ("answer", "code"),
    [(Answer({}, status=503), "discovery_failed"), (Answer(b"<html>", 200), "bad_response")],
)
def test_a_provider_that_is_down_opens_nothing(flow: AuthFlowManager, idp: Idp, answer: Answer, code: str) -> None:
    """Where the provider cannot be asked, beginning fails with a type, and works when the provider is back."""
    idp.answers["/.well-known/openid-configuration"] = answer
    with pytest.raises(TokenError) as caught:
        begin(flow)

    assert caught.value.code == code
    assert (flow.session.status, flow.flow_state) == ("signed_out", AuthFlowState.FAILED)
    assert flow.session.error is caught.value, "the widget says what went wrong"
    idp.answers.clear()
    sign_in(flow, idp)
    assert (flow.session.status, flow.session.error) == ("signed_in", None)


def test_a_provider_that_cannot_be_trusted_any_more_keeps_the_session(flow: AuthFlowManager, idp: Idp) -> None:
    """A session that is signed in stays so when a new sign-in cannot begin."""
    sign_in(flow, idp)
    token = flow.session.access_token
    idp.metadata = {"issuer": "https://evil.example"}
    flow.provider._metadata._kept_at = float("-inf")  # type: ignore[attr-defined] - an hour later
    with pytest.raises(TokenError):
        begin(flow)

    assert (flow.session.status, flow.session.access_token) == ("signed_in", token)


def test_a_known_provider_may_be_down_for_discovery(flow: AuthFlowManager, idp: Idp) -> None:
    """What was discovered an hour ago is used on while the provider does not repeat it."""
    sign_in(flow, idp)
    idp.answers["/.well-known/openid-configuration"] = Answer({}, status=503)
    flow.provider._metadata._kept_at = float("-inf")  # type: ignore[attr-defined]
    sign_in(flow, idp)

    assert flow.session.status == "signed_in"


def test_a_provider_that_does_not_listen_opens_nothing() -> None:
    """A refused connection is typed too."""
    flow = AuthFlowManager(GenericOIDCProvider(CLIENT, issuer_url="http://127.0.0.1:1"))
    with pytest.raises(TokenError) as caught:
        begin(flow)

    assert caught.value.code == "connection_refused"
    assert flow.session.status == "signed_out"


# -- an answer that is good -------------------------------------------------------------------------------------


def test_a_good_answer_signs_in(flow: AuthFlowManager, idp: Idp) -> None:
    """The code becomes tokens, the tokens a session."""
    result = complete(flow, idp.authorize(begin(flow).url))

    assert result.success
    assert result.error is None
    assert result.tokens is flow.session._engine.state.tokens
    assert result.user_info == flow.session.user
    assert (flow.session.status, flow.session.display_name) == ("signed_in", "Ada Lovelace")
    assert flow.flow_state is AuthFlowState.COMPLETED


def test_the_exchange_proves_who_began(flow: AuthFlowManager, idp: Idp) -> None:
    """RFC 6749 §4.1.3, RFC 7636 §4.5: the token request has the code, the redirect URI and the verifier."""
    request = begin(flow)
    verifier = flow._sign_ins._pending[request.state].verifier
    params = idp.authorize(request.url)
    complete(flow, params)

    assert idp.last("/token").form == {
        "grant_type": "authorization_code",
        "code": params["code"],
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
        "client_id": CLIENT,
    }


def test_a_manager_without_a_session_makes_one(provider: GenericOIDCProvider, idp: Idp) -> None:
    """With a store alone, the tokens end up in it."""
    store = MemoryTokenStore()
    manager = AuthFlowManager(provider, store)
    sign_in(manager, idp)

    assert asyncio.run(store.list_keys()) == [manager.session.store_key]


def test_unknown_parameters_are_ignored(flow: AuthFlowManager, idp: Idp) -> None:
    """H030: providers add ``session_state`` and the like (RFC 6749 §4.1.2)."""
    params = idp.authorize(begin(flow).url, session_state="x", hd="example.org", scope="openid", error_uri="y")

    assert complete(flow, params).success


# -- an answer to nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"code": "c", "state": "guessed"},
        {"code": "c", "state": ""},
        {"code": "c"},
        {"error": "access_denied", "state": "guessed"},
        {"error": "access_denied"},
        {"error": "access_denied", "state": "guessed", "iss": "https://evil.example"},
        {},
    ],
)
def test_an_unknown_state_changes_nothing(flow: AuthFlowManager, idp: Idp, params: dict[str, str]) -> None:
    """B11, H012, H013, H020: an answer without the right state can neither finish a sign-in nor end one."""
    request = begin(flow)
    before = len(idp.requests)
    error = refused(flow, params)

    assert error.code == "unknown_flow"
    assert len(idp.requests) == before
    assert (flow.session.status, flow.session.error, flow.flow_state) == (
        "authorizing",
        None,
        AuthFlowState.IN_PROGRESS,
    )
    assert complete(flow, idp.authorize(request.url)).success


def test_an_answer_is_good_once(flow: AuthFlowManager, idp: Idp) -> None:
    """H014: a reload of the callback page is told so; it asks for no second token and changes nothing."""
    params = idp.authorize(begin(flow).url)
    complete(flow, params)
    token = flow.session.access_token
    error = refused(flow, params)

    assert error.code == "already_used"
    assert idp.requests_to("/token") == 1
    assert (flow.session.status, flow.session.error, flow.session.access_token) == ("signed_in", None, token)
    assert flow.flow_state is AuthFlowState.COMPLETED


def test_the_same_answer_twice_at_once_is_good_once(flow: AuthFlowManager, idp: Idp) -> None:
    """H014: two callbacks that race cause one token request."""
    params = idp.authorize(begin(flow).url)
    idp.delay = 0.1

    async def both() -> list[object]:
        return list(await asyncio.gather(flow.complete(params), flow.complete(params), return_exceptions=True))

    first, second = asyncio.run(both())

    assert not isinstance(first, BaseException)
    assert isinstance(second, AuthenticationError)
    assert second.code == "already_used"
    assert idp.requests_to("/token") == 1


def test_a_used_state_answers_no_second_code(flow: AuthFlowManager, idp: Idp) -> None:
    """H014: the state is used up, whatever code comes with it."""
    request = begin(flow)
    complete(flow, idp.authorize(request.url))

    assert refused(flow, idp.authorize(request.url)).code == "already_used"
    assert idp.requests_to("/token") == 1


# -- an answer that is not good ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "https://evil.example",
        lambda iss: iss + "/",
        lambda iss: iss.replace("http:", "HTTP:"),
        lambda iss: iss.rpartition(":")[0],
        lambda _: "",
    ],
    ids=["another", "slash", "case", "port", "empty"],
)
@pytest.mark.parametrize("outcome", ["success", "error"])
def test_an_answer_of_another_issuer_is_refused(
    flow: AuthFlowManager, idp: Idp, change: Callable[[str], str], outcome: str
) -> None:
    """B4, H022, H025: a simple string comparison, also when the answer is an error (RFC 9207 §2.4)."""
    params = idp.authorize(begin(flow).url, iss=change(idp.issuer))
    if outcome == "error":
        params = {"error": "access_denied", "state": params["state"], "iss": params["iss"]}
    error = refused(flow, params)

    assert error.code == "issuer_mismatch"
    assert not isinstance(error, AuthFlowCancelled)
    assert idp.requests_to("/token") == 0
    assert (flow.session.status, flow.flow_state) == ("signed_out", AuthFlowState.FAILED)


@pytest.mark.parametrize("outcome", ["success", "error"])
def test_a_promised_issuer_must_come(flow: AuthFlowManager, idp: Idp, outcome: str) -> None:
    """H023: the provider said that it sends ``iss``, so an answer without it is not its own."""
    params = idp.authorize(begin(flow).url, iss=None)
    if outcome == "error":
        params = {"error": "access_denied", "state": params["state"]}

    assert refused(flow, params).code == "issuer_missing"
    assert idp.requests_to("/token") == 0


def test_an_issuer_that_was_not_promised_may_be_missing(flow: AuthFlowManager, idp: Idp) -> None:
    """Most providers do not know RFC 9207 yet."""
    idp.metadata = {"authorization_response_iss_parameter_supported": False}

    assert complete(flow, idp.authorize(begin(flow).url, iss=None)).success


def test_an_issuer_that_was_not_promised_must_still_match(flow: AuthFlowManager, idp: Idp) -> None:
    """H024: what is there is checked."""
    idp.metadata = {"authorization_response_iss_parameter_supported": False}

    assert refused(flow, idp.authorize(begin(flow).url, iss="https://evil.example")).code == "issuer_mismatch"


@pytest.mark.parametrize("declined", ["access_denied", "consent_required"])
def test_declining_is_a_cancellation(flow: AuthFlowManager, idp: Idp, declined: str) -> None:
    """B15, H019: the user declined at the provider; that sign-in has ended, and nothing was exchanged."""
    params = {"error": declined, "state": begin(flow).state, "iss": idp.issuer}
    error = refused(flow, params)

    assert isinstance(error, AuthFlowCancelled)
    assert (error.code, error.description) == (declined, "")
    assert idp.requests_to("/token") == 0
    assert (flow.session.status, flow.session.error, flow.flow_state) == ("signed_out", error, AuthFlowState.CANCELLED)
    assert refused(flow, params).code == "already_used"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("invalid_scope", "invalid_scope"),
        ("unauthorized_client", "unauthorized_client"),
        ("invalid_request", "invalid_request"),
        ("server_error", "server_error"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("unsupported_response_type", "provider_error"),
        ("login_required", "login_required"),
        ("interaction_required", "interaction_required"),
        ("account_selection_required", "account_selection_required"),
        ("invalid_grant", "provider_error"),
        ("ACCESS_DENIED", "provider_error"),
        (FOREIGN, "provider_error"),
        ("a\r\nb\x00\u202e", "provider_error"),
        ("x" * 100_000, "provider_error"),
    ],
)
def test_the_provider_s_words_are_not_ours(flow: AuthFlowManager, idp: Idp, error: str, code: str) -> None:
    """H021, H309: an error is mapped to a sentence and a code of ours; the provider's own words stand beside them."""
    answer = {"error": error, "error_description": FOREIGN, "error_uri": f"https://evil.example/{FOREIGN}"}
    caught = refused(flow, {**answer, "state": begin(flow).state, "iss": idp.issuer})

    assert (caught.code, caught.description) == (code, FOREIGN)
    assert len(str(caught)) < 200
    assert not any(word in f"{caught} {caught!r} {caught.context}" for word in ("Mallory", "555", "evil", "\r", "xxx"))
    assert (flow.session.status, flow.session.error, flow.flow_state) == ("signed_out", caught, AuthFlowState.FAILED)


def test_a_provider_that_may_not_ask_says_what_to_do(flow: AuthFlowManager, idp: Idp) -> None:
    """H019: ``login_required`` of a provider is not that of a session: there is no cell to run again."""
    caught = refused(flow, {"error": "login_required", "state": begin(flow).state, "iss": idp.issuer})

    assert not isinstance(caught, LoginRequired)
    assert "prompt=none" in caught.message
    assert "session.login()" not in caught.message


def test_an_empty_error_is_no_error(flow: AuthFlowManager, idp: Idp) -> None:
    """H018: some providers send every parameter that they know, also the empty ones."""
    assert complete(flow, idp.authorize(begin(flow).url, error="", error_description="")).success


@pytest.mark.parametrize(
    "override",
    [
        {"error": "access_denied"},
        {"error": "", "code": ""},
        {"response": "a.jarm.jwt"},
        {"access_token": "at"},
        {"id_token": "a.b.c"},
        {"code": ""},
        {"code": None},
        {"code": "x" * 8193},
    ],
    ids=[
        "code and error",
        "neither",
        "JARM",
        "implicit access token",
        "hybrid ID token",
        "empty code",
        "no code",
        "huge code",
    ],
)
def test_a_malformed_answer_is_refused(flow: AuthFlowManager, idp: Idp, override: dict[str, str | None]) -> None:
    """H018, H026 to H029: an answer of the wrong form, or that says two things at once, is never exchanged."""
    error = refused(flow, idp.authorize(begin(flow).url, **override))

    assert isinstance(error, TokenError)
    assert error.code == "invalid_response"
    assert idp.requests_to("/token") == 0
    assert (flow.session.status, flow.flow_state) == ("signed_out", AuthFlowState.FAILED)


def test_a_code_for_another_challenge_is_worth_nothing(flow: AuthFlowManager, idp: Idp) -> None:
    """T04: a stolen code that is put into our callback was bound to another sign-in's verifier."""
    victim = query(begin(flow))
    stolen = idp.authorize(begin(flow).url)["code"]
    error = refused(flow, {"code": stolen, "state": victim["state"], "iss": idp.issuer})

    assert isinstance(error, TokenError)
    assert error.code == "invalid_grant"
    assert flow.session._engine.state.tokens is None
    assert asyncio.run(flow.session.token_store.list_keys()) == []


def test_an_id_token_for_another_sign_in_is_refused(flow: AuthFlowManager, idp: Idp) -> None:
    """B2, T04: the nonce ties the tokens to this very sign-in, and without that none of them is kept."""
    idp.claims = {"nonce": "another"}
    error = refused(flow, idp.authorize(begin(flow).url))

    assert isinstance(error, TokenError)
    assert flow.session._engine.state.tokens is None
    assert asyncio.run(flow.session.token_store.list_keys()) == []
    assert flow.session.status == "signed_out"


def test_a_code_is_exchanged_once(flow: AuthFlowManager, idp: Idp) -> None:
    """R20: a code is good for one try, so an exchange that fails is not repeated."""
    idp.answers["/token"] = Answer({"error": "temporarily_unavailable"}, status=503)
    error = refused(flow, idp.authorize(begin(flow).url))

    assert error.code == "provider_unavailable"
    assert idp.requests_to("/token") == 1
    assert flow.flow_state is AuthFlowState.FAILED


def test_after_a_failure_one_can_try_again(flow: AuthFlowManager, idp: Idp) -> None:
    """A new sign-in clears the error of the last one at once."""
    refused(flow, {"error": "server_error", "state": begin(flow).state, "iss": idp.issuer})
    request = begin(flow)
    assert (flow.session.status, flow.session.error) == ("authorizing", None)
    complete(flow, idp.authorize(request.url))

    assert (flow.session.status, flow.session.error) == ("signed_in", None)
    assert flow.flow_state is AuthFlowState.COMPLETED


def test_a_failed_sign_in_keeps_the_session(flow: AuthFlowManager, idp: Idp) -> None:
    """A session that is signed in stays so when another attempt fails, and shows its error."""
    sign_in(flow, idp)
    token = flow.session.access_token
    request = begin(flow)
    assert flow.session.status == "authorizing"
    assert flow.session.access_token == token, "usable while the user is at the provider"
    error = refused(flow, {"error": "access_denied", "state": request.state, "iss": idp.issuer})

    assert (flow.session.status, flow.session.error) == ("signed_in", error)
    assert flow.session.access_token == token
    assert flow.session.display_name == "Ada Lovelace"
    assert revoked(idp) == []


# -- several at once --------------------------------------------------------------------------------------------


def test_the_ninth_tab_makes_the_oldest_give_way(flow: AuthFlowManager, idp: Idp) -> None:
    """B15, T23: eight sign-ins may be open; one more ends the first, and the others stay good."""
    requests = [begin(flow) for _ in range(9)]

    assert len(flow._sign_ins._pending) == 8
    refused(flow, idp.authorize(requests[0].url))
    assert idp.requests_to("/token") == 0
    assert flow.session.status == "authorizing"
    assert complete(flow, idp.authorize(requests[1].url)).success


def test_a_thousand_clicks_cost_nothing(flow: AuthFlowManager) -> None:
    """T23: what is remembered does not grow with the number of clicks."""

    async def click() -> None:
        for _ in range(1000):
            await flow.begin(REDIRECT_URI)

    asyncio.run(click())

    assert len(flow._sign_ins._pending) + len(flow._sign_ins._used) <= 50


def test_a_success_ends_the_other_open_ones(flow: AuthFlowManager, idp: Idp) -> None:
    """The first tab to succeed wins; what another one brings later is not even exchanged."""
    slow, quick = begin(flow), begin(flow)
    complete(flow, idp.authorize(quick.url))
    token = flow.session.access_token
    error = refused(flow, idp.authorize(slow.url))

    assert error.code == "already_used"
    assert idp.requests_to("/token") == 1
    assert (flow.session.status, flow.session.error, flow.session.access_token) == ("signed_in", None, token)


def test_two_answers_at_once_make_one_session(flow: AuthFlowManager, idp: Idp) -> None:
    """The first exchange to succeed ends the other that is under way: its tokens are dropped, not put in place.

    They are not revoked: many providers would end the session's own with them.
    """
    first, second = begin(flow), begin(flow)
    answers = [idp.authorize(first.url), idp.authorize(second.url)]
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)

    async def both() -> list[Any]:
        exchanging = [asyncio.ensure_future(flow.complete(params)) for params in answers]
        await soon(lambda: idp.requests_to("/token") == 2)
        gate.set()
        return list(await asyncio.gather(*exchanging, return_exceptions=True))

    won, lost = sorted(asyncio.run(both()), key=lambda result: isinstance(result, BaseException))

    assert flow.session._engine.state.tokens is won.tokens
    assert isinstance(lost, AuthFlowCancelled)
    assert revoked(idp) == []
    assert (flow.session.status, flow.session.error, flow.flow_state) == ("signed_in", None, AuthFlowState.COMPLETED)


def test_a_failure_does_not_end_an_exchange_under_way(flow: AuthFlowManager, idp: Idp) -> None:
    """While one answer is being exchanged, declining in another tab leaves the status at ``authorizing``."""
    good, bad = begin(flow), begin(flow)
    params = idp.authorize(good.url)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    seen: list[str] = []

    async def both() -> None:
        exchanging = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: idp.requests_to("/token"))
        with pytest.raises(AuthFlowCancelled):
            await flow.complete({"error": "access_denied", "state": bad.state, "iss": idp.issuer})
        seen.append(flow.session.status)
        gate.set()
        await exchanging

    asyncio.run(both())

    assert seen == ["authorizing"]
    assert (flow.session.status, flow.session.error) == ("signed_in", None)


def test_swapped_answers_reach_their_own_session(provider: GenericOIDCProvider, idp: Idp) -> None:
    """H033: two sessions sign in at once and are answered in the other order; each gets its own tokens."""
    sessions = [SessionManager(provider, session_key=key) for key in ("one", "other")]
    flows = [AuthFlowManager(provider, session_manager=session) for session in sessions]
    answers = [idp.authorize(begin(flow).url) for flow in flows]
    nonces = [flow._sign_ins._pending[answer["state"]].nonce for flow, answer in zip(flows, answers, strict=True)]
    for flow, answer in reversed(list(zip(flows, answers, strict=True))):
        complete(flow, answer)

    for flow, nonce in zip(flows, nonces, strict=True):
        tokens = flow.session._engine.state.tokens
        assert tokens is not None
        assert provider._id_claims(tokens)["nonce"] == nonce
    assert flows[0].session.access_token != flows[1].session.access_token


def test_an_answer_to_another_session_is_refused(provider: GenericOIDCProvider, idp: Idp) -> None:
    """H015: a session takes no answer that was meant for another, and the other can still have it."""
    mine, theirs = AuthFlowManager(provider), AuthFlowManager(provider)
    begin(mine)
    params = idp.authorize(begin(theirs).url)

    assert refused(mine, params).code == "unknown_flow"
    assert mine.session.status == "authorizing"
    assert complete(theirs, params).success


# -- giving up --------------------------------------------------------------------------------------------------


def test_cancelling_ends_the_open_ones(flow: AuthFlowManager, idp: Idp) -> None:
    """After a cancellation an answer that still comes is refused and not exchanged."""
    requests = [begin(flow), begin(flow)]
    flow.cancel()
    until(lambda: flow.session.status == "signed_out")

    assert flow.flow_state is AuthFlowState.CANCELLED
    assert flow.session.error is not None
    assert flow.session.error.code == "flow_cancelled"
    for request in requests:
        refused(flow, idp.authorize(request.url))
    assert idp.requests_to("/token") == 0
    assert flow.session.status == "signed_out"


def test_cancelling_nothing_does_nothing(flow: AuthFlowManager, idp: Idp) -> None:
    """Where no sign-in is open there is nothing to cancel: not before the first, and not after a success."""
    flow.cancel()
    sign_in(flow, idp)
    flow.cancel()
    asyncio.run(flow.session.get_access_token())  # by then the loop has heard of it

    assert (flow.session.status, flow.session.error, flow.flow_state) == ("signed_in", None, AuthFlowState.COMPLETED)


def test_tokens_that_arrive_after_a_cancellation_are_revoked(flow: AuthFlowManager, idp: Idp) -> None:
    """The tokens of an exchange that was under way are revoked, and the session stays signed out."""
    params = idp.authorize(begin(flow).url)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)

    async def go() -> None:
        exchanging = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: idp.requests_to("/token"))
        flow.cancel()
        await soon(lambda: flow.flow_state is AuthFlowState.CANCELLED)
        gate.set()
        with pytest.raises(AuthFlowCancelled) as caught:
            await exchanging
        assert caught.value.code == "flow_cancelled"

    asyncio.run(go())

    assert revoked(idp) == ["access_token", "refresh_token"]
    assert (flow.session.status, flow.flow_state) == ("signed_out", AuthFlowState.CANCELLED)
    assert asyncio.run(flow.session.token_store.list_keys()) == []


def test_a_failure_after_a_cancellation_changes_nothing_more(flow: AuthFlowManager, idp: Idp) -> None:
    """The exchange was under way and fails: the person gave up already, and that is what is shown."""
    params = idp.authorize(begin(flow).url)
    gate = threading.Event()
    idp.answers["/token"] = Answer({"error": "invalid_client"}, status=401, gate=gate)

    async def go() -> None:
        exchanging = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: idp.requests_to("/token"))
        flow.cancel()
        await soon(lambda: flow.flow_state is AuthFlowState.CANCELLED)
        gate.set()
        with pytest.raises(TokenError):
            await exchanging

    asyncio.run(go())

    assert flow.session.error is not None
    assert flow.session.error.code == "flow_cancelled"
    assert flow.flow_state is AuthFlowState.CANCELLED


def test_a_cancelled_exchange_does_not_disturb_the_next_sign_in(flow: AuthFlowManager, idp: Idp) -> None:
    """Cancel, begin anew and succeed, while the first exchange is still under way."""
    params = idp.authorize(begin(flow).url)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate, times=1)

    async def go() -> None:
        exchanging = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: idp.requests_to("/token"))
        flow.cancel()
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(idp.authorize(request.url))
        gate.set()
        with pytest.raises(AuthFlowCancelled):
            await exchanging

    asyncio.run(go())

    assert (flow.session.status, flow.session.error, flow.flow_state) == ("signed_in", None, AuthFlowState.COMPLETED)
    assert revoked(idp) == []


def test_tokens_of_another_user_that_come_too_late_are_revoked(flow: AuthFlowManager, idp: Idp) -> None:
    """They are no part of what the session's own user consented to."""
    params = idp.authorize(begin(flow).url)
    gate = threading.Event()
    idp.claims, idp.answers["/userinfo"] = {"sub": "eve"}, Answer(status=404)
    idp.answers["/token"] = Answer(gate=gate, times=1)

    async def go() -> None:
        exchanging = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: idp.requests_to("/token"))
        flow.cancel()
        await soon(lambda: flow.flow_state is AuthFlowState.CANCELLED)
        idp.claims = {}
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(idp.authorize(request.url))
        gate.set()
        with pytest.raises(AuthFlowCancelled):
            await exchanging

    asyncio.run(go())

    assert (flow.session.user or {})["sub"] == "ada"
    assert sorted(revoked(idp)) == ["access_token", "refresh_token"]
    assert flow.session.access_token not in {request.form.get("token") for request in idp.requests}


def test_signing_out_voids_an_exchange_under_way(flow: AuthFlowManager, idp: Idp) -> None:
    """B10, T33: a sign-out while an answer is being exchanged wins; the tokens that come are revoked."""
    params = idp.authorize(begin(flow).url)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)

    async def go() -> None:
        exchanging = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: idp.requests_to("/token"))
        await flow.session.logout()
        gate.set()
        with pytest.raises(AuthFlowCancelled):
            await exchanging

    asyncio.run(go())

    assert flow.session.status == "signed_out"
    assert revoked(idp) == ["access_token", "refresh_token"]


def test_signing_out_gives_up_what_is_open(flow: AuthFlowManager, idp: Idp) -> None:
    """T33: signing out ends the status ``authorizing``, and a late answer is refused."""
    params = idp.authorize(begin(flow).url)
    asyncio.run(flow.session.logout())

    assert flow.session.status == "signed_out"
    assert isinstance(refused(flow, params), AuthenticationError)
    assert flow.session.status == "signed_out"


def test_the_user_does_not_come_back(flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """H016: after its lifetime a sign-in has ended: the status is what it was, and a late answer is refused."""
    asyncio.run(flow.provider.prepare())  # its time counts, too
    monkeypatch.setattr("pywry_auth_nb._sign_in.sign_ins.LIFETIME", 0.3)
    request = begin(flow)
    until(lambda: flow.session.status == "signed_out")

    assert flow.flow_state is AuthFlowState.TIMED_OUT
    assert isinstance(flow.session.error, AuthFlowTimeout)
    assert (flow.session.error.code, flow.session.error.timeout) == ("flow_timeout", 0.3)
    refused(flow, idp.authorize(request.url))
    assert idp.requests_to("/token") == 0


def test_a_time_out_keeps_the_session(flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is signed in stays so when another attempt times out."""
    sign_in(flow, idp)
    monkeypatch.setattr("pywry_auth_nb._sign_in.sign_ins.LIFETIME", 0.3)
    begin(flow)
    until(lambda: flow.session.error)

    assert flow.session.status == "signed_in"


def test_a_time_out_of_one_leaves_the_other_open(
    flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sign-in has its own deadline, and the session is authorizing as long as one is open."""
    asyncio.run(flow.provider.prepare())
    monkeypatch.setattr("pywry_auth_nb._sign_in.sign_ins.LIFETIME", 0.3)
    begin(flow)
    monkeypatch.setattr("pywry_auth_nb._sign_in.sign_ins.LIFETIME", 60)
    request = begin(flow)
    until(lambda: len(flow._sign_ins._pending) == 1)

    assert (flow.session.status, flow.flow_state) == ("authorizing", AuthFlowState.IN_PROGRESS)
    assert complete(flow, idp.authorize(request.url)).success


def test_an_old_deadline_does_not_end_a_session(
    flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline of a sign-in that succeeded passes unnoticed."""
    asyncio.run(flow.provider.prepare())
    monkeypatch.setattr("pywry_auth_nb._sign_in.sign_ins.LIFETIME", 1.0)
    sign_in(flow, idp)
    time.sleep(1.1)

    assert (flow.session.status, flow.session.error, flow.flow_state) == ("signed_in", None, AuthFlowState.COMPLETED)


@pytest.mark.parametrize("ending", ["declined", "cancelled", "timed out", "failed", "not begun"])
def test_who_waits_hears_how_it_ended(
    flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """A waiting cell raises what the sign-in ended with, at once."""
    asyncio.run(flow.provider.prepare())
    monkeypatch.setattr("pywry_auth_nb._sign_in.sign_ins.LIFETIME", 0.4 if ending == "timed out" else 60)
    expected = {
        "declined": (AuthFlowCancelled, "access_denied"),
        "cancelled": (AuthFlowCancelled, "flow_cancelled"),
        "timed out": (AuthFlowTimeout, "flow_timeout"),
        "failed": (TokenError, "issuer_mismatch"),
        "not begun": (AuthenticationError, "insecure_redirect_uri"),
    }

    async def cell() -> None:
        request = await flow.begin(REDIRECT_URI)
        waiting = asyncio.ensure_future(flow.session._engine.wait_signed_in(30))
        await soon(lambda: flow.session._engine.notifier._waiters)
        answer = {"error": "access_denied", "state": request.state, "iss": idp.issuer}
        if ending == "cancelled":
            flow.cancel()
        elif ending == "not begun":
            with pytest.raises(AuthenticationError):
                await flow.begin("http://jupyter.example.org/pywry-auth/callback")
        elif ending != "timed out":
            with pytest.raises(AuthenticationError):
                await flow.complete(answer | ({"iss": "https://evil.example"} if ending == "failed" else {}))
        with pytest.raises(expected[ending][0]) as caught:
            await waiting
        assert caught.value.code == expected[ending][1]

    started = time.monotonic()
    asyncio.run(cell())

    assert time.monotonic() - started < 5


def test_an_answer_whose_reader_gave_up_leaves_nothing_open(flow: AuthFlowManager, idp: Idp) -> None:
    """Cancelling ``complete`` closes the sign-in: the status does not stay ``authorizing``."""
    params = idp.authorize(begin(flow).url)
    idp.answers["/token"] = Answer(delay=8)

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(flow.complete(params), 0.1)

    asyncio.run(impatient())

    until(lambda: flow.session.status == "signed_out")


class FullStore(MemoryTokenStore):
    """A store on a disk that is full."""

    async def swap(self, key: str, old: Record, new: Record) -> bool:  # noqa: ARG002 - it keeps nothing
        """Fail."""
        raise OSError(28, "No space left on device")


def test_a_store_that_cannot_save_does_not_end_the_session(provider: GenericOIDCProvider, idp: Idp) -> None:
    """R23: when the tokens cannot be kept, they live in this kernel's memory; a refresh loses no rotated token."""
    flow = AuthFlowManager(provider, session_manager=SessionManager(provider, FullStore()))
    complete(flow, idp.authorize(begin(flow).url))
    assert flow.session.status == "signed_in"
    old = flow.session.access_token
    asyncio.run(flow.session.refresh())
    asyncio.run(flow.session.refresh())

    assert flow.session.status == "signed_in"
    assert flow.session.access_token != old


def test_an_answer_whose_reader_gave_up_while_it_is_stored_is_a_success(
    provider: GenericOIDCProvider, idp: Idp
) -> None:
    """A sign-in that is cancelled while its tokens are being stored still succeeds."""
    store = GatedStore()
    flow = AuthFlowManager(provider, session_manager=SessionManager(provider, store))
    params = idp.authorize(begin(flow).url)
    store.gate.clear()

    async def impatient() -> None:
        completing = asyncio.ensure_future(flow.complete(params))
        await soon(lambda: store.waiting)
        completing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await completing

    asyncio.run(impatient())
    store.gate.set()

    until(lambda: flow.session.status == "signed_in")


@pytest.mark.parametrize("moment", ["sign-in", "refresh"])
def test_signing_out_while_tokens_are_stored_wins(provider: GenericOIDCProvider, idp: Idp, moment: str) -> None:
    """T33: a store that is slow to save brings no session back, neither here nor in itself."""
    store = GatedStore()
    flow = AuthFlowManager(provider, session_manager=SessionManager(provider, store))
    if moment == "refresh":
        sign_in(flow, idp)
    params = idp.authorize(begin(flow).url)

    async def go() -> None:
        work = flow.complete(params) if moment == "sign-in" else flow.session.refresh()
        store.gate.clear()
        storing = asyncio.ensure_future(work)
        await soon(lambda: store.waiting)
        leaving = asyncio.ensure_future(flow.session.logout())
        await soon(lambda: flow.session.status == "signed_out")
        store.gate.set()
        await asyncio.gather(storing, leaving, return_exceptions=True)

    asyncio.run(go())

    assert flow.session.status == "signed_out"
    assert asyncio.run(flow.session.token_store.list_keys()) == []
    until(lambda: not any(idp.refresh_tokens.values()))


class BrokenStore(MemoryTokenStore):
    """A store that has gone away."""

    async def read(self, key: str) -> Record:  # noqa: ARG002 - it knows nothing
        """Fail."""
        raise ConnectionError("no route to host")

    async def swap(self, key: str, old: Record, new: Record) -> bool:  # noqa: ARG002
        """Fail."""
        raise ConnectionError("no route to host")


@pytest.fixture
def broken(provider: GenericOIDCProvider) -> AuthFlowManager:
    """The flow of a session whose store can neither be read nor cleared."""
    return AuthFlowManager(provider, session_manager=SessionManager(provider, BrokenStore()))


def test_a_store_that_cannot_be_read_is_an_empty_one(broken: AuthFlowManager, idp: Idp) -> None:
    """R23: readers get a typed error, and one can sign in all the same."""
    with pytest.raises(AuthenticationError):
        _ = broken.session.access_token
    sign_in(broken, idp)

    assert broken.session.access_token


def test_a_store_that_cannot_be_cleared_does_not_stop_a_sign_out(broken: AuthFlowManager, idp: Idp) -> None:
    """R23: what could not be deleted is revoked, and so worth nothing."""
    sign_in(broken, idp)
    with contextlib.suppress(AuthenticationError):  # it may say that something is left
        asyncio.run(broken.session.logout())

    assert broken.session.status == "signed_out"
    assert revoked(idp) == ["access_token", "refresh_token"]


def test_a_store_that_cannot_be_cleared_does_not_hide_the_end(broken: AuthFlowManager, idp: Idp) -> None:
    """R23: a refresh that is refused for good ends the session, whatever the store says."""
    sign_in(broken, idp)
    idp.refresh_tokens.clear()
    with pytest.raises(TokenError) as caught:
        asyncio.run(broken.session.refresh())

    assert caught.value.code == "invalid_grant"
    assert broken.session.status == "reauth_required"


# -- what a review found ----------------------------------------------------------------------------------------


def test_who_waits_may_give_up_and_ends_nothing(flow: AuthFlowManager, idp: Idp) -> None:
    """Cancelling the wait for an outcome leaves the sign-in open, and others end as they do."""

    async def wait() -> AuthorizationRequest:
        request = await flow.begin(REDIRECT_URI)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(request.outcome), 0.05)
        return request

    abandoned = asyncio.run(wait())
    request = begin(flow)

    assert complete(flow, idp.authorize(request.url)).success
    assert abandoned.outcome.result(1).success, "the one that was faster"
    begin(flow)
    flow.cancel()
    until(lambda: flow.flow_state is AuthFlowState.CANCELLED)


def test_a_manager_has_the_provider_of_its_session(session: SessionManager, idp: Idp) -> None:
    """Another one would be where the user thinks to sign in, and does not."""
    with pytest.raises(ConfigurationError, match=r"session_manager\.provider"):
        AuthFlowManager(GenericOIDCProvider("other", issuer_url=idp.issuer), session_manager=session)


def test_two_managers_of_one_session_agree(session: SessionManager, idp: Idp) -> None:
    """A decline at one leaves the session authorizing while the other is open; a success ends the other's, too."""
    first, second = (AuthFlowManager(session.provider, session_manager=session) for _ in range(2))
    other = begin(second)
    declined = idp.authorize(begin(first).url, code=None, error="access_denied")
    with pytest.raises(AuthFlowCancelled):
        complete(first, declined)
    assert session.status == "authorizing"

    assert complete(first, idp.authorize(begin(first).url)).success
    assert (session.status, session.error) == ("signed_in", None)
    assert other.outcome.result(1).success
    assert second.flow_state is AuthFlowState.COMPLETED
    refused(second, idp.authorize(other.url))


def test_an_ended_sign_in_keeps_nothing_alive(provider: GenericOIDCProvider, idp: Idp) -> None:
    """R41: managers and sessions whose sign-ins have ended can be collected long before their deadline."""
    managers = [AuthFlowManager(provider) for _ in range(10)]
    for manager in managers:
        sign_in(manager, idp)
        asyncio.run(manager.session.logout())
    refs = [weakref.ref(part) for manager in managers for part in (manager, manager.session)]
    del managers, manager
    until(lambda: gc.collect() >= 0 and not any(ref() for ref in refs))
