"""AssumeRoleWithWebIdentity: temporary keys for S3 in exchange for a token, as AWS, MinIO and Ceph do it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from .._io.loop import get_loop, ignore_result
from ..errors import AuthenticationError, TokenError
from ..providers.description import plain_text
from ..tokens import Secret

if TYPE_CHECKING:
    from .._io.http import HttpClient
    from .holder import Holder
    from .presets import Role

_VERSION = "2011-06-15"
_MEMBERS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
_OK = 200


@dataclass(frozen=True, repr=False)
class TemporaryKeys:
    """Temporary keys of a role.

    Attributes:
        access_key_id: The name of the key.
        secret_access_key: The key.
        session_token: What must be sent with it.
        expires_at: Epoch seconds when they expire.
        issued_at: Epoch seconds when they were asked for.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: float
    issued_at: float = field(default_factory=time.time)

    @property
    def renew_at(self) -> float:
        """Epoch seconds from which others are asked for: AWS clients ask again in the last quarter of an hour."""
        return self.expires_at - (self.expires_at - self.issued_at) / 3

    def for_containers(self) -> dict[str, str]:
        """Return the members that AWS clients expect of a container's credentials."""
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.session_token,
            "Expiration": f"{datetime.fromtimestamp(self.expires_at, timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        }


class RoleKeys:
    """The temporary keys of one role, exchanged once for all who ask. Use it on the background loop.

    Args:
        role: The role.
        holder: Reads the token to exchange.
        http: Sends the requests.
    """

    def __init__(self, role: Role, holder: Holder, http: HttpClient) -> None:
        self._role = role
        self._holder = holder
        self._http = http
        self._keys: TemporaryKeys | None = None
        self._exchange: asyncio.Task[None] | None = None

    async def read(self) -> TemporaryKeys:
        """Return keys that are valid now.

        Raises:
            TokenError: There are none; ``code`` says why.
            LoginRequired: The session is signed out.
        """
        if self._keys is None or time.time() >= self._keys.renew_at:
            if self._exchange is None or self._exchange.done():
                self._exchange = ignore_result(get_loop().create_task(self._renew()))
            try:
                await asyncio.shield(self._exchange)
            except AuthenticationError:
                if self._keys is None or time.time() >= self._keys.expires_at:
                    raise
        assert self._keys is not None  # noqa: S101 - for the type checker
        return self._keys

    async def _renew(self) -> None:
        token, sent_at = await self._holder.read(self._role.token), time.time()
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": _VERSION,
            "RoleSessionName": self._role.session_name,
            "DurationSeconds": str(self._role.seconds),
            "WebIdentityToken": token,
        } | ({"RoleArn": self._role.arn} if self._role.arn else {})
        status, body = await self._http.post_form(self._role.endpoint, form, accept="application/xml, text/xml")
        self._keys = parse_answer(status, body, sent_at=sent_at, secret=token)


def parse_answer(status: int, body: bytes, *, sent_at: float, secret: str = "") -> TemporaryKeys:
    """Return the keys of a response.

    Args:
        status: Its HTTP status.
        body: XML without a document type, in UTF-8.
        sent_at: Epoch seconds when the request was sent.
        secret: What the request sent in confidence, which a description must not quote.

    Raises:
        TokenError: Code ``sts_refused`` or ``sts_response``.
    """
    found = _texts(body)
    if status != _OK:
        description = plain_text(found.get("Message", ""), [secret] if secret else [])
        raise TokenError(code="sts_refused", reason=_word(found.get("Code")), status=status, description=description)
    key, hidden, token, end = (found.get(name, "") for name in _MEMBERS)
    expires_at = _epoch(end)
    if not all(map(_is_text, (key, hidden, token))) or expires_at is None:
        raise TokenError(code="sts_response")
    return TemporaryKeys(key, Secret(hidden), Secret(token), expires_at, sent_at)


def _texts(body: bytes) -> dict[str, str]:
    """Return the texts of all elements by their names without namespaces; empty for anything but plain XML."""
    try:
        text = body.decode("utf-8")
        if "<!DOCTYPE" in text:  # entities may grow without bounds, and name files
            return {}
        root = ET.fromstring(text)  # noqa: S314 - it declares no entities
    except (ValueError, ET.ParseError):
        return {}
    return {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root.iter()}


def _word(text: Any) -> str | None:
    """Return an error code such as ``AccessDenied``, or None."""
    return text if isinstance(text, str) and text.isascii() and text.isalnum() and len(text) <= 64 else None  # noqa: PLR2004


def _is_text(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()


def _epoch(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
