"""The cache of a provider's signing keys (RFC 7517).

``jwt.PyJWKClient`` is not used because it fails two certification cases (a key without ``kid``; a second rotation
within its cooldown), blocks, and reads responses without a size limit.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from .._io import fork
from ..errors import TokenError

if TYPE_CHECKING:
    from .._io.http import HttpClient

_MAX_AGE = 300.0  # seconds after which a key that the provider has withdrawn is no longer used
_MAX_KEYS = 64
_MAX_TRIED = 16  # keys tried for one token, which bounds its cost
_BURST = 3  # refetches for unknown key IDs, refilled by one a minute
_REFILL = 60.0

_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_EDDSA = "EdDSA"  # with a key of any Edwards curve


class RefetchLimitError(TokenError):
    """A signature matches no key, and the keys were requested too often to look for new ones."""


class KeyCache:
    """The keys at one ``jwks_uri``. Use it on the background loop only."""

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
        """Fetch the keys, unless they are cached, so that a later validation does not fail for lack of them.

        Raises:
            TokenError: The keys cannot be fetched.
        """
        async with self._lock:
            if uri:
                await self._renew(uri)

    async def candidates(self, uri: str, *, alg: str, kid: str | None) -> list[dict[str, Any]]:
        """Return the keys that may have signed a token with this ``alg`` and ``kid``: at most 16.

        An unknown ``kid`` causes a refetch, since providers rotate keys; the number of refetches is limited.

        Returns:
            The keys; empty only if they were just fetched and none matches.

        Raises:
            TokenError: The keys cannot be fetched, and no cached key matches.
            RefetchLimitError: They were fetched too often.
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
        """Return candidates after a refetch, for a signature that matches no cached key.

        Raises:
            TokenError: The keys cannot be fetched.
            RefetchLimitError: They were fetched too often.
        """
        async with self._lock:
            await self._refetch(uri)
            return _matching(self._keys, alg, kid)[:_MAX_TRIED]

    def _renew_lock(self) -> None:
        self._lock = asyncio.Lock()  # a task of the parent may hold the old lock

    async def _renew(self, uri: str) -> TokenError | None:
        """Fetch the keys if they are missing or old; return the error if old ones are still used."""
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
            raise RefetchLimitError(
                "The provider's signing keys were requested too often. Try again in a minute.", code="jwks_failed"
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
    """Return the keys for ``alg`` that are called ``kid``, then those without a name."""
    usable = [key for key in keys if _may_sign(key, alg)]
    if kid is None:
        return usable
    named = [key for key in usable if key.get("kid") == kid]
    return named + [key for key in usable if key.get("kid") is None]


def _may_sign(key: dict[str, Any], alg: str) -> bool:
    """Whether a published key is meant for signatures with ``alg`` (RFC 7517 §4.1 to §4.4)."""
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == _KEY_TYPES.get(alg[:2])
        and key.get("use", "sig") == "sig"
        and _is_for(key, alg)
        and isinstance(operations, list)
        and "verify" in operations
    )


def _is_for(key: dict[str, Any], alg: str) -> bool:
    """Whether a key's algorithm is ``alg``; of Edwards curves, whether it is another name of it (RFC 9864 §2.2)."""
    known = key.get("alg", alg)
    if key.get("kty") != "OKP":
        return bool(known == alg)
    curve = key.get("crv")
    return known in (_EDDSA, curve) and alg in (_EDDSA, curve)
