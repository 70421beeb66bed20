"""Device authorization (RFC 8628 §3.1 to §3.4): a code that the user enters at the provider, with any browser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._io.urls import is_safe, origin
from ..errors import TokenError
from ..tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.error_codes import ErrorCode

#: Token errors of §3.5 that answer a poll; all others end the sign-in in the ways of RFC 6749 §5.2.
POLL_ERRORS: frozenset[ErrorCode] = frozenset({"access_denied", "authorization_pending", "expired_token", "slow_down"})
#: Seconds between two polls if the provider does not say (§3.2).
INTERVAL = 5.0
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
_LIFETIME = 600.0  # seconds, if the provider does not say how long its code is valid
_LEAST = 1.0  # seconds: a shorter interval counts as this long
_LONGEST = 3600.0  # seconds: a code that is valid longer counts as valid for this long
_SLOWEST = 60.0  # seconds
_MAX_USER_CODE = 64  # characters that a user can be expected to type
_MAX_DEVICE_CODE = 8192


@dataclass(frozen=True, repr=False)
class DeviceCode:
    """A provider's response to a device authorization request (RFC 8628 §3.2).

    Attributes:
        device_code: Redeemed for tokens when the user has approved; a secret of this program.
        user_code: What the user enters at ``verification_uri``; plain text.
        verification_uri: The page at the provider where the user enters it.
        verification_uri_complete: The same page with the code in its address; empty if there is none.
        expires_in: Lifetime of both codes in seconds.
        interval: Minimum pause between two polls in seconds.
    """

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: float
    interval: float

    def __repr__(self) -> str:
        return f"<DeviceCode for {self.verification_uri}>"


def device_form(device_code: str) -> dict[str, str]:
    """Return the form that redeems a device code (RFC 8628 §3.4)."""
    return {"grant_type": GRANT_TYPE, "device_code": device_code}


def parse_device_code(body: Mapping[str, Any]) -> DeviceCode:
    """Parse a response to a device authorization request (RFC 8628 §3.2).

    Raises:
        TokenError: Code ``bad_response``: a member that is needed is missing or unusable, such as an address that is
            neither https nor on this machine.
    """
    uri = _text(body, "verification_uri") or _text(body, "verification_url")  # the latter is Google's
    user_code, device_code = _text(body, "user_code"), Secret(_text(body, "device_code"))
    typeable = user_code.isprintable() and 0 < len(user_code) <= _MAX_USER_CODE
    if not typeable or not 0 < len(device_code) <= _MAX_DEVICE_CODE or not is_safe(uri):
        message = "The provider's answer has no code, or no https:// page to enter it. Ask the provider's operator."
        raise TokenError(message, code="bad_response")
    complete = _text(body, "verification_uri_complete")
    return DeviceCode(
        device_code,
        user_code,
        uri,
        complete if is_safe(complete) and origin(complete) == origin(uri) else "",
        _seconds(body.get("expires_in"), default=_LIFETIME, least=1.0, most=_LONGEST),
        _seconds(body.get("interval"), default=INTERVAL, least=_LEAST, most=_SLOWEST),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value.strip() if isinstance(value, str) else ""


def _seconds(value: Any, *, default: float, least: float, most: float) -> float:
    """Return a number of seconds within bounds; the default for what is no number."""
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return min(max(seconds, least), most) if math.isfinite(seconds) else default
