"""The one background event loop: a daemon thread that does all of the package's I/O.

The kernel's own loop stands still while a cell runs, user code may run loops of its own, and asyncio's locks do not
work across loops. So everything that waits for a network lives here, and the rest of the world hops on.

An exception leaves this loop **without its frames**: IPython's ``%xmode Verbose`` prints the local variables of every
frame of a traceback, and ours hold tokens.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import random
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import AuthenticationError, without_traceback
from . import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_SLICE = 0.5  # seconds

_dice = random.SystemRandom()  # a forked child does not throw the same

log = logging.getLogger("pywry_auth_nb")


class _Daemons(concurrent.futures.ThreadPoolExecutor):
    """What asyncio looks up names of hosts with, on a daemon thread each: one that hangs must not keep us from ending.

    The interpreter waits at its end for the threads of the usual pool.
    """

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Start ``function`` at once."""
        return _on_daemon(function, *args, **kwargs)


class _Background:
    """A loop on a daemon thread, started when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(_Daemons())
                threading.Thread(target=self._loop.run_forever, name="pywry-auth", daemon=True).start()
            return self._loop


_background = _Background()


def _start_over() -> None:
    """In a forked child the threads are gone: begin anew, and leave the parent's loop and sockets alone."""
    global _background  # noqa: PLW0603 - one per process is the point
    _background = _Background()
    for serial in list(_serials):
        serial.reset()


fork.in_child(_start_over)


def get_loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, running."""
    return _background.get()


def call_soon(method: Callable[[], object]) -> None:
    """Call a bound method on the background loop, if its object still lives then. From any thread."""
    get_loop().call_soon_threadsafe(_weakly(method))


def call_later(seconds: float, method: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
    """Call a bound method after so many seconds, if its object still lives then. On the background loop."""
    return get_loop().call_later(seconds, _weakly(method, *args))


def _weakly(method: Callable[..., object], *args: Any) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if (bound := reference()) is not None:
            bound(*args)

    return call


def on_background() -> bool:
    """Whether the caller is running on the background loop."""
    try:
        return asyncio.get_running_loop() is get_loop()
    except RuntimeError:
        return False


def submit(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start ``work`` on the background loop and return its future."""
    return asyncio.run_coroutine_threadsafe(work, get_loop())


def run(work: Coroutine[Any, Any, T], timeout: float) -> T:
    """Run ``work`` on the background loop and wait for it, from any other thread.

    Args:
        work: What to run.
        timeout: Seconds to wait at most; ``work`` is cancelled after that.

    Raises:
        AuthenticationError: Code ``timeout`` when time is up, ``wrong_thread`` when called on the loop itself, where
            waiting could never end.
    """
    __tracebackhide__ = True  # IPython's traceback ends in the cell
    if on_background():
        work.close()
        raise AuthenticationError(code="wrong_thread")
    future = submit(work)
    del work
    try:
        wait(future, timeout)
        return future.result(0)
    except concurrent.futures.TimeoutError:
        if future.done():  # it raised that itself, or was done at the last moment
            error = future.exception()
            if error is None:
                return future.result()
            raise without_traceback(error) from None
        future.cancel()
        raise AuthenticationError(
            f"No answer within {timeout:.0f} s. Check the network, then try again.", code="timeout"
        ) from None
    except KeyboardInterrupt:
        future.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must leave without its frames
        raise without_traceback(error) from None


def wait(future: concurrent.futures.Future[Any], timeout: float) -> None:
    """Wait until ``future`` is done, for ``timeout`` seconds at most.

    In slices: Python may miss a Ctrl-C that comes just before it waits for a lock, and on Windows it always does.
    """
    __tracebackhide__ = True
    until = time.monotonic() + timeout
    while (left := until - time.monotonic()) > 0 and not future.done():
        concurrent.futures.wait([future], min(left, _SLICE))


def on_loop(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an async method callable from any event loop: it runs on the background loop."""

    @functools.wraps(method)
    async def hop(*args: P.args, **kwargs: P.kwargs) -> T:
        work = method(*args, **kwargs)
        del args, kwargs  # a traceback through this frame must not show them
        if on_background():
            return await work
        future = asyncio.wrap_future(submit(work))
        del work
        try:
            return await future
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - as in run()
            raise without_traceback(error) from None

    return hop


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function on a daemon thread of its own and wait for it.

    A keyring that asks for a password, or a network file system, may never come back.
    """
    return await asyncio.shield(asyncio.wrap_future(_on_daemon(function, *args, **kwargs)))


def _on_daemon(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
    """Start a function on a daemon thread of its own, for which the interpreter does not wait at its end."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # it can be waited for, and not be stopped

    def work() -> None:
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name="pywry-auth-io", daemon=True).start()
    return future


def ignore_result(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Return ``task``, whose failure is nobody's fault where nobody waits for it any more."""
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return task


def jitter(low: float, high: float) -> float:
    """Return any number between the two. The one generator of `random` is the user's, who may have set its seed."""
    return _dice.uniform(low, high)


def backoff(first: float, last: float) -> Iterator[float]:
    """Yield seconds to wait between looks at something that many wait for: they grow, or the many use up the machine.

    Each is a random part of the pause it stands for, so that they do not all look at once.
    """
    pause = first
    while True:
        yield pause * jitter(0.5, 1.0)
        pause = min(pause * 1.5, last)


class Serial:
    """Calls functions one after another, in order, on a thread that lives only while there is work.

    For code that is not ours (observers, callbacks): it may block for hours and then holds up only its own queue.
    """

    def __init__(self) -> None:
        self.reset()
        _serials.add(self)

    def reset(self) -> None:
        """Forget what waits."""
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._busy = False

    def __call__(self, function: Callable[[], object]) -> None:
        """Queue ``function`` and return at once."""
        with self._lock:
            self._waiting.append(function)
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._drain, name="pywry-auth-observers", daemon=True).start()

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                function = self._waiting.popleft()
            try:
                function()
            except BaseException as error:  # noqa: BLE001 - also SystemExit: a broken observer must not silence the next
                log.warning("an observer raised %s", type(error).__name__)


_serials: weakref.WeakSet[Serial] = weakref.WeakSet()
