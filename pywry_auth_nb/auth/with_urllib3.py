"""The protocol of urllib3, which knows no ``auth``: a ``PoolManager`` that adds the token to its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from .attempt import Answer, Attempt
from .bodies import Body
from .destinations import may_connect, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable


def pool_manager(urllib3: Any, new_attempt: Callable[[str], Attempt], shown: str, **options: Any) -> Any:
    """Return a ``urllib3.PoolManager``.

    Args:
        urllib3: The package.
        new_attempt: Begins a request to a URL.
        shown: The manager's repr.
        options: Arguments of ``PoolManager``.
    """
    retry: Any = urllib3.Retry

    class AuthorizedPoolManager(urllib3.PoolManager):  # type: ignore[misc]
        """Adds the token to each request, and repeats it once if it is refused."""

        def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:
            """Send a request. The base class calls this for each hop of a redirect as well."""
            retries = retry.from_int(kw.get("retries"), redirect=redirect, default=options.get("retries"))
            if _redirects_in(retries):
                return super().urlopen(method, url, redirect, **kw)
            attempt, body = new_attempt(url), Body(kw.get("body"))
            header: str | None = attempt.begin()
            unsafe = {*retries.remove_headers_on_redirect, "authorization"}
            kw["retries"] = retries.new(remove_headers_on_redirect=unsafe)
            headers = self.headers if kw.get("headers") is None else kw["headers"]
            sent = header if may_connect(url) else None
            while True:
                kw["headers"] = _with(headers, sent)
                response = super().urlopen(method, url, redirect, **kw)
                header = attempt.again(_answer(response, url, sent, body))
                if header is None:
                    return response
                response.drain_conn()
                sent = header

        def __repr__(self) -> str:
            return shown

    return AuthorizedPoolManager(**options)


def _with(headers: Any, authorization: str | None) -> Any:
    """Return headers with a token, as a dictionary: urllib3's own kind would show it in a traceback with variables."""
    if authorization is None:
        return headers
    others = {name: headers[name] for name in headers if name.lower() != "authorization"}
    return {**others, "Authorization": authorization}


def _redirects_in(retries: Any) -> list[Any]:
    return [each for each in getattr(retries, "history", ()) if each.redirect_location]


def _answer(response: Any, url: str, sent: str | None, body: Body) -> Answer:
    """Return what an answer says; after a redirect to another origin, its request carried no token."""
    redirects = _redirects_in(response.retries)
    for redirect in redirects:
        here, url = url, urljoin(url, redirect.redirect_location)
        sent = sent if origin_of(here) == origin_of(url) else None
    challenge = ", ".join(response.headers.getlist("WWW-Authenticate"))
    return Answer(response.status, challenge, url, sent, bool(redirects), body.rewind, response.close)
