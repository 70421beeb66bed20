"""What a session is at one moment, as one immutable value; and how everybody hears that it has changed."""

from __future__ import annotations

import asyncio
import math
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import traitlets as t

from ._io.loop import Serial, get_loop, on_loop, without_traceback
from .errors import AuthFlowTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import AuthenticationError
    from .tokens import OAuthTokenSet

_MARGIN = 1.0  # expires_in is in whole seconds, so up to one of them may be gone already


@dataclass(frozen=True, repr=False)
class Snapshot:
    """One moment of a session.

    Attributes:
        tokens: The tokens, or None when nobody is signed in.
        user: Claims about who is signed in.
        error: Why the last thing tried did not work; None after a success.
        authorizing: A sign-in is open in a browser.
        refreshing: A refresh is under way.
        ended: The sign-in cannot be renewed any more; the access token may still have some life.
    """

    tokens: OAuthTokenSet | None = None
    user: dict[str, Any] | None = None
    error: AuthenticationError | None = None
    authorizing: bool = False
    refreshing: bool = False
    ended: bool = False

    @property
    def status(self) -> str:
        """One word for all of it."""
        if self.authorizing:
            return "authorizing"
        if self.ended:
            return "reauth_required"
        if self.tokens is None:
            return "signed_out"
        return "refreshing" if self.refreshing else "signed_in"

    def due(self, buffer: float) -> float:
        """Epoch seconds from which the access token should be renewed before it is used.

        That is ``buffer`` seconds before its end, but at most a fifth of its life, so that short tokens do not cause a
        refresh storm; and the last moment where renewing is impossible.
        """
        if self.tokens is None or self.tokens.expires_at is None or self.tokens.expires_in is None:
            return math.inf
        life = self.tokens.expires_in
        if self.ended or self.tokens.refresh_token is None:
            return self.over
        return max(self.tokens.expires_at - max(_MARGIN, min(buffer, life / 5)), self.tokens.issued_at + life / 4)

    @property
    def over(self) -> float:
        """Epoch seconds from which the access token must not be handed out any more."""
        if self.tokens is None or self.tokens.expires_at is None or self.tokens.expires_in is None:
            return math.inf
        return self.tokens.expires_at - min(_MARGIN, self.tokens.expires_in / 5)


class ComputedTrait(t.TraitType[Any, Any]):
    """A read-only trait computed from its owner, so that it is right at once on every thread.

    Observers hear of a change from ``SessionState``; the value itself is never stored twice.
    """

    def __init__(self, read: Callable[[Any], Any], help: str) -> None:  # noqa: A002 - traitlets' name
        super().__init__(None, allow_none=True, read_only=True, help=help)
        self._read = read

    def __get__(self, obj: t.HasTraits | None, cls: type[Any] | None = None) -> Any:
        """Return what the owner shows now."""
        __tracebackhide__ = True  # IPython's traceback ends in the cell
        return self if obj is None else self._read(obj)


class SessionState(t.HasTraits):
    """The traits of a session, and who is told when they change: observers, widgets, and cells that wait.

    All traits are views of one snapshot, so they change together. Only the background loop replaces it.
    """

    status = ComputedTrait(
        lambda self: self._snap.status, "signed_out, authorizing, signed_in, refreshing or reauth_required"
    )
    expires_at = ComputedTrait(
        lambda self: _seen(self._snap)["expires_at"], "When the access token ends: epoch seconds, or None"
    )
    user = ComputedTrait(lambda self: self._snap.user, "Claims about who is signed in, or None")
    error = ComputedTrait(
        lambda self: self._snap.error and without_traceback(self._snap.error),
        "Why the last thing tried failed, or None",
    )

    def __init__(self) -> None:
        super().__init__()
        self._snap = Snapshot()
        self._observers = Serial()
        self._mirrors: list[tuple[weakref.WeakMethod[Callable[[], None]], Serial]] = []
        self._waiters: list[asyncio.Future[None]] = []
        #: Whatever runs sign-ins of this session.
        self.flows: weakref.WeakSet[Any] = weakref.WeakSet()
        self._on_sign_out: list[weakref.WeakMethod[Callable[[], None]]] = []

    def on_change(self, mirror: Callable[[], None]) -> None:
        """Call the bound method ``mirror`` after every change, on a thread of its own, as long as its object lives."""
        self._mirrors.append((weakref.WeakMethod(mirror), Serial()))

    def on_sign_out(self, callback: Callable[[], None]) -> None:
        """Call the bound method ``callback`` on the background loop when somebody signs out, while its object lives."""
        self._on_sign_out.append(weakref.WeakMethod(callback))

    @on_loop
    async def wait_signed_in(self, timeout: float) -> None:
        """Wait until somebody is signed in, or the next attempt to fails.

        Raises:
            AuthFlowTimeout: Neither happened within ``timeout`` seconds.
            AuthenticationError: What the attempt failed with.
        """
        if self._snap.status in {"signed_in", "refreshing"}:
            return
        waiter: asyncio.Future[None] = get_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter, timeout)
        except asyncio.TimeoutError:
            raise AuthFlowTimeout(
                f"Nobody signed in within {timeout:.0f} s. Run the cell again, or use the widget.", timeout
            ) from None
        finally:
            self._waiters.remove(waiter)

    def _wake(self, error: AuthenticationError | None = None) -> None:
        """End the waiting: with ``error``, or because somebody is signed in."""
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _publish(self, **changes: Any) -> None:
        """Replace the snapshot and tell everybody. On the background loop."""
        before, self._snap = self._snap, replace(self._snap, **changes)
        after = self._snap
        if self._trait_notifiers:
            self._observers(lambda: self._announce(_seen(before), _seen(after)))
        for entry in list(self._mirrors):  # never rebound: other threads append to it
            mirror, serial = entry
            if mirror() is None:
                self._mirrors.remove(entry)
            else:
                serial(lambda mirror=mirror: (call := mirror()) and call())  # type: ignore[misc]
        if after.status == "signed_in":
            self._wake()

    def _announce(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Tell the observers what changed."""
        for name, new in after.items():
            if new != before[name]:
                self.notify_change(t.Bunch(name=name, old=before[name], new=new, owner=self, type="change"))


def _seen(snap: Snapshot) -> dict[str, Any]:
    tokens = snap.tokens
    return {
        "access_token": tokens and tokens.access_token,
        "expires_at": tokens and tokens.expires_at,
        "user": snap.user,
        "error": snap.error,
        "status": snap.status,
    }
