"""Which ways to sign in a session has, and opening one of them: for its widget, or for a cell that waits."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from ..._io.loop import ignore_result, on_daemon, on_loop
from ..._wire.protocol import LIFETIME
from ...errors import AuthenticationError, LoginRequired
from .device import Device
from .loopback import Loopback, superseded

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sign_ins import Added, SignIns
    from .way import Way

_numbers = count(1)
_KINDS: dict[str, Callable[[SignIns], Way]] = {"loopback": Loopback, "device": Device}
_NO_SERVER = "This page reaches no Jupyter server with pywry-auth-nb. Install it in the server's environment."


class Opened:
    """A way that was opened for a session, and what was asked for then.

    Args:
        way: The way.
        lifetime: Seconds within which the user must sign in.
        asked: What the sign-in asks for; another request needs another sign-in.
        before: What this takes the place of: its port must be free first.

    Attributes:
        id: By which pages know it.
    """

    def __init__(self, way: Way, lifetime: float, asked: tuple[Added, dict[str, str]], before: Opened | None) -> None:
        self.id = str(next(_numbers))
        self.way = way
        self.asked = asked
        self.opening = ignore_result(asyncio.ensure_future(self._open(lifetime, before)))

    async def _open(self, lifetime: float, before: Opened | None) -> None:
        if before is not None:
            await asyncio.to_thread(before.way.end, superseded(), quietly=True)
        await self.way.begin(lifetime, **self.asked[1])

    def serves(self, asked: tuple[Added, dict[str, str]]) -> bool:
        """Whether this is open, or will be, and asks for the same."""
        if self.asked != asked or (self.opening.done() and (self.opening.cancelled() or self.opening.exception())):
            return False
        return not self.opening.done() or not self.way.outcome.done()


async def offered(sign_ins: SignIns, *, server: bool) -> list[dict[str, str]]:
    """Return all ways in the order in which they are offered, and why one cannot be had.

    Args:
        sign_ins: The session's sign-ins.
        server: Whether the page reaches our route at its Jupyter server.
    """
    if not sign_ins.provider.interactive:
        why = f"{sign_ins.provider.label} signs you in by itself."
        return [{"name": name, "why": why} for name in ("server", *_KINDS)]
    ways = [{"name": "server", "why": "" if server else _NO_SERVER}]
    return [*ways, *[{"name": name, "why": await kind(sign_ins).why_not()} for name, kind in _KINDS.items()]]


async def start(sign_ins: SignIns, name: Any, **params: Any) -> dict[str, Any]:
    """Open a way, or find it open, and return what the user needs. Pages that show an earlier one are told.

    Raises:
        AuthenticationError: As for :func:`open_way`.
    """
    if not isinstance(name, str) or name not in _KINDS:
        raise AuthenticationError(code="bad_request")
    opened = await open_way(sign_ins, name, **params)
    return {"id": opened.id, **opened.way.details}


@on_loop
async def open_way(sign_ins: SignIns, name: str, *, lifetime: float = LIFETIME, **params: Any) -> Opened:
    """Return a way that is open: opened now, or before by a page or a cell that asked for the same.

    Args:
        sign_ins: The session's sign-ins.
        name: ``"loopback"`` or ``"device"``.
        lifetime: Seconds within which the user must sign in.
        params: As for :meth:`Way.begin`.

    Raises:
        LoginRequired: Code ``way_unavailable``: it cannot be had here; the message says why.
        AuthenticationError: As for :meth:`Way.begin`.
    """
    way = _KINDS[name](sign_ins)
    if why := await way.why_not():
        raise LoginRequired(why, code="way_unavailable")
    opened, asked = sign_ins.opened.get(name), (sign_ins.added, params)
    if opened is None or not opened.serves(asked):  # nothing is awaited in between: two pages may ask at once
        if opened is not None:
            sign_ins.greetings.tell({"superseded": opened.id})
        opened = sign_ins.opened[name] = Opened(way, lifetime, asked, opened)
    await opened.opening  # which ends if a cell that asked is interrupted
    opened.way.outcome.add_done_callback(lambda _: on_daemon(opened.way.end, superseded()))
    return opened


async def paste(sign_ins: SignIns, text: Any) -> None:
    """Finish the open loopback sign-in with what the user pasted.

    Raises:
        AuthenticationError: Code ``paste_unusable`` or ``not_started``: nothing has changed. Any other code: that
            sign-in has ended.
    """
    opened = sign_ins.opened.get("loopback")
    if not isinstance(text, str) or opened is None or not isinstance(opened.way, Loopback):
        raise AuthenticationError(
            "Begin the sign-in first, then paste the address at which it ends.", code="not_started"
        )
    await asyncio.shield(opened.opening)
    await opened.way.paste(text)
