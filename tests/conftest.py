"""What all tests share: a provider on loopback, and a scan for leaked secrets after every test."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pywry_auth_nb import AuthFlowManager, GenericOIDCProvider, MemoryTokenStore, SessionManager
from pywry_auth_nb._sign_in import waiting
from pywry_auth_nb.token_store import memory
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT, Idp
from tests.support.marks import marks_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

pytest_plugins = ["pytest_jupyter.jupyter_server"]


def pytest_configure() -> None:
    """Have SIGINT heard: a shell that runs the tests in the background lets its children ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, a server program or minutes, so that ``-m`` can leave it out."""
    for item in items:
        if isinstance(item, pytest.Function):
            for mark in sorted(marks_of(item)):
                item.add_marker(mark)


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """Make httpx's TLS context once per set of trusted certificates: it takes longer than most tests."""
    make = functools.cache(lambda _environ, args, kwargs: made(*args, **dict(kwargs)))

    def cached(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        environ = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
        return make(environ, args, tuple(sorted(kwargs.items())))

    made = httpx._transports.default.create_ssl_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", cached)
        yield


@pytest.fixture(autouse=True)
def no_secret_in_any_log(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Record every logger at DEBUG, and stdout and stderr, and look for canaries in them after the test."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    out, err = capfd.readouterr()
    assert "CANARY" not in stream.getvalue() + out + err


@pytest.fixture(autouse=True)
def kernel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a default store of its own, as each kernel has one."""
    monkeypatch.setattr(memory, "_of_this_kernel", MemoryTokenStore())


@pytest.fixture(autouse=True)
def pages_have_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the user of a notebook that a test pretends be slow: no page greets there. Real kernels wait two seconds."""
    monkeypatch.setattr(waiting, "_GREETING", 60.0)


@pytest.fixture
def idp() -> Iterator[Idp]:
    """A provider whose tokens all begin with ``CANARY``."""
    with Idp() as provider:
        yield provider


@pytest.fixture
def provider(idp: Idp) -> GenericOIDCProvider:
    """A client registered there."""
    return GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)


@pytest.fixture
def session(provider: GenericOIDCProvider) -> SessionManager:
    """A session that is signed out."""
    return SessionManager(provider, MemoryTokenStore())


@pytest.fixture
def flow(session: SessionManager) -> AuthFlowManager:
    """The flow manager of ``session``."""
    return AuthFlowManager(session.provider, session_manager=session)


@pytest.fixture
def signed_in(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> SessionManager:
    """A session in which Ada is signed in."""
    sign_in(flow, idp)
    return session


def sign_in(flow: AuthFlowManager, idp: Idp) -> None:
    """Go through a whole sign-in without a browser."""

    async def go() -> None:
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(idp.authorize(request.url))

    asyncio.run(go())
