"""How `read_token.py` measures: in batches that are long enough, each between two batches of the limit."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import random
import threading
import time
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter_ns, thread_time_ns
from types import FunctionType
from typing import TYPE_CHECKING, Any

from peers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

THREADS = 8
PAUSE = 0.01  # seconds
READS_AFTER_A_PAUSE = 5  # in each round

ONE, MANY, RARE = "one thread", f"{THREADS} threads at once", f"a read every {PAUSE * 1000:.0f} ms"
#: ns that a batch lasts at least: in one thread, several times what a session may rely on its last look at the store;
#: in several, 5 ms for each, after which Python lets another one run.
BATCH = {ONE: 20e6, MANY: 5e6 * THREADS}


@dataclass
class Case:
    """A row of the table.

    Attributes:
        group: How it is read; the limit of the same group is what it is compared with.
        name: What is read.
        form: Which form of the limit returns the same: property, headers or await.
        measure: Does so many reads and returns ns per read.
        times: Reads in a batch.
        ns: What each round found.
        ratios: The same by what the limit took just before and after.
    """

    group: str
    name: str
    form: str
    measure: Callable[[int], float]
    times: int = 1
    ns: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


_thread = threading.local()


def in_one_thread(loop: Callable[[int], Any]) -> Callable[[int], float]:
    """Measure back-to-back reads; time in which this thread waited for a processor does not count."""
    loop = own_code(loop)

    def measure(times: int) -> float:
        waited, worked, begin = processor_wait(), thread_time_ns(), perf_counter_ns()
        found = call(loop, times)
        took, worked, waited = perf_counter_ns() - begin, thread_time_ns() - worked, processor_wait() - waited
        check(found)
        return max(took - waited, worked) / times

    return measure


def in_threads(loop: Callable[[int], Any], pool: Executor) -> Callable[[int], float]:
    """Measure back-to-back reads of several threads at once: the time from first to last, by the reads of all."""
    loop = own_code(loop)

    def measure(times: int) -> float:
        start = threading.Barrier(THREADS)

        def read(_: int) -> tuple[int, int]:
            start.wait()
            begin = perf_counter_ns()
            found = call(loop, times)
            end = perf_counter_ns()
            check(found)
            return begin, end

        begins, ends = zip(*pool.map(read, range(THREADS)), strict=True)
        return (max(ends) - min(begins)) / (times * THREADS)

    return measure


def after_pauses(session: Any) -> Callable[[int], float]:
    """Measure single reads, each after a pause. The processor's caches are cold then, for the limit as well."""

    def pause_and_read(times: int) -> list[int]:
        taken = []
        for _ in repeat(None, times):
            time.sleep(PAUSE)
            perf_counter_ns()  # the first call after a pause is slower
            begin = perf_counter_ns()
            found = session.access_token
            taken.append(perf_counter_ns() - begin)
            check(found)
        return taken

    loop = own_code(pause_and_read)
    return lambda times: median(loop(times))


def processor_wait() -> int:
    """Return for how many ns other programs have kept this thread from running; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])  # Linux
    except (OSError, IndexError):
        return 0


def call(loop: Callable[[int], Any], times: int) -> Any:
    """Do so many reads; those that are awaited, in an event loop that this thread keeps."""
    if not inspect.iscoroutinefunction(loop):
        return loop(times)
    if not hasattr(_thread, "loop"):
        _thread.loop = asyncio.new_event_loop()
    return _thread.loop.run_until_complete(loop(times))


def own_code(function: Any) -> Any:
    """Return a function with a copy of the code: Python specializes code in place for the types that it meets there."""
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


def check(found: Any) -> None:
    """Refuse to measure anything that does not give the token."""
    if found not in (TOKEN, {"Authorization": f"Bearer {TOKEN}"}):
        raise AssertionError("a read gave something else than the token")


def calibrated(case: Case) -> int:
    """Return how many reads make a batch that lasts long enough."""
    if case.group == RARE:
        return READS_AFTER_A_PAUSE
    times, reads_at_once = 1, THREADS if case.group == MANY else 1
    while (took := min(case.measure(times), case.measure(times)) * times * reads_at_once) < BATCH[case.group]:
        times = int(times * min(max(1.2 * BATCH[case.group] / took, 1.5), 10)) + 1
    return times


def run_rounds(cases: list[Case], rounds: int) -> None:
    """Measure every case once in each round, in an order of its own, between two measurements of the limit."""
    gc.collect()
    gc.freeze()  # the libraries' own objects; what reads allocate is collected as ever
    groups = list(dict.fromkeys(case.group for case in cases))
    for _ in range(rounds):
        for group in groups:
            order = [case for case in cases if case.group == group]
            limit = order[0]
            random.shuffle(order)
            before = limit.measure(limit.times)
            for case in order:
                ns, after = case.measure(case.times), limit.measure(limit.times)
                case.ns.append(ns)
                case.ratios.append(ns / math.sqrt(before * after))
                before = after
