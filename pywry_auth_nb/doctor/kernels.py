"""A kernel of the server, started for this and deleted again: is the package there, and does the server reach it?"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import secrets
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .._io.loop import in_thread, submit, wait
from .._version import __version__
from .._wire.protocol import PROTOCOL
from .extension import is_version
from .findings import Finding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import Future

    from .._io.http import Answer
    from .extension import Extension
    from .http_probe import Asker
    from .servers import Server

_START = 20.0  # seconds
_ANSWER = 20.0  # seconds: it may still be starting
_DELETE = 8.0
_PAUSE = 0.5
_LEAST = 3.0
_CREATED = 201
_NAME = "pywry-auth-doctor"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_MISSING = frozenset({"ModuleNotFoundError", "ImportError"})
_finding = partial(Finding, "kernel")

#: What the kernel does: opens a way to sign in that nobody goes, at a provider that is never asked.
_CODE = """
import json
import pywry_auth_nb
from pywry_auth_nb import GenericOIDCProvider, MemoryTokenStore, SessionManager
from pywry_auth_nb._wire import protocol
from pywry_auth_nb._sign_in.channel import open_path
_session = SessionManager(GenericOIDCProvider("doctor", issuer_url="https://doctor.invalid"), MemoryTokenStore())
_said = json.dumps([pywry_auth_nb.__version__, protocol.PROTOCOL, open_path(_session._sign_ins)])
"""


class _Session(NamedTuple):
    """What the server calls a kernel and the name that it was started under: by that name it is found again."""

    id: str
    kernel: str


@dataclass(frozen=True, repr=False)
class _Inside:
    """What the package in the kernel says; or ``error``, the name of what was raised instead."""

    version: str = ""
    protocol: int = 0
    flow: str = ""
    error: str = ""


def check(server: Server, found: Extension | None, asker: Asker) -> Generator[Finding, None, None]:
    """Start a kernel, ask it, and delete it."""
    name = yield from _default_kernel(server, asker)
    if name is None:
        return
    if asker.at_most(_START) < _LEAST:  # what is started must also be deleted
        yield _finding("note", "kernel_unseen", "No time was left for a kernel.", "pywry-auth doctor --timeout 120")
        return
    with _started(server, name, asker) as session:
        if not isinstance(session, _Session):
            yield _not_started(session)
            return
        inside = yield from _ask_inside(session.kernel, asker)
        if inside is not None and found is not None:
            yield _ask_through_server(server, session.kernel, inside.flow, asker)


def _not_started(answer: Answer | None) -> Finding:
    if answer is None:
        return _finding(
            "warning",
            "kernel_slow",
            "The server did not start a kernel in time, so none was looked into.",
            f"Try again, perhaps with --timeout 120. If {_NAME} stands among the running kernels after that, shut it "
            "down: one that comes later than this command waits is not deleted.",
        )
    return _finding(
        "error",
        "kernel_start",
        "The server could not start a kernel.",
        "Start one in a notebook, and see what the server's log says.",
    )


def _default_kernel(server: Server, asker: Asker) -> Generator[Finding, None, str | None]:
    """Return the name of the kernel that new notebooks get, if it is one of Python."""
    answer = server.ask(asker, "GET", "api/kernelspecs")
    body = answer.body if answer is not None and answer.ok and isinstance(answer.body, dict) else {}
    with contextlib.suppress(KeyError, TypeError):
        name = body["default"]
        if body["kernelspecs"][name]["spec"]["language"].lower() == "python":
            return str(name)
    yield _finding(
        "note",
        "kernel_not_python",
        "The server's default kernel is not one of Python, and no other was tried.",
        "Run in a Python notebook: import pywry_auth_nb",
    )
    return None


@contextlib.contextmanager
def _started(server: Server, name: str, asker: Asker) -> Iterator[_Session | Answer | None]:
    """Give a new kernel, or the server's refusal; None where neither came in time.

    The kernel is deleted again, whatever happens, also on Ctrl-C.
    """
    path = f"{_NAME}-{secrets.token_hex(8)}"
    future = submit(in_thread(_start, server, name, path, asker))
    started: _Session | Answer | None = None
    try:
        wait(future, asker.at_most(_START))
        started = future.result(0) if future.done() else None
        yield started
    finally:
        if started is None:  # interrupted, or slow: it may be there in a moment
            started = _late(future, server, path, asker)
        if isinstance(started, _Session):
            server.ask(asker, "DELETE", f"api/sessions/{started.id}", seconds=_DELETE)


def _start(server: Server, name: str, path: str, asker: Asker) -> _Session | Answer | None:
    """Start a kernel as a console does: it has a path, which no other one has, and which need not be there."""
    wanted = {"path": path, "name": _NAME, "type": "console", "kernel": {"name": name}}
    answer = server.ask(asker, "POST", "api/sessions", json=wanted, seconds=_START + _DELETE)
    return answer if answer is None or answer.status != _CREATED else _read_session(answer.body) or answer


def _late(
    future: Future[_Session | Answer | None], server: Server, path: str, asker: Asker
) -> _Session | Answer | None:
    """Wait for what did not come in time; where the answer will not come any more, look for the kernel itself."""
    end = time.monotonic() + _DELETE
    wait(future, _DELETE)
    started = future.result(0) if future.done() else None
    while started is None and (started := _find(server, path, asker)) is None and time.monotonic() < end:
        time.sleep(_PAUSE)
    return started


def _find(server: Server, path: str, asker: Asker) -> _Session | None:
    """Return the session that is at ``path``: of others, which may begin meanwhile, none is touched."""
    answer = server.ask(asker, "GET", "api/sessions", seconds=_DELETE)
    sessions = answer.body if answer is not None and answer.ok and isinstance(answer.body, list) else []
    ours = (one for one in sessions if isinstance(one, dict) and one.get("path") == path)
    return _read_session(next(ours, None))


def _read_session(body: Any) -> _Session | None:
    with contextlib.suppress(KeyError, TypeError):
        session, kernel = body["id"], body["kernel"]["id"]
        if _ID.fullmatch(session) and _ID.fullmatch(kernel):
            return _Session(session, kernel)
    return None


def _ask_inside(kernel: str, asker: Asker) -> Generator[Finding, None, _Inside | None]:
    """Run our lines in the kernel, and say what came of it; return None where nothing did."""
    from jupyter_core.paths import jupyter_runtime_dir

    file = Path(jupyter_runtime_dir()) / f"kernel-{kernel}.json"
    if not file.is_file():
        yield _finding(
            "note",
            "kernel_elsewhere",
            "The kernel does not run on this machine, or keeps its files elsewhere; it was not looked into.",
            "Run in a notebook: import pywry_auth_nb; pywry_auth_nb.__version__",
        )
        return None
    inside = _run_inside(file, asker.at_most(_ANSWER))
    yield from _explain(inside)
    return None if inside.error else inside


def _explain(inside: _Inside) -> Iterator[Finding]:
    install = f"Install pywry-auth-nb {__version__} in the kernel's environment"
    if inside.error in _MISSING:
        yield _finding(
            "error",
            "kernel_package_missing",
            "The kernel's environment does not have pywry_auth_nb, or not this version of it.",
            f"{install}, and restart the kernel.",
        )
    elif inside.error:
        yield _finding(
            "error",
            "kernel_failed",
            f"The package does not work in the kernel ({inside.error}).",
            f"{install}; then run in a notebook, and see what it says: import pywry_auth_nb.kernel",
        )
    elif inside.protocol != PROTOCOL or inside.version != __version__:
        yield _finding(
            "error" if inside.protocol != PROTOCOL else "warning",
            "kernel_protocol" if inside.protocol != PROTOCOL else "kernel_version",
            f"The kernel has version {inside.version}, and here is {__version__}.",
            f"{install}: the kernel and the server need the same version.",
        )
    else:
        yield _finding("ok", "kernel_package", f"The kernel has the package, version {inside.version}.")


def _run_inside(file: Path, seconds: float) -> _Inside:
    """Run our lines in the kernel with this connection file, within so many seconds."""
    from jupyter_client.blocking.client import BlockingKernelClient

    client = BlockingKernelClient(connection_file=str(file))
    try:
        client.load_connection_file()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        reply = client.execute(
            _CODE, silent=True, user_expressions={"said": "_said"}, allow_stdin=False, reply=True, timeout=seconds
        )
    except (TimeoutError, OSError, ValueError, RuntimeError) as error:
        return _Inside(error=type(error).__name__)
    finally:
        client.stop_channels()
    return _read(dict(reply).get("content", {}))


def _read(content: dict[str, Any]) -> _Inside:
    if content.get("status") != "ok":
        name = content.get("ename")
        return _Inside(error=name if isinstance(name, str) and name.isidentifier() and name.isascii() else "error")
    try:
        said = ast.literal_eval(content["user_expressions"]["said"]["data"]["text/plain"])
        version, protocol, path = json.loads(said)
        flow = dict(parse_qsl(urlsplit(path).query))["flow"]
    except (KeyError, TypeError, ValueError, SyntaxError):
        return _Inside(error="error")
    return _Inside(version, protocol, flow) if is_version(version) else _Inside(error="error")


def _ask_through_server(server: Server, kernel: str, flow: str, asker: Asker) -> Finding:
    """Ask the server what the kernel says: whether anybody is signed in, and nobody is."""
    answer = server.ask(asker, "GET", f"pywry-auth/status?kernel={kernel}&flow={flow}")
    if answer is not None and answer.ok and answer.body == {"authenticated": False}:
        return _finding("ok", "control_channel", "The server reaches the kernel over its control channel.")
    return _finding(
        "error",
        "control_channel",
        "The server does not reach the kernel over its control channel, on which sign-ins come.",
        "Update ipykernel in the kernel's environment (6.31 or newer) and jupyter-server; a gateway between them must "
        "pass on the control channel.",
    )
