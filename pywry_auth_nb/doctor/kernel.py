"""A kernel of the server, started for this and deleted again: is the package there, and does the server reach it?"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .._io.loop import in_thread, submit, wait
from .._version import __version__
from .._wire.protocol import PROTOCOL
from .extension import is_version
from .findings import Check, Finding, found
from .http_probe import json_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from .._io.answers import Answer
    from .server import Server

_START = 20.0  # seconds
_ANSWER = 20.0  # seconds: it may still be starting
_DELETE = 8.0
_PAUSE = 0.5
_LEAST = 3.0
_CREATED = 201
_NAME = "pywry-auth-doctor"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_MISSING = frozenset({"ModuleNotFoundError", "ImportError"})

#: What the kernel runs: it begins a sign-in that is never completed, at a provider that is never asked.
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
    """The server's IDs of a console session that was started for this, and of its kernel."""

    id: str
    kernel: str


@dataclass(frozen=True, repr=False)
class _Package:
    """What the package in the kernel says of itself; or ``error``, the name of what was raised instead."""

    version: str = ""
    protocol: int = 0
    flow: str = ""
    error: str = ""


def check(server: Server, *, through_server: bool) -> Check[None]:
    """Start a kernel, ask it, and delete it; ``through_server``: ask the extension what the kernel says, too."""
    name = _default_kernel(server)
    if name is None:
        yield found("kernel", "kernel_not_python")
        return
    if server.probe.at_most(_START) < _LEAST:  # what is started must also be deleted
        yield found("kernel", "kernel_unseen")
        return
    with _started(server, name) as session:
        if not isinstance(session, _Session):
            yield found("kernel", "kernel_slow" if session is None else "kernel_start", session=_NAME)
            return
        package = _ask_kernel(session.kernel, server.probe.at_most(_ANSWER))
        yield _explain(package)
        if through_server and package is not None and not package.error:
            yield _ask_through_server(server, session.kernel, package.flow)


def _default_kernel(server: Server) -> str | None:
    """Return the name of the kernel that new notebooks get, if it is a Python kernel."""
    body = json_object(server.ask("GET", "api/kernelspecs"))
    with contextlib.suppress(KeyError, TypeError):
        name = body["default"]
        if body["kernelspecs"][name]["spec"]["language"].lower() == "python":
            return str(name)
    return None


# -- its life ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _started(server: Server, name: str) -> Iterator[_Session | Answer | None]:
    """Give a new kernel, or the server's refusal; None where neither came in time.

    The kernel is deleted again, whatever happens, also on Ctrl-C.
    """
    path = f"{_NAME}-{secrets.token_hex(8)}"
    future = submit(in_thread(_start, server, name, path))
    started: _Session | Answer | None = None
    try:
        wait(future, server.probe.at_most(_START))
        started = future.result(0) if future.done() else None
        yield started
    finally:
        if started is None:  # interrupted, or slow: it may be there in a moment
            started = _wait_longer(future, server, path)
        if isinstance(started, _Session):
            server.ask("DELETE", f"api/sessions/{started.id}", seconds=_DELETE)


def _start(server: Server, name: str, path: str) -> _Session | Answer | None:
    """Start a kernel as a console does: it has a path, which no other one has, and which need not be there."""
    wanted = {"path": path, "name": _NAME, "type": "console", "kernel": {"name": name}}
    answer = server.ask("POST", "api/sessions", json=wanted, seconds=_START + _DELETE)
    return answer if answer is None or answer.status != _CREATED else _read_session(answer.body) or answer


def _wait_longer(future: Future[_Session | Answer | None], server: Server, path: str) -> _Session | Answer | None:
    """Wait for what did not come in time; where the answer will not come any more, look for the kernel itself."""
    end = time.monotonic() + _DELETE
    wait(future, _DELETE)
    started = future.result(0) if future.done() else None
    while started is None and (started := _find(server, path)) is None and time.monotonic() < end:
        time.sleep(_PAUSE)
    return started


def _find(server: Server, path: str) -> _Session | None:
    """Return the session that is at ``path``; sessions of others, which may begin meanwhile, are left alone."""
    answer = server.ask("GET", "api/sessions", seconds=_DELETE)
    sessions = answer.body if answer is not None and answer.ok and isinstance(answer.body, list) else []
    ours = (one for one in sessions if isinstance(one, dict) and one.get("path") == path)
    return _read_session(next(ours, None))


def _read_session(body: Any) -> _Session | None:
    with contextlib.suppress(KeyError, TypeError):
        session, kernel = body["id"], body["kernel"]["id"]
        if _ID.fullmatch(session) and _ID.fullmatch(kernel):
            return _Session(session, kernel)
    return None


# -- what is in it ----------------------------------------------------------------------------------------------------


def _ask_kernel(kernel: str, seconds: float) -> _Package | None:
    """Run our lines in the kernel; None where it cannot be reached from this machine."""
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_core.paths import jupyter_runtime_dir

    file = Path(jupyter_runtime_dir()) / f"kernel-{kernel}.json"
    if not file.is_file():
        return None
    client = BlockingKernelClient(connection_file=str(file))
    try:
        client.load_connection_file()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        reply = client.execute(
            _CODE, silent=True, user_expressions={"said": "_said"}, allow_stdin=False, reply=True, timeout=seconds
        )
    except (TimeoutError, OSError, ValueError, RuntimeError) as error:
        return _Package(error=type(error).__name__)
    finally:
        client.stop_channels()
    return _read_reply(dict(reply).get("content", {}))


def _read_reply(content: dict[str, Any]) -> _Package:
    if content.get("status") != "ok":
        name = content.get("ename")
        return _Package(error=name if isinstance(name, str) and name.isidentifier() and name.isascii() else "error")
    try:
        said = ast.literal_eval(content["user_expressions"]["said"]["data"]["text/plain"])
        version, protocol, path = json.loads(said)
        flow = dict(parse_qsl(urlsplit(path).query))["flow"]
    except (KeyError, TypeError, ValueError, SyntaxError):
        return _Package(error="error")
    return _Package(version, protocol, flow) if is_version(version) else _Package(error="error")


def _explain(package: _Package | None) -> Finding:
    """Return whether the package is in the kernel, works, and fits this version."""
    if package is None:
        return found("kernel", "kernel_elsewhere")
    if package.error:
        missing = package.error in _MISSING
        return found("kernel", "kernel_package_missing" if missing else "kernel_failed", error=package.error)
    other = "kernel_version" if package.version != __version__ else "kernel_package"
    return found("kernel", "kernel_protocol" if package.protocol != PROTOCOL else other, version=package.version)


def _ask_through_server(server: Server, kernel: str, flow: str) -> Finding:
    """Ask the server for the kernel's status: that the user of this flow is not signed in."""
    answer = server.ask("GET", f"pywry-auth/status?kernel={kernel}&flow={flow}")
    reached = answer is not None and answer.ok and answer.body == {"authenticated": False}
    return found("kernel", "control_channel" if reached else "control_channel.closed")
