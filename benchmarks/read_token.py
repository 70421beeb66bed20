"""Print what reading a valid token costs: this package, other libraries, and the limit, side by side in one run.

The limit is a property that compares a deadline with the clock and returns the token: the least that any library can do
that never hands out a token that is over. See README.md here for how to read the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from measure import MANY, ONE, RARE, THREADS, Case, after_pauses, calibrated, in_one_thread, in_threads, run_rounds
from peers import LIFETIME, PEERS, TOKEN

from pywry_auth_nb import FileTokenStore, GenericOIDCProvider, OAuthTokenSet, RedisTokenStore, SessionManager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers import Loops

    from pywry_auth_nb import TokenStore

GOAL = 1.3  # times the limit
LIMIT = "limit"


@dataclass(frozen=True)
class Row:
    """What the rounds found about one case: medians."""

    group: str
    name: str
    ns: float
    ratio: float
    quartiles: tuple[float, float]
    ratio_to_form: float

    @property
    def verdict(self) -> str:
        """Whether the goal is met; or would be, if the limit of the same form were the limit."""
        if self.ratio <= GOAL:
            return "met"
        return "met by form" if self.ratio_to_form <= GOAL else "missed"


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=30, help="how often each row is measured (default: 30)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args()
    with ExitStack() as running:
        cases, left_out = all_cases(running)
        for case in cases:
            case.times = calibrated(case)
        run_rounds(cases, options.rounds)
    rows = [row_of(case, cases) for case in cases]
    print(as_json(rows, left_out, options.rounds) if options.json else as_table(rows, left_out, options.rounds))
    return 0


def positive(text: str) -> int:
    """Read a number of rounds."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


# -- what is read -----------------------------------------------------------------------------------------------------


class Limit:
    """The least that reading a valid token can cost, in the forms in which a session is read."""

    def __init__(self) -> None:
        self._token = TOKEN
        self._deadline = time.time() + LIFETIME

    @property
    def access_token(self) -> str:
        """The token."""
        if time.time() < self._deadline:
            return self._token
        raise RuntimeError

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the token."""
        if time.time() < self._deadline:
            return {"Authorization": f"Bearer {self._token}"}
        raise RuntimeError

    async def get_access_token(self) -> str:
        """Return the token."""
        if time.time() < self._deadline:
            return self._token
        raise RuntimeError


def loops_of(session: Any) -> Loops:
    """Return loops that read ``session`` as its user does; ``Limit`` has the same members."""

    def access_token(times: int) -> Any:
        for _ in repeat(None, times):
            found = session.access_token
        return found

    def headers(times: int) -> Any:
        for _ in repeat(None, times):
            found = session.headers
        return found

    async def get_access_token(times: int) -> Any:
        for _ in repeat(None, times):
            found = await session.get_access_token()
        return found

    return {
        ("access_token", "property"): access_token,
        ("headers", "headers"): headers,
        ("await get_access_token()", "await"): get_access_token,
    }


def signed_in(store: TokenStore | None) -> SessionManager:
    """Return a session with tokens of no provider, kept in ``store``."""
    provider = GenericOIDCProvider("client", authorize_url="https://127.0.0.1:1/", token_url="https://127.0.0.1:1/")
    session = SessionManager(provider, store)
    asyncio.run(session.save_tokens(OAuthTokenSet(TOKEN, refresh_token="r", expires_in=LIFETIME)))
    return session


def sessions(running: ExitStack, left_out: dict[str, str]) -> dict[str, SessionManager]:
    """Return a session for each kind of store, which ends with ``running``; note which there cannot be."""
    found = {"no store": signed_in(None)}
    folder = running.enter_context(tempfile.TemporaryDirectory(prefix="pywry-auth-bench-"))
    found["file"] = signed_in(FileTokenStore(Path(folder, "tokens")))
    if not shutil.which("redis-server"):
        left_out["session with Redis"] = "there is no redis-server on PATH"
    elif not installed("redis"):
        left_out["session with Redis"] = "pip install 'pywry-auth-nb[redis]'"
    else:
        found["Redis"] = signed_in(RedisTokenStore(running.enter_context(redis_server())))
    return found


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis server of our own on a socket in a temporary folder; yield its URL."""
    with tempfile.TemporaryDirectory(prefix="pywry-auth-bench-") as folder:
        socket = Path(folder, "redis.sock")
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            for _ in range(1000):
                if socket.exists() or server.poll() is not None:
                    break
                time.sleep(0.01)
            else:
                raise TimeoutError("redis-server does not start")
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(10)


def all_cases(running: ExitStack) -> tuple[list[Case], dict[str, str]]:
    """Return the rows of the table, in its order, and why others are left out."""
    left_out: dict[str, str] = {}
    ours = sessions(running, left_out)
    named = [(f"{LIMIT}: {name}", form, loop) for (name, form), loop in loops_of(Limit()).items()]
    named += [
        (f"session.{name}, {store}".replace("session.await ", "await session."), form, loop)
        for store, session in ours.items()
        for (name, form), loop in loops_of(session).items()
    ]
    for peer in PEERS:
        named += [(f"{peer}: {name}", form, loop) for (name, form), loop in loops_of_peer(peer, left_out).items()]
    named.append((f"{LIMIT}: access_token, once more", "property", loops_of(Limit())["access_token", "property"]))
    pool = running.enter_context(ThreadPoolExecutor(THREADS))
    cases = [Case(ONE, name, form, in_one_thread(loop)) for name, form, loop in named]
    cases += [Case(MANY, name, form, in_threads(loop, pool)) for name, form, loop in named]
    cases.append(Case(RARE, f"{LIMIT}: access_token", "property", after_pauses(Limit())))
    cases += [
        Case(RARE, f"session.access_token, {store}", "property", after_pauses(session))
        for store, session in ours.items()
    ]
    return cases, left_out


def loops_of_peer(peer: str, left_out: dict[str, str]) -> Loops:
    """Return the loops of another library; note where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library says about its own imports is not for this table
            return PEERS[peer]()
    except ImportError as error:
        left_out[peer] = f"not installed ({error})"
        return {}


def installed(package: str) -> str | None:
    """Return which version of a package is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# -- what is printed --------------------------------------------------------------------------------------------------


def row_of(case: Case, cases: list[Case]) -> Row:
    """Sum up a case, and compare it with the limit of its group, and with that of its form as well."""
    group = [one for one in cases if one.group == case.group]
    limit = median(group[0].ratios)  # near 1
    own = median(next(one for one in group if one.form == case.form).ratios)
    low, ratio, high = quantiles(case.ratios, n=4) if len(case.ratios) > 1 else case.ratios * 3
    return Row(case.group, case.name, median(case.ns), ratio / limit, (low / limit, high / limit), ratio / own)


def as_table(rows: list[Row], left_out: dict[str, str], rounds: int) -> str:
    """Return the table for people."""
    lines = [f"What reading a valid token costs: medians of {rounds} rounds, Python {platform.python_version()}."]
    for group in dict.fromkeys(row.group for row in rows):
        lines += ["", f"{group:48} {'ns':>10} {'× limit':>9} {'quartiles':>17} {'× its form':>11}  goal ≤ {GOAL} ×"]
        for row in (row for row in rows if row.group == group):
            spread = f"{row.quartiles[0]:.2f} – {row.quartiles[1]:.2f}"
            verdict = "" if row.name.startswith(LIMIT) else row.verdict
            lines.append(
                f"{row.name:48} {row.ns:10,.0f} {row.ratio:9.2f} {spread:>17} {row.ratio_to_form:11.2f}  {verdict}"
            )
    lines += ["", *(f"Left out: {name}: {why}" for name, why in left_out.items())]
    return "\n".join([*lines, ", ".join(f"{name} {found}" for name, found in versions().items())])


def as_json(rows: list[Row], left_out: dict[str, str], rounds: int) -> str:
    """Return the same for programs."""
    return json.dumps(
        {
            "python": platform.python_version(),
            "rounds": rounds,
            "goal": GOAL,
            "versions": versions(),
            "left_out": left_out,
            "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
        },
        indent=1,
    )


def versions() -> dict[str, str]:
    """Return which versions were measured."""
    return {name: found for name in ("pywry-auth-nb", *PEERS) if (found := installed(name))}


if __name__ == "__main__":
    sys.exit(main())
