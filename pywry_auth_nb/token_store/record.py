"""`Record`: the stored state of a sign-in that several kernels share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import TokenStoreError
    from ..tokens import OAuthTokenSet


@dataclass(frozen=True, repr=False)
class Record:
    """What a store keeps under one key: tokens, their owner, and their place in the order of records.

    A sign-in or sign-out has a greater generation than all records before it; a refresh has the generation after the
    record that it refreshed. So kernels that act concurrently agree on the latest record: a refresh that arrives after
    a sign-out is earlier than the sign-out.

    Attributes:
        generation: The place in the order; 0 for no record. That of a sign-in is the time in microseconds.
        sign_in: The generation with which this sign-in or sign-out began.
        tokens: The tokens; None if the session is signed out.
        user: Claims about the signed-in user; None if unknown.
        ended: Whether the sign-in can no longer be renewed; the access token stays valid until its expiry.
        problem: Why the stored record cannot be read, or None.
        version: The stored form, which the store compares when the record is replaced.
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
        """Return the record of a sign-out after this one, now or ``at`` a time in epoch microseconds."""
        generation = self._later(at)
        return Record(generation, generation)

    def renewed(self, tokens: OAuthTokenSet) -> Record:
        """Return the record after a refresh, with its ``tokens``."""
        return replace(self, generation=self.generation + 1, tokens=tokens, version=None)

    def as_ended(self) -> Record:
        """Return the record of a sign-in that can no longer be renewed."""
        tokens = self.tokens and replace(self.tokens, refresh_token=None)
        return replace(self, generation=self.generation + 1, tokens=tokens, ended=True, version=None)

    def _later(self, at: int | None = None) -> int:
        return max(self.generation + 1, time.time_ns() // 1000 if at is None else at)

    def __repr__(self) -> str:
        return f"<Record {self.generation}, {'signed out' if self.tokens is None else repr(self.tokens)}>"


NOTHING = Record()
