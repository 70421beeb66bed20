"""The kernel's end of the control channel: answers requests of the server extension.

ipykernel serves that channel on its own thread, so a sign-in completes while a cell is running. Interrupt and shutdown
use it, too, so handlers must not block: they accept a request immediately, and answer it from the background.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import weakref
from typing import TYPE_CHECKING, Any

from .._io.loop import submit
from .._wire import protocol
from ..errors import AuthenticationError, LoginRequired, TokenRefreshError
from .front_end import current_kernel, kernel_id

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable

    from .._session.engine import SessionEngine
    from .sign_ins import SignIns

log = logging.getLogger("pywry_auth_nb")

#: Sign-ins by the keys in login links. Weak, since a link must not keep a session alive.
_sign_ins: weakref.WeakValueDictionary[str, SignIns] = weakref.WeakValueDictionary()


def open_path(sign_ins: SignIns) -> str:
    """Return a new path, relative to the server's base URL, that begins sign-ins of a session; empty without a kernel.

    Its key cannot be guessed, so a web page cannot make a browser begin a sign-in.
    """
    kernel = current_kernel()
    if kernel is None:
        return ""
    _register(kernel)
    key = secrets.token_urlsafe(16)
    _sign_ins[key] = sign_ins
    return f"pywry-auth/login?kernel={kernel_id()}&flow={key}"


# -- requests ---------------------------------------------------------------------------------------------------


async def _begin(content: dict[str, Any]) -> dict[str, Any]:
    sign_ins = _asked(content)
    if not sign_ins.provider.interactive:
        await sign_ins.engine.acquire_silently()
        return {"name": sign_ins.engine.state.display_name}
    request = await sign_ins.begin(content["redirect_uri"], server=content.get("server", ""))
    return {"authorize_url": request.url, "state": request.state}


async def _complete(content: dict[str, Any]) -> dict[str, Any]:
    params = content["params"]
    open_here = (reference() for reference in _sign_ins.valuerefs())
    sign_ins = next((each for each in open_here if each and each.knows(params.get("state", ""))), None)
    if sign_ins is None:
        raise AuthenticationError(code="unknown_flow")
    await sign_ins.complete(params)
    return {"name": sign_ins.engine.state.display_name}


async def _cancel(content: dict[str, Any]) -> dict[str, Any]:
    _asked(content).cancel()
    return {}


async def _logout(content: dict[str, Any]) -> dict[str, Any]:
    await _asked(content).sign_out()
    return {}


async def _status(content: dict[str, Any]) -> dict[str, Any]:
    engine = _asked(content).engine
    if not engine.state.is_renewable(time.time()):
        return {"authenticated": False}
    tokens = engine.state.tokens
    return {"authenticated": True, **_who(engine), "expires_at": tokens and tokens.expires_at}


async def _userinfo(content: dict[str, Any]) -> dict[str, Any]:
    engine = _asked(content).engine
    who = _who(engine)
    if not engine.state.is_renewable(time.time()) or who["user_id"] is None:
        raise AuthenticationError(code="not_authenticated")
    return {**who, "user_info": engine.state.user}


async def _refresh(content: dict[str, Any]) -> dict[str, Any]:
    try:
        tokens = await _asked(content).engine.refresh()
    except LoginRequired:
        raise AuthenticationError(code="not_authenticated") from None
    except TokenRefreshError as error:
        if error.code == "no_refresh_token":
            raise
        raise TokenRefreshError(error.message, code="refresh_failed") from None  # session.error says more
    return {"expires_in": tokens.expires_in, "token_type": tokens.token_type}


_IDENTIFIERS = ("sub", "id", "login", "email")


def _who(engine: SessionEngine) -> dict[str, Any]:
    """Return the user's identifier at the provider as a string, or None. There are no roles."""
    user = engine.state.user or {}
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


def _asked(content: dict[str, Any]) -> SignIns:
    """Return the sign-ins that a request belongs to."""
    sign_ins = _sign_ins.get(content.get("flow", ""))
    if sign_ins is None:
        raise AuthenticationError(code="no_session")
    return sign_ins


async def _answer(request: str, content: dict[str, Any]) -> dict[str, Any]:
    """Handle a request, and return the reply. A failure is a code, never text from outside."""
    if content.get("protocol") != protocol.PROTOCOL:
        return _failed("version_mismatch")
    try:
        return {"protocol": protocol.PROTOCOL, "status": "ok", **await _REQUESTS[request](content)}
    except AuthenticationError as error:
        return _failed(error.code)
    except Exception as error:  # noqa: BLE001 - the browser must always get an answer
        log.error("%s failed: %s", request, type(error).__name__)  # noqa: TRY400 - a traceback may contain tokens
        return _failed("internal")


def _failed(code: str) -> dict[str, Any]:
    return {"protocol": protocol.PROTOCOL, "status": "error", "code": code}


# -- the control channel ----------------------------------------------------------------------------------------


def _register(kernel: Any) -> None:
    """Register the request handlers with the kernel, once."""
    for request in _REQUESTS:
        if f"{request}_request" not in kernel.control_handlers:
            kernel.control_handlers[f"{request}_request"] = _handler(kernel, request)
    if _quiet not in kernel.log.filters:
        kernel.log.addFilter(_quiet)


def _handler(kernel: Any, request: str) -> Callable[[Any, Any, dict[str, Any]], None]:
    def handle(stream: Any, ident: Any, message: dict[str, Any]) -> None:
        """Accept now and answer later, both on the kernel's control thread."""
        control = asyncio.get_running_loop()

        def send(kind: str, content: dict[str, Any]) -> None:
            kernel.session.send(stream, f"{request}_{kind}", content, parent=message, ident=ident)

        def finished(future: concurrent.futures.Future[dict[str, Any]]) -> None:
            control.call_soon_threadsafe(send, "reply", future.result())

        send("accepted", {"protocol": protocol.PROTOCOL})
        submit(_answer(request, message["content"])).add_done_callback(finished)

    return handle


def _quiet(record: logging.LogRecord) -> bool:
    """Keep these messages out of the kernel's DEBUG log, where ipykernel writes them in full."""
    message = record.args
    kind = message.get("msg_type", "") if isinstance(message, dict) else ""
    return not str(kind).startswith("pywry_auth_")
