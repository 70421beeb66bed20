"""This machine's clock, compared with the provider's: an ID token that seems to come from the future is refused."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from ..providers.id_token import LEEWAY, MAX_AGE
from .findings import Finding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ..providers.base import OAuthProvider
    from .http_probe import Asker

_HALF_A_SECOND = 0.5  # the mean of what Date leaves out
_finding = partial(Finding, "clock")
_SET = "Set this machine's clock (timedatectl set-ntp true); in a container, the host's."


def check(provider: OAuthProvider, asker: Asker) -> Iterator[Finding]:
    """Compare with the provider's clock, where it says what time it is (RFC 9110 §6.6.1)."""
    validates = getattr(provider, "issuer_url", "") and getattr(provider, "require_id_token_validation", False)
    found = _compare(provider.token_url, "the provider", asker, fatal=bool(validates))
    yield found or _finding(
        "note",
        "clock_unknown",
        "This machine's clock was not compared: the provider does not tell its time.",
        "See that it is set by a time server (timedatectl).",
    )


def check_server(url: str, asker: Asker) -> Generator[Finding, None, None]:
    """Compare with the clock of a server elsewhere, for want of a provider."""
    found = _compare(url, "the server", asker, fatal=False)
    if found is not None:
        yield found


def _compare(url: str, whose: str, asker: Asker, *, fatal: bool) -> Finding | None:
    """Say how far this clock is from the one there; None where that tells no time."""
    answer = asker.ask("GET", url)
    if answer is None or answer.date is None:
        return None
    ahead = (answer.sent_at + time.time()) / 2 - (answer.date + _HALF_A_SECOND)
    apart = f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of {whose}"
    if fatal and not -LEEWAY < ahead < MAX_AGE:
        return _finding("error", "clock_skew", f"{apart}: its ID tokens are refused here.", _SET)
    if abs(ahead) > LEEWAY / 2:
        return _finding("warning", "clock_skew", f"{apart}. ID tokens are refused where it is too much.", _SET)
    return _finding("ok", "clock", f"This machine's clock agrees with that of {whose}.")
