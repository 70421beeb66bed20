"""`Record`: one moment of a sign-in that several kernels share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import TokenStoreError
    from ..tokens import OAuthTokenSet


@dataclass(frozen=True, repr=False)
class Record:
    """What a store keeps under one key: whose tokens, which, and how late that was.

    Records are in order: a sign-in or a sign-out has a greater generation than all that was before, a refresh has the
    next one after what it renewed. So whatever two kernels do at once, both can tell which of it counts: a refresh
    that comes back after a sign-out is earlier than the sign-out.

    Attributes:
        generation: Its place in the order; 0 when there is nothing. A sign-in's is the time in microseconds.
        sign_in: The generation with which this sign-in, or sign-out, began.
        tokens: The tokens; None when nobody is signed in.
        user: Claims about who is signed in; None when they are not known here.
        ended: The provider does not renew these tokens any more: what is left is the access token's life.
        problem: Why something is there and cannot be read, or None.
        version: What was read, for the store to compare when it is replaced.
    """

    generation: int = 0
    sign_in: int = 0
    tokens: OAuthTokenSet | None = None
    user: dict[str, Any] | None = None
    ended: bool = False
    problem: TokenStoreError | None = None
    version: Any = field(default=None, compare=False)

    def signed_in(self, tokens: OAuthTokenSet, user: dict[str, Any] | None) -> Record:
        """Return the record of a new sign-in after this one."""
        generation = self._later()
        return Record(generation, generation, tokens, user)

    def signed_out(self, at: int | None = None) -> Record:
        """Return the record of a sign-out after this one, now or ``at`` some epoch microsecond."""
        generation = self._later(at)
        return Record(generation, generation)

    def renewed(self, tokens: OAuthTokenSet) -> Record:
        """Return the record of these tokens' refresh."""
        return replace(self, generation=self.generation + 1, tokens=tokens, version=None)

    def as_ended(self) -> Record:
        """Return the record of tokens that cannot be renewed any more."""
        tokens = self.tokens and replace(self.tokens, refresh_token=None)
        return replace(self, generation=self.generation + 1, tokens=tokens, ended=True, version=None)

    def _later(self, at: int | None = None) -> int:
        return max(self.generation + 1, time.time_ns() // 1000 if at is None else at)

    def __repr__(self) -> str:
        return f"<Record {self.generation}, {'signed out' if self.tokens is None else repr(self.tokens)}>"


NOTHING = Record()
