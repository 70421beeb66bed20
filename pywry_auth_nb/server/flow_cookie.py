"""The cookies that tie a sign-in to the browser where it began. All are signed and HttpOnly."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .._wire.protocol import LIFETIME
from .redirect_uri import redirect_uri

if TYPE_CHECKING:
    from .guard import PywryAuthHandler

_PREFIX = "pywry-auth-"
#: Names of the cookies that keep a query while the user signs in to Jupyter: of a login link, and of an answer.
LINK, ANSWER = "pywry-auth-link", "pywry-auth-answer"
_DAYS = LIFETIME / 86400  # as long as the kernel keeps a sign-in open
_MOST = 8
_LONGEST = 2700  # bytes; with its signature, a longer cookie exceeds the 4096 bytes that browsers keep


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
    """Return the kernel that began the sign-in ``state`` in this browser; None if no kernel did."""
    kernel_id = handler.get_signed_cookie(cookie_name(state), max_age_days=_DAYS)
    return None if kernel_id is None else kernel_id.decode()


def park(handler: PywryAuthHandler, name: str, query: str) -> bool:
    """Store a query in a cookie of this browser while the user signs in to Jupyter.

    In a URL it would end up in logs and pages on the way.

    Returns:
        Whether it was stored: False if it is too long.
    """
    if len(query) > _LONGEST:
        return False
    _set(handler, name, query)
    return True


def parked(handler: PywryAuthHandler, name: str) -> str:
    """Return the stored query and remove its cookie; empty if there is none."""
    query = handler.get_signed_cookie(name, max_age_days=_DAYS)
    if query is None:
        return ""
    handler.clear_cookie(name, path=_path(handler))
    return query.decode()


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
    """Whether the browser uses TLS, judged by the redirect URI."""
    configured = handler.settings["pywry_auth"].redirect_uri
    return redirect_uri(configured, handler.request, handler.base_url).startswith("https:")


def _path(handler: PywryAuthHandler) -> str:
    return f"{handler.base_url}pywry-auth/"
