"""`StateOwner`: the engine as the parts of a session see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from ..errors import AuthenticationError
    from ..providers import OAuthProvider
    from .state import SessionState


class StateOwner(Protocol):
    """Owns the state of one session. The parts read it, and apply new states.

    Attributes:
        state: The current state. It may change during every ``await``.
        provider: The provider of the tokens.
        buffer: Seconds before its expiry when an access token is refreshed.
        forked: Whether this process was forked from the one that made the session.
    """

    state: SessionState
    provider: OAuthProvider
    forked: bool

    @property
    def buffer(self) -> float: ...

    def apply(self, after: SessionState) -> None:
        """Make ``after`` the state, notify observers and waiting cells, and reschedule."""

    def wake(self, error: AuthenticationError | None = None) -> None:
        """End the wait of cells: with ``error``, or because the user has signed in."""

    def one(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Return the task called ``what``, starting it unless it is running: one of each at a time."""

    def is_doing(self, what: str) -> bool:
        """Whether the task called ``what`` is running."""
