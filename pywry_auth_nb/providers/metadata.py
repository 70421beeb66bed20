"""`MetadataCache`: a provider's metadata, requested when they are needed and kept for an hour (OIDC Discovery §4)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from .._io import fork
from .._io.loop import ignore_result
from .._wire.error_codes import NETWORK_ERRORS
from ..errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._wire.error_codes import ErrorCode

_MAX_AGE = 3600.0  # seconds
#: Temporary failures, such as a captive portal causes. Others are the provider's own response.
_TEMPORARY: frozenset[ErrorCode] = NETWORK_ERRORS | {
    "timeout",
    "discovery_failed",
    "bad_response",
    "redirect_refused",
    "too_large",
}


class MetadataCache:
    """The metadata of one provider. Use it on the background loop only.

    Args:
        request: Requests the metadata, checks them, and passes them to :meth:`keep`.

    Attributes:
        values: The metadata; empty before the first request.
    """

    def __init__(self, request: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.values: dict[str, Any] = {}
        self._request = request
        self._kept_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        fork.in_child(self._forget_task)

    def keep(self, values: dict[str, Any]) -> None:
        """Replace the metadata."""
        self.values, self._kept_at = values, time.monotonic()

    async def renew(self) -> None:
        """Request the metadata if they are missing or old; concurrent calls share one request.

        Raises:
            TokenError: The request failed, and there are no metadata; or the provider's metadata were refused.
        """
        if time.monotonic() - self._kept_at < _MAX_AGE:
            return
        if self._task is None:
            self._task = ignore_result(asyncio.ensure_future(self._request()))
        try:
            await asyncio.shield(self._task)
        except TokenError as error:
            if not self.values or error.code not in _TEMPORARY:
                raise  # else use the known metadata, and try again the next time
        finally:
            if self._task is not None and self._task.done():
                self._task = None

    def _forget_task(self) -> None:
        self._task = None
