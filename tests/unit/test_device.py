"""Device codes (RFC 8628): the request, the polls, and the sign-in that follows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowManager,
    AuthFlowState,
    AuthFlowTimeout,
    GenericOIDCProvider,
    GitHubProvider,
    GoogleProvider,
    MicrosoftProvider,
    SessionManager,
    TokenError,
)
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._sign_in import polling
from pywry_auth_nb._sign_in.polling import Pace
from pywry_auth_nb._wire.error_codes import NETWORK_ERRORS
from pywry_auth_nb.providers import device
from pywry_auth_nb.providers.device import parse_device_code
from tests.conftest import sign_in
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb._sign_in.authorization import DeviceRequest
    from pywry_auth_nb._wire.error_codes import ErrorCode

ANSWER = {
    "device_code": "CANARY-dc",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://login.example.org/device",
    "verification_uri_complete": "https://login.example.org/device?user_code=WDJB-MJHT",
    "expires_in": 1800,
    "interval": 5,
}


@pytest.fixture
def quick(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> Idp:
    """The provider, which wants to be asked fifty times a second."""
    monkeypatch.setattr(device, "_LEAST", 0.0)
    monkeypatch.setattr(polling, "_MORE", 0.1)
    idp.device_extra = {"interval": 0.02}
    return idp


def begin(session: SessionManager, **options: Any) -> DeviceRequest:
    """Begin a sign-in with a code."""
    return run(session._sign_ins.begin_device(**options), 10)


def polls(idp: Idp) -> int:
    """How often the tokens were asked for."""
    return sum("device_code" in request.form for request in idp.requests)


def failure(request: DeviceRequest) -> BaseException:
    """Return what a sign-in ends with."""
    error = request.outcome.exception(10)
    assert error is not None
    return error


# -- the response -----------------------------------------------------------------------------------------------------


def test_what_the_provider_answers() -> None:
    """RFC 8628 §3.2: all members are read, and the device code is hidden."""
    code = parse_device_code(ANSWER)

    assert (code.user_code, code.verification_uri) == ("WDJB-MJHT", "https://login.example.org/device")
    assert code.verification_uri_complete.endswith("?user_code=WDJB-MJHT")
    assert (code.expires_in, code.interval) == (1800, 5)
    assert "CANARY" not in repr(code) + repr(code.device_code)


@pytest.mark.parametrize(
    ("member", "sent", "seconds"),
    [
        *(("interval", ..., 5), ("interval", 0, 1), ("interval", -1, 1), ("interval", "abc", 5), ("interval", "7", 7)),
        *(("interval", 1e9, 60), ("interval", True, 5), ("expires_in", ..., 600), ("expires_in", float("nan"), 600)),
    ],
)
def test_odd_numbers(member: str, sent: Any, seconds: float) -> None:
    """The interval is 5 s where it is missing (§3.2); what is no sound number of seconds cannot make polling wild."""
    answer = {name: value for name, value in {**ANSWER, member: sent}.items() if value is not ...}

    assert getattr(parse_device_code(answer), member) == seconds


def test_googles_name_for_the_page() -> None:
    """Google calls the page ``verification_url``."""
    answer = {**ANSWER, "verification_url": ANSWER["verification_uri"]}
    del answer["verification_uri"]

    assert parse_device_code(answer).verification_uri == ANSWER["verification_uri"]


@pytest.mark.parametrize(
    "change",
    [
        {"user_code": ""},
        {"user_code": "A" * 65},
        {"user_code": "AB\u202eCD"},
        {"user_code": 12345678},
        {"device_code": ""},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "http://login.example.org/device"},
        {"verification_uri": "https://user@login.example.org/"},
    ],
)
def test_what_must_not_be_shown(change: dict[str, Any]) -> None:
    """A code that cannot be typed, or a page that is not https, ends the sign-in before the user sees it."""
    with pytest.raises(TokenError) as caught:
        parse_device_code({**ANSWER, **change})

    assert caught.value.code == "bad_response"


@pytest.mark.parametrize("complete", ["https://evil.example/?user_code=1", "javascript:alert(1)", "", None, 7])
def test_the_complete_address_belongs_to_the_page(complete: Any) -> None:
    """``verification_uri_complete`` at another origin, or unusable, is left out: the code can be typed."""
    assert parse_device_code({**ANSWER, "verification_uri_complete": complete}).verification_uri_complete == ""


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        (GoogleProvider("id"), "https://oauth2.googleapis.com/device/code"),
        (MicrosoftProvider("id"), "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"),
        (GitHubProvider("id"), "https://github.com/login/device/code"),
        (GoogleProvider("id", device_authorization_url="https://a.example/d"), "https://a.example/d"),
    ],
)
def test_known_providers(provider: GoogleProvider, url: str) -> None:
    """The endpoints of Google, Microsoft and GitHub are known; an argument overrides each."""
    assert provider.device_authorization_url == url


# -- the pace ---------------------------------------------------------------------------------------------------------


def test_slow_down_lasts() -> None:
    """§3.5: each ``slow_down`` adds five seconds to this pause and to all that follow."""
    pace = Pace(5)
    pauses = []
    for code in ("authorization_pending", "slow_down", "authorization_pending", "slow_down", "authorization_pending"):
        assert pace.after(TokenError(code=code))
        pauses.append(pace.pause)

    assert pauses == [5, 10, 10, 15, 15]


@pytest.mark.parametrize(
    "code", sorted({"timeout", "provider_unavailable", "bad_response", *NETWORK_ERRORS} - {"certificate"})
)
def test_blips_are_survived(code: ErrorCode) -> None:
    """§3.5: while the network is down, the pauses double up to a minute; the first answer puts the interval back."""
    pace = Pace(5)
    pauses = []
    for _ in range(5):
        assert pace.after(TokenError(code=code))
        pauses.append(pace.pause)

    assert pauses == [10, 20, 40, 60, 60]
    assert pace.after(TokenError(code="authorization_pending"))
    assert pace.pause == 5


def test_retry_after_binds() -> None:
    """A provider that names a time is not asked before it."""
    pace = Pace(5)

    assert pace.after(TokenError(code="provider_unavailable", retry_after=90))
    assert pace.pause == 90


# -- a sign-in --------------------------------------------------------------------------------------------------------


def test_a_sign_in(session: SessionManager, quick: Idp) -> None:
    """The user approves elsewhere: this session is signed in, and every check but the nonce was made."""
    request = begin(session)
    until(lambda: polls(quick) >= 3)
    assert session.status == "authorizing"
    quick.decide(request.code.user_code)
    result = request.outcome.result(10)

    assert result.success
    assert (session.status, session.display_name) == ("signed_in", "Ada Lovelace")
    assert session._sign_ins.state is AuthFlowState.COMPLETED
    assert quick.requests_to("/userinfo") == 1


def test_what_is_sent(quick: Idp) -> None:
    """§3.1: scopes, the audience and what ``login()`` asks for; the client authenticates as at the token endpoint."""
    provider = GenericOIDCProvider(CLIENT, "CANARY-secret", issuer_url=quick.issuer, audience="https://api.example")
    session = SessionManager(provider)
    with session._sign_ins.adding_params(scope="openid files.read"):
        request = begin(session, acr_values="phr")
    until(lambda: polls(quick))
    session._sign_ins.cancel()
    failure(request)
    form = quick.last("/device").form

    assert form == {"scope": "openid files.read", "audience": "https://api.example", "acr_values": "phr"}
    assert quick.last("/device").headers["authorization"] == quick.last("/token").headers["authorization"]


@pytest.mark.parametrize(
    ("verdict", "kind", "code", "state"),
    [
        ("access_denied", AuthFlowCancelled, "access_denied", AuthFlowState.CANCELLED),
        ("expired_token", AuthFlowTimeout, "expired_token", AuthFlowState.TIMED_OUT),
        ("invalid_grant", TokenError, "invalid_grant", AuthFlowState.FAILED),
    ],
)
def test_how_it_fails(
    session: SessionManager, quick: Idp, verdict: str, kind: type[Exception], code: str, state: AuthFlowState
) -> None:
    """§3.5: a refusal ends the polling, and says which it was."""
    request = begin(session)
    quick.decide(request.code.user_code, verdict)
    error = failure(request)
    asked = polls(quick)

    assert (type(error), error.code) == (kind, code)
    assert (session._sign_ins.state, session.status) == (state, "signed_out")
    assert polls(quick) == asked


def test_slow_down_goes_on(session: SessionManager, quick: Idp) -> None:
    """§3.5: ``slow_down`` is no failure."""
    request = begin(session)
    quick.decide(request.code.user_code, "slow_down")
    until(lambda: polls(quick) >= 2)
    quick.decide(request.code.user_code)

    assert request.outcome.result(10).success


def test_an_outage_is_survived(session: SessionManager, quick: Idp) -> None:
    """§3.5: a provider that is down for two polls has the sign-in after that."""
    request = begin(session)
    quick.decide(request.code.user_code)
    quick.answers["/token"] = Answer({}, status=503, times=2)

    assert request.outcome.result(10).success
    assert polls(quick) == 3


def test_googles_status(session: SessionManager, quick: Idp) -> None:
    """Google answers 428 while the user has not approved."""
    request = begin(session)
    quick.decide(request.code.user_code)
    quick.answers["/token"] = Answer({"error": "authorization_pending"}, status=428, times=2)

    assert request.outcome.result(10).success


@pytest.mark.parametrize(
    ("extra", "lifetime", "code"), [({"expires_in": 1}, 60, "expired_token"), ({}, 0.3, "flow_timeout")]
)
def test_its_time_is_up(session: SessionManager, quick: Idp, extra: dict[str, Any], lifetime: float, code: str) -> None:
    """Neither a code that has expired nor the caller's deadline is waited out for longer."""
    quick.device_extra |= extra
    began = time.monotonic()
    error = failure(begin(session, lifetime=lifetime))

    assert isinstance(error, AuthFlowTimeout)
    assert error.code == code
    assert time.monotonic() - began < 5


def test_cancel(session: SessionManager, quick: Idp) -> None:
    """Cancelling ends the polling at once, even in a long pause."""
    quick.device_extra = {"interval": 60}
    request = begin(session)
    session._sign_ins.cancel()
    error = request.outcome.exception(2)

    assert isinstance(error, AuthFlowCancelled)
    assert polls(quick) == 0


def test_another_way_is_faster(session: SessionManager, flow: AuthFlowManager, quick: Idp) -> None:
    """A sign-in in this browser ends the wait for the code, as a success; the code is not asked for again."""
    request = begin(session)
    sign_in(flow, quick)
    asked = polls(quick)

    assert request.outcome.result(10).success
    assert session.status == "signed_in"
    assert polls(quick) <= asked + 1


def test_tokens_that_come_too_late_are_discarded(session: SessionManager, quick: Idp) -> None:
    """Tokens that arrive after the user has cancelled are revoked, and sign no user in."""
    quick.answers["/token"] = Answer(delay=0.3)
    request = begin(session)
    quick.decide(request.code.user_code)
    until(lambda: polls(quick) >= 1)
    session._sign_ins.cancel()
    failure(request)
    until(lambda: quick.requests_to("/revoke") == 2)

    assert session.status == "signed_out"


def test_the_id_token_is_checked(session: SessionManager, quick: Idp) -> None:
    """A wrong audience is refused as in any other sign-in, and the tokens are revoked."""
    quick.claims = {"aud": "another"}
    request = begin(session)
    quick.decide(request.code.user_code)
    error = failure(request)

    assert error.code == "id_token_aud"
    assert quick.requests_to("/revoke") == 2


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks"])
def test_what_checks_the_tokens_comes_first(session: SessionManager, idp: Idp, path: str) -> None:
    """No code is shown whose tokens could not be checked: they come once, after the user has typed it."""
    idp.answers[path] = Answer({}, status=503)
    with pytest.raises(TokenError) as caught:
        begin(session)

    assert caught.value.code == ("jwks_failed" if path == "/jwks" else "discovery_failed")
    assert idp.requests_to("/device") == 0
    assert (session._sign_ins.state, session.status) == (AuthFlowState.FAILED, "signed_out")


def test_a_provider_without_codes_is_not_asked_for_its_keys(session: SessionManager, idp: Idp) -> None:
    """Its metadata say that there are none."""
    idp.metadata = {"device_authorization_endpoint": ...}
    idp.answers["/jwks"] = Answer({}, status=503)
    with pytest.raises(TokenError) as caught:
        begin(session)

    assert caught.value.code == "device_unsupported"


def test_a_provider_without_codes(session: SessionManager, idp: Idp) -> None:
    """The error names the argument that a provider with unlisted codes needs."""
    idp.metadata = {"device_authorization_endpoint": ...}
    with pytest.raises(TokenError, match="device_authorization_url") as caught:
        begin(session)

    assert caught.value.code == "device_unsupported"
    assert session._sign_ins.state is AuthFlowState.FAILED


def test_an_address_given_by_hand(idp: Idp) -> None:
    """``device_authorization_url`` serves a provider that does not list it."""
    idp.metadata = {"device_authorization_endpoint": ...}
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, device_authorization_url=f"{idp.issuer}/device")

    assert asyncio.run(provider.request_device_code()).user_code


def test_a_refusal_of_the_request(session: SessionManager, idp: Idp) -> None:
    """The provider's own words are beside the error, without this client's secret."""
    idp.answers["/device"] = Answer(
        {"error": "unauthorized_client", "error_description": "no codes for you"}, status=400
    )
    with pytest.raises(AuthenticationError) as caught:
        begin(session)

    assert (caught.value.code, caught.value.description) == ("unauthorized_client", "no codes for you")


@pytest.mark.parametrize("disabled", [True, False])
def test_github(disabled: bool) -> None:
    """GitHub answers 200 even to refusals, as a form; an app may not allow codes."""
    with Idp() as idp:
        pending = {"error": "device_flow_disabled" if disabled else "authorization_pending"}
        idp.answers = {"/login/device/code": Answer(ANSWER), "/login/oauth/access_token": Answer(pending)}

        class Enterprise(GitHubProvider):
            web_url = api_url = idp.issuer

        provider = Enterprise(CLIENT)
        code = asyncio.run(provider.request_device_code())
        with pytest.raises(TokenError) as caught:
            asyncio.run(provider.redeem_device_code(code.device_code))

    assert caught.value.code == ("unauthorized_client" if disabled else "authorization_pending")
