"""A device code, and polling for its tokens while the user enters it at the provider (RFC 8628 §3.1, §3.4, §3.5)."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from .._wire.error_codes import explain
from ..errors import AuthFlowCancelled, AuthFlowTimeout, TokenError
from .authorization import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.error_codes import ErrorCode
    from ..providers import OAuthProvider
    from ..providers.device import DeviceCode
    from ..tokens import OAuthTokenSet

_MORE = 5.0  # seconds that each "slow_down" adds (§3.5)
_SLOWEST = 60.0  # seconds between two tries while the network or the provider is down
#: Failures after which the next try may succeed.
_PASSING: frozenset[ErrorCode] = frozenset(
    {"bad_response", "connection_refused", "network", "provider_unavailable", "proxy", "timeout", "unknown_host"}
)


class Pace:
    """How long to wait before the next poll.

    Args:
        interval: The provider's minimum pause, in seconds.

    Attributes:
        pause: Seconds to wait now.
    """

    def __init__(self, interval: float) -> None:
        self._interval = self.pause = interval

    def after(self, error: TokenError) -> bool:
        """Set the pause after a failed poll; return False if there must be no further one."""
        if error.code == "slow_down":
            self._interval += _MORE
        elif error.code not in {"authorization_pending", *_PASSING}:
            return False
        doubled = min(max(self.pause, self._interval) * 2, max(self._interval, _SLOWEST))
        pause = doubled if error.code in _PASSING else self._interval
        self.pause = max(pause, error.retry_after or 0.0)
        return True


async def request_code(provider: OAuthProvider, params: Mapping[str, str]) -> DeviceCode:
    """Ask for a code, once all is here that its tokens are checked with: they can be had once. On the background loop.

    Raises:
        TokenError: The provider has no device codes (``device_unsupported``), or its metadata, its keys or a code
            cannot be had.
    """
    await provider.prepare()
    if provider.device_authorization_url:
        await provider.warm_up()
    return await provider.request_device_code(params)


async def poll(provider: OAuthProvider, code: DeviceCode, lifetime: float, closed: asyncio.Event) -> OAuthTokenSet:
    """Return the tokens of ``code`` once the user has approved. On the background loop.

    Args:
        provider: The provider that issued the code.
        code: The code.
        lifetime: Seconds within which the user must approve.
        closed: Set when the sign-in has ended otherwise.

    Raises:
        AuthFlowTimeout: The user did not approve within ``lifetime``, or before the code expired (``expired_token``).
        AuthFlowCancelled: The user declined (``access_denied``), or the sign-in has ended otherwise.
        TokenError: The provider refused the request, or its response was refused.
    """
    pace, until = Pace(code.interval), time.monotonic() + min(lifetime, code.expires_in)
    while True:
        await _wait(closed, min(pace.pause, until - time.monotonic()))
        if time.monotonic() >= until:
            raise _late(lifetime, expired=code.expires_in <= lifetime)
        try:
            return await provider.redeem_device_code(code.device_code)
        except TokenError as error:
            if not pace.after(error):
                raise _ended(error, lifetime) from None


async def _wait(closed: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(closed.wait(), seconds)
    if closed.is_set():
        raise AuthFlowCancelled


def _ended(error: TokenError, lifetime: float) -> Exception:
    """Return the error of a sign-in that ``error`` ends."""
    if error.code == "access_denied":
        return refusal(error.code, error.description)
    return _late(lifetime, expired=True) if error.code == "expired_token" else error


def _late(lifetime: float, *, expired: bool) -> AuthFlowTimeout:
    if expired:
        return AuthFlowTimeout(explain("expired_token").text(), lifetime, code="expired_token")
    return AuthFlowTimeout(None, lifetime)
