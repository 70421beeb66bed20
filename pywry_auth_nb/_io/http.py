"""The HTTP client: httpx with limits.

httpx alone does not bound a request: its timeouts restart with every byte, and it decompresses whatever it receives.
Here every request has a total deadline and a size limit, follows no redirects and keeps no cookies. It returns one JSON
value, or raises an error that quotes nothing of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import SplitResult, parse_qsl, urlsplit

from ..errors import TokenError
from . import fork

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

DEADLINE = 10.0  # seconds for one whole request
MAX_BYTES = 512 * 1024
_MAX_RETRY_AFTER = 3600.0
MAX_URL = 2048  # characters that every browser and proxy accepts
_NOT_IN_URLS = frozenset(' "<>\\^`{|}#')  # RFC 3986 §2; and "#", since an endpoint must not have a fragment
_JSON_TYPES = ("application/json", "application/jwk-set+json")


@dataclass(frozen=True, repr=False)
class Answer:
    """A response.

    Attributes:
        status: The HTTP status.
        body: The decoded JSON value; None if the body is not JSON.
        retry_after: Seconds of ``Retry-After``, capped at an hour; None if absent.
        sent_at: Epoch seconds when the request was sent.
        date: Epoch seconds of ``Date``, the server's clock; None if absent.
        location: The ``Location`` of a redirect, unresolved; None if absent.
    """

    status: int
    body: Any
    retry_after: float | None
    sent_at: float
    date: float | None = None
    location: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is 200, the only success in OAuth and OpenID Connect."""
        return self.status == 200  # noqa: PLR2004


class _Reply(NamedTuple):
    """A response before decoding."""

    status: int
    headers: httpx.Headers
    body: bytes


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
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        expect_json: bool = True,
        form_answer: bool = False,
        redirects: bool = False,
    ) -> Answer:
        """Send a request and return the response.

        Args:
            method: HTTP method.
            url: URL; see :func:`check_url`.
            form: Form fields to send.
            json: A JSON value to send instead.
            headers: Additional headers.
            expect_json: Whether a successful response that is not JSON is an error.
            form_answer: Whether the response may also be a form, which is decoded to an object of strings.
            redirects: Whether to return a redirect instead of raising an error. It is never followed.

        Raises:
            TokenError: Code ``insecure_url``, ``network``, ``timeout``, ``too_large``, ``redirect_refused``,
                ``bad_response`` or ``bad_token``.
        """
        if not self._hub_origin or not url.startswith(self._hub_origin):
            check_url(url)
        _check_headers(headers or {})
        sent_at = time.time()
        reply = await self._bounded(method, url, {"data": form, "json": json, "headers": headers})
        if isinstance(reply, TokenError):
            raise reply
        host = urlsplit(url).hostname
        if 300 <= reply.status < 400 and not redirects:  # noqa: PLR2004
            raise TokenError(code="redirect_refused", host=host)
        value = _decode(reply, form=form_answer)
        if value is None and reply.status == 200 and expect_json:  # noqa: PLR2004
            raise TokenError(code="bad_response", host=host)
        headers_of = reply.headers.get
        retry_after, date = _retry_after(headers_of("retry-after")), _epoch(headers_of("date"))
        return Answer(reply.status, value, retry_after, sent_at, date, headers_of("location"))

    async def _bounded(self, method: str, url: str, content: dict[str, Any]) -> _Reply | TokenError:
        """Return the reply within the deadline, or the error to raise.

        Raised here, it would keep httpx's own exception as its context, and with it the whole request.
        """
        import httpx

        host = urlsplit(url).hostname
        try:
            self._open()
        except (OSError, ImportError, ValueError) as error:
            why = type(error).__name__
            message = (
                f"This environment's network settings are invalid ({why}). Check the files that SSL_CERT_FILE and, on "
                "a hub, JUPYTERHUB_SSL_… name, and the proxies."
            )
            return TokenError(message, code="network")
        try:
            return await asyncio.wait_for(self._exchange(method, url, content), self._deadline)
        except TokenError as error:
            return error
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return TokenError(code="timeout", host=host, timeout=self._deadline)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            return TokenError(code="network", host=host, reason=type(error).__name__)

    async def _exchange(self, method: str, url: str, content: dict[str, Any]) -> _Reply:
        data = bytearray()
        async with self._open().stream(method, url, **content) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                message = "The provider compressed its response, although asked not to. Ask its operator."
                raise TokenError(message, code="bad_response")
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > self._max_bytes:
                    raise TokenError(code="too_large", limit=self._max_bytes)
            return _Reply(response.status_code, response.headers, bytes(data))

    def _open(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._deadline,
                follow_redirects=False,
                mounts={
                    "http://": None,  # plain http is for this machine only, so without a proxy
                    **_hub_transport(self._hub_origin),
                },
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


def _hub_transport(origin: str) -> dict[str, httpx.AsyncHTTPTransport]:
    """Return the mutual-TLS transport for a hub with ``internal_ssl``; empty on other hubs."""
    import httpx

    authority, certificate, key = (
        os.environ.get(f"JUPYTERHUB_SSL_{name}") for name in ("CLIENT_CA", "CERTFILE", "KEYFILE")
    )
    if not (origin and authority and certificate and key):
        return {}
    tls = ssl.create_default_context(cafile=authority)
    tls.load_cert_chain(certificate, key)
    return {origin.rstrip("/"): httpx.AsyncHTTPTransport(verify=tls)}


def check_url(url: str, *, loopback: bool = True) -> None:
    """Check that secrets may be sent to a URL: https, or http to a loopback host, and unambiguous.

    Args:
        url: The URL.
        loopback: Whether http to a loopback host is allowed.

    Raises:
        TokenError: Code ``insecure_url``.
    """
    if not is_safe(url) or not (loopback or url.startswith("https:")):
        raise TokenError(code="insecure_url")


def is_safe(url: str) -> bool:
    """Whether ``url`` is https or loopback, without user info, and read alike by all parsers."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or set(url) & _NOT_IN_URLS:
        return False
    parts = split_url(url)
    return (
        parts is not None
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
    )


def split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if it has no host or an invalid port."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is invalid
    except ValueError:
        return None
    return parts if parts.hostname else None


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse header values that cannot be sent, before httpx quotes them in its error."""
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise TokenError(code="bad_token")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: ``localhost`` or a loopback address literal."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def strict_json(data: bytes) -> Any:
    """Decode JSON, refusing what decoders disagree on: encodings, duplicate members, NaN (RFC 8259 §4, §6, §8).

    Raises:
        ValueError: The data is not JSON, is ambiguous, or is nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _decode(reply: _Reply, *, form: bool) -> Any:
    """Return the decoded JSON, or form fields if ``form`` allows them; None for anything else."""
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in _JSON_TYPES:
        with contextlib.suppress(ValueError):
            return strict_json(reply.body)
    if form and media_type == "application/x-www-form-urlencoded":
        with contextlib.suppress(ValueError):
            return _unique(parse_qsl(reply.body.decode("ascii"), strict_parsing=True))
    return None


def _retry_after(value: str | None) -> float | None:
    """Parse ``Retry-After``: seconds or an HTTP date (RFC 9110 §10.2.3)."""
    digits = (value or "").strip()
    if digits.isascii() and digits.isdigit():
        seconds = float(digits)
    elif (date := _epoch(value)) is not None:
        seconds = date - time.time()
    else:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _epoch(value: str | None) -> float | None:
    """Parse an HTTP date (RFC 9110 §5.6.7)."""
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (TypeError, ValueError, OverflowError):
        return None
