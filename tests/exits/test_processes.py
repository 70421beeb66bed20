"""Kernels and programs as real processes: rotations, kills, ends, and a search for secrets."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from pywry_auth_nb import AuthFlowManager, TokenError
from tests.conftest import sign_in
from tests.support.waiting import over, until, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import SessionManager
    from tests.support.api import Api
    from tests.support.idp import Idp

ROOT = Path(__file__).parents[2]
LIFE = 5


def start(stack: ExitStack, module: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program that stops when its standard input is closed."""
    command = [sys.executable, "-m", f"tests.exits.{module}", *map(str, arguments)]
    program = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(program)
    stack.callback(program.kill)
    return program


def stop(program: subprocess.Popen[str]) -> str:
    """Let a program end, and return what it said last."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.close()
    program.stdin = None
    said = program.stdout.read()
    assert program.wait(60) == 0
    return said


def canaries_of(pid: int) -> list[str]:
    """What others on this machine may see of a program: its command, and for the same account its environment."""
    process = psutil.Process(pid)
    shown = [*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())]
    return [each for each in shown if "CANARY" in each or "eyJ" in each]


def test_four_programs_follow_rotations(
    session: SessionManager, flow: AuthFlowManager, idp: Idp, api: Api, tmp_path: Path
) -> None:
    """Tokens that live 5 s, three rotations: no request is refused, and each rotation is one refresh."""
    idp.lifetime = LIFE
    made: dict[str, float] = {}
    make = idp._tokens

    def noting(nonce: str | None) -> dict[str, Any]:
        tokens = make(nonce)
        made[tokens["access_token"]] = time.monotonic()
        return tokens

    idp._tokens = noting  # type: ignore[method-assign]
    api.refuse = lambda token: token not in made or over(made[token], LIFE)
    sign_in(flow, idp)
    token, handle = tmp_path / "token", tmp_path / "handle"
    with session.serve(files=[token]) as exits, ExitStack() as stack:
        handle.write_bytes(pickle.dumps(session.handle()))
        ways = [("endpoint", ""), ("endpoint", ""), ("file", token), ("handle", handle)]
        programs = [start(stack, "reader", way, place, api.url) for way, place in ways]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "begun\n"
        begun = len(made)
        until(lambda: len(made) >= begun + 3, "there were no three rotations", seconds=40)
        until(lambda: token.read_text() in made)
        assert not [found for program in programs for found in canaries_of(program.pid)]
        key = exits.key_file.read_text()
        assert not [name for name, value in os.environ.items() if key.partition(".")[2] in value]
        said = [json.loads(stop(program)) for program in programs]

    assert [each["refused"] for each in said] == [0] * 4
    assert all(each["sent"] > 20 and len(each["tokens"]) >= 3 for each in said), said
    assert idp.requests_to("/token") == len(made)


@pytest.fixture
def kernel(idp: Idp, tmp_path: Path) -> Callable[[ExitStack], tuple[subprocess.Popen[str], str, Path]]:
    """Starts a kernel that serves; returns it, its endpoint and its key's file."""

    def begin(stack: ExitStack) -> tuple[subprocess.Popen[str], str, Path]:
        program = start(stack, "kernel", idp.issuer, tmp_path / "token", tmp_path / "handle")
        assert program.stdout is not None
        url, _, key_file = program.stdout.readline().strip().partition(" ")
        return program, url, Path(key_file)

    return begin


def gone(tmp_path: Path) -> None:
    """Look that a worker fails at once, with one typed error."""
    handle = pickle.loads((tmp_path / "handle").read_bytes())  # noqa: S301 - our own
    with within(5), pytest.raises(TokenError) as caught:
        handle()
    assert caught.value.code == "kernel_gone"


def test_a_killed_kernel_gives_out_nothing(kernel: Any, tmp_path: Path) -> None:
    """Workers fail closed, and nothing hangs."""
    with ExitStack() as stack:
        program, url, key_file = kernel(stack)
        worker = pickle.loads((tmp_path / "handle").read_bytes())  # noqa: S301 - our own
        assert worker() == (tmp_path / "token").read_text()
        program.kill()
        program.wait(10)

        gone(tmp_path)
        with within(5), pytest.raises(httpx.HTTPError):
            httpx.get(f"{url}/token", headers={"Authorization": key_file.read_text()})


def test_a_kernel_that_ends_removes_what_it_served(kernel: Any, tmp_path: Path) -> None:
    """Files, key and folder are gone."""
    with ExitStack() as stack:
        program, _, key_file = kernel(stack)
        assert key_file.exists()
        stop(program)

    assert not key_file.parent.exists()
    assert not (tmp_path / "token").exists()
    gone(tmp_path)


def test_a_paused_kernel_is_waited_for_no_longer_than_that(kernel: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """A worker whose kernel does not answer gets the same error."""
    monkeypatch.setattr("pywry_auth_nb.handle._DEADLINE", 0.5)
    with ExitStack() as stack:
        program, _, _ = kernel(stack)
        process = psutil.Process(program.pid)
        process.suspend()
        until(lambda: process.status() == psutil.STATUS_STOPPED)
        gone(tmp_path)
