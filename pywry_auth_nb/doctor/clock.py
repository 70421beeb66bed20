"""This machine's clock, compared with the provider's: an ID token that seems to come from the future is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..providers.id_token import LEEWAY, MAX_AGE
from .findings import Check, found

if TYPE_CHECKING:
    from ..providers.base import OAuthProvider
    from .http_probe import Probe

_HALF_A_SECOND = 0.5  # the mean of what Date leaves out


def check(provider: OAuthProvider, probe: Probe) -> Check[None]:
    """Compare with the provider's clock, where its answers have a date (RFC 9110 §6.6.1)."""
    ahead = _seconds_ahead(provider.token_url, probe)
    if ahead is None:
        yield found("clock", "clock_unknown")
        return
    validates = getattr(provider, "issuer_url", "") and getattr(provider, "require_id_token_validation", False)
    if validates and not -LEEWAY < ahead < MAX_AGE:
        yield found("clock", "clock_skew", difference=_difference(ahead), whose="the provider")
    else:
        yield from _compare(ahead, "the provider")


def check_server(url: str, probe: Probe) -> Check[None]:
    """Compare with the clock of a server elsewhere, where no provider is known."""
    ahead = _seconds_ahead(url, probe)
    if ahead is not None:
        yield from _compare(ahead, "the server")


def _compare(ahead: float, whose: str) -> Check[None]:
    name = "clock_skew.perhaps" if abs(ahead) > LEEWAY / 2 else "clock"
    yield found("clock", name, difference=_difference(ahead), whose=whose)


def _seconds_ahead(url: str, probe: Probe) -> float | None:
    """Return how far this clock is ahead of the one there; None where that is not told."""
    answer = probe.ask("GET", url)
    if answer is None or answer.date is None:
        return None
    return (answer.sent_at + time.time()) / 2 - (answer.date + _HALF_A_SECOND)


def _difference(ahead: float) -> str:
    return f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'}"
