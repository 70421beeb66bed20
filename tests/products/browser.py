"""A browser for pages without JavaScript: cookies, redirects and forms. It stops before a client's redirect URI."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_REDIRECTS = 20
_BUTTONS = ("submit", "image")


@dataclass
class Form:
    """One form of a page.

    Attributes:
        action: Where it is sent; empty for the page's own address.
        method: "get" or "post".
        fields: What it sends, with the values that the page gave them.
        buttons: Names and values of its submit buttons; only the one that is pressed is sent.
    """

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """A page, or the client's redirect URI, at which nothing listens.

    Attributes:
        url: Its address.
        status: Of the response; 0 at a redirect URI.
        text: Its HTML.
    """

    url: httpx.URL
    status: int = 0
    text: str = ""

    @property
    def answer(self) -> dict[str, str]:
        """The parameters with which a provider sent the browser back to the client."""
        assert self.status == 0, f"{self.url} is no redirect URI:\n{self.text[:2000]}"
        return dict(self.url.params)

    def form(self, *names: str) -> Form | None:
        """Return the first form with fields or buttons of these names."""
        reader = _FormReader()
        reader.feed(self.text)
        return next((form for form in reader.forms if {*names} <= form.fields.keys() | form.buttons.keys()), None)


class Browser:
    """One person's browser, with cookies of its own.

    Args:
        stop: The client's redirect URI.
    """

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self._http = httpx.Client(trust_env=False, timeout=30)

    def open(self, url: str | httpx.URL) -> Page:
        """Go to an address, and follow its redirects."""
        return self._follow(self._http.build_request("GET", url))

    def submit(self, page: Page, form: Form, values: Mapping[str, str], *, button: str = "") -> Page:
        """Fill in a form of a page, press a button, and follow the redirects."""
        pressed = {button: form.buttons[button]} if button else {}
        data = {**form.fields, **pressed, **values}
        url = page.url.join(form.action) if form.action else page.url
        if form.method == "get":
            return self.open(url.copy_with(params=data))
        headers = {"Origin": f"{url.scheme}://{url.netloc.decode()}", "Referer": str(page.url)}
        return self._follow(self._http.build_request("POST", url, data=data, headers=headers))

    def ask(self, method: str, url: str, **arguments: object) -> httpx.Response:
        """Make a request as a script of a page does."""
        return self._http.request(method, url, **arguments)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _follow(self, request: httpx.Request) -> Page:
        for _ in range(_MOST_REDIRECTS):
            if str(request.url).startswith(self._stop):
                return Page(request.url)
            response = self._http.send(request)
            if response.next_request is None:
                return Page(response.url, response.status_code, response.text)
            request = self._http.build_request(response.next_request.method, response.next_request.url)
        raise AssertionError(f"too many redirects, the last to {request.url}")


class _FormReader(HTMLParser):
    """Collects the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag in ("input", "button") and self.forms:
            self._add(given, given.get("type", "text" if tag == "input" else "submit"))

    def _add(self, given: dict[str, str], kind: str) -> None:
        form, name = self.forms[-1], given.get("name", "")
        if kind in _BUTTONS:
            form.buttons[name] = given.get("value", "")
        elif name and (kind not in ("checkbox", "radio") or "checked" in given):
            form.fields[name] = given.get("value", "on" if kind == "checkbox" else "")
