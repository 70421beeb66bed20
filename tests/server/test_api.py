"""The routes for programs: who is signed in, renewing, signing out. JSON, for this Jupyter's pages, without tokens."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cases import case
from tests.support.idp import Answer
from tests.support.waiting import over

from .conftest import Browser, Kernel, action, body_of, callback, outcome

if TYPE_CHECKING:
    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

QUESTIONS = ("status", "userinfo")
NAMES = {"status": "GET", "userinfo": "GET", "refresh": "POST", "logout": "POST", "cancel": "POST"}


async def ask(browser: Browser, name: str, login_path: str, **headers: str) -> HTTPResponse:
    """Call a route, with the XSRF token that the browser has."""
    if "_xsrf" in browser.cookies:
        headers = {"X-XSRFToken": browser.cookies["_xsrf"], **headers}
    body = "" if NAMES[name] == "POST" else None
    return await browser.open(action(name, login_path), method=NAMES[name], body=body, headers=headers)


def said(response: HTTPResponse) -> tuple[int, Any]:
    """The status and the JSON of an answer; of an error the code, for the sentence is for people."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    content = body_of(response)
    if "error" not in content:
        return response.code, content
    assert content.keys() == {"error", "message"}
    assert content["message"].endswith(".")
    return response.code, content["error"]


async def sign_in(browser: Browser, login_path: str, idp: Idp) -> None:
    """Sign in, all the way."""
    response = await browser.open(callback(idp.authorize(await browser.begin(login_path))))
    assert response.code == 200


async def test_signed_out(cookie_browser: Browser, login_path: str) -> None:
    """What each route answers without a sign-in: signing out succeeds all the same."""
    responses = {name: await ask(cookie_browser, name, login_path) for name in NAMES}
    answers = {name: said(response) for name, response in responses.items()}

    assert not [response for response in responses.values() if "Access-Control-Allow-Origin" in response.headers]
    assert answers == {
        "status": (200, {"authenticated": False}),
        "userinfo": (401, "not_authenticated"),
        "refresh": (401, "not_authenticated"),
        "logout": (200, {"success": True, "message": "You are signed out."}),
        "cancel": (200, {"success": True, "message": "All open sign-ins were cancelled."}),
    }


async def test_signed_in(cookie_browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A1, A2, A19: after a real sign-in, with the browser's real cookie, the routes see the session until sign-out."""
    idp.claims["email"] = "ada@example.org"
    await sign_in(cookie_browser, login_path, idp)
    status, user = [said(await ask(cookie_browser, name, login_path)) for name in QUESTIONS]
    expires_at = status[1].pop("expires_at")

    assert status == (200, {"authenticated": True, "user_id": "ada", "roles": []})
    assert expires_at == pytest.approx(time.time() + 3600, abs=30)
    assert user[0] == 200
    assert (user[1]["user_id"], user[1]["roles"]) == ("ada", [])
    assert user[1]["user_info"]["email"] == "ada@example.org"
    assert said(await ask(cookie_browser, "refresh", login_path)) == (
        200,
        {"success": True, "expires_in": 3600, "token_type": "Bearer"},
    )
    assert idp.requests_to("/token") == 2
    assert said(await ask(cookie_browser, "logout", login_path))[0] == 200
    assert said(await ask(cookie_browser, "status", login_path)) == (200, {"authenticated": False})
    assert await kernel.run("print(session.status)") == "signed_out"
    assert idp.requests_to("/revoke") == 2


async def test_it_works_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A21: a kernel that is busy answers as well."""
    await sign_in(browser, login_path, idp)
    cell = await kernel.block("session.status != 'signed_out'")
    answers = [said(await ask(browser, name, login_path))[0] for name in ("status", "userinfo", "refresh", "logout")]

    assert answers == [200] * 4
    assert await cell == "busy\nsigned_out"


async def test_no_token_is_ever_in_an_answer(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """T07: not in a body and not in a header, of no route and at no time."""
    answers = []
    for step in ("before", "signed in", "renewed", "refused"):
        if step == "signed in":
            await sign_in(browser, login_path, idp)
        if step == "refused":
            idp.answers["/token"] = Answer({"error": "CANARY", "error_description": "CANARY"}, status=400)
        answers += [await ask(browser, name, login_path) for name in ("status", "userinfo", "refresh")]
    answers.append(await ask(browser, "logout", login_path))
    for answer in answers:
        answer.headers.pop("Set-Cookie", None)  # Jupyter's own: who the browser is there
    seen = "\n".join(f"{answer.headers}{answer.body.decode()}" for answer in answers)
    secrets = idp.secrets()

    assert '"authenticated": true' in seen
    assert len(secrets) > 6
    assert [secret for secret in secrets if secret in seen] == []


async def test_a_refresh_that_fails(browser: Browser, login_path: str, idp: Idp) -> None:
    """500 ``refresh_failed``, whatever the reason: that is for the notebook to show."""
    await sign_in(browser, login_path, idp)
    for answer in (Answer({}, status=503), Answer(b"<html>"), Answer({"error": "invalid_grant"}, status=400)):
        idp.answers["/token"] = answer

        assert said(await ask(browser, "refresh", login_path)) == (500, "refresh_failed")


async def test_nothing_to_refresh_with(browser: Browser, login_path: str, idp: Idp) -> None:
    """400 ``no_refresh_token``; the session is unchanged."""
    idp.token_extra = {"refresh_token": ...}
    await sign_in(browser, login_path, idp)

    assert said(await ask(browser, "refresh", login_path)) == (400, "no_refresh_token")
    assert said(await ask(browser, "status", login_path))[1]["authenticated"]


SAVE = """
from pywry_auth_nb import OAuthTokenSet
import time
await session._engine.sign_in(OAuthTokenSet(**{tokens!r}), {user!r})
print(session.status)
"""


#: What a provider may say about a user, and the name that the route returns.
PEOPLE: list[tuple[Any, str | None]] = [
    ({"sub": "s", "id": 7, "login": "l", "email": "e"}, "s"),
    ({"id": 7, "login": "l", "email": "e"}, "7"),
    ({"login": "l", "email": "e"}, "l"),
    ({"email": "ada@example.org"}, "ada@example.org"),
    ({"sub": "a:b"}, "a:b"),
    ({"sub": " ", "id": True, "login": ["x"], "email": None}, None),
    ({"name": "Ada"}, None),
    ({}, None),
    (None, None),
]


async def test_who_it_is(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """B12, A19: sub, id, login or email, as a string, whatever characters it has; never a name that people share."""
    for user, user_id in PEOPLE:
        await kernel.run(SAVE.format(tokens={"access_token": "CANARY", "expires_in": 3600}, user=user))
        status = said(await ask(browser, "status", login_path))
        userinfo = said(await ask(browser, "userinfo", login_path))
        known = {"user_id": user_id, "roles": [], "user_info": user}

        assert (status[0], status[1]["authenticated"], status[1]["user_id"]) == (200, True, user_id), user
        assert userinfo == ((401, "not_authenticated") if user_id is None else (200, known)), user


@pytest.mark.parametrize(("refresh_token", "authenticated"), [(None, False), ("CANARY", True)], ids=["without", "with"])
async def test_an_expired_token(
    browser: Browser, kernel: Kernel, login_path: str, refresh_token: str | None, authenticated: bool
) -> None:
    """A user whose token has expired counts as signed in if it can be refreshed."""
    tokens = {"access_token": "CANARY", "expires_in": 60, "issued_at": time.time() - 120}
    await kernel.run("session._engine._wait_until = lambda due: None")  # the background no longer refreshes
    await kernel.run(SAVE.format(tokens={**tokens, "refresh_token": refresh_token}, user={"sub": "ada"}))

    assert said(await ask(browser, "status", login_path))[1]["authenticated"] is authenticated


# -- who may not ------------------------------------------------------------------------------------------------


async def test_other_sites_may_not_ask(cookie_browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A page elsewhere, in a browser that is signed in here, gets nothing."""
    for name in QUESTIONS:
        for site in ("cross-site", "same-site"):
            response = await ask(cookie_browser, name, login_path, **{"Sec-Fetch-Site": site})

            assert said(response) == (403, "cross_site")


async def test_a_page_of_this_server_behind_a_proxy(cookie_browser: Browser, login_path: str, jp_web_app: Any) -> None:
    """Where a proxy changes the Host header, and Jupyter is told so, the browser's word for its own pages counts."""
    jp_web_app.settings["allow_origin"] = "https://hub.example.org"
    page = {"Origin": "https://hub.example.org", "Sec-Fetch-Site": "same-origin"}
    for name in NAMES:
        own = said(await ask(cookie_browser, name, login_path, **page))
        odd = said(await ask(cookie_browser, name, login_path, **{**page, "Sec-Fetch-Site": "odd"}))

        assert own[0] in {200, 401}, name
        assert odd == (403, "cross_site"), name


async def test_other_sites_may_not_act_where_jupyter_lets_them(
    cookie_browser: Browser, kernel: Kernel, login_path: str, idp: Idp, jp_web_app: Any
) -> None:
    """Actions refuse other sites by themselves, even if Jupyter's own check is off."""
    await sign_in(cookie_browser, login_path, idp)
    jp_web_app.settings["disable_check_xsrf"] = True
    for name in ("refresh", "logout", "cancel"):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = await cookie_browser.open(action(name, login_path), method="POST", body="", headers=headers)

            assert said(answer) == (403, "cross_site")
    assert await kernel.run("print(session.status)") == "signed_in"


@pytest.mark.parametrize("name", ["refresh", "logout", "cancel"])
async def test_other_sites_may_not_act(
    cookie_browser: Browser, kernel: Kernel, login_path: str, idp: Idp, name: str
) -> None:
    """403 ``csrf_failed``: another site's form has the login cookie, but not the XSRF token. B13."""
    await sign_in(cookie_browser, login_path, idp)
    body = {"method": "POST", "body": ""}
    for headers in (
        {},
        {"X-XSRFToken": "guess"},
        {"Origin": "https://evil.example", "Referer": "https://evil.example"},
    ):
        answer = await cookie_browser.open(action(name, login_path), headers=headers, **body)  # type: ignore[arg-type]

        assert said(answer) == (403, "csrf_failed")
    assert await kernel.run("print(session.status)") == "signed_in"
    assert idp.requests_to("/token") == 1


async def test_a_session_is_named_by_its_key_alone(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """B14: a session is found only by its key, and a path is one path."""
    await sign_in(browser, login_path, idp)
    for name in NAMES:
        assert said(await ask(browser, name, login_path + "x")) == (404, "no_session")
        assert said(await ask(browser, name, login_path.partition("&")[0])) == (404, "no_session")
    assert (await browser.open("pywry-auth/statusXYZ")).code == 404
    assert said(await browser.open(f"pywry-auth/status?session=ada&{login_path.partition('?')[2]}x"))[0] == 404


@pytest.mark.parametrize("value", ["chr(0xd800)", "1e999"], ids=["lone surrogate", "too large a number"])
async def test_claims_that_json_cannot_hold(browser: Browser, kernel: Kernel, login_path: str, value: str) -> None:
    """A claim that cannot be sent gets an answer, not silence."""
    await kernel.run(
        f"from pywry_auth_nb import OAuthTokenSet\n"
        f"from pywry_auth_nb._io.loop import run\n"
        f"run(session._engine.sign_in(OAuthTokenSet('CANARY'), {{'sub': 'ada', 'odd': {value}}}), 30)"
    )

    assert said(await ask(browser, "userinfo", login_path))[1] == "internal"


@pytest.mark.parametrize("content", ["[]", "'text'", "None"])
async def test_a_message_without_an_object(kernel: Kernel, login_path: str, content: str) -> None:
    """A control message whose content is no object gets a reply."""
    message = f"{{'header': {{'msg_type': 'x'}}, 'content': {content}}}"
    replies = await kernel.run(
        "import threading, types\n"
        "from pywry_auth_nb._sign_in import channel\n"
        "sent, done = [], threading.Event()\n"
        "def send(stream, kind, content, **_):\n"
        "    sent.append((kind, content.get('code')))\n"
        "    len(sent) == 2 and done.set()\n"
        "async def main():\n"
        "    fake = types.SimpleNamespace(session=types.SimpleNamespace(send=send))\n"
        f"    channel._handler(fake, 'pywry_auth_status')(None, None, {message})\n"
        "    while not done.is_set():\n"
        "        await asyncio.sleep(0.01)\n"
        "import asyncio\n"
        "await asyncio.wait_for(main(), 20)\n"
        "print(sent[1])"
    )

    assert replies == "('pywry_auth_status_reply', 'version_mismatch')"


async def test_an_older_kernel(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A kernel whose version does not know a request says so, as one without us would."""
    await kernel.run("del get_ipython().kernel.control_handlers['pywry_auth_status_request']")

    assert said(await ask(browser, "status", login_path)) == (404, "no_session")


async def test_the_wrong_method(browser: Browser) -> None:
    """Nothing is done by following a link, nor asked by posting a form."""
    for name, method in NAMES.items():
        with case(name):
            wrong = "GET" if method == "POST" else "POST"
            answer = await browser.open(f"pywry-auth/{name}", method=wrong, body="" if wrong == "POST" else None)

            assert said(answer) == (405, "bad_method")


async def test_run_deploy_names_the_session(browser: Browser, kernel: Kernel, idp: Idp, jp_base_url: str) -> None:
    """``run_deploy`` gives an address that signs in at this very server, and whose status can be asked."""
    await kernel.offer(idp.issuer)
    await kernel.run("from pywry_auth_nb import AuthFlowManager\nflow = AuthFlowManager(session.provider)")
    url = await kernel.run(f"print(flow.run_deploy({jp_base_url!r}))")
    assert url.startswith(jp_base_url + "pywry-auth/login?")
    path = url.removeprefix(jp_base_url)
    await sign_in(browser, path, idp)

    assert await kernel.run("print(flow.flow_state.value, flow.session.status)") == "completed signed_in"
    assert said(await ask(browser, "status", path))[1]["user_id"] == "ada"


async def test_run_deploy_knows_a_stored_session(browser: Browser, kernel: Kernel, idp: Idp) -> None:
    """The status route knows a stored sign-in before a widget is displayed."""
    await kernel.offer(idp.issuer)
    stored = json.dumps({"access_token": "CANARY", "expires_in": 3600})
    url = await kernel.run(
        "from pywry_auth_nb import AuthFlowManager, MemoryTokenStore, OAuthTokenSet\n"
        "import json\n"
        "store = MemoryTokenStore()\n"
        "flow = AuthFlowManager(session.provider, store)\n"
        f"await store.save(flow.session.store_key, OAuthTokenSet(**json.loads({stored!r})))\n"
        "path = flow.run_deploy('')\n"
        "print(path)"
    )
    path = url[url.index("pywry-auth/") :]

    begun = time.monotonic()
    while not said(await ask(browser, "status", path))[1]["authenticated"]:
        assert not over(begun, 20)
        await asyncio.sleep(0.1)


LIAR = """
from pywry_auth_nb._sign_in import channel
from pywry_auth_nb._wire import protocol

async def answer(content):
    return {reply}

channel._REQUESTS[protocol.{request}] = answer
"""


@pytest.mark.parametrize("request_name", ["STATUS", "USERINFO", "REFRESH"])
async def test_no_reply_of_a_kernel_gets_a_token_out(
    browser: Browser, kernel: Kernel, login_path: str, request_name: str
) -> None:
    """Only named members of a kernel's reply are passed on, so that no token can come with them."""
    reply = {"access_token": "CANARY", "success": False, "message": "CANARY", "user_id": "ada", "authenticated": True}
    await kernel.run(LIAR.format(reply=reply, request=request_name))
    route = request_name.lower()
    _, answer = said(await ask(browser, route, login_path))

    assert "CANARY" not in json.dumps(answer)
    assert answer.get("success", True) is True


@pytest.mark.parametrize(
    "reply",
    [
        {"authorize_url": "https://op.example/\r\nX: CANARY", "state": "s"},
        {"authorize_url": "https://[", "state": "s"},
        {"authorize_url": "https:op.example", "state": "s"},
        {"authorize_url": 5, "state": "s"},
        {"authorize_url": "https://op.example/", "state": 5},
        {"authorize_url": "javascript:CANARY", "state": "s"},
        {},
    ],
)
async def test_no_reply_of_a_kernel_breaks_the_login_route(
    browser: Browser, kernel: Kernel, login_path: str, reply: dict[str, Any]
) -> None:
    """A kernel runs untrusted code: its reply is checked before a browser is redirected."""
    await kernel.run(LIAR.format(reply=reply, request="BEGIN"))

    assert outcome(await browser.open(login_path)) == (400, "internal")
