"""The cache of a provider's signing keys (RFC 7517).

Our own, because ``jwt.PyJWKClient`` fails two certification cases (a key without ``kid``; a second rotation within its
cooldown), blocks, and reads without a limit.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from .._io import fork
from ..errors import TokenError

if TYPE_CHECKING:
    from .._io.http import HttpClient

_MAX_AGE = 300.0  # seconds: a key that the provider withdraws is out of use after that
_MAX_KEYS = 64
_MAX_TRIED = 4  # keys tried for a token that names none
_BURST = 3  # refetches allowed at once for unknown key ids, then one a minute
_REFILL = 60.0

_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class KeyCache:
    """The keys behind one ``jwks_uri``. Use it on the background loop only."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._keys: list[dict[str, Any]] = []
        self._uri = ""
        self._fetched_at = float("-inf")
        self._tokens = float(_BURST)
        self._refilled_at = time.monotonic()
        self._lock = asyncio.Lock()
        fork.in_child(self._renew_lock)

    async def warm(self, uri: str | None) -> None:
        """Have keys at hand, so that what they must check does not fail for want of them.

        Raises:
            TokenError: There are no keys to be had.
        """
        async with self._lock:
            if uri:
                await self._renew(uri)

    async def candidates(self, uri: str, *, alg: str, kid: str | None) -> list[dict[str, Any]]:
        """Return the keys that may have signed a token with this ``alg`` and ``kid``: at most four.

        An unknown ``kid`` causes one refetch, since providers rotate keys; a flood of unknown ones does not.

        Returns:
            An empty list only when the provider was asked just now and has no such key.

        Raises:
            TokenError: There are no keys to be had, or none that fits while the provider cannot be asked.
        """
        async with self._lock:
            started = time.monotonic()
            outage = await self._renew(uri)
            found = _matching(self._keys, alg, kid)
            if not found and self._fetched_at < started:
                if outage is not None:
                    raise outage
                await self._refetch(uri)
                found = _matching(self._keys, alg, kid)
            return found[:_MAX_TRIED]

    async def refetched(self, uri: str, *, alg: str, kid: str | None) -> list[dict[str, Any]]:
        """Return candidates after asking the provider again: for a signature that fits no key we have.

        Raises:
            TokenError: The provider cannot be asked, or was asked too often.
        """
        async with self._lock:
            await self._refetch(uri)
            return _matching(self._keys, alg, kid)[:_MAX_TRIED]

    def _renew_lock(self) -> None:
        self._lock = asyncio.Lock()  # a task of the parent may hold the old one

    async def _renew(self, uri: str) -> TokenError | None:
        """Fetch the keys if there are none or old ones; return why the old ones had to stay."""
        if uri == self._uri and time.monotonic() - self._fetched_at <= _MAX_AGE:
            return None
        try:
            await self._fetch(uri)
        except TokenError as error:
            if uri != self._uri or not self._keys:
                raise
            return error
        return None

    async def _refetch(self, uri: str) -> None:
        if not self._may_refetch():
            raise TokenError(
                "The provider's signing keys were asked for too often. Try again in a minute.", code="jwks_failed"
            )
        await self._fetch(uri)

    def _may_refetch(self) -> bool:
        now = time.monotonic()
        self._tokens = min(float(_BURST), self._tokens + (now - self._refilled_at) / _REFILL)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _fetch(self, uri: str) -> None:
        """Replace the keys; a failure leaves them as they are."""
        self._keys = await self._download(uri)
        self._uri, self._fetched_at = uri, time.monotonic()

    async def _download(self, uri: str) -> list[dict[str, Any]]:
        answer = await self._http.request("GET", uri)
        keys = answer.body.get("keys") if answer.ok and isinstance(answer.body, dict) else None
        if not isinstance(keys, list) or len(keys) > _MAX_KEYS:
            raise TokenError(code="jwks_failed", retry_after=answer.retry_after)
        return [key for key in keys if isinstance(key, dict)]


def _matching(keys: list[dict[str, Any]], alg: str, kid: str | None) -> list[dict[str, Any]]:
    return [key for key in keys if _may_sign(key, alg) and (kid is None or key.get("kid") == kid)]


def _may_sign(key: dict[str, Any], alg: str) -> bool:
    """Whether a published key is meant for signatures with ``alg`` (RFC 7517 §4.1 to §4.4)."""
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == _KEY_TYPES.get(alg[:2])
        and key.get("use", "sig") == "sig"
        and key.get("alg", alg) == alg
        and isinstance(operations, list)
        and "verify" in operations
    )
