"""`Notifier`: passes changes of a session on to trait observers, widgets and waiting cells."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

import traitlets as t

from .._io.loop import Serial, get_loop
from ..errors import AuthFlowTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import AuthenticationError
    from .state import SessionState


class Notifier:
    """Passes on changes. User code is called in order, on threads of its own.

    Args:
        owner: The object whose traits are observed; held weakly.
    """

    def __init__(self, owner: t.HasTraits) -> None:
        self._owner = weakref.ref(owner)
        self._observers = Serial()
        self._mirrors: list[tuple[weakref.WeakMethod[Callable[[], None]], Serial]] = []
        self._waiters: list[asyncio.Future[None]] = []

    def attach(self, mirror: Callable[[], None]) -> None:
        """Call the bound method ``mirror`` after every change, as long as its object exists."""
        self._mirrors.append((weakref.WeakMethod(mirror), Serial()))

    def changed(self, before: SessionState, after: SessionState) -> None:
        """Notify observers and widgets of a change."""
        owner = self._owner()
        if owner is not None and owner._trait_notifiers:  # noqa: SLF001 - traitlets has no public way to ask
            self._observers(lambda: self._announce(trait_values(before), trait_values(after)))
        for entry in list(self._mirrors):  # never rebound: other threads append to it
            mirror, serial = entry
            if mirror() is None:
                self._mirrors.remove(entry)
            else:
                serial(lambda mirror=mirror: (call := mirror()) and call())  # type: ignore[misc]

    def _announce(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        owner = self._owner()
        for name, new in after.items():
            if owner is not None and new != before[name]:
                owner.notify_change(t.Bunch(name=name, old=before[name], new=new, owner=owner, type="change"))

    def call(self, function: Callable[[], object]) -> None:
        """Call a user's function on its own thread."""
        Serial()(function)

    # -- waiting cells ---------------------------------------------------------------------------------------------

    async def wait(self, arrived: Callable[[], bool], timeout: float) -> None:
        """Wait on the background loop until ``arrived`` is true, which is looked at after every :meth:`wake`.

        Raises:
            AuthFlowTimeout: That did not happen within ``timeout`` seconds.
            AuthenticationError: The error given to :meth:`wake`.
        """
        try:
            await asyncio.wait_for(self._wait(arrived), timeout)
        except asyncio.TimeoutError:
            raise AuthFlowTimeout(
                f"The sign-in was not finished within {timeout:.0f} s. Run the cell again, or use the widget.", timeout
            ) from None

    async def _wait(self, arrived: Callable[[], bool]) -> None:
        while not arrived():
            waiter: asyncio.Future[None] = get_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    def wake(self, error: AuthenticationError | None = None) -> None:
        """End the wait: with ``error``, or because the user has signed in."""
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def trait_values(state: SessionState) -> dict[str, Any]:
    """Return the values of a session's traits in ``state``, by name."""
    tokens = state.tokens
    return {
        "access_token": tokens and tokens.access_token,
        "expires_at": tokens and tokens.expires_at,
        "scopes": state.scopes,
        "user": state.user,
        "error": state.error,
        "status": state.status,
    }
