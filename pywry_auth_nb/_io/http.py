"""The HTTP client: httpx with limits.

httpx alone does not bound a request: its timeouts restart with every byte, and it decompresses whatever it receives.
Here every request has a total deadline and a limit for the size of the response, also when inflated; it follows no
redirects and keeps no cookies. It returns one JSON value, or raises an error that quotes nothing of the request.
"""

from __future__ import annotations

import asyncio
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import TokenError
from . import fork
from .answers import Reply, answer_of, plain_body
from .urls import check_url, on_this_machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

    from .answers import Answer

DEADLINE = 10.0  # seconds for one whole request
MAX_BYTES = 512 * 1024
_CONNECT_SHARE = 0.8  # of the deadline: a proxy that does not answer is told from a slow provider
_LOCATION = "pywry_auth_location"


class HttpClient:
    """Talks to a provider, a hub or a Jupyter server. Use it on the background loop only.

    Args:
        deadline: Time limit for a whole request, in seconds.
        max_bytes: Size limit of a response body.
        hub_origin: Origin of the hub that this process belongs to, such as ``http://hub:8081/``. It may be reached over
            plain http; with ``internal_ssl``, the hub's own certificates are used.
    """

    def __init__(self, *, deadline: float = DEADLINE, max_bytes: int = MAX_BYTES, hub_origin: str = "") -> None:
        self._hub_origin = hub_origin
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._client: httpx.AsyncClient | None = None
        fork.in_child(self._forget_client)

    async def request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str | Sequence[str]] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        expect_json: bool = True,
        form_answer: bool = False,
        jwt_answer: bool = False,
        redirects: bool = False,
        deadline: float | None = None,
    ) -> Answer:
        """Send a request and return the response.

        Args:
            method: HTTP method.
            url: URL; see :func:`check_url`.
            form: Form fields to send; one with several values is repeated.
            json: A JSON value to send instead.
            headers: Additional headers.
            expect_json: Whether a successful response that is not JSON is an error.
            form_answer: Whether the response may also be a form, which is decoded to an object of strings.
            jwt_answer: Whether the response may also be a JSON Web Token, which is returned as a string.
            redirects: Whether to return a redirect instead of raising an error. It is never followed.
            deadline: Time limit for this request, in seconds; that of the client when left out.

        Raises:
            TokenError: Code ``insecure_url``, ``timeout``, ``too_large``, ``redirect_refused``, ``bad_response``,
                ``bad_token``, or one of ``NETWORK_ERRORS``.
            NetworkSettingError: A variable for certificates or proxies is wrong.
        """
        if not self._hub_origin or not url.startswith(self._hub_origin):
            check_url(url)
        _check_headers(headers or {})
        sent_at = time.time()
        content = {"data": form, "json": json, "headers": headers}
        reply = await self._bounded(method, url, content, self._deadline if deadline is None else deadline)
        if isinstance(reply, TokenError):
            raise reply
        host = urlsplit(url).hostname
        if 300 <= reply.status < 400 and not redirects:  # noqa: PLR2004
            raise TokenError(code="redirect_refused", host=host)
        answer = answer_of(reply, sent_at, form=form_answer, jwt=jwt_answer)
        if answer.body is None and answer.ok and expect_json:
            raise TokenError(code="bad_response", host=host)
        return answer

    async def download(self, url: str, *, accept: str) -> tuple[str, bytes]:
        """Return media type and body of what anyone may read at ``url``. No credentials are sent.

        Raises:
            TokenError: As for :meth:`request`; code ``bad_response`` for any status but 200.
        """
        check_url(url)
        reply = await self._bounded("GET", url, {"headers": {"Accept": accept}}, self._deadline)
        if isinstance(reply, TokenError):
            raise reply
        if reply.status != 200:  # noqa: PLR2004
            raise TokenError(code="bad_response", host=urlsplit(url).hostname)
        return reply.headers.get("content-type", "").partition(";")[0].strip().lower(), reply.body

    async def post_form(self, url: str, form: Mapping[str, str], *, accept: str) -> tuple[int, bytes]:
        """Send a form, and return the status and the body of the response, whatever they are.

        Raises:
            TokenError: As for :meth:`request`.
        """
        check_url(url)
        content = {"data": form, "headers": {"Accept": accept}}
        reply = await self._bounded("POST", url, content, self._deadline)
        if isinstance(reply, TokenError):
            raise reply
        return reply.status, reply.body

    async def _bounded(self, method: str, url: str, content: dict[str, Any], deadline: float) -> Reply | TokenError:
        """Return the reply within the deadline, or the error to raise.

        Raised here, it would keep httpx's own exception as its context, and with it the whole request.
        """
        import httpx

        host = urlsplit(url).hostname
        try:
            timeout = httpx.Timeout(deadline, connect=deadline * _CONNECT_SHARE)
            return await asyncio.wait_for(self._exchange(method, url, {**content, "timeout": timeout}), deadline)
        except TokenError as error:
            return error
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return TokenError(code="timeout", host=host, timeout=deadline)
        except UnicodeError:  # no name for a resolver (IDNA)
            return TokenError(code="unknown_host", host=host)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            return TokenError(code="network", host=host, reason=type(error).__name__)

    async def _exchange(self, method: str, url: str, content: dict[str, Any]) -> Reply:
        data = bytearray()
        url, host = on_this_machine(url)
        content["headers"] = {**(content["headers"] or {}), **host}
        async with self._open().stream(method, url, **content) as response:
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > self._max_bytes:
                    break
            body = plain_body(bytes(data), response.headers.get("content-encoding", ""), self._max_bytes)
            if len(body) > self._max_bytes:
                raise TokenError(code="too_large", limit=self._max_bytes)
            return Reply(response.status_code, response.headers, body, response.extensions.get(_LOCATION))

    def _open(self) -> httpx.AsyncClient:
        import httpx

        from .routes import Routes

        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=Routes(self._hub_origin),
                trust_env=False,
                timeout=httpx.Timeout(self._deadline, connect=self._deadline * _CONNECT_SHARE),
                follow_redirects=False,
                event_hooks={"response": [_set_location_aside]},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "pywry-auth-nb"},
            )
        return self._client

    async def close(self) -> None:
        """Close the connections. The client may be used again afterwards."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _forget_client(self) -> None:
        fork.leave_alone(self._client)
        self._client = None


async def _set_location_aside(response: httpx.Response) -> None:
    """Keep httpx from building the next request of a redirect, which fails if the location is not a URL."""
    response.extensions[_LOCATION] = response.headers.pop("location", None)


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse header values that cannot be sent, before httpx quotes them in its error."""
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise TokenError(code="bad_token")
