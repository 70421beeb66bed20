"""Device code (RFC 8628): the user enters a code at the provider, with a browser on any machine."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

from ..._io.loop import on_loop
from ...errors import TokenError
from ..authorization import DeviceRequest
from .way import OneRequest

if TYPE_CHECKING:
    from ..sign_ins import SignIns
    from .way import WayName

_PATIENCE = 3.0  # seconds that the provider's metadata may take


class Device(OneRequest[DeviceRequest]):
    """A sign-in with a code; its tokens are polled for until it has ended.

    Args:
        sign_ins: The session's sign-ins.
    """

    name: ClassVar[WayName] = "device"

    def __init__(self, sign_ins: SignIns) -> None:
        super().__init__(sign_ins)
        self._until = 0.0  # monotonic seconds

    @on_loop
    async def why_not(self) -> str:
        """Return why it cannot be had here: the provider has no device authorization endpoint, or does not answer."""
        provider = self._sign_ins.provider
        try:
            await asyncio.wait_for(provider.prepare(), _PATIENCE)
        except (asyncio.TimeoutError, TokenError):
            return f"{provider.label} does not answer, so it cannot be asked for a code."
        return "" if provider.device_authorization_url else f"{provider.label} offers no sign-in with a code."

    @on_loop
    async def begin(self, lifetime: float, **params: Any) -> None:
        """Ask the provider for a code, and poll for its tokens.

        Raises:
            TokenError: The provider has no codes (``device_unsupported``), or cannot be asked.
        """
        self._request = await self._sign_ins.begin_device(lifetime=lifetime, **params)
        self._until = time.monotonic() + min(lifetime, self._request.code.expires_in)

    @property
    def details(self) -> dict[str, Any]:
        """What the user enters, and where. The device code stays in the kernel."""
        code = self.request.code
        return {
            "user_code": code.user_code,
            "verification_uri": code.verification_uri,
            "verification_uri_complete": code.verification_uri_complete,
            "expires_in": max(0.0, self._until - time.monotonic()),
        }
