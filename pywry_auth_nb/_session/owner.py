"""`StateOwner`: what the parts of a session know of the engine that composes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from ..errors import AuthenticationError
    from ..providers import OAuthProvider
    from .state import SessionState


class StateOwner(Protocol):
    """Owns the state of one session. The parts read it, and hand in what it is to be next.

    Attributes:
        state: What the session is now. After every ``await`` it may be another one.
        provider: Who gives the tokens.
        buffer: Seconds before its expiry when an access token is refreshed.
        forked: Whether this process was forked from the one that made the session.
    """

    state: SessionState
    provider: OAuthProvider
    forked: bool

    @property
    def buffer(self) -> float: ...

    def apply(self, after: SessionState) -> None:
        """Make ``after`` the state, tell whoever watches or waits, and plan what is due."""

    def wake(self, error: AuthenticationError | None = None) -> None:
        """End the waiting of cells: with ``error``, or because there is a token to work with."""

    def one(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Return the task that does ``what``, and start it if there is none: one of each kind at a time."""

    def is_doing(self, what: str) -> bool:
        """Whether the task that does ``what`` is under way."""
