"""The one HTTP client: httpx, bounded.

httpx alone does not bound a request: its timeouts restart with every byte and it inflates whatever it is sent. Here
every request has a total deadline and a cap on bytes, follows no redirect, keeps no cookie, and answers with one JSON
value or a typed error that quotes nothing of what was sent.
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
MAX_URL = 2048  # what every browser and proxy takes
_NOT_IN_URLS = frozenset(' "<>\\^`{|}#')  # RFC 3986 §2, and the fragment, which an endpoint must not have
_JSON_TYPES = ("application/json", "application/jwk-set+json")


@dataclass(frozen=True, repr=False)
class Answer:
    """What a provider answered.

    Attributes:
        status: The HTTP status.
        body: The decoded JSON value; None when the body was no JSON.
        retry_after: Seconds of ``Retry-After``, clamped to an hour; None when absent.
        sent_at: Epoch seconds when the request left.
        date: Epoch seconds of ``Date``: the other end's clock; None when absent.
        location: Where a redirect leads, as it was written; None when absent.
    """

    status: int
    body: Any
    retry_after: float | None
    sent_at: float
    date: float | None = None
    location: str | None = None

    @property
    def ok(self) -> bool:
        """Only 200 is success: OAuth and OpenID Connect name no other."""
        return self.status == 200  # noqa: PLR2004


class _Reply(NamedTuple):
    """A reply as it came."""

    status: int
    headers: httpx.Headers
    body: bytes


class HttpClient:
    """Talks to a provider, a hub or a Jupyter server. Use it on the background loop only.

    Args:
        deadline: Seconds for one whole request.
        max_bytes: Of an answer.
        hub_origin: Where the hub is that this process belongs to, such as ``http://hub:8081/``: the one place that may
            be asked over plain http, and where a hub with ``internal_ssl`` has certificates of its own.
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
        """Send one request and return the answer.

        Args:
            method: HTTP method.
            url: Where to; see :func:`check_url`.
            form: A form to send.
            json: A JSON value to send instead.
            headers: More headers.
            expect_json: Whether a success that is not JSON is an error.
            form_answer: Whether an answer may also be a form, which is decoded to an object of strings.
            redirects: Whether a redirect is an answer like any other, instead of an error. None is followed.

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
        """Return the reply within the deadline, or why there is none.

        Not raised here: the error would carry along httpx's own, which knows the whole request.
        """
        import httpx

        host = urlsplit(url).hostname
        try:
            self._open()
        except (OSError, ImportError, ValueError) as error:
            why = type(error).__name__
            message = (
                f"This environment's network settings do not work ({why}). Check the files that SSL_CERT_FILE and, on "
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
                message = "The provider compressed its answer although asked not to. Ask its operator."
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
                    "http://": None,  # plain http is for this machine alone, and so goes through no proxy
                    **_hub_transport(self._hub_origin),
                },
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "pywry-auth-nb"},
            )
        return self._client

    async def close(self) -> None:
        """Close the open connections. The client may be used again afterwards."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _forget_client(self) -> None:
        fork.leave_alone(self._client)
        self._client = None


def _hub_transport(origin: str) -> dict[str, httpx.AsyncHTTPTransport]:
    """Return how a hub with ``internal_ssl`` is reached, where both ends show certificates; nothing on other hubs."""
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
    """Refuse a URL that must not be given secrets: https, or http to a loopback host, and nothing hidden in it.

    Args:
        url: The URL.
        loopback: Whether http to a loopback host will do.

    Raises:
        TokenError: Code ``insecure_url``.
    """
    if not is_safe(url) or not (loopback or url.startswith("https:")):
        raise TokenError(code="insecure_url")


def is_safe(url: str) -> bool:
    """Whether ``url`` is https or loopback, and nothing in it is hidden or read differently by different parsers."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or set(url) & _NOT_IN_URLS:
        return False
    parts = split_url(url)
    return (
        parts is not None
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
    )


def split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; None where it has no host, or a port that is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is none
    except ValueError:
        return None
    return parts if parts.hostname else None


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse a header that cannot be sent before httpx does, whose log quotes it."""
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
        ValueError: It is not JSON, or is ambiguous, or nested too deep.
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
    """Return the JSON value of a reply, or of the ``form`` that it may be; None when it is neither."""
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in _JSON_TYPES:
        with contextlib.suppress(ValueError):
            return strict_json(reply.body)
    if form and media_type == "application/x-www-form-urlencoded":
        with contextlib.suppress(ValueError):
            return _unique(parse_qsl(reply.body.decode("ascii"), strict_parsing=True))
    return None


def _retry_after(value: str | None) -> float | None:
    """Read ``Retry-After``: seconds or an HTTP date (RFC 9110 §10.2.3)."""
    digits = (value or "").strip()
    if digits.isascii() and digits.isdigit():
        seconds = float(digits)
    elif (date := _epoch(value)) is not None:
        seconds = date - time.time()
    else:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _epoch(value: str | None) -> float | None:
    """Read an HTTP date (RFC 9110 §5.6.7)."""
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (TypeError, ValueError, OverflowError):
        return None
