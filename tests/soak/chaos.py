"""What goes wrong, in an order that a seed decides.

Two things may go wrong at once: one with a kernel, one with the network or the store. Everything happens once before
anything happens again, so that also a short run has had it all. Often it happens just when a kernel renews.

What no client can survive is left out by construction, unless the chaos is ``cruel``. The provider rotates the refresh
token, so a kernel that has just refreshed holds the only copy of the new one:

* a kernel is killed only when none of its token requests is at the provider and the store has the newest tokens it
  got; a request that it makes meanwhile is kept back and dies with it;
* the network never cuts a token request that the provider has (see ``proxy``), only before or after;
* a Redis that forgets restarts only when all that was issued is stored, and while nothing else goes wrong: with its
  data it forgets its locks, too, and a kernel that is paused between lock and request cannot know.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING

from tests.stores.servers import RedisServer, SecretService

from .proxy import EVERYBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from .kernels import Kernel, Place
    from .proxy import Flap, ProviderProxy, Proxy

    Event = tuple[str, Callable[[random.Random], None]]

FLAPS: tuple[Flap, ...] = ("cut", "refuse", "silence")
PAUSE = (0.5, 8.0)  # seconds
OUTAGE = (0.2, 4.0)
BREATH = (0.5, 3.0)  # between two events of a kind
AIMED = 0.6  # how often trouble comes just when a kernel renews
REQUEST_WITHIN = 6.0
SAVED_WITHIN = 40.0
BACK_WITHIN = 10.0


class Chaos:
    """Lets things go wrong from entering to leaving.

    Args:
        seed: Of everything random.
        kernels: The first of them is never killed, so that leaks have time to show.
        place: Where the session is kept.
        provider: The way to the provider.
        cruel: Also do what no client can survive.
    """

    def __init__(
        self, seed: str, kernels: Sequence[Kernel], place: Place, provider: ProviderProxy, *, cruel: bool = False
    ) -> None:
        self.done: list[tuple[str, float, float]] = []  # what, from when, to when
        self.failures: list[str] = []
        self._kernels = kernels
        self._place = place
        self._provider = provider
        self._cruel = cruel
        self._over = threading.Event()
        self._alone = threading.RLock() if place.kind == "forgetful" else nullcontext()
        self._threads = [
            threading.Thread(target=self._go_on, args=(random.Random(f"{seed} {name}"), events), name=name)  # noqa: S311
            for name, events in (("kernels", self._of_kernels()), ("network", self._of_network()))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, rng: random.Random, events: list[Event]) -> None:
        """Run the events in shuffled rounds until the end."""
        try:
            for name, event in _dealt(rng, events):
                if self._over.wait(rng.uniform(*BREATH)):
                    return
                with self._alone:
                    begun = time.time()
                    event(rng)
                    self.done.append((name, begun, time.time()))
        except Exception as failure:  # noqa: BLE001 - it ends the soak, and stands in the report
            self.failures.append(f"{type(failure).__name__}: {failure}")

    # -- kernels ------------------------------------------------------------------------------------------------------

    def _of_kernels(self) -> list[Event]:
        return [("kills", self._kill), ("pauses", self._pause), ("pauses", self._pause)]

    def _pause(self, rng: random.Random) -> None:
        kernel = rng.choice(self._kernels)
        if rng.random() < AIMED and (asking := self._wait_for_request()):
            kernel = next((each for each in self._kernels if each.pid in asking), kernel)
        kernel.pause(rng.uniform(*PAUSE))

    def _wait_for_request(self) -> set[int | None]:
        """Wait until a token request is on its way, which is when a fault matters most; return the senders."""
        end = time.monotonic() + REQUEST_WITHIN
        while not (asking := self._provider.asking()) and time.monotonic() < end:
            time.sleep(0.01)
        return asking

    def _kill(self, rng: random.Random) -> None:
        """Kill a kernel, which is started anew and gets its token without a click."""
        kernel = rng.choice(self._kernels[1:])
        with self._nothing_to_lose(kernel.pid):
            kernel.kill()
        kernel.start()
        kernel.read()
        if self._place.kind == "forgetful":  # a new kernel that finds nothing cannot know that there was something
            kernel.wait_for_token(SAVED_WITHIN)

    def _nothing_to_lose(self, pid: int) -> AbstractContextManager[object]:
        """Wait until the store has all tokens of a kernel (or EVERYBODY's), and keep it so."""
        if self._cruel:
            return nullcontext()
        end = time.monotonic() + SAVED_WITHIN
        while time.monotonic() < end:
            if self._is_quiet(pid):
                stack = ExitStack()
                stack.enter_context(self._provider.keeping_back(pid))
                if self._is_quiet(pid):
                    return stack
                stack.close()
            time.sleep(0.02)
        raise AssertionError(f"what process {pid or 'any'} got from the provider is not in the store")

    def _is_quiet(self, pid: int) -> bool:
        return not self._provider.is_asking(pid) and self._is_saved(pid)

    def _is_saved(self, pid: int) -> bool:
        return self._provider.has_saved(self._place.stored(self._kernels[0].store_key), pid)

    # -- the network and the store ------------------------------------------------------------------------------------

    def _of_network(self) -> list[Event]:
        events = [_flap("provider", kind, self._provider) for kind in FLAPS]
        if self._place.proxy is not None:
            events += [self._aimed(_flap("Redis", kind, self._place.proxy)) for kind in FLAPS]
        if isinstance(self._place.server, RedisServer):
            events += [self._aimed(("Redis restarts: SIGTERM", self._restart(signal.SIGTERM)))]
            events += [self._aimed(("Redis restarts: SIGKILL", self._restart(signal.SIGKILL)))]
        if isinstance(self._place.server, SecretService):
            events += [self._aimed(("keyring pauses", self._stop_answering))]
        return events

    def _aimed(self, event: Event) -> Event:
        """Let something often happen while a kernel renews, so that it cannot store at once what it gets."""
        name, happen = event

        def wait_and_happen(rng: random.Random) -> None:
            if rng.random() < AIMED:
                self._wait_for_request()
            happen(rng)

        return name, wait_and_happen

    def _restart(self, number: int) -> Callable[[random.Random], None]:
        def restart(rng: random.Random) -> None:
            server = self._place.server
            assert isinstance(server, RedisServer)
            forgets = self._place.kind == "forgetful"
            with self._nothing_to_lose(EVERYBODY) if forgets else nullcontext():
                server.stop(number)
            time.sleep(rng.uniform(*OUTAGE))
            server.start()
            if forgets:
                self._wait_for_record()

        return restart

    def _wait_for_record(self) -> None:
        """Wait until a kernel has put the record back: until then nothing else may go wrong."""
        end = time.monotonic() + BACK_WITHIN
        while not self._is_saved(EVERYBODY):
            assert time.monotonic() < end, "no kernel has put back the record that Redis had lost"
            time.sleep(0.05)

    def _stop_answering(self, rng: random.Random) -> None:
        server = self._place.server
        assert server is not None
        server.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(*OUTAGE))
        server.signal(signal.SIGCONT)


def _flap(what: str, kind: Flap, proxy: Proxy) -> Event:
    return f"{what} flaps: {kind}", lambda rng: proxy.flap(kind, rng.uniform(*OUTAGE) if kind != "cut" else 0.0)


def _dealt(rng: random.Random, events: list[Event]) -> Iterator[Event]:
    while True:
        yield from rng.sample(events, len(events))
