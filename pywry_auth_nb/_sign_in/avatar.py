"""`Avatar`: the picture of the signed-in user, fetched by the kernel, so that no page asks another server for it."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING

from .._io.http import HttpClient
from .._io.loop import call_soon
from .._io.urls import is_loopback, is_safe, split_url
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
        """Return the address of the picture, if it may be asked for: https, or this machine for a provider on it."""
        user = self._engine.state.user or {}
        url = next((user[claim] for claim in _CLAIMS if isinstance(user.get(claim), str) and user[claim]), "")
        if not url or not is_safe(url):
            return ""
        return url if url.startswith("https:") or self._provider_is_local() else ""

    def _provider_is_local(self) -> bool:
        provider = self._engine.provider
        parts = split_url(getattr(provider, "issuer_url", "") or provider.token_url)
        return parts is not None and is_loopback(parts.hostname or "")

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
