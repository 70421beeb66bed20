"""How long to leave the provider alone after a refresh has failed. Pure, as :mod:`.state` is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import without_traceback
from ..providers.refusals import REGISTRATION_ERRORS
from .failures import is_refusal, is_store_error

if TYPE_CHECKING:
    from ..errors import TokenRefreshError

MIN_PAUSE = 1.0  # seconds between two refreshes, however short the lifetime of the tokens
_BACKOFF_CAP = 60.0
_STORE_CAP = 2.0  # maximum pause, in seconds, after a failure of the store and not the provider
_MANY = 10  # consecutive failures, after which a source that renews only after expiry is asked less often
_REGISTRATION_PAUSE = 600.0  # seconds until the next attempt if the client's registration must be changed first


@dataclass(frozen=True)
class Backoff:
    """The pause after failed refreshes.

    Attributes:
        failures: Number of consecutive failures.
        failure: The latest failure.
        next_try: When the background tries again.
        not_before: When reading a stale token may cause a refresh again.
        expired_not_before: The same for an expired token, which the user may be waiting for.
        refusals: How many of the failures since the last success were refusals by the provider.
    """

    failures: int = 0
    failure: TokenRefreshError | None = None
    next_try: float = -math.inf
    not_before: float = -math.inf
    expired_not_before: float = -math.inf
    refusals: int = 0

    def failed(self, error: TokenRefreshError, *, now: float, dice: float, only_after_expiry: bool) -> Backoff:
        """Return the backoff after one more failure: pauses grow, and ``Retry-After`` (RFC 9110 §10.2.3) binds.

        Args:
            error: The failure.
            now: Epoch seconds.
            dice: From 0 to 1.
            only_after_expiry: Whether the provider renews only expired tokens.
        """
        failures = self.failures + 1
        asked = error.retry_after or 0.0
        cap = _STORE_CAP if is_store_error(error) else _BACKOFF_CAP
        pause = min(2.0 ** min(failures, _MANY), cap) * (0.5 + dice / 2)
        hopeless = error.code in REGISTRATION_ERRORS or (only_after_expiry and failures > _MANY)
        not_before = now + max(pause, asked, _BACKOFF_CAP if hopeless else 0.0)
        return Backoff(
            failures,
            without_traceback(error),
            next_try=not_before + (_REGISTRATION_PAUSE if hopeless else 0.0),  # a read may find it corrected sooner
            not_before=not_before,
            expired_not_before=now + max(MIN_PAUSE, asked),
            refusals=self.refusals + is_refusal(error),
        )
