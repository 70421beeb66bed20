"""`Avatar`: the picture of the signed-in user, fetched by the kernel, so that no page asks another server for it."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING

from .._io.http import HttpClient
from .._io.loop import call_soon
from .._io.urls import is_internal, is_loopback, is_safe, split_url
from ..errors import AuthenticationError

if TYPE_CHECKING:
    from .._session.engine import SessionEngine

MAX_BYTES = 128 * 1024
_DEADLINE = 5.0  # seconds
_CLAIMS = ("picture", "avatar_url")  # OIDC Core §5.1; GitHub
_TYPES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
}


class Avatar:
    """Fetches the picture that the claims name, once, in the background; without credentials and without redirects.

    Args:
        engine: The engine of the session.
    """

    def __init__(self, engine: SessionEngine) -> None:
        self._engine = engine
        self._url = ""
        self._data_uri = ""

    @property
    def data_uri(self) -> str:
        """The picture as a data URI; empty without a picture, or until it has come: then widgets are told."""
        url = self._wanted()
        if url != self._url:
            self._url, self._data_uri = url, ""
            if url:
                call_soon(self._begin)
        return self._data_uri

    def _wanted(self) -> str:
        """Return the address of the picture; empty if there is none, or it must not be asked."""
        user = self._engine.state.user or {}
        url = next((user[claim] for claim in _CLAIMS if isinstance(user.get(claim), str) and user[claim]), "")
        return url if may_ask(url, self._provider_host()) else ""

    def _provider_host(self) -> str:
        provider = self._engine.provider
        return _host(getattr(provider, "issuer_url", "") or provider.token_url)

    def _begin(self) -> None:
        self._engine.one("fetch the picture", self._fetch)

    async def _fetch(self) -> None:
        url = self._url
        picture = await _download(url)
        if url != self._url:  # another user has signed in meanwhile
            call_soon(self._begin)
        elif picture:
            self._data_uri = picture
            self._engine.notifier.changed(self._engine.state, self._engine.state)


def may_ask(url: str, provider_host: str) -> bool:
    """Whether a picture may be fetched: https, and from an internal host only for a provider that is on one itself.

    Else a provider could have the kernel ask machines that only the kernel reaches. Plain http is for this machine.
    """
    if not is_safe(url) or not (url.startswith("https:") or is_loopback(provider_host)):
        return False
    return not is_internal(_host(url)) or bool(provider_host and is_internal(provider_host))


def _host(url: str) -> str:
    parts = split_url(url)
    return (parts and parts.hostname) or ""


async def _download(url: str) -> str:
    """Return the picture at ``url`` as a data URI; empty if it is missing or cannot be shown."""
    client = HttpClient(deadline=_DEADLINE, max_bytes=MAX_BYTES)
    try:
        return as_data_uri(*await client.download(url, accept=", ".join(_TYPES)))
    except AuthenticationError:  # then there are initials
        return ""
    finally:
        await client.close()


def as_data_uri(media_type: str, body: bytes) -> str:
    """Return a picture as a data URI; empty if it is of no type that browsers show as a picture and nothing else."""
    pattern = _TYPES.get(media_type)
    if pattern is None or not pattern.match(body):
        return ""
    return f"data:{media_type};base64,{b64encode(body).decode()}"
