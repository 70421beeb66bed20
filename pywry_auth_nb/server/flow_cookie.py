"""The cookies that tie a sign-in to the browser where it began. All are signed, and none is seen by a script."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .._wire.protocol import LIFETIME
from .redirect_uri import redirect_uri

if TYPE_CHECKING:
    from .guard import PywryAuthHandler

_PREFIX = "pywry-auth-"
_ANSWER = "pywry-auth-answer"
_DAYS = LIFETIME / 86400  # as long as the kernel keeps a sign-in open
_MOST = 8
_LONGEST = 2700  # bytes; with its signature a cookie of more than 4096 is dropped by browsers


def cookie_name(state: str) -> str:
    """Return the name of the cookie that ties ``state`` to a browser."""
    return _PREFIX + hashlib.sha256(state.encode()).hexdigest()[:32]


def remember(handler: PywryAuthHandler, state: str, kernel_id: str) -> None:
    """Tie a sign-in to this browser; the cookie's value routes the answer."""
    ours = [name for name in handler.cookies if name.startswith(_PREFIX)]
    if len(ours) >= _MOST:
        for name in ours:
            handler.clear_cookie(name, path=_path(handler))
    _set(handler, cookie_name(state), kernel_id)


def kernel_of(handler: PywryAuthHandler, state: str) -> str | None:
    """Return the kernel that began the sign-in ``state`` in this browser; None where none did."""
    kernel_id = handler.get_signed_cookie(cookie_name(state), max_age_days=_DAYS)
    return None if kernel_id is None else kernel_id.decode()


def park(handler: PywryAuthHandler, query: str) -> bool:
    """Leave the provider's answer with this browser while its owner signs in to Jupyter.

    In an address it would be written into logs and pages on that way.

    Returns:
        Whether it could be: not when it is too long.
    """
    if len(query) > _LONGEST:
        return False
    _set(handler, _ANSWER, query)
    return True


def parked(handler: PywryAuthHandler) -> str:
    """Take back what was parked; empty for nothing."""
    answer = handler.get_signed_cookie(_ANSWER, max_age_days=_DAYS)
    if answer is None:
        return ""
    handler.clear_cookie(_ANSWER, path=_path(handler))
    return answer.decode()


def _set(handler: PywryAuthHandler, name: str, value: str) -> None:
    handler.set_signed_cookie(
        name,
        value,
        expires_days=_DAYS,
        path=_path(handler),
        httponly=True,
        samesite="Lax",  # Strict would not be sent when the provider sends the browser back
        secure=_is_over_tls(handler),
    )


def _is_over_tls(handler: PywryAuthHandler) -> bool:
    """Whether the browser came over TLS. On a hub, what a request says of itself is the word of the hub's own proxy."""
    configured = handler.settings["pywry_auth"].redirect_uri
    return redirect_uri(configured, handler.request, handler.base_url).startswith("https:")


def _path(handler: PywryAuthHandler) -> str:
    return f"{handler.base_url}pywry-auth/"
