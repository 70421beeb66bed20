"""`RedisTokenStore`: tokens in Redis, for hubs and for several machines of one person."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .._loop import on_loop
from ..errors import ConfigurationError, TokenStoreError
from ..tokens import Secret, hidden
from .base import DEADLINE, PackedStore
from .lease import Claim, Lease

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

IDLE_SECONDS = 30 * 24 * 3600.0
#: Seconds for which one kernel may renew while the others wait: a whole refresh, and less than a session renews early.
LEASE = 40.0

_CONNECT_TIMEOUT = 2.0  # seconds
_ANSWER_TIMEOUT = 3.0
_RETRIES = 2
_LONGEST = 10 * 365 * 24 * 3600.0  # seconds; Redis refuses times beyond its calendar
_SERVER = re.compile(r"rediss?://[^/]+(/[0-9]*)?|unix:///.+")
_STAMP = 127  # bytes: a record begins with its generation, an encrypted one with its nonce
_PAGE = 500  # keys that Redis looks at in one step of a scan

#: Puts ARGV[2] in place of ARGV[1] ("" for nothing) for ARGV[3] milliseconds; done already is done, too, since the
#: answer to a first try may have been lost.
_SWAP = """
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] and current ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

#: Clients of a parent process. Never closed nor collected: that would take the parent's sockets out of its event loop.
_inherited: list[Any] = []


class RedisTokenStore(PackedStore):
    """Tokens as strings under ``{prefix}:oauth:tokens:{key}``, and a lock beside each while it is renewed.

    A record ends by itself with the refresh token's life, if the provider says how long that is, and otherwise when
    it has not been saved for ``idle_seconds``: never with the access token, which is the shorter one.

    Args:
        redis_url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password if the server asks.
        prefix: What all keys begin with; one per user where a server is shared.
        pool_size: Connections at most. Further callers wait for a free one.
        idle_seconds: Seconds.
        encryption_key: As :class:`~pywry_auth_nb.token_store.codec.Codec` takes it. Recommended: an administrator of
            the server, and its backups, see what it stores.

    Raises:
        ConfigurationError: The URL is none, or the package ``redis`` is not installed.
        TokenStoreError: Code ``store_key``, for a key that is none.
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
        redis_url = Secret(redis_url)  # first: a traceback through this frame must not show them
        encryption_key = hidden(encryption_key)
        super().__init__(encryption_key)
        if pool_size < 1 or not idle_seconds > 0:
            raise ConfigurationError("pool_size and idle_seconds must be greater than 0.")
        if ":oauth:" in prefix:  # else one store's key could be another's prefix
            raise ConfigurationError("prefix must not contain ':oauth:', which is what follows it.")
        _require_redis()
        self.prefix = prefix
        self._url = redis_url
        self._server = _server_in(self._url)
        self._pool_size = pool_size
        self._idle_seconds = idle_seconds
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @on_loop
    async def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            with suppress(Exception):  # a server that is gone cannot be said goodbye to
                await client.aclose()

    def _full_name(self, key: str) -> str:
        return f"{self.prefix}:oauth:tokens:{key}"

    async def _read(self, key: str) -> bytes | None:
        record = await self._ask(lambda client: client.get(self._name(key)))
        return None if record is None else bytes(record)

    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:
        milliseconds = max(int(min(lifetime or self._idle_seconds, _LONGEST) * 1000), 1)
        arguments = (self._name(key), old or b"", new, milliseconds)
        return bool(await self._ask(lambda client: client.eval(_SWAP, 1, *arguments)))

    async def _stamp(self, key: str) -> object:
        return await self._ask(lambda client: client.getrange(self._name(key), 0, _STAMP))

    async def _try_lease(self, key: str, claim: Claim) -> Lease | None:
        name = f"{self.prefix}:oauth:lock:{key}".encode("utf-8", "surrogatepass")
        begun = asyncio.get_running_loop().time()
        lock = await self._ask(lambda client: _locked(client, name))
        if lock is None:
            return None

        async def give_up() -> None:
            try:
                await self._ask(lambda _: _unlock(lock))
            finally:
                await claim.release()

        return Lease(give_up, LEASE - (asyncio.get_running_loop().time() - begun))

    async def _remove(self, key: str) -> None:
        await self._ask(lambda client: client.delete(self._name(key)))

    async def _names(self) -> list[str]:
        start = self._name("")

        async def scan(client: Any) -> set[bytes]:  # a scan may return a name twice
            return {bytes(name) async for name in client.scan_iter(match=_literally(start) + b"*", count=_PAGE)}

        names = await self._ask(scan)
        return [key for name in names if (key := _text(name[len(start) :])) is not None]

    def _name(self, key: str) -> bytes:
        return self._full_name(key).encode("utf-8", "surrogatepass")

    def _connected(self) -> Any:
        """Return the client of the running loop; a forked child has a loop of its own and must have its own sockets."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop and self._client is not None:
            _inherited.append(self._client)
            self._client = None
        if self._client is None:
            self._client, self._loop = _new_client(self._url, self._pool_size), loop
        return self._client

    async def _ask(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Do one operation on the client, within :data:`DEADLINE` seconds, and turn its errors into ours."""
        from redis.exceptions import RedisError

        try:
            return await _within_deadline(operation(self._connected()))
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            raise (self._forbidden() if _is_forbidden(error) else self._unavailable(type(error).__name__)) from None

    def _forbidden(self) -> TokenStoreError:
        return TokenStoreError(
            f"The Redis server at {self._server} does not let this user keep tokens. Check the user and password in "
            "the URL, and the user's permissions (docs/token-stores.md has the ACL line).",
            code="store_forbidden",
        )

    def _unavailable(self, what: str) -> TokenStoreError:
        return TokenStoreError(
            f"The Redis server at {self._server} could not do it ({what}). Check that it runs, can be reached and "
            "accepts writes, then try again."
        )

    def __repr__(self) -> str:
        return f"<RedisTokenStore {self._server}, {'encrypted' if self._codec.encrypts else 'plain text'}>"


def _require_redis() -> None:
    try:
        import redis.asyncio  # noqa: F401 - whether it is there
    except ImportError:
        raise ConfigurationError(
            "RedisTokenStore needs the package redis. Install it: pip install 'pywry-auth-nb[redis]'"
        ) from None


def _new_client(url: str, pool_size: int) -> Any:
    """Return a client whose callers wait for a connection, instead of failing when all are in use."""
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=pool_size,
        timeout=None,  # for a free connection: the operation has a deadline
        socket_connect_timeout=_CONNECT_TIMEOUT,
        socket_timeout=_ANSWER_TIMEOUT,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
    )
    pool.connection_kwargs["decode_responses"] = False  # whatever the URL asks for: records are bytes
    return Redis.from_pool(pool)


async def _locked(client: Any, name: bytes) -> Any:
    """Take the lock called ``name`` and return it, or None while it is somebody else's."""
    lock = client.lock(name, timeout=LEASE, blocking=False, thread_local=False)
    token = secrets.token_hex(16)
    if not await lock.acquire(token=token):
        lock.local.token = token.encode()
        if not await lock.owned():  # it is ours if the answer to a first try was lost
            return None
    return lock


async def _unlock(lock: Any) -> None:
    from redis.exceptions import LockError

    with suppress(LockError):  # its term was over
        await lock.release()


async def _within_deadline(operation: Awaitable[T]) -> T:
    """Await ``operation`` for :data:`DEADLINE` seconds, then give it up.

    Not ``asyncio.wait_for``: that one waits until what it cancels has ended, and redis-py may go on trying.
    """
    task = asyncio.ensure_future(operation)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else may be there to see it
    try:
        if not (await asyncio.wait({task}, timeout=DEADLINE))[0]:
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()


def _is_forbidden(error: BaseException) -> bool:
    """Whether the server refused the user; while connecting, redis-py wraps that in an error of the connection."""
    from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

    refusals = (AuthenticationError, AuthorizationError, NoPermissionError)
    return any(
        isinstance(each, refusals) or str(each).startswith(("NOAUTH", "WRONGPASS", "NOPERM"))
        for each in (error, error.__cause__)
    )


def _server_in(url: Secret) -> str:
    """Return a URL's server for messages: neither its user and password nor its query, which may have them, too.

    Raises:
        ConfigurationError: It is no URL of a Redis server. The reason is left out: it may quote a password.
    """
    server = None
    with suppress(Exception):  # whatever redis says of an option in the query; it may quote the password
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
        _new_client(url, 1).connection_pool.make_connection()
        server = f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    if server is None or not _SERVER.fullmatch(server):  # a password with "/" or "#" makes a path or a host of it
        raise ConfigurationError(
            "The Redis URL is not one. It reads redis://user:password@host:6379/0, or rediss:// for TLS, or "
            "unix:///path; a special character of the password is written as %XX."
        )
    return server


def _literally(name: bytes) -> bytes:
    """Escape what a Redis pattern gives a meaning to, so that a prefix matches itself alone."""
    return re.sub(rb"([*?\[\]^\\-])", rb"\\\1", name)


def _text(name: bytes) -> str | None:
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not ours
        return None
