"""What an API demands beyond the token it was sent: insufficient_scope (RFC 6750) and step-up (RFC 9470)."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests

from pywry_auth_nb import InsufficientScopeError, SessionManager, StepUpRequired, TokenError
from pywry_auth_nb._io.challenges import demand_in, read_challenges
from tests.support.api import Api
from tests.support.cases import case
from tests.support.http_clients import every_client
from tests.support.waiting import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.idp import Idp

SCOPE = 'Bearer realm="api", error="insufficient_scope", scope="files.read files.write"'
STEP_UP = 'Bearer error="insufficient_user_authentication", acr_values="phr phrh", max_age="300"'

CHALLENGES: dict[str, tuple[str, list[tuple[str, dict[str, str]]]]] = {
    "a scheme alone": ("Bearer", [("bearer", {})]),
    "parameters": ('Bearer a="1", B=2', [("bearer", {"a": "1", "b": "2"})]),
    "spaces around": ('Bearer   a = "1"\t,\tb= 2 ', [("bearer", {"a": "1", "b": "2"})]),
    "empty elements": (', ,Bearer ,a=1,, ,b="2",', [("bearer", {"a": "1", "b": "2"})]),
    "quoted pairs": (r'Bearer a="say \"x\", \\ y"', [("bearer", {"a": r'say "x", \ y'})]),
    "an empty text": ('Bearer a=""', [("bearer", {"a": ""})]),
    "several": ('NTLM, Basic realm="x", Bearer a=1', [("ntlm", {}), ("basic", {"realm": "x"}), ("bearer", {"a": "1"})]),
    "a blob": ("Negotiate YWJj==, Bearer a=1", [("negotiate", {}), ("bearer", {"a": "1"})]),
    "a challenge inside a text": ('Basic realm="x, Bearer a=1"', [("basic", {"realm": "x, Bearer a=1"})]),
    "a name twice in two": ("Basic a=1, Bearer a=2", [("basic", {"a": "1"}), ("bearer", {"a": "2"})]),
    "a name twice": ("Bearer a=1, A=2", []),
    "an open text": ('Bearer a="1', []),
    "no comma": ('Bearer a="1" b="2"', []),
    "no scheme": ("a=1", []),
    "no name": ("Bearer =1", []),
    "a control character": ('Bearer a="\x00"', []),
    "nothing": ("", []),
    "too long": (f'Bearer a="{"x" * 8192}"', []),
}
NO_DEMANDS = {
    "another error": 'Bearer error="invalid_token"',
    "another scheme": 'DPoP error="insufficient_scope", scope="a"',
    "in the realm": 'Bearer realm="error=insufficient_scope"',
    "no error": 'Bearer scope="files.read"',
    "malformed": 'Bearer error="insufficient_scope", scope="a" scope="b"',
    "two errors": 'Bearer error="insufficient_scope", error="invalid_token"',
    "nothing": "",
}
#: What no scope is: it is not shown, and not offered to be asked for.
HOSTILE_SCOPES = [
    r"a\" + evil() + \"",
    r"a\\",
    "caf\xe9",
    "a\x80",
    "\u202eevil",
    "x" * 1025,
    " ".join(["ab"] * 400),
]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_challenges_are_read_by_the_grammar() -> None:
    """H407: RFC 9110 §11.6.1, also several in one header; what does not follow it counts as nothing."""
    for name, (header, expected) in CHALLENGES.items():
        with case(name):
            assert [tuple(challenge) for challenge in read_challenges(header)] == expected


def test_reading_a_hostile_header_takes_no_time() -> None:
    """H407: no input of the length that is read at all makes the parser slow."""
    for text in ("a", "a ", "a=b,", 'a="', '"', "a=b\t", ", ", 'a="\\', "a=,"):
        with case(text), within(1):
            read_challenges((text * 8192)[:8192])
            read_challenges("Bearer " + (text * 8192)[:8000] + "\x00")


def test_a_demand_says_what_to_ask_for() -> None:
    """H406: the error has it for programs, and its sentence is the call."""
    scope, step = demand_in(SCOPE, "api.example.org"), demand_in(f"Basic, {STEP_UP}", "api.example.org")

    assert isinstance(scope, InsufficientScopeError)
    assert (scope.code, scope.scopes) == ("insufficient_scope", ("files.read", "files.write"))
    assert str(scope).startswith("The sign-in lacks a scope that api.example.org needs: files.read files.write.")
    assert 'Run session.require("files.read", "files.write")' in str(scope)
    assert isinstance(step, StepUpRequired)
    assert (step.code, step.acr_values, step.max_age) == ("step_up_required", "phr phrh", 300)
    assert 'Run session.login(acr_values="phr phrh", max_age=300)' in str(step)


def test_a_demand_may_say_little() -> None:
    """H406: all parameters but the error are optional."""
    scope = demand_in('Bearer error="insufficient_scope"', "api")
    step = demand_in("Bearer error=insufficient_user_authentication", "api")
    newer = demand_in("bearer error=insufficient_user_authentication, max_age=0", "api")

    assert isinstance(scope, InsufficientScopeError)
    assert scope.scopes == ()
    assert "session.require(…)" in str(scope)
    assert isinstance(step, StepUpRequired)
    assert (step.acr_values, step.max_age) == ("", None)
    assert "session.login(max_age=0)" in str(step)
    assert isinstance(newer, StepUpRequired)
    assert newer.max_age == 0


def test_what_is_no_demand() -> None:
    """H407: nothing else is taken for one."""
    for name, header in NO_DEMANDS.items():
        with case(name):
            assert demand_in(header, "api") is None


def test_values_that_are_none_are_not_repeated() -> None:
    """H407: quotes, backslashes, anything but printable ASCII, and too much of it, is not in the error."""
    for text in HOSTILE_SCOPES:
        with case(text[:20]):
            scope = demand_in(f'Bearer error="insufficient_scope", scope="files {text}"', "api")
            step = demand_in(f'Bearer error="insufficient_user_authentication", acr_values="{text}"', "api")
            assert isinstance(scope, InsufficientScopeError)
            assert isinstance(step, StepUpRequired)
            assert (scope.scopes, step.acr_values) == ((), "")
            assert "evil" not in str(scope) + str(step)
            assert len(str(scope)) + len(str(step)) < 300
    for age in ("-1", "1e9", "9" * 10, "", "1.5", "\u0661"):
        with case(age):
            step = demand_in(f'Bearer error="insufficient_user_authentication", max_age="{age}"', "api")
            assert isinstance(step, StepUpRequired)
            assert step.max_age is None


def test_a_demand_can_be_pickled() -> None:
    """H406: a worker of joblib or dask hands it back."""
    for header in (SCOPE, STEP_UP):
        error = demand_in(header, "api")
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (str(again), vars(again)) == (str(error), vars(error))


# -- at an API --------------------------------------------------------------------------------------------------------


@every_client
def test_an_api_that_needs_more_scopes_leads_to_an_error(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """H406: the request is made once, and no token is renewed for it."""
    api.demand = lambda _: (403, [SCOPE])
    with pytest.raises(InsufficientScopeError) as caught:
        ask(signed_in, f"{api.url}/files")

    assert caught.value.scopes == ("files.read", "files.write")
    assert "127.0.0.1 needs" in str(caught.value)
    assert (len(api.seen), idp.requests_to("/token")) == (1, 1)


@every_client
@pytest.mark.parametrize("status", [401, 403])
def test_an_api_that_needs_a_newer_sign_in_leads_to_an_error(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp, status: int
) -> None:
    """H406: also with 401: a renewed token would be no newer sign-in."""
    api.demand = lambda _: (status, ['Basic realm="api"', STEP_UP])
    with pytest.raises(StepUpRequired) as caught:
        ask(signed_in, api.url)

    assert (caught.value.acr_values, caught.value.max_age) == ("phr phrh", 300)
    assert (len(api.seen), idp.requests_to("/token")) == (1, 1)


@every_client
def test_a_renewed_token_may_meet_a_demand(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """H406: first the token is refused, then its scopes."""
    old = signed_in.access_token
    api.demand = lambda token: (401, ['Bearer error="invalid_token"']) if token == old else (403, [SCOPE])
    with pytest.raises(InsufficientScopeError):
        ask(signed_in, api.url)

    assert (len(api.seen), idp.requests_to("/token")) == (2, 2)


@every_client
def test_any_other_refusal_is_the_callers(ask: Callable[..., int], signed_in: SessionManager, api: Api) -> None:
    """H407: 403 is an answer as any other, as it is with a challenge that demands nothing, and so is 400."""
    for status, challenges in ((403, []), (403, [*NO_DEMANDS.values()]), (400, [SCOPE]), (200, [STEP_UP])):
        with case(f"{status} {challenges}"):
            api.demand = lambda _, answer=(status, challenges): answer  # type: ignore[misc]
            assert ask(signed_in, api.url) == status


@every_client
def test_a_demand_counts_from_where_the_token_went_alone(
    ask: Callable[..., int], signed_in: SessionManager, api: Api
) -> None:
    """H407: not from another origin that a redirect led to, and that got no token."""
    with Api() as other:
        other.demand = lambda _: (403, [SCOPE])
        api.redirects["/away"] = (302, f"{other.url}/trap")

        assert ask(signed_in, f"{api.url}/away") == 403
        assert other.tokens() == [""]


@every_client
def test_a_demand_after_a_redirect_at_one_origin_counts(
    ask: Callable[..., int], signed_in: SessionManager, api: Api
) -> None:
    """H406: the token went there, too."""
    signed_in.allowed_origins = [api.url]
    api.redirects["/old"] = (302, "/new")
    api.demand = lambda _: (403, [SCOPE]) if api.seen[-1][0] == "/new" else None
    with pytest.raises(InsufficientScopeError):
        ask(signed_in, f"{api.url}/old")


def test_the_answer_itself_is_there_for_who_wants_it(signed_in: SessionManager, api: Api) -> None:
    """H406: with ``session.headers`` in place of ``session.auth``."""
    api.demand = lambda _: (403, [SCOPE])

    assert httpx.get(api.url, headers=signed_in.headers).headers["WWW-Authenticate"] == SCOPE
    assert requests.get(api.url, headers=signed_in.headers, timeout=5).status_code == 403


def test_connections_are_good_after_a_demand(signed_in: SessionManager, api: Api) -> None:
    """H406: the next request of the same client works."""
    answers: list[Any] = [(403, [SCOPE]), None]
    api.demand = lambda _: answers.pop(0)
    with httpx.Client(auth=signed_in.auth) as client:
        with pytest.raises(TokenError):
            client.get(api.url)
        assert client.get(api.url).status_code == 200
    answers = [(403, [SCOPE]), None]
    with requests.Session() as browser:
        browser.auth = signed_in.auth
        with pytest.raises(TokenError):
            browser.get(api.url, timeout=5)
        assert browser.get(api.url, timeout=5).status_code == 200
