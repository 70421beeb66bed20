"""A client for the Redis server, Sentinels or cluster at a URL, with deadlines and translated errors.

::

    redis://user:password@host:6379/0                     a server
    unix://user:password@/path/to/socket                  a server on this machine
    redis+sentinel://user:password@host:26379,host/name   the master of this name, found by Sentinels
    redis+cluster://user:password@host:6379,host          a cluster

``rediss`` instead of ``redis`` connects over TLS.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .._io import fork
from .._io.loop import ignore_result
from ..errors import ConfigurationError, TokenStoreError
from .base import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator

    from ..tokens import Secret

T = TypeVar("T")

_CONNECT_TIMEOUT = 2.0  # seconds
_ANSWER_TIMEOUT = 3.0
_RETRIES = 2
_LISTEN = 1.0  # seconds to wait for one message; less than _ANSWER_TIMEOUT
_SERVER = re.compile(
    r"(rediss?://[^/]+(/[0-9]*)?|rediss?\+cluster://[^/]+(/0?)?|rediss?\+sentinel://[^/]+/[\w.-]+(/[0-9]*)?|unix:///.+)",
    re.ASCII,
)

#: The error message for a server of another kind than the URL says, by a part of the server's error.
_OF_ANOTHER_KIND = {
    "MovedError": "is one of a cluster. Let the URL begin with redis+cluster://, or rediss+cluster://.",
    "Cluster mode is not enabled": "is not one of a cluster. Let the URL begin with redis://, or rediss://.",
    "SENTINEL": "is no Sentinel. Name the Sentinels, whose port is often 26379, and not the servers that they watch.",
}

#: Signs of a refusal in the server's errors; the last is that of a script.
_REFUSALS = ("NOAUTH", "WRONGPASS", "NOPERM", "The user executing the script can't")


class RedisClient:
    """A client for the background loop. It connects on first use, and again after :meth:`close`.

    Args:
        url: See the module's docstring; options of redis-py may follow as a query.
        pool_size: Maximum number of concurrent requests, with one connection each; others wait.

    Raises:
        ConfigurationError: The URL is invalid, or the package ``redis`` is not installed.
    """

    def __init__(self, url: Secret, pool_size: int) -> None:
        _require_redis()
        self.server = _server_in(url) or _refuse_url()
        self._url = url
        self._pool_size = pool_size
        self._client: Any = None
        self._turns = asyncio.Semaphore(pool_size)
        self._requests: set[asyncio.Task[Any]] = set()
        self._listeners: set[Any] = set()  # tasks
        fork.in_child(self._forget_client)

    async def ask(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Run one operation with the client, within :data:`DEADLINE` seconds.

        Raises:
            TokenStoreError: The operation failed.
        """
        from redis.exceptions import RedisClusterException, RedisError

        try:
            return await self._within_deadline(self._in_turn(operation))
        except (RedisError, RedisClusterException, OSError, asyncio.TimeoutError) as error:
            raise self._explained(error) from None

    async def listen(self, channel: bytes, heard: Callable[[bytes], object]) -> None:
        """Call ``heard`` with every message on ``channel``, until the connection ends. On a cluster, return at once.

        Raises:
            TokenStoreError: The connection ended, or the user may not subscribe.
        """
        from redis.exceptions import RedisError

        client = self._client = self._client or _new_client(self._url)
        if not hasattr(client, "connection_pool"):  # redis-py's cluster client cannot subscribe
            return
        subscription, listener = client.pubsub(ignore_subscribe_messages=True), asyncio.current_task()
        self._listeners.add(listener)
        try:
            await self._within_deadline(subscription.subscribe(channel))
            while True:
                message = await subscription.get_message(timeout=_LISTEN)
                if message is not None:
                    heard(message["data"])
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            raise self._explained(error) from None
        finally:
            self._listeners.discard(listener)
            with suppress(Exception):  # the server may be gone
                await subscription.aclose()

    async def close(self) -> None:
        """Close the connections. Requests under way fail: redis-py would connect again for them."""
        await self._close_client([*self._requests, *self._listeners])

    async def _close_client(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Close the client's connections, after ending ``tasks`` that use them; the next request has a new client."""
        client, self._client = self._client, None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if client is not None:
            with suppress(Exception):  # the server may be gone
                await client.aclose()
            for sentinel in _sentinels_of(client):
                with suppress(Exception):
                    await sentinel.aclose()

    async def _in_turn(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        from redis.exceptions import ReadOnlyError

        async with self._turns:
            client = self._client = self._client or _new_client(self._url)
            try:
                return await operation(client)
            except ReadOnlyError:  # another server may have become the master
                if client is self._client:
                    await self._close_client(list(self._listeners))
                raise

    def _forget_client(self) -> None:
        """Drop the client in a forked child, which needs its own sockets, and whose semaphore the parent may hold."""
        fork.leave_alone(self._client)
        self._client = None
        self._turns = asyncio.Semaphore(self._pool_size)
        self._requests.clear()
        self._listeners.clear()

    async def _within_deadline(self, operation: Coroutine[Any, Any, T]) -> T:
        """Await ``operation`` for :data:`DEADLINE` seconds, then cancel it.

        ``asyncio.wait_for`` would wait for the cancelled task to end, and redis-py may keep retrying.
        """
        task = ignore_result(asyncio.create_task(operation))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        try:
            if not (await asyncio.wait({task}, timeout=DEADLINE))[0]:
                raise asyncio.TimeoutError
            if task.cancelled():
                raise ConnectionAbortedError  # by :meth:`close`
            return task.result()
        finally:
            task.cancel()

    def _explained(self, error: BaseException) -> TokenStoreError:
        causes = list(_causes(error))
        if any(map(_is_forbidden, causes)):
            return TokenStoreError(
                f"The Redis server at {self.server} does not let this user keep tokens. Check the user and password in "
                "the URL, and the user's permissions (redis-cli: ACL GETUSER).",
                code="store_forbidden",
            )
        said = " ".join(f"{type(cause).__name__} {cause}" for cause in causes)
        for sign, advice in _OF_ANOTHER_KIND.items():
            if sign in said:
                return TokenStoreError(f"The Redis server at {self.server} {advice}", code="store_missing")
        return TokenStoreError(
            f"The Redis server at {self.server} could not do it ({type(error).__name__}). Check that it runs, can be "
            "reached and accepts writes, then try again."
        )


def _require_redis() -> None:
    try:
        import redis.asyncio  # noqa: F401 - only whether it is installed
    except ImportError:
        raise ConfigurationError(
            "RedisTokenStore needs the package redis. Install it: pip install 'pywry-auth-nb[redis]'"
        ) from None


# -- URLs -------------------------------------------------------------------------------------------------------------


def _server_in(url: Secret) -> str | None:
    """Return a URL's server for messages, without user, password and query, which may contain secrets.

    None if the URL is invalid. Nothing is raised here, where a traceback would show the password.
    """
    with suppress(Exception):  # an error of redis-py may quote the password
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        # an unescaped "/", "?" or "#" in a password begins a path, a query or a fragment
        if _SERVER.fullmatch(server) and "@" not in parts.query + parts.fragment:
            _try_out(_new_client(url))
            return server
    return None


def _refuse_url() -> str:
    raise ConfigurationError(
        "The Redis URL is invalid. It reads redis://user:password@host:6379/0, redis+cluster://user:password@host:6379 "
        "or redis+sentinel://user:password@host:26379/name, each with rediss in place of redis for TLS, or "
        "unix:///path; a special character of the password is written as %XX."
    )


def _try_out(client: Any) -> None:
    """Create a connection without connecting: only then does redis-py validate the options."""
    if hasattr(client, "connection_pool"):
        client.connection_pool.make_connection()


def _new_client(url: Secret) -> Any:
    """Return a new client for the URL."""
    kind = urlsplit(url).scheme.partition("+")[2]
    return {"": _client_of_server, "sentinel": _client_of_sentinels, "cluster": _client_of_cluster}[kind](url)


def _client_of_server(url: Secret) -> Any:
    from redis.asyncio import Redis

    client = Redis.from_url(url, **_options())
    client.connection_pool.connection_kwargs["decode_responses"] = False  # whatever the URL says: records are bytes
    return client


def _client_of_sentinels(url: Secret) -> Any:
    """Return a client that asks the Sentinels for the master whenever it connects."""
    from redis.asyncio.sentinel import Sentinel

    servers, options = _servers_and_options(url)
    name, _, database = urlsplit(url).path.strip("/").partition("/")
    of_sentinels = {
        option: options.pop(f"sentinel_{option}")
        for option in ("username", "password")
        if f"sentinel_{option}" in options
    }
    shared = {option: value for option, value in options.items() if option.startswith(("ssl", "socket", "retry"))}
    hosts = [(server["host"], server.get("port", 26379)) for server in servers]
    sentinel: Any = Sentinel  # redis-py has no types for it
    return sentinel(hosts, sentinel_kwargs=shared | of_sentinels, **options).master_for(name, db=int(database or 0))


def _client_of_cluster(url: Secret) -> Any:
    from redis.asyncio.cluster import ClusterNode, RedisCluster

    servers, options = _servers_and_options(url)
    nodes = [ClusterNode(server["host"], server.get("port", 6379)) for server in servers]
    return RedisCluster(startup_nodes=nodes, **options)


def _servers_and_options(url: Secret) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Parse a URL of several servers: their addresses, and the connection options, which they share."""
    from redis.asyncio.connection import SSLConnection, parse_url

    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    one = parts._replace(scheme=parts.scheme.partition("+")[0], path="")
    servers: list[dict[str, Any]] = [
        dict(parse_url(one._replace(netloc=f"{login}{at}{host}").geturl())) for host in hosts.split(",")
    ]
    options = _options() | servers[0] | {"decode_responses": False}
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return servers, {option: value for option, value in options.items() if option not in {"host", "port", "db"}}


def _options() -> dict[str, Any]:
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff

    return {
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": _ANSWER_TIMEOUT,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
    }


def _sentinels_of(client: Any) -> list[Any]:
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [] if manager is None else list(manager.sentinels)


async def string_or_nothing(answer: Awaitable[Any]) -> Any:
    """Await a value; one of another type, which is not a record, counts as an empty string."""
    from redis.exceptions import ResponseError

    try:
        return await answer
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return b""


# -- errors -----------------------------------------------------------------------------------------------------------


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its chain of causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_forbidden(error: BaseException) -> bool:
    """Whether the server refused the user."""
    from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

    refusals = (AuthenticationError, AuthorizationError, NoPermissionError)
    return isinstance(error, refusals) or any(sign in str(error) for sign in _REFUSALS)
