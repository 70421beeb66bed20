"""What may come back from a provider, and what else arrives at the callback: RFC 6749 §4.1.2, RFC 9207, RFC 9700."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.support.cases import case

from .conftest import FROM_PROVIDER, Browser, Kernel, callback, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.idp import Idp

ERROR = "print(session.error and session.error.code, session.status)"
STATE = "a-state-that-nobody-gave"

#: Requests that are refused as they stand: query, headers.
MALFORMED = {
    "no state": ("code=c", {}),
    "empty state": ("code=c&state=", {}),
    "state twice": (f"code=c&state={STATE}&state={STATE}", {}),
    "code twice": (f"code=c&code=d&state={STATE}", {}),
    "iss twice": (f"code=c&state={STATE}&iss=a&iss=b", {}),
    "error twice": (f"error=a&error=b&state={STATE}", {}),
    "8 KiB": (f"code=c&state={STATE}&more={'x' * 8192}", {}),
    "no UTF-8": (f"code=%ff&state={STATE}", {}),
    "prefetch": (f"code=c&state={STATE}", {"Sec-Purpose": "prefetch"}),
    "prerender": (f"code=c&state={STATE}", {"Sec-Purpose": "prefetch;prerender"}),
    "older prefetch": (f"code=c&state={STATE}", {"Purpose": "prefetch"}),
    "frame": (f"code=c&state={STATE}", {"Sec-Fetch-Dest": "iframe"}),
    "image": (f"code=c&state={STATE}", {"Sec-Fetch-Dest": "image"}),
    "fetch": (f"code=c&state={STATE}", {"Sec-Fetch-Dest": "empty"}),
}


async def test_a_malformed_callback_is_refused(browser: Browser) -> None:
    """A callback that can be read in more than one way is refused."""
    for name, (query, headers) in MALFORMED.items():
        with case(name):
            response = await browser.open(f"pywry-auth/callback?{query}", headers=headers)

            assert outcome(response) == (400, "bad_request")


async def test_a_callback_page_without_a_query_is_neutral(browser: Browser) -> None:
    """The page of before, reloaded, restored or reached by going forward, has lost its query: nothing is wrong then."""
    response = await browser.open("pywry-auth/callback")

    assert response.code == 200
    assert b"<h1>This tab has done its work</h1>" in response.body


@pytest.mark.parametrize("query", [f"code=c&state={STATE}", f"error=access_denied&state={STATE}"])
async def test_an_unknown_state_is_refused(browser: Browser, query: str) -> None:
    """B1: a state that was not given to this browser says nothing to it, whatever comes with it."""
    assert outcome(await browser.open(f"pywry-auth/callback?{query}")) == (403, "other_browser")


async def test_what_is_refused_uses_nothing_up(
    browser: Browser, new_browser: Callable[..., Browser], kernel: Kernel, login_path: str, idp: Idp
) -> None:
    """B1: no malformed or foreign callback, link scanner, preflight or prefetch ends the sign-in that is open."""
    url = await browser.begin(login_path)
    params = idp.authorize(url)
    elsewhere = new_browser()
    path = callback(params)
    for query, headers in MALFORMED.values():
        await browser.open(f"pywry-auth/callback?{query.replace(STATE, params['state'])}", headers=headers)
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
        assert (await browser.open(path, method=method, body="" if method[0] == "P" else None)).code == 405
    for foreign in (path, callback({"error": "access_denied", "state": params["state"]})):
        assert outcome(await elsewhere.open(foreign)) == (403, "other_browser")
    await browser.open(callback({"error": "access_denied", "state": STATE}))
    assert (await browser.open(path, headers={"Host": "evil.example"})).code == 403

    assert idp.requests_to("/token") == 0
    assert await kernel.run(ERROR) == "None authorizing"
    assert outcome(await browser.open(path, headers=FROM_PROVIDER)) == (200, "")


async def test_an_answer_counts_once(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A reload or a second tab gets a neutral page, and the code is exchanged once."""
    path = callback(idp.authorize(await browser.begin(login_path)))
    at_once = await asyncio.gather(*(browser.open(path) for _ in range(3)))
    later = await browser.open(path)

    assert sorted(outcome(response) for response in at_once) == [(200, ""), *[(200, "already_used")] * 2]
    assert outcome(later) == (200, "already_used")
    assert idp.requests_to("/token") == 1
    assert await kernel.run(ERROR) == "None signed_in"


async def test_a_refused_answer_again(browser: Browser, login_path: str, idp: Idp) -> None:
    """The page for an answer that is used up claims no success, for the sign-in may have failed."""
    path = callback(idp.authorize(await browser.begin(login_path), code="no-such-code"))

    assert outcome(await browser.open(path)) == (400, "invalid_grant")
    again = await browser.open(path)
    assert outcome(again) == (200, "already_used")
    assert b"go on in the notebook" not in again.body


async def test_a_reload(browser: Browser) -> None:
    """A page takes the query out of its address, so a reload of a success comes without: it is not called a failure."""
    response = await browser.open("pywry-auth/callback")

    assert b"sign in again" not in response.body


async def test_declined(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A user who declines at the provider is told that no sign-in took place, and so is the session."""
    params = idp.authorize(await browser.begin(login_path), code=None, error="access_denied")

    assert outcome(await browser.open(callback(params))) == (400, "access_denied")
    assert await kernel.run(ERROR) == "access_denied signed_out"
    assert await kernel.run("print(type(session.error).__name__)") == "AuthFlowCancelled"


@pytest.mark.parametrize("error", ["consent_required", "login_required", "interaction_required", "access_denied"])
async def test_the_provider_s_words_are_for_the_notebook(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    """H309, T15: session and widget have them; no page, no header and no log of the server does."""
    said = {"error": error, "error_description": "CANARY: <b>ask Eve</b>"}
    response = await browser.open(callback(idp.authorize(await browser.begin(login_path), code=None, **said)))

    assert outcome(response) == (400, error)
    assert "ask Eve" not in f"{response.headers}{response.body.decode()}{caplog.text}"
    shown = await kernel.run("print(session.error.description, '|', session_widget.error_detail)")
    assert shown == "CANARY: <b>ask Eve</b> | CANARY: <b>ask Eve</b>"


#: What a provider, or an attacker in between, may make of an answer: changes, and the code on the page.
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "code and error": ({"error": "access_denied"}, "invalid_response"),
    "JARM": ({"response": "a.b.c"}, "invalid_response"),
    "ID token in the query": ({"id_token": "a.b.c"}, "invalid_response"),
    "access token in the query": ({"access_token": "a"}, "invalid_response"),
    "no code": ({"code": None}, "invalid_response"),
    "empty code": ({"code": ""}, "invalid_response"),
    "no iss": ({"iss": None}, "issuer_missing"),
    "empty iss": ({"iss": ""}, "issuer_mismatch"),
    "other iss": ({"iss": "https://login.example"}, "issuer_mismatch"),
    "error from other iss": ({"code": None, "error": "access_denied", "iss": "https://a.example"}, "issuer_mismatch"),
    "unknown error": ({"code": None, "error": "<b>\r\n\u202e\0", "error_description": "x" * 4000}, "provider_error"),
    "known error": ({"code": None, "error": "invalid_scope", "error_uri": "javascript:alert(1)"}, "invalid_scope"),
}


async def test_a_broken_answer_is_never_exchanged(browser: Browser, login_path: str, idp: Idp) -> None:
    """B4: an answer that breaks the rules ends its sign-in, and no code of it reaches the token endpoint."""
    for name, (changes, code) in BROKEN.items():
        with case(name):
            response = await browser.open(callback(idp.authorize(await browser.begin(login_path), **changes)))

            assert outcome(response) == (400, code)
    slash = idp.authorize(await browser.begin(login_path), iss=idp.issuer + "/")
    assert outcome(await browser.open(callback(slash))) == (400, "issuer_mismatch")
    assert idp.requests_to("/token") == 0


async def test_unrequested_parameters_are_ignored(browser: Browser, login_path: str, idp: Idp) -> None:
    """Providers add parameters of their own (RFC 6749 §4.1.2: the client must ignore them)."""
    extra = {"session_state": "s", "hd": "example.org", "authuser": "0", "prompt": "none", "scope": "openid"}
    response = await browser.open(callback(idp.authorize(await browser.begin(login_path), **extra)))

    assert outcome(response) == (200, "")


XSS = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "javascript:alert(1)", "{0.__class__}%s${x}")


async def test_nothing_that_is_sent_is_shown(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """No parameter of a request comes back in a page, whatever it holds."""
    for attack in XSS:
        attacks = ({"kernel": attack}, {"kernel": kernel.id, "flow": attack})
        answers = [await browser.open(f"pywry-auth/login?{urlencode(query)}") for query in attacks]
        for name in ("state", "code", "iss", "error", "error_description", "error_uri", "other"):
            params = idp.authorize(await browser.begin(login_path)) | {name: attack}
            if name.startswith("error"):
                params.pop("code")
            answers.append(await browser.open(callback(params)))
        for response in answers:
            assert attack.encode() not in response.body
            assert b"alert(1)" not in response.body
            assert attack not in str(response.headers)


async def test_two_answers_cross(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """Two sessions that sign in at the same time each get their own answer, in whatever order these come."""
    paths = [login_path, await kernel.offer(idp.issuer, "other")]
    answers = [idp.authorize(await browser.begin(path)) for path in paths]
    responses = await asyncio.gather(*(browser.open(callback(params)) for params in reversed(answers)))

    assert [outcome(response) for response in responses] == [(200, "")] * 2
    assert await kernel.run("print(session.status, other.status)") == "signed_in signed_in"
    assert await kernel.run("print(session.access_token != other.access_token)") == "True"


async def test_a_code_is_refused_in_another_sign_in(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp
) -> None:
    """A code that was stolen from one sign-in and put into another is refused for its code verifier (RFC 7636)."""
    stolen = idp.authorize(await browser.begin(login_path))
    url = await browser.begin(login_path)
    response = await browser.open(callback(idp.authorize(url, code=stolen["code"])))

    assert outcome(response) == (400, "invalid_grant")
    assert await kernel.run("print(session.user)") == "None"
