"""What a soak comes to: the kernels' diaries and the provider's journal, counted and judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pywry_auth_nb._wire.error_codes import NETWORK_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .kernels import Kernel, Load

Told = list[dict[str, Any]]

TOKEN_LIFE = 5  # seconds
#: Seconds from one renewal to the next at least: a session renews a token when a fifth of its life is left.
GENERATION = TOKEN_LIFE * 0.8
#: What reading may say while the network or the store is away, or another kernel is paused or dead in mid-renewal.
ALLOWED = {"store_unavailable", "refresh_busy", "timeout", *NETWORK_ERRORS}
SPARE_THREADS, SPARE_FILES = 2, 12  # more at the end than at the beginning: idle connections to Redis, at most ten


@dataclass
class Figures:
    """What happened; ``problems`` says what of it must not."""

    seed: str
    store: str
    cruel: bool
    seconds: float = 0.0
    done: list[tuple[str, float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reads: int = 0
    asked: int = 0
    refreshes: int = 0
    invalid_grant: int = 0
    revoked: int = 0
    sign_ins: int = 0
    expired: int = 0
    refused: int = 0
    ran_out: int = 0
    least_left: float = float("inf")
    lost: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    failed_cells: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    longest_gap: tuple[float, str] = (0.0, "none")
    slowest_recovery: tuple[float, str] = (0.0, "none")
    gaps: float = 0.0
    kernels: int = 0
    slowest_start: float = 0.0
    settled_after: float = 0.0
    without_token: list[str] = field(default_factory=list)
    loads: dict[str, tuple[Load, Load]] = field(default_factory=dict)

    # -- counting -----------------------------------------------------------------------------------------------------

    def count_journal(self, journal: Told) -> dict[str, float]:
        """Count what the provider saw; return the ends of its access tokens."""
        tokens = [entry for entry in journal if entry["path"] == "/token"]
        self.refreshes = sum(entry.get("grant_type") == "refresh_token" and entry["status"] == 200 for entry in tokens)
        self.sign_ins = sum(
            entry.get("grant_type") == "authorization_code" and entry["status"] == 200 for entry in tokens
        )
        self.invalid_grant = sum(entry.get("error") == "invalid_grant" for entry in tokens)
        self.revoked = sum(entry["path"] == "grant.revoked" for entry in journal)
        return {entry["issued"]: entry["expires"] for entry in tokens if "issued" in entry}

    def count_diary(self, kernel: Kernel, ends: dict[str, float]) -> None:
        """Count what a kernel wrote down."""
        told = kernel.told()
        self.kernels += 1
        self.failed_cells += Counter(kernel.failed_cells)
        for entry in told:
            getattr(self, f"_{entry['what']}", lambda *_: None)(entry, ends)
        self._count_gaps(told, kernel.paused)

    def _saw(self, entry: dict[str, Any], ends: dict[str, float]) -> None:
        self.reads += entry["reads"]
        left = ends[entry["token"]] - entry["last"]
        self.least_left = min(self.least_left, left)
        self.expired += left <= 0

    def _asked(self, entry: dict[str, Any], ends: dict[str, float]) -> None:
        self.asked += 1
        if entry["status"] == 200:
            return
        end = ends[entry["token"]]
        if entry["answered"] < end:
            self.refused += 1
        elif entry["read"] < end:
            self.ran_out += 1
        else:
            self.expired += 1

    def _raised(self, entry: dict[str, Any], _: dict[str, float]) -> None:
        if entry["type"] == "LoginRequired" and entry["trouble"] == "store_unavailable":
            self.unsure += 1
            return
        self.raised[entry["code"]] += 1
        if entry["status"] == "reauth_required" or entry["type"] == "LoginRequired":
            self.lost[f"{entry['type']}, {entry['code']}, {entry['status']}, {entry['trouble']}"] += 1

    def _count_gaps(self, told: Told, paused: Sequence[tuple[float, float]]) -> None:
        born = 0.0
        for entry in told:
            if entry["what"] == "born":
                born = entry["at"]
            elif entry["what"] == "first":
                self.slowest_start = max(self.slowest_start, entry["at"] - born)
            elif entry["what"] == "gap":
                since, until = entry["since"], entry["until"]
                gap = until - since - sum(_overlap(since, until, begin, end) for begin, end in paused)
                self.gaps += gap
                trouble = self._trouble_between(since, until)
                self.longest_gap = max(self.longest_gap, (gap, trouble))
                calm = max((end for _, begin, end in self.done if begin < until and end > since), default=since)
                self.slowest_recovery = max(self.slowest_recovery, (until - calm, trouble))

    def _trouble_between(self, since: float, until: float) -> str:
        troubles = [
            f"{name} at {begin - since:+.1f} … {end - since:+.1f} s"
            for name, begin, end in sorted(self.done, key=lambda event: event[1])
            if begin < until and end > since
        ]
        return ", ".join(troubles) or "nothing"

    # -- judging ------------------------------------------------------------------------------------------------------

    @property
    def most_refreshes(self) -> int:
        """How many refreshes there may be: one per generation."""
        return int(self.seconds / GENERATION) + self.sign_ins

    def problems(self) -> list[str]:
        """Return what must not be."""
        checks = {
            f"{self.expired} expired tokens handed out": self.expired,
            f"{self.refused} tokens handed out that the provider had revoked": self.refused,
            f"{self.invalid_grant} refreshes refused": self.invalid_grant,
            f"{self.revoked} revocations of the grant": self.revoked,
            f"sessions lost: {dict(self.lost)}": self.lost,
            f"raised: {set(self.raised) - ALLOWED}": set(self.raised) - ALLOWED,
            f"{self.refreshes} refreshes, more than {self.most_refreshes}": self.refreshes > self.most_refreshes,
            f"no token in the end: {self.without_token}": self.without_token,
            f"leaked: {self.leaks}": self.leaks,
            "too little read to mean anything": self.reads < 10 * self.seconds or self.asked < self.seconds,
            "too little renewed to mean anything": self.refreshes < max(3, self.seconds / 20),
        }
        return [problem for problem, found in checks.items() if found] + self.failures + self._missing()

    def _missing(self) -> list[str]:
        """Return what should have gone wrong and did not: a soak without trouble shows nothing."""
        kinds = ["kills", "pauses", "flaps", *(["Redis restarts"] if self.store in {"redis", "forgetful"} else [])]
        done = " ".join(name for name, _, _ in self.done)
        return [f"no {kind}" for kind in kinds if kind not in done]

    @property
    def leaks(self) -> list[str]:
        """What kernels hold at the end that they did not at the beginning."""
        return [
            f"{name} {start} … {end}"
            for name, (start, end) in self.loads.items()
            if end.threads > start.threads + SPARE_THREADS or end.files > start.files + SPARE_FILES
        ]

    # -- telling ------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        done = Counter(name for name, _, _ in self.done)
        (longest, trouble), (recovery, before) = self.longest_gap, self.slowest_recovery
        lines = {
            "seed": self.seed,
            "store": f"{self.store}{', cruel' if self.cruel else ''}",
            "seconds": f"{self.seconds:.0f}",
            "what went wrong": ", ".join(f"{name} {count}" for name, count in sorted(done.items())),
            "reads": self.reads,
            "requests to the API": self.asked,
            "refreshes": f"{self.refreshes} (at most {self.most_refreshes}: one per generation)",
            "refreshes refused": f"{self.invalid_grant} (invalid_grant), for {max(self.sign_ins - 1, 0)} lost sessions",
            "grants revoked": self.revoked,
            "sign-ins": self.sign_ins,
            "expired tokens handed out": self.expired,
            "revoked tokens handed out": self.refused,
            "ran out on the way": f"{self.ran_out} (good when read; a pause came between, or the end was near)",
            "least life left when read": f"{self.least_left:.2f} s",
            "sessions lost": dict(self.lost) or 0,
            "nobody known yet": f"{self.unsure} reads of new kernels that could not ask the store so far",
            "sessions that could not be made": dict(self.failed_cells) or 0,
            "reads that raised": dict(self.raised) or 0,
            "longest time without a token": f"{longest:.1f} s (a kernel's own pauses left out); meanwhile: {trouble}",
            "slowest recovery": f"{recovery:.1f} s after the last of: {before}",
            "time without a token": f"{self.gaps / self.seconds / max(self.kernels, 1):.0%} of it (the same)",
            "slowest first token": f"{self.slowest_start:.1f} s after a kernel was started anew",
            "settled": f"{self.settled_after:.1f} s after the last trouble",
            "no token in the end": self.without_token or "none of the kernels",
        }
        for name, (start, end) in self.loads.items():
            lines[f"{name} at start, end"] = f"{start} … {end}"
        lines["problems"] = self.problems() or 0
        return "\n".join(f"{name + ':':32}{value}" for name, value in lines.items())


def _overlap(since: float, until: float, begin: float, end: float) -> float:
    return max(0.0, min(end, until) - max(begin, since))
