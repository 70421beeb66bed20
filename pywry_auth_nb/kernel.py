"""The kernel's end of the wire: answers the server extension on the control channel.

ipykernel serves that channel on a thread of its own, so a sign-in completes while a cell is running. Interrupt and
shutdown use it too, so nothing here waits: a request is accepted at once, worked on in the background, and answered
from there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import sys
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._io.loop import submit
from ._wire import protocol
from .errors import AuthenticationError, LoginRequired, TokenRefreshError
from .flow import AuthFlowManager

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable

    from .session import SessionManager

log = logging.getLogger("pywry_auth_nb")

_flows: weakref.WeakValueDictionary[str, AuthFlowManager] = weakref.WeakValueDictionary()
_flow_of_session: weakref.WeakKeyDictionary[SessionManager, weakref.ref[AuthFlowManager]] = weakref.WeakKeyDictionary()


def flow_for(session: SessionManager) -> AuthFlowManager:
    """Return the one flow manager of a session. The caller keeps it alive."""
    known = _flow_of_session.get(session)
    flow = known() if known else None
    if flow is None:
        flow = AuthFlowManager(session.provider, session_manager=session, **session.flow_options)
        _flow_of_session[session] = weakref.ref(flow)
    return flow


def adopt(flow: AuthFlowManager) -> bool:
    """Make ``flow`` the one of its session.

    Returns:
        Whether no other was: widgets that exist already stay with theirs.
    """
    known = _flow_of_session.get(flow.session)
    before = known() if known else None
    _flow_of_session[flow.session] = weakref.ref(flow)
    return before is None or before is flow


def open_path(flow: AuthFlowManager) -> str:
    """Return a new path, relative to the server's base URL, that begins sign-ins of ``flow``; empty without a kernel.

    Its key cannot be guessed, so that no web page can make a browser begin one.
    """
    kernel = current_kernel()
    if kernel is None:
        return ""
    _register(kernel)
    key = secrets.token_urlsafe(16)
    _flows[key] = flow
    return f"pywry-auth/login?kernel={_kernel_id()}&flow={key}"


def current_kernel() -> Any:
    """Return the running ipykernel, or None in plain Python and terminal IPython."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None)


def has_front_end() -> bool:
    """Whether somebody sits in front: batch runners (nbclient, papermill, nbval) say that they take no input."""
    kernel = current_kernel()
    if kernel is None:
        return False
    parent = kernel.get_parent("shell") or {}
    return bool(parent.get("content", {}).get("allow_stdin", False))


def server_base_url() -> str | None:
    """Return the base URL of the Jupyter server that started this kernel, or None where it cannot be known."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if prefix:
        return prefix
    record = _connection_file().parent / f"jpserver-{os.environ.get('JPY_PARENT_PID', 'none')}.json"
    try:
        base_url = json.loads(record.read_text())["base_url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base_url if isinstance(base_url, str) else None


def _connection_file() -> Path:
    from ipykernel.connect import get_connection_file

    try:
        return Path(get_connection_file())
    except RuntimeError:  # an embedded kernel has none
        return Path()


def _kernel_id() -> str:
    return _connection_file().stem.removeprefix("kernel-")


# -- requests ---------------------------------------------------------------------------------------------------


async def _begin(content: dict[str, Any]) -> dict[str, Any]:
    flow = _flow(content)
    if not flow.provider.interactive:
        await flow.session.take()
        return {"name": flow.session.display_name}
    request = await flow.begin(content["redirect_uri"], server=content.get("server", ""))
    return {"authorize_url": request.url, "state": request.state}


async def _complete(content: dict[str, Any]) -> dict[str, Any]:
    params = content["params"]
    flows = (ref() for ref in _flows.valuerefs())
    flow = next((flow for flow in flows if flow and flow.knows(params.get("state", ""))), None)
    if flow is None:
        raise AuthenticationError("No such sign-in is open. Sign in again.", code="unknown_flow")
    await flow.complete(params)
    return {"name": flow.session.display_name}


async def _cancel(content: dict[str, Any]) -> dict[str, Any]:
    _flow(content).cancel()
    return {}


async def _logout(content: dict[str, Any]) -> dict[str, Any]:
    await _flow(content).session.logout()
    return {}


async def _status(content: dict[str, Any]) -> dict[str, Any]:
    session = _flow(content).session
    if not _is_signed_in(session):
        return {"authenticated": False}
    return {"authenticated": True, **_who(session), "expires_at": session.expires_at}


async def _userinfo(content: dict[str, Any]) -> dict[str, Any]:
    session = _flow(content).session
    who = _who(session)
    if not _is_signed_in(session) or who["user_id"] is None:
        raise AuthenticationError("Nobody is signed in.", code="not_authenticated")
    return {**who, "user_info": session.user}


async def _refresh(content: dict[str, Any]) -> dict[str, Any]:
    try:
        tokens = await _flow(content).session.refresh()
    except LoginRequired:
        raise AuthenticationError("Nobody is signed in.", code="not_authenticated") from None
    except TokenRefreshError as error:
        if error.code == "no_refresh_token":
            raise
        raise TokenRefreshError(error.message, code="refresh_failed") from None  # the notebook knows more
    return {"expires_in": tokens.expires_in, "token_type": tokens.token_type}


_IDENTIFIERS = ("sub", "id", "login", "email")


def _is_signed_in(session: SessionManager) -> bool:
    """Whether there is a token that is good, or that can be renewed."""
    snap = session._snap  # noqa: SLF001 - one moment
    if snap.tokens is None:
        return False
    return time.time() < snap.over or (snap.tokens.refresh_token is not None and not snap.ended)


def _who(session: SessionManager) -> dict[str, Any]:
    """Return by what the provider knows the person, as a string; None where it does not say. We know no roles."""
    user = session.user or {}
    ids = (user.get(name) for name in _IDENTIFIERS)
    known = next((value for value in ids if _is_identifier(value)), None)
    return {"user_id": None if known is None else str(known), "roles": []}


def _is_identifier(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and bool(str(value).strip())


_REQUESTS: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
    protocol.BEGIN: _begin,
    protocol.COMPLETE: _complete,
    protocol.CANCEL: _cancel,
    protocol.LOGOUT: _logout,
    protocol.STATUS: _status,
    protocol.USERINFO: _userinfo,
    protocol.REFRESH: _refresh,
}


def _flow(content: dict[str, Any]) -> AuthFlowManager:
    flow = _flows.get(content.get("flow", ""))
    if flow is None:
        raise AuthenticationError("This sign-in widget is gone. Run its cell again.", code="no_session")
    return flow


async def _answer(request: str, content: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked and say how it went: with a code, never with text that came from outside."""
    if content.get("protocol") != protocol.PROTOCOL:
        return _failed("version_mismatch")
    try:
        return {"protocol": protocol.PROTOCOL, "status": "ok", **await _REQUESTS[request](content)}
    except AuthenticationError as error:
        return _failed(error.code)
    except Exception as error:  # noqa: BLE001 - the browser must get an answer whatever happens
        log.error("%s failed: %s", request, type(error).__name__)  # noqa: TRY400 - a traceback may hold tokens
        return _failed("internal")


def _failed(code: str) -> dict[str, Any]:
    return {"protocol": protocol.PROTOCOL, "status": "error", "code": code}


# -- the control channel ----------------------------------------------------------------------------------------


def _register(kernel: Any) -> None:
    """Teach the kernel our requests, once."""
    for request in _REQUESTS:
        if f"{request}_request" not in kernel.control_handlers:
            kernel.control_handlers[f"{request}_request"] = _handler(kernel, request)
    if _quiet not in kernel.log.filters:
        kernel.log.addFilter(_quiet)


def _handler(kernel: Any, request: str) -> Callable[[Any, Any, dict[str, Any]], None]:
    def handle(stream: Any, ident: Any, message: dict[str, Any]) -> None:
        """Accept now, answer later, both from the control thread that called us."""
        control = asyncio.get_running_loop()

        def send(kind: str, content: dict[str, Any]) -> None:
            kernel.session.send(stream, f"{request}_{kind}", content, parent=message, ident=ident)

        def finished(future: concurrent.futures.Future[dict[str, Any]]) -> None:
            control.call_soon_threadsafe(send, "reply", future.result())

        send("accepted", {"protocol": protocol.PROTOCOL})
        submit(_answer(request, message["content"])).add_done_callback(finished)

    return handle


def _quiet(record: logging.LogRecord) -> bool:
    """Keep our messages out of a kernel log at DEBUG, where ipykernel writes each one down whole."""
    message = record.args
    kind = message.get("msg_type", "") if isinstance(message, dict) else ""
    return not str(kind).startswith("pywry_auth_")
