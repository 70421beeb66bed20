"""`Begun`: work that has begun in the background, which may be awaited, displayed or left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AuthenticationError, without_traceback
from .loop import on_background, submit, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

_SHOWN_WITHIN = 30.0  # seconds that a display waits


class Begun(Coroutine[Any, Any, T]):
    """Work that began when it was asked for; ``await`` returns its result, also several times.

    It is a coroutine to everything that takes one, such as ``asyncio.run``. It continues if an awaiting caller is
    cancelled. IPython, which displays the value of a cell's last line, waits for the result and shows that.

    Args:
        work: The coroutine to run on the background loop.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._future = submit(work)
        self._waiting: Coroutine[Any, Any, T] | None = None

    async def _result(self) -> T:
        try:
            return await asyncio.shield(asyncio.wrap_future(self._future))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - every exception must leave the loop without its frames
            raise without_traceback(error) from None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._result().__await__()

    # -- a coroutine, for asyncio.run() and create_task() --------------------------------------------------------------

    def send(self, value: Any) -> Any:
        """Continue, as a coroutine does."""
        return self._continued(lambda waiting: waiting.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise an exception, such as a cancellation, where the coroutine waits."""
        return self._continued(lambda waiting: waiting.throw(*error))

    def _continued(self, step: Callable[[Coroutine[Any, Any, T]], Any]) -> Any:
        if self._waiting is None:
            self._waiting = self._result()
        try:
            return step(self._waiting)
        except BaseException:  # it has ended, with StopIteration if it has a result: it may be run again
            self._waiting = None
            raise

    def close(self) -> None:
        """Stop waiting; the work goes on."""
        if self._waiting is not None:
            self._waiting.close()

    # -- display -------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        """Return the result's text, or that it is not there yet. Never waits."""
        if not self._future.done():
            return "<in progress: await it for the outcome>"
        error = self._future.exception()
        return repr(self._future.result()) if error is None else f"<failed: {without_traceback(error)}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's signature
        if not on_background():
            wait(self._future, _SHOWN_WITHIN)
        if self._future.done() and isinstance(error := self._future.exception(), AuthenticationError):
            raise without_traceback(error)
        printer.text(repr(self))
