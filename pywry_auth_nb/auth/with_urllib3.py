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
            attempt = new_attempt(url)
            authorization = attempt.begin()
            connects = may_connect(url)
            body = Body(kw.get("body"))
            unsafe = {*retries.remove_headers_on_redirect, "authorization"}
            kw["retries"] = retries.new(remove_headers_on_redirect=unsafe)
            headers = self.headers if kw.get("headers") is None else kw["headers"]
            kw["headers"] = _with(headers, authorization) if connects else headers
            response = super().urlopen(method, url, redirect, **kw)
            sent = authorization if connects else None
            if not attempt.is_refused(_answer(response, url, sent), redirected=bool(_redirects_in(response.retries))):
                return response
            renewed = attempt.renew() if connects else authorization
            if renewed is None or not body.rewind():
                return response
            response.drain_conn()
            response.release_conn()
            kw["headers"] = _with(headers, renewed)
            repeated = super().urlopen(method, url, redirect, **kw)
            attempt.is_refused(_answer(repeated, url, renewed), redirected=False)
            return repeated

        def __repr__(self) -> str:
            return shown

    return AuthorizedPoolManager(**options)


def _with(headers: Any, authorization: str) -> dict[str, str]:
    """Return headers with a token, as a dictionary: urllib3's own kind would show it in a traceback with variables."""
    others = {name: headers[name] for name in headers if name.lower() != "authorization"}
    return {**others, "Authorization": authorization}


def _redirects_in(retries: Any) -> list[Any]:
    return [each for each in getattr(retries, "history", ()) if each.redirect_location]


def _answer(response: Any, url: str, sent: str | None) -> Answer:
    """Return what an answer says; after a redirect to another origin, its request carried no token."""
    left = False
    for hop in _redirects_in(response.retries):
        here, url = url, urljoin(url, hop.redirect_location)
        left = left or origin_of(here) != origin_of(url)
    challenge = ", ".join(response.headers.getlist("WWW-Authenticate"))
    return Answer(response.status, challenge, url, None if left else sent, response.close)
