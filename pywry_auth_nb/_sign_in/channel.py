"""The kernel's end of the control channel: answers requests of the server extension, and of the page itself.

ipykernel serves that channel on its own thread, so a sign-in completes while a cell is running. Interrupt and shutdown
use it, too, so handlers must not block: they accept a request immediately, and answer it from the background.

Where a page reaches no control channel, it sends the same requests as widget messages. Those come by the shell channel,
which ipykernel serves while a cell is running only if the front end uses subshells (JupyterLab 4.4 with ipykernel 7).
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
import weakref
from typing import TYPE_CHECKING, Any

from .._io.loop import submit
from .._wire import protocol
from .._wire.error_codes import explain
from ..errors import AuthenticationError, LoginRequired, TokenRefreshError
from .front_end import current_kernel, kernel_id
from .greetings import Page
from .panel import panel
from .qr import qr_code
from .ways import offer

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable

    from .._session.engine import SessionEngine
    from .sign_ins import SignIns

log = logging.getLogger("pywry_auth_nb")

#: Sign-ins by the keys in login links. Weak, since a link must not keep a session alive.
_sign_ins: weakref.WeakValueDictionary[str, SignIns] = weakref.WeakValueDictionary()
#: All that a link has led to: an answer may arrive when the link leads to another session already.
_linked: weakref.WeakSet[SignIns] = weakref.WeakSet()


def open_path(sign_ins: SignIns) -> str:
    """Return a new path, relative to the server's base URL, that begins sign-ins of a session; empty without a kernel.

    Its key cannot be guessed, so a web page cannot make a browser begin a sign-in.
    """
    kernel = current_kernel()
    if kernel is None:
        return ""
    _register(kernel)
    key = secrets.token_urlsafe(16)
    _lead_to(sign_ins, key)
    return f"pywry-auth/login?kernel={kernel_id()}&flow={key}"


def lead_to(sign_ins: SignIns, path: str) -> None:
    """Let ``path``, which :func:`open_path` returned, begin the sign-ins of another session."""
    if path:
        _lead_to(sign_ins, path.rpartition("=")[2])


def account_path(path: str) -> str:
    """Return the variant of a path from :func:`open_path` that lets the user choose another account."""
    return f"{path}&prompt={protocol.OTHER_ACCOUNT}" if path else ""


def _lead_to(sign_ins: SignIns, key: str) -> None:
    _sign_ins[key] = sign_ins
    _linked.add(sign_ins)


# -- requests ---------------------------------------------------------------------------------------------------


async def _begin(content: dict[str, Any]) -> dict[str, Any]:
    sign_ins = _asked(content)
    if not sign_ins.provider.interactive:
        await sign_ins.engine.acquire_silently()
        return {"name": sign_ins.engine.state.display_name, "provider": sign_ins.provider.label}
    switches = content.get("prompt") == protocol.OTHER_ACCOUNT  # no other is taken from a link
    request = await sign_ins.begin(content["redirect_uri"], server=content.get("server", ""), switches=switches)
    return {"authorize_url": request.url, "state": request.state}


async def _complete(content: dict[str, Any]) -> dict[str, Any]:
    params = content["params"]
    sign_ins = next((each for each in list(_linked) if each.knows(params.get("state", ""))), None)
    if sign_ins is None:
        raise AuthenticationError(code="unknown_flow")
    where = {"provider": sign_ins.provider.label}
    try:
        await sign_ins.complete(params)
    except AuthenticationError as error:
        return {**_failed(error.code), **where}
    return {"name": sign_ins.engine.state.display_name, **where}


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


# -- requests of the page itself --------------------------------------------------------------------------------


async def _hello(content: dict[str, Any]) -> dict[str, Any]:
    sign_ins, page = _asked(content), Page.of(content.get("front_end"))
    sign_ins.greetings.hear(page)
    return {"ways": await offer.offered(sign_ins, server=page.server)}


async def _start(content: dict[str, Any]) -> dict[str, Any]:
    prompt = {"prompt": protocol.OTHER_ACCOUNT} if content.get("prompt") == protocol.OTHER_ACCOUNT else {}
    details = await offer.start(_asked(content), content.get("way"), **prompt)
    return {**details, "qr": qr_code(details.get("verification_uri_complete", "")), "panel": panel()}


async def _paste(content: dict[str, Any]) -> dict[str, Any]:
    await offer.paste(_asked(content), content.get("text"))
    return {}


async def _details(content: dict[str, Any]) -> dict[str, Any]:
    return {"details": _asked(content).profile.details()}


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
    protocol.HELLO: _hello,
    protocol.START: _start,
    protocol.PASTE: _paste,
    protocol.DETAILS: _details,
}
#: Requests of the server alone: a page has no need of them.
_OF_THE_SERVER = frozenset({protocol.BEGIN, protocol.COMPLETE, protocol.STATUS, protocol.USERINFO})


def _asked(content: dict[str, Any]) -> SignIns:
    """Return the sign-ins that a request belongs to."""
    sign_ins = _sign_ins.get(content.get("flow", ""))
    if sign_ins is None:
        raise AuthenticationError(code="no_session")
    return sign_ins


async def _answer(request: str, content: Any) -> dict[str, Any]:
    """Handle a request, and return the reply. A failure is a code, never text from outside."""
    if not isinstance(content, dict) or content.get("protocol") != protocol.PROTOCOL:
        return _failed("version_mismatch")
    try:
        reply = {"protocol": protocol.PROTOCOL, "status": "ok", **await _REQUESTS[request](content)}
        json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()  # ValueError: a claim that cannot be sent
    except AuthenticationError as error:
        return _failed(error.code, error.message)
    except Exception as error:  # noqa: BLE001 - the browser must always get an answer
        log.error("%s failed: %s", request, type(error).__name__)  # noqa: TRY400 - a traceback may contain tokens
        return _failed("internal")
    return reply


def _failed(code: str, text: str = "") -> dict[str, Any]:
    """Return the reply for a failure; ``text`` is our own sentence, for a page."""
    return {"protocol": protocol.PROTOCOL, "status": "error", "code": code, "text": text or explain(code).text()}


async def answer_widget(sign_ins: SignIns, content: Any) -> dict[str, Any]:
    """Answer a widget's message ``{request, id, …}`` with ``{reply: id, status, …}``."""
    content = content if isinstance(content, dict) else {}
    request, key = f"pywry_auth_{content.get('request')}", secrets.token_urlsafe(16)
    if request not in _REQUESTS or request in _OF_THE_SERVER:
        return {"reply": content.get("id"), **_failed("bad_request")}
    _sign_ins[key] = sign_ins
    try:
        return {
            "reply": content.get("id"),
            **await _answer(request, {**content, "protocol": protocol.PROTOCOL, "flow": key}),
        }
    finally:
        del _sign_ins[key]


# -- the control channel ----------------------------------------------------------------------------------------


def _register(kernel: Any) -> None:
    """Register the request handlers with the kernel, once."""
    for request in _REQUESTS:
        if f"{request}_request" not in kernel.control_handlers:
            kernel.control_handlers[f"{request}_request"] = _handler(kernel, request)
    keep_quiet(kernel.log)


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


def keep_quiet(*loggers: logging.Logger) -> None:
    """Keep our messages out of DEBUG logs, where ipykernel and comm write them in full."""
    for logger in (*loggers, logging.getLogger("Comm")):
        if _quiet not in logger.filters:
            logger.addFilter(_quiet)


def _quiet(record: logging.LogRecord) -> bool:
    args = record.args if isinstance(record.args, tuple) else (record.args,)
    return not any(_is_ours(value) or _is_ours(_member(value, "content")) for value in args)


def _is_ours(value: object) -> bool:
    """Whether this is a message of ours, or the content of a widget's message with a request."""
    asked = _member(_member(_member(value, "data"), "content"), "request")
    return isinstance(asked, str) or str(_member(value, "msg_type")).startswith("pywry_auth_")


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
