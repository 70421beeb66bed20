"""The soak: kernels share one sign-in while everything around them fails. `make soak`, `python -m tests.soak.run`."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.processes import HarnessError, Provider, poll

from .chaos import Chaos
from .figures import TOKEN_LIFE, Figures
from .kernels import REDIRECT_URI, Kernel, Place, sign_in
from .proxy import HOST, ProviderProxy

KERNELS = 4
STORES = ("redis", "forgetful", "file", "keyring")
LATENCY = 0.2  # seconds that the provider thinks about a token request, so that much can happen meanwhile
CRUEL_LATENCY = 1.0
WARM_WITHIN = 30.0  # seconds for two generations of tokens in every kernel
KNOWN_WITHIN = 20.0  # seconds until every kernel has seen a new sign-in, also when it was paused or cut off
SETTLED_WITHIN = 60.0  # a kernel that dies between lock and request blocks the others for 30 s with Redis


@dataclass(frozen=True)
class Plan:
    """What to do: for how many seconds, on which store, from which seed, and whether to spare what cannot survive."""

    seconds: float
    store: str = "redis"
    seed: str = ""
    cruel: bool = False


def soak(plan: Plan, folder: Path) -> Figures:
    """Do it and return the figures."""
    figures = Figures(plan.seed or secrets.token_hex(4), plan.store, plan.cruel)
    kernels: list[Kernel] = []
    with ExitStack() as stack:
        latency = {"/token": CRUEL_LATENCY if plan.cruel else LATENCY}
        options = {"issuer_host": HOST, "access_ttl": TOKEN_LIFE, "delays": latency}
        provider = stack.enter_context(Provider(folder, redirect_uris=[REDIRECT_URI], **options))
        port = provider.options["port"]
        proxy = stack.enter_context(ProviderProxy(port, lambda: [each.pid for each in kernels], cruel=plan.cruel))
        place = stack.enter_context(Place(plan.store, folder / "tokens"))
        api = f"http://127.0.0.1:{port}/me"
        kernels += [Kernel(f"kernel{number}", place, provider.issuer, api, folder) for number in range(KERNELS)]
        for kernel in kernels:
            stack.callback(kernel.end)
        begun = time.time()
        _begin(kernels)
        starts = {kernel: (kernel.pid, kernel.load()) for kernel in kernels}
        person = Kernel("person", place, provider.issuer, api, folder)
        stack.callback(person.end)
        with Chaos(figures.seed, kernels, place, proxy, cruel=plan.cruel) as chaos:
            _let_it_rain(plan, chaos, kernels, person)
        figures.done, figures.failures = chaos.done, chaos.failures
        figures.settled_after = _settle(kernels, figures)
        figures.loads = {
            kernel.name: (load, kernel.load()) for kernel, (pid, load) in starts.items() if kernel.pid == pid
        }
        (folder / "stop").touch()
        for kernel in kernels:
            kernel.wait()
        figures.seconds = time.time() - begun
        journal = provider.journal()
        (folder / "trouble").write_text("".join(f"{begin:.3f} {end:.3f} {name}\n" for name, begin, end in chaos.done))
        ends = figures.count_journal(journal)
        for kernel in kernels:
            figures.count_diary(kernel, ends)
    return figures


def _begin(kernels: list[Kernel]) -> None:
    """Sign in in the first kernel; the others find the session in the store."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(Kernel.start, kernels))
    sign_in(kernels[0])
    for kernel in kernels:
        kernel.read()
    poll(
        lambda: all(len(_tokens_of(kernel)) > 1 for kernel in kernels),
        WARM_WITHIN,
        lambda: f"not every kernel has a renewed token: { {kernel.name: kernel.told()[-3:] for kernel in kernels} }",
    )


def _tokens_of(kernel: Kernel) -> set[str]:
    return {entry["token"] for entry in kernel.told() if entry["what"] == "saw"}


def _let_it_rain(plan: Plan, chaos: Chaos, kernels: list[Kernel], person: Kernel) -> None:
    """Wait until the time is up; in the cruel form, sign in again whenever the session is lost."""
    end = time.monotonic() + plan.seconds
    signed_in = time.time()
    while time.monotonic() < end and not chaos.failures:
        time.sleep(0.5)
        if plan.cruel and any(_is_lost(kernel, signed_in + KNOWN_WITHIN) for kernel in kernels):
            with suppress(HarnessError, httpx.TransportError):  # the way to the provider is cut: in a moment, then
                _sign_in_elsewhere(person)
                signed_in = time.time()


def _is_lost(kernel: Kernel, since: float) -> bool:
    return any(
        entry["what"] == "raised" and entry["at"] > since and "reauth_required" in {entry["status"], entry["code"]}
        for entry in kernel.told()[-20:]
    )


def _sign_in_elsewhere(person: Kernel) -> None:
    """Let the person open another notebook, sign in there and leave."""
    try:
        person.start()
        sign_in(person)
    finally:
        person.end()


def _settle(kernels: list[Kernel], figures: Figures) -> float:
    """Wait until every kernel reads good tokens again and the loads are down; return how many seconds that took."""
    calm = time.time()
    try:
        poll(lambda: all(_is_well(kernel, calm) for kernel in kernels), SETTLED_WITHIN, lambda: "not settled")
    except HarnessError:
        figures.without_token = [kernel.name for kernel in kernels if not _is_well(kernel, calm)]
    return time.time() - calm


def _is_well(kernel: Kernel, since: float) -> bool:
    """Whether the provider has liked a token that a kernel read after ``since``, and nothing was raised after that."""
    told = [entry for entry in kernel.told()[-20:] if entry["what"] in {"asked", "raised"}]
    return bool(told) and told[-1].get("status") == 200 and told[-1]["read"] > since


def main() -> int:
    """Run it as the command line says, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--store", choices=STORES, default="redis")
    parser.add_argument("--seed", default="")
    parser.add_argument("--cruel", action="store_true", help="also what no client can survive: sessions are lost")
    parser.add_argument("--keep", type=Path, help="an empty folder for the kernels' diaries and everybody's logs")
    asked = parser.parse_args()
    plan = Plan(asked.minutes * 60, asked.store, asked.seed, asked.cruel)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        figures = soak(plan, asked.keep or Path(temporary))
    sys.stdout.write(f"{figures}\n")
    return bool(figures.problems()) and not asked.cruel


if __name__ == "__main__":
    sys.exit(main())
