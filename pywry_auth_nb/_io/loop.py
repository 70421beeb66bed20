"""The background event loop: a daemon thread that does all I/O of the package.

The kernel's own loop is blocked while a cell runs, user code may run its own loops, and asyncio locks do not work
across loops. So all network code runs here, and callers on other loops and threads hop onto it.

Exceptions leave this loop **without their frames**: IPython's ``%xmode Verbose`` prints the local variables of every
frame of a traceback, and ours contain tokens.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import random
import sys
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import AuthenticationError, ConfigurationError, without_traceback
from . import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_SLICE = 0.5  # seconds
_NO_THREADS = (
    "Python in a browser (Pyodide, JupyterLite) has no threads and no sockets, so no session can be kept there. Run "
    "the notebook with a kernel on a machine."
)

_dice = random.SystemRandom()  # a forked child does not repeat its parent's numbers

log = logging.getLogger("pywry_auth_nb")


class _Daemons(concurrent.futures.ThreadPoolExecutor):
    """An executor for asyncio's DNS lookups, with a daemon thread for each.

    At exit, the interpreter waits for the threads of an ordinary pool, so a lookup that hangs would block it.
    """

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Start ``function`` immediately."""
        return on_daemon(function, *args, **kwargs)


class _Background:
    """A loop on a daemon thread, started on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        if sys.platform == "emscripten":
            raise ConfigurationError(_NO_THREADS)
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(_Daemons())
                threading.Thread(target=self._loop.run_forever, name="pywry-auth", daemon=True).start()
            return self._loop


_background = _Background()


def _start_over() -> None:
    """Start over in a forked child, which has no threads, and leave the parent's loop and sockets alone."""
    global _background  # noqa: PLW0603 - one per process is the point
    _background = _Background()
    for serial in list(_serials):
        serial.reset()


fork.in_child(_start_over)


def get_loop() -> asyncio.AbstractEventLoop:
    """Return the running background loop."""
    return _background.get()


def call_soon(method: Callable[[], object]) -> None:
    """Call a bound method on the background loop, if its object still exists by then. From any thread."""
    get_loop().call_soon_threadsafe(_weakly(method))


def call_later(seconds: float, method: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
    """Call a bound method after ``seconds``, if its object still exists by then. On the background loop."""
    return get_loop().call_later(seconds, _weakly(method, *args))


def when_gone(thing: T, method: Callable[[], object]) -> weakref.ref[T]:
    """Return a weak reference; when ``thing`` is gone, a bound method is called on the background loop."""
    loop, call = get_loop(), _weakly(method)  # now: garbage collection may interrupt a thread with the loop's lock
    return weakref.ref(thing, lambda _: loop.call_soon_threadsafe(call))


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
    """Run ``work`` on the background loop, and wait for its result on another thread.

    Args:
        work: The coroutine to run.
        timeout: Maximum wait in seconds; then ``work`` is cancelled.

    Raises:
        AuthenticationError: Code ``timeout`` when the time is up; ``wrong_thread`` when called on the loop itself,
            which would deadlock.
    """
    __tracebackhide__ = True  # IPython's traceback ends in the cell
    if on_background():
        work.close()
        raise AuthenticationError(code="wrong_thread")
    future = submit(work)
    del work
    return result_of(future, timeout)


def result_of(future: concurrent.futures.Future[T], timeout: float) -> T:
    """Return the result of work that was started with :func:`submit`; see :func:`run`."""
    __tracebackhide__ = True
    try:
        wait(future, timeout)
        return future.result(0)
    except concurrent.futures.TimeoutError:
        if future.done():  # it raised that itself, or has just finished
            error = future.exception()
            if error is None:
                return future.result()
            raise without_traceback(error) from None
        future.cancel()
        if not threading.main_thread().is_alive():
            raise AuthenticationError("This program is ending.", code="timeout") from None
        raise AuthenticationError(
            f"No answer within {timeout:.0f} s. Check the network, then try again.", code="timeout"
        ) from None
    except KeyboardInterrupt:
        future.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - every exception must leave without its frames
        raise without_traceback(error) from None


def wait(future: concurrent.futures.Future[Any], timeout: float) -> None:
    """Wait until ``future`` is done, for at most ``timeout`` seconds."""
    __tracebackhide__ = True
    wait_for_one([future], timeout)


def wait_for_one(futures: Collection[concurrent.futures.Future[Any]], timeout: float) -> None:
    """Wait until one of ``futures`` is done, for at most ``timeout`` seconds.

    It waits in slices: Python may miss a Ctrl-C just before it waits for a lock, and on Windows it always does. When
    the main thread has ended, it stops waiting: the interpreter joins this thread before it exits.
    """
    __tracebackhide__ = True
    until = time.monotonic() + timeout
    main = threading.main_thread()
    while (left := until - time.monotonic()) > 0 and main.is_alive():
        if concurrent.futures.wait(futures, min(left, _SLICE), return_when=concurrent.futures.FIRST_COMPLETED).done:
            return


def on_loop(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run an async method on the background loop, whichever loop it is awaited from."""

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
        except Exception as error:  # noqa: BLE001 - see run()
            raise without_traceback(error) from None

    return hop


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function on its own daemon thread and await the result.

    A keyring that asks for a password, or a network file system, may never return.
    """
    return await asyncio.shield(asyncio.wrap_future(on_daemon(function, *args, **kwargs)))


def on_daemon(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
    """Start a function on its own daemon thread, which the interpreter does not wait for at exit."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # it can be awaited, but not cancelled

    def work() -> None:
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name="pywry-auth-io", daemon=True).start()
    return future


def ignore_result(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Return ``task``, and mark its exception as retrieved, so that asyncio does not log it."""
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return task


def jitter(low: float, high: float) -> float:
    """Return a random number between the two, leaving the global generator of `random` to the user, who may seed it."""
    return _dice.uniform(low, high)


def backoff(first: float, last: float) -> Iterator[float]:
    """Yield growing pauses, in seconds, between polls of something that many processes wait for.

    Each has random jitter, so that they do not all poll at once.
    """
    pause = first
    while True:
        yield pause * jitter(0.5, 1.0)
        pause = min(pause * 1.5, last)


class Serial:
    """Calls functions one after another, in order, on a thread that exists only while there is work.

    For user code (observers, callbacks), which may block for hours and then delays only its own queue.
    """

    def __init__(self) -> None:
        self.reset()
        _serials.add(self)

    def reset(self) -> None:
        """Drop the queue."""
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
            except BaseException as error:  # noqa: BLE001 - even SystemExit: a broken observer must not stop the next
                log.warning("an observer raised %s", type(error).__name__)


_serials: weakref.WeakSet[Serial] = weakref.WeakSet()
