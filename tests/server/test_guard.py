"""Who may use the routes: the owner of this server, signed in to Jupyter, who may execute code."""

from __future__ import annotations

import functools
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.utils import JupyterServerAuthWarning
from tornado.web import RequestHandler, authenticated

from pywry_auth_nb._wire import pages
from pywry_auth_nb.server.handlers import PywryAuthHandler, guarded, handlers
from tests.support.cases import case

from .conftest import Browser, body_of, outcome, with_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httpclient import HTTPResponse

METHODS = RequestHandler.SUPPORTED_METHODS
CLASSES = sorted({entry[1] for entry in handlers("/")}, key=lambda handler: handler.__name__)


def implemented(handler: type[RequestHandler]) -> dict[str, Any]:
    """The HTTP methods that a handler answers."""
    methods = {name: getattr(handler, name.lower()) for name in handler.SUPPORTED_METHODS}
    return {name: method for name, method in methods.items() if method is not RequestHandler._unimplemented_method}


def paths() -> list[str]:
    """A path for each route of ours."""
    return [re.sub(r"\\(.)", r"\1", entry[0]).lstrip("/").replace(".*", "elsewhere") for entry in handlers("/")]


ROUTES = [
    (method, path) for path, entry in zip(paths(), handlers("/"), strict=True) for method in implemented(entry[1])
]


def code_of(response: HTTPResponse) -> str:
    """The code of a refusal, on a page or in JSON; or ``ok``."""
    if response.headers["Content-Type"] == "application/json":
        return str(body_of(response).get("error", "ok"))
    return outcome(response)[1]


async def call(browser: Browser, method: str, path: str, **headers: str) -> HTTPResponse:
    """Call a route with a query that would be good enough, and with whatever XSRF token the browser has."""
    if "_xsrf" in browser.cookies:
        headers["X-XSRFToken"] = browser.cookies["_xsrf"]
    body = "" if method[0] == "P" else None
    return await browser.open(f"{path}?kernel=k&flow=f&state=s&code=c", method=method, body=body, headers=headers)


async def test_the_owner_may(cookie_browser: Browser) -> None:
    """A user signed in to Jupyter passes the guard: the answer depends on the kernel, sign-in or address alone."""
    for method, path in ROUTES:
        with case(method, path):
            assert code_of(await call(cookie_browser, method, path)) in {
                "kernel_gone",
                "other_browser",
                "not_found",
                "ok",
            }


#: The one route that sends a stranger to Jupyter's login page: it takes no query, and none gets there.
TO_LOGIN = ("GET", "pywry-auth/stopped")


async def test_a_stranger_may_not(stranger: Browser) -> None:
    """A browser not signed in to Jupyter is refused, also with an XSRF token, which every browser can get."""
    for method, path in [route for route in ROUTES if route != TO_LOGIN]:
        with case(method, path):
            await stranger.open("login")
            response = await call(stranger, method, path)

            assert response.code == 403
            assert code_of(response) == ("other_browser" if path.endswith("callback") else "jupyter_login")


async def test_a_stranger_at_a_server_that_was_stopped(stranger: Browser) -> None:
    """A browser that comes back too late signs in first; nothing of the query is kept."""
    response = await call(stranger, *TO_LOGIN)

    assert response.code == 302
    assert response.headers["Location"].endswith("login?next=%2Fa%2540b%2Fpywry-auth%2Fstopped")


class ReadOnly(Authorizer):
    """Lets people look, and not run code."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:  # noqa: ARG002
        """Note the question, and say yes to reading."""
        self.asked.append((action, resource))
        return action == "read"


@with_settings(authorizer_class=ReadOnly)
async def test_a_user_who_may_only_read_may_not(browser: Browser) -> None:
    """A sign-in gives a kernel tokens, so it takes what running code there takes."""
    for method, path in ROUTES:
        with case(method, path):
            ReadOnly.asked.clear()
            response = await call(browser, method, path)

            assert (response.code, code_of(response)) == (403, "forbidden")
            assert ReadOnly.asked == [("execute", "kernels")]


async def test_another_user_of_the_hub_may_not(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hub, a server answers sign-ins of its owner alone, although JupyterHub lets another user in."""
    for method, path in ROUTES:
        with case(method, path):
            monkeypatch.setenv("JUPYTERHUB_USER", "alice")
            response = await call(browser, method, path)

            assert (response.code, code_of(response)) == (403, "forbidden")


async def test_the_hub_user_may(cookie_browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hub, the owner is recognized by name."""
    me = body_of(await cookie_browser.open("api/me"))["identity"]["username"]
    monkeypatch.setenv("JUPYTERHUB_USER", me)

    assert code_of(await call(cookie_browser, "GET", "pywry-auth/login")) == "kernel_gone"


@pytest.mark.parametrize(
    "jp_server_config",
    [{"allow_unauthenticated_access": True}, {"allow_unauthenticated_access": False}],
    indirect=True,
    ids=["lax", "strict"],
)
async def test_a_stranger_is_never_sent_elsewhere(stranger: Browser) -> None:
    """No method of any route redirects to a login page: that would write the query into pages and logs."""
    for path in paths():
        for method in METHODS:
            if (method, path) == TO_LOGIN:
                continue
            response = await call(stranger, method, path)

            assert response.code in {403, 405}, (method, path)
            assert "Location" not in response.headers


async def test_another_host_name_is_refused(browser: Browser) -> None:
    """A request under another host name (DNS rebinding) is refused, with a page of ours."""
    for method, path in ROUTES:
        with case(method, path):
            response = await call(browser, method, path, Host="evil.example")

            assert response.code == 403
            if response.headers["Content-Type"] == "application/json":
                assert body_of(response)["error"] == "refused"
            else:
                assert {name: response.headers[name] for name in pages.HEADERS} == pages.HEADERS


@with_settings(allow_unauthenticated_access=False)
def test_jupyter_finds_every_method_guarded(jp_configurable_serverapp: Callable[..., Any], jp_base_url: str) -> None:
    """A server that insists on guards starts without a complaint about ours, and would complain about none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        app = jp_configurable_serverapp()

    assert "pywry_auth" in app.web_app.settings
    assert not [str(warning.message) for warning in caught if "pywry" in str(warning.message)]
    with pytest.warns(JupyterServerAuthWarning, match="pywry-auth/open"):
        app.web_app.add_handlers(".*$", [("/pywry-auth/open", Open)])


# -- the check of the build: no method without the guard --------------------------------------------------------


def unguarded(handler: type[RequestHandler]) -> list[str]:
    """The methods of a handler that do not run under ``guarded``, and the rules that it replaces.

    What a method is known by is the code that runs first, and not a mark that something else might leave as well.
    """
    methods = implemented(handler).items()
    bare = [name for name, method in methods if getattr(method, "__wrapped__", method).__code__ is not GUARD_CODE]
    replaced = [name for name in ("prepare", "check_user") if getattr(handler, name) is not PYWRY[name]]
    return bare + replaced


GUARD_CODE = guarded(PywryAuthHandler.prepare).__wrapped__.__code__  # type: ignore[attr-defined]
PYWRY = {name: getattr(PywryAuthHandler, name) for name in ("prepare", "check_user")}


class Open(PywryAuthHandler):
    """A handler whose author forgot the guard."""

    async def get(self) -> None:
        """Answer every request."""


class Public(PywryAuthHandler):
    """A handler with Jupyter's mark for public routes in place of the guard."""

    @allow_unauthenticated
    async def post(self) -> None:
        """Answer every request."""


class Redirecting(PywryAuthHandler):
    """A handler with tornado's guard, which redirects."""

    @authenticated
    async def get(self) -> None:
        """Answer those who are signed in, and redirect others with the query."""


def logged(method: Callable[..., Any]) -> Callable[..., Any]:
    """Do something before a method, and look like it (``functools.wraps`` copies every mark)."""

    @functools.wraps(method)
    async def wrapper(self: PywryAuthHandler) -> None:
        await method(self)

    return wrapper


class Late(PywryAuthHandler):
    """A handler that does something before its guard."""

    @logged
    @guarded
    async def get(self) -> None:
        """Answer the owner."""


class Lenient(PywryAuthHandler):
    """A guarded handler that makes its own rules."""

    async def check_user(self) -> None:
        """Allow every request."""

    @guarded
    async def get(self) -> None:
        """Answer every request."""


def test_every_method_is_guarded() -> None:
    """Each HTTP method of each handler in the table of routes runs under the guard, and by its rules."""
    for handler in CLASSES:
        with case(handler):
            assert implemented(handler)
            assert unguarded(handler) == []


def test_who_sends_on_before_asking_who_it_is() -> None:
    """Only the callback, and the page for late answers, do anything for a browser without a login."""
    sending = [handler.__name__ for handler in CLASSES if handler.send_on is not PywryAuthHandler.send_on]

    assert sending == ["CallbackHandler", "StoppedHandler"]


UNGUARDED = [(Open, "GET"), (Public, "POST"), (Redirecting, "GET"), (Late, "GET"), (Lenient, "check_user")]


def test_the_check_finds_what_is_unguarded() -> None:
    """The check above would notice a handler without the guard, or with something that looks like it."""
    for handler, found in UNGUARDED:
        with case(handler, found):
            assert unguarded(handler) == [found]
