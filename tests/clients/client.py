"""`Client`: one row of the table, and how to use that client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tests.support.aging import expire
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager
    from tests.clients.newest import Newest

Ask = Callable[[], Any]
Opener = Callable[["SessionManager", "Newest"], AbstractContextManager[Ask]]
CLIENTS: list[Client] = []


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        name: What it is called.
        package: Where it comes from.
        how: How a notebook uses it.
        opener: Opens it, as a context manager, and yields what sends one request.
        light: Whether ``make test`` has it.
        follows: Whether it follows a rotation; otherwise the test shows that it does not.
        rotate: Has the session renew its token, or want to.
    """

    name: str
    package: str
    how: str
    opener: Opener
    light: bool = False
    follows: bool = True
    rotate: Callable[[SessionManager], object] = expire

    @property
    def version(self) -> str:
        """The version that is installed."""
        return version(self.package)


def client(name: str, package: str, how: str, **options: Any) -> Callable[[Opener], Opener]:
    """Add a client to the table, by the function that opens it."""

    def add(opener: Opener) -> Opener:
        CLIENTS.append(Client(name, package, how, opener, **options))
        return opener

    return add


def renew(session: SessionManager) -> None:
    """Renew the token, and wait until what is served of it has followed."""
    asyncio.run(session.refresh())
    exits = session._gate and session._gate._served
    for path in exits.files if exits else ():
        until(lambda path=path: path.read_text() in _newest(session))  # type: ignore[misc]


def _newest(session: SessionManager) -> set[str | None]:
    tokens = session._engine.state.tokens
    assert tokens is not None
    return {tokens.access_token, tokens.id_token}
