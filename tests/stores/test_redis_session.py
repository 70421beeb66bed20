"""Sessions whose Redis fails, forgets, goes back in time or moves: reading goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import (
    LoginRequired,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenExpiredError,
    TokenRefreshError,
)
from pywry_auth_nb._session import refresher, watcher
from pywry_auth_nb.token_store import NOTHING, RedisTokenStore, redis_client
from tests.stores.asking import forget, loaded
from tests.stores.servers import Proxy, RedisServer, WatchedRedis
from tests.support.ports import free_port
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pywry_auth_nb import GenericOIDCProvider
    from tests.support.idp import Idp


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels look at the server every tenth of a second; every two seconds is for people."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)


class Kernels:
    """As many kernels as a test asks for, each with a connection of its own."""

    def __init__(self, provider: GenericOIDCProvider, idp: Idp, url: str) -> None:
        self.provider = provider
        self.idp = idp
        self.url = url
        self.store_key = SessionManager(provider, MemoryTokenStore()).store_key
        self.stores: list[RedisTokenStore] = []
        self._sessions: list[SessionManager] = []
        self.store = self._open()

    def _open(self) -> RedisTokenStore:
        self.stores.append(RedisTokenStore(self.url))
        return self.stores[-1]

    def start(self) -> SessionManager:
        """Start one."""
        self._sessions.append(SessionManager(self.provider, self._open()))
        return self._sessions[-1]

    def signed_in(self, *, life: float = 3600.0, age: float = 0.0) -> str:
        """Store a sign-in whose access token lives that long, and came so long ago; return it."""
        self.idp.refresh_tokens["CANARY-rt"] = True
        tokens = OAuthTokenSet(
            "CANARY-at", refresh_token="CANARY-rt", expires_in=life, issued_at=time.time() - age, scope="openid"
        )
        asyncio.run(self.store.save(self.store_key, tokens))
        return str(tokens.access_token)

    def kept(self) -> str | None:
        """Return the access token that the server has."""
        return loaded(self.store, self.store_key)

    @property
    def refreshes(self) -> int:
        """How often the provider was asked."""
        return self.idp.requests_to("/token")

    def end(self) -> None:
        """End all of them."""
        forget(self._sessions)
        for store in self.stores:
            asyncio.run(store.close())


@pytest.fixture
def kernels(provider: GenericOIDCProvider, idp: Idp, server: RedisServer) -> Iterator[Kernels]:
    """Kernels on a server that the test may break."""
    kernels = Kernels(provider, idp, server.url)
    yield kernels
    kernels.end()


@pytest.fixture
def far_kernels(provider: GenericOIDCProvider, idp: Idp, proxy: Proxy) -> Iterator[tuple[Kernels, Proxy]]:
    """Kernels on a server, with a network between."""
    kernels = Kernels(provider, idp, f"redis://127.0.0.1:{proxy.port}")
    yield kernels, proxy
    proxy.delay = 0.0
    kernels.end()


@pytest.fixture
def watched_kernels(provider: GenericOIDCProvider, idp: Idp) -> Iterator[tuple[Kernels, WatchedRedis]]:
    """Kernels on a server that a Sentinel watches."""
    with WatchedRedis() as servers:
        kernels = Kernels(provider, idp, f"redis+sentinel://127.0.0.1:{servers.sentinel}/{servers.NAME}")
        yield kernels, servers
        kernels.end()


def is_read(session: SessionManager, token: str) -> Callable[[], bool]:
    """Return whether reading gives this token."""
    return lambda: session.access_token == token


def quick(session: SessionManager) -> str:
    """Return the access token, which must come soon."""
    with within(2):
        return str(session.access_token)


def test_an_outage_while_the_token_is_good(kernels: Kernels, server: RedisServer) -> None:
    """R23, P4: Readers do not notice it; a server that comes back empty gets its records back without a refresh."""
    token = kernels.signed_in()
    first, second = kernels.start(), kernels.start()
    assert quick(first) == quick(second) == token

    server.stop(signal.SIGKILL)
    for _ in range(3):
        assert quick(first) == quick(second) == token
    assert (first.status, first.error) == ("signed_in", None)
    server.start()
    assert "rdb_last_load_keys_loaded:0" in server.cli("info", "persistence")

    until(lambda: kernels.kept() == token, "no kernel puts it back")
    assert quick(kernels.start()) == token
    assert kernels.refreshes == 0


def test_an_outage_when_the_token_has_expired(kernels: Kernels, server: RedisServer) -> None:
    """R23: No kernel refreshes without a lease; a read raises within its deadline; both work again after the outage."""
    kernels.signed_in(life=5)
    first, second = kernels.start(), kernels.start()
    quick(first)
    quick(second)

    server.signal(signal.SIGSTOP)
    until(lambda: time.time() > (first.expires_at or 0), "it does not end")
    with within(31), pytest.raises(TokenExpiredError) as caught:
        _ = first.access_token
    asked = kernels.refreshes
    server.signal(signal.SIGCONT)

    assert caught.value.code == "store_unavailable"
    assert asked == 0
    until(lambda: first.status == second.status == "signed_in" and kernels.refreshes, "it does not go on")
    until(lambda: quick(first) == quick(second) == kernels.kept() != "CANARY-at")
    assert kernels.refreshes == 1


def test_a_kernel_that_starts_in_an_outage(kernels: Kernels, server: RedisServer) -> None:
    """R23: Its error names the outage, and it loads the stored sign-in when the server is back."""
    token = kernels.signed_in()
    server.signal(signal.SIGSTOP)
    session = kernels.start()

    with pytest.raises(LoginRequired, match="could not be read"):
        _ = session.access_token
    assert session.error is not None
    assert session.error.code == "store_unavailable"
    server.signal(signal.SIGCONT)

    until(lambda: session.status == "signed_in", "it does not sign in")
    assert session.error is None
    assert quick(session) == token


def test_a_sign_in_that_cannot_be_stored(kernels: Kernels, server: RedisServer) -> None:
    """R23: It is used in this kernel, which reports it, and reaches the others when the server has room."""
    first, second = kernels.start(), kernels.start()
    server.cli("config", "set", "maxmemory", "1")

    asyncio.run(first.save_tokens(OAuthTokenSet("CANARY-new", refresh_token="CANARY-rt", expires_in=3600)))

    until(lambda: quick(first) == "CANARY-new")
    assert first.error is not None
    assert first.error.code == "store_unavailable"
    assert kernels.kept() is None
    server.cli("config", "set", "maxmemory", "0")
    until(lambda: second.status == "signed_in", "it does not reach the other kernel")
    until(lambda: quick(second) == "CANARY-new")
    assert first.error is None


def test_new_tokens_that_cannot_be_stored(
    kernels: Kernels, server: RedisServer, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: They are kept in memory, no kernel uses the spent ones, and they are stored when the server takes them."""
    monkeypatch.setattr(refresher, "LEASE_DEADLINE", 1.0)
    old = kernels.signed_in()
    first, second = kernels.start(), kernels.start()
    assert quick(first) == quick(second) == old
    idp.delay = 0.5

    renewing = threading.Thread(target=lambda: asyncio.run(first.refresh()))
    renewing.start()
    until(lambda: kernels.refreshes == 1, "no kernel asks the provider")
    server.cli("config", "set", "maxmemory", "1")
    renewing.join(20)

    new = quick(first)
    assert new != old
    assert first.error is not None
    assert first.error.code == "store_unavailable"
    assert kernels.kept() == quick(second) == old
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(second.refresh())
    assert caught.value.code in {"refresh_busy", "store_unavailable"}
    assert kernels.refreshes == 1

    server.cli("config", "set", "maxmemory", "0")
    until(lambda: kernels.kept() == new, "it is not stored")
    until(is_read(second, new), "it does not reach the other kernel")
    until(lambda: first.error is None, "the error stays")
    assert kernels.refreshes == 1
    renewed = asyncio.run(second.refresh()).access_token
    until(lambda: quick(first) == renewed != new)


def test_a_server_that_only_reads(kernels: Kernels, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only replica no kernel can get the lease, so none refreshes; once it is promoted, they do."""
    monkeypatch.setattr(refresher, "LEASE_DEADLINE", 1.0)
    token = kernels.signed_in()
    session = kernels.start()
    server.cli("replicaof", "127.0.0.1", str(free_port()))

    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(session.refresh())

    assert caught.value.code == "store_unavailable"
    assert quick(session) == token
    assert kernels.refreshes == 0
    server.cli("replicaof", "no", "one")
    assert asyncio.run(session.refresh()).access_token != token
    assert kernels.refreshes == 1


def test_a_server_that_forgot(kernels: Kernels, server: RedisServer) -> None:
    """R24: A kernel puts an evicted record back: it is not taken for a sign-out, and no refresh is needed."""
    token = kernels.signed_in()
    first, second = kernels.start(), kernels.start()
    assert quick(first) == quick(second) == token

    for _ in range(2):
        server.cli("flushall")
        until(lambda: kernels.kept() == token, "no kernel puts it back")

    assert quick(first) == quick(second) == token
    assert first.status == second.status == "signed_in"
    assert kernels.refreshes == 0


def test_a_server_that_went_back_in_time(kernels: Kernels, server: RedisServer) -> None:
    """An older record, whose refresh token is spent, is replaced by the newer one, and is never sent."""
    name = f"pywry:oauth:tokens:{kernels.store_key}"
    kernels.signed_in(life=5)
    before = server.cli("get", name)
    first, second = kernels.start(), kernels.start()
    quick(second)
    new = str(asyncio.run(first.refresh()).access_token)
    until(is_read(second, new), "it does not reach the other kernel")
    asked = kernels.refreshes

    for _ in range(2):
        server.cli("set", name, before)
        until(lambda: kernels.kept() == new, "no kernel puts it back")

    until(lambda: quick(first) == quick(second) == new)
    assert kernels.refreshes == asked == 1
    assert asyncio.run(first.refresh()).access_token != new
    assert first.status == "signed_in"


def test_a_sign_out_that_cannot_be_stored(
    kernels: Kernels, server: RedisServer, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R23: It takes effect here at once, says what is missing, and reaches the store when the server is back."""
    monkeypatch.setattr(redis_client, "DEADLINE", 1.0)
    kernels.signed_in()
    first, second = kernels.start(), kernels.start()
    quick(first)
    quick(second)
    server.signal(signal.SIGSTOP)

    result = asyncio.run(first.logout())

    assert result.store == "store_unavailable"
    assert not result.complete
    assert first.status == "signed_out"
    assert not any(idp.refresh_tokens.values())
    server.signal(signal.SIGCONT)
    until(lambda: second.status == "signed_out", "it does not reach the other kernel")
    assert asyncio.run(kernels.store.read(kernels.store_key)) != NOTHING
    assert kernels.kept() is None


def test_a_slow_network(far_kernels: tuple[Kernels, Proxy]) -> None:
    """Answers that take long make a renewal slow, and reading a good token hardly."""
    kernels, proxy = far_kernels
    token = kernels.signed_in()
    session = kernels.start()
    assert quick(session) == token
    proxy.delay = 0.4

    for _ in range(5):
        assert quick(session) == token
    new = asyncio.run(session.refresh()).access_token

    until(lambda: kernels.kept() == new == quick(session))
    assert kernels.refreshes == 1


def test_a_pause(kernels: Kernels, server: RedisServer) -> None:
    """A server that does not answer for some seconds does not delay the read of a valid token."""
    token = kernels.signed_in()
    session = kernels.start()
    assert quick(session) == token
    server.cli("client", "pause", "3000", "all")

    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert quick(session) == token
    assert (session.status, session.error) == ("signed_in", None)


def test_a_failover(watched_kernels: tuple[Kernels, WatchedRedis]) -> None:
    """While a replica takes over, reading goes on; then so does renewing, and all kernels see it."""
    kernels, servers = watched_kernels
    old = kernels.signed_in()
    servers.until_replicated()
    first, second = kernels.start(), kernels.start()
    assert quick(first) == quick(second) == old

    servers.master.kill()
    servers.master.wait(10)
    assert quick(first) == quick(second) == old
    until(lambda: "role:master" in servers.cli(servers.second, "info", "replication"), "no failover")
    until(lambda: _renewed(first), "it does not go on")

    until(lambda: quick(second) == quick(first) == kernels.kept() != old)
    assert kernels.refreshes == 1


def _renewed(session: SessionManager) -> bool:
    try:
        asyncio.run(session.refresh())
    except TokenRefreshError:
        return False
    return True
