"""`RedisTokenStore`: tokens in Redis, for hubs and for several machines of one user."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .._io.loop import on_loop
from ..errors import ConfigurationError, TokenStoreError
from ..tokens import Secret, secret_or_none
from .base import PackedStore
from .lease import Lease, LocalLease
from .redis_client import RedisClient, string_or_nothing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

IDLE_SECONDS = 30 * 24 * 3600.0
#: Term of the lease, in seconds: longer than a refresh, and shorter than the default refresh buffer.
LEASE = 50.0

_LONGEST = 10 * 365 * 24 * 3600.0  # seconds; Redis refuses longer expiry times
_PAGE = 500  # keys that Redis examines in one step of a scan

#: Replaces ARGV[1] ("" for no key, or for a value of another type) by ARGV[2] for ARGV[3] milliseconds, and publishes
#: that on the channel ARGV[4] ("" for none). Succeeds also if ARGV[2] is there already: the first reply may be lost.
_SWAP = """
local current = redis.pcall('GET', KEYS[1])
if type(current) ~= 'string' then
  current = ''
end
if current ~= ARGV[1] and current ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ARGV[4] ~= '' then
  redis.pcall('PUBLISH', ARGV[4], KEYS[1])
end
return 1
"""

#: Returns a hash of the record, which is small enough to poll.
_STAMP = """
local current = redis.pcall('GET', KEYS[1])
return redis.sha1hex(type(current) == 'string' and current or '')
"""

#: Acquires a lock with the token ARGV[1] for ARGV[2] milliseconds, if it is free or a first attempt acquired it.
_TAKE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1
end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""

#: Removes a lock if its token is ARGV[1].
_FREE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
"""


class RedisTokenStore(PackedStore):
    """Tokens as strings under ``{prefix}:oauth:tokens:{key}``, with a lock beside each during a refresh.

    A record expires with the refresh token, if the provider gives its lifetime, and otherwise ``idle_seconds`` after it
    was last saved; never with the access token, which is shorter-lived.

    Args:
        redis_url: ``redis://``, ``redis+sentinel://`` or ``redis+cluster://``, each with ``rediss`` for TLS, or
            ``unix://``: see docs/token-stores.md.
        prefix: Prefix of all keys; use one per user on a shared server.
        pool_size: Maximum number of connections, besides the one that listens. Further requests wait for a free one.
        idle_seconds: Lifetime of a record, in seconds, if the provider does not give one.
        encryption_key: See :class:`~pywry_auth_nb.token_store.codec.Codec`. Recommended, since administrators and
            backups of the server can read its data.

    Raises:
        ConfigurationError: The URL is invalid, or the package ``redis`` is not installed.
        TokenStoreError: Code ``store_key``: the key is invalid.
    """

    kind = "redis"

    def __init__(
        self,
        redis_url: str = "redis://localhost:6379/0",
        prefix: str = "pywry",
        pool_size: int = 10,
        *,
        idle_seconds: float = IDLE_SECONDS,
        encryption_key: str | None = None,
    ) -> None:
        redis_url = Secret(redis_url)  # first, so that a traceback through this frame shows no secrets
        encryption_key = secret_or_none(encryption_key)
        super().__init__(encryption_key)
        if pool_size < 1 or not idle_seconds > 0:
            raise ConfigurationError("pool_size and idle_seconds must be greater than 0.")
        if ":oauth:" in prefix:  # otherwise a key of one store could begin with another's prefix
            raise ConfigurationError("prefix must not contain ':oauth:', which is what follows it.")
        self.prefix = prefix
        self._redis = RedisClient(redis_url, pool_size)
        self._idle_seconds = idle_seconds
        self._freeing: set[asyncio.Future[None]] = set()
        self._channel = _bytes(f"{prefix}:oauth:changed")
        self._may_listen = True

    @on_loop
    async def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        await self._redis.close()

    @on_loop
    async def may_read(self, name: str) -> bool:
        """Whether this user may read a key outside this store's prefix.

        Raises:
            TokenStoreError: The request failed.
        """
        try:
            await self._redis.ask(lambda client: string_or_nothing(client.get(_bytes(name))))
        except TokenStoreError as error:
            if error.code != "store_forbidden":
                raise
            return False
        return True

    def _full_name(self, key: str) -> str:
        return f"{self.prefix}:oauth:tokens:{key}"

    async def _read(self, key: str) -> bytes | None:
        record = await self._redis.ask(lambda client: string_or_nothing(client.get(self._name(key))))
        return None if record is None else bytes(record)

    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:
        milliseconds = max(int(min(lifetime or self._idle_seconds, _LONGEST) * 1000), 1)
        channel = self._channel if self._may_listen else b""
        arguments = (self._name(key), old or b"", new, milliseconds, channel)
        return bool(await self._redis.ask(lambda client: client.eval(_SWAP, 1, *arguments)))

    async def _stamps(self, keys: Collection[str]) -> dict[str, object]:
        names = [self._name(key) for key in keys]
        return dict(zip(keys, await self._redis.ask(partial(_ask_stamps, names)), strict=True))

    @on_loop
    async def listen_for_changes(self, changed: Callable[[str], object]) -> None:
        """Call ``changed`` with the key after every change, until the connection ends.

        It returns immediately on a cluster, or without the permission to subscribe (``&PREFIX:oauth:changed +subscribe
        +publish``).

        Raises:
            TokenStoreError: The connection ended.
        """
        if not self._may_listen:
            return
        start = self._name("")

        def heard(name: bytes) -> None:
            if (key := _text(name[len(start) :])) is not None:
                changed(key)

        try:
            await self._redis.listen(self._channel, heard)
        except TokenStoreError as error:
            if error.code != "store_forbidden":
                raise
            self._may_listen = False

    async def _remove(self, key: str) -> None:
        await self._redis.ask(lambda client: client.delete(self._name(key)))

    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        name = _bytes(f"{self.prefix}:oauth:lock:{key}")
        token = secrets.token_hex(16).encode()
        lease = Lease(lambda: self._free(name, token, local_lease), LEASE)
        taking = asyncio.ensure_future(
            self._redis.ask(lambda client: client.eval(_TAKE, 1, name, token, int(LEASE * 1000)))
        )
        try:
            return lease if await asyncio.shield(taking) else None
        except BaseException:  # it may be taken all the same, and must not stay
            freeing = asyncio.ensure_future(_free_after(taking, lease))
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)
            raise

    @on_loop
    async def _free(self, name: bytes, token: bytes, local_lease: LocalLease) -> None:
        try:
            await self._redis.ask(lambda client: client.eval(_FREE, 1, name, token))
        finally:
            await local_lease.release()

    async def _names(self) -> list[str]:
        start = self._name("")

        async def scan(client: Any) -> set[bytes]:  # a scan may return duplicates
            return {bytes(name) async for name in client.scan_iter(match=_literally(start) + b"*", count=_PAGE)}

        names = await self._redis.ask(scan)
        return [key for name in names if (key := _text(name[len(start) :])) is not None]

    def _name(self, key: str) -> bytes:
        return _bytes(self._full_name(key))

    def __repr__(self) -> str:
        return f"<RedisTokenStore {self._redis.server}, {'encrypted' if self._codec.encrypts else 'plain text'}>"


async def _ask_stamps(names: list[bytes], client: Any) -> list[object]:
    """Return the stamps of the records called ``names``, in one round trip; on a cluster, in one for each."""
    if not hasattr(client, "pipeline") or not hasattr(client, "connection_pool"):
        return list(await asyncio.gather(*(client.eval(_STAMP, 1, name) for name in names)))
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.eval(_STAMP, 1, name)
    return list(await pipeline.execute())


async def _free_after(taking: Awaitable[object], lease: Lease) -> None:
    with suppress(TokenStoreError):
        await taking
    with suppress(TokenStoreError):
        await lease.release()


def _literally(name: bytes) -> bytes:
    """Escape the special characters of a Redis pattern."""
    return re.sub(rb"([*?\[\]^\\-])", rb"\\\1", name)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")  # a key may be any string


def _text(name: bytes) -> str | None:
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not ours
        return None
