"""What a session is at one moment, and what each event makes of it.

Pure: no I/O, no clock, no randomness, no asyncio. Every function returns a value; the engine applies it. Times are
epoch seconds, and come in as ``now``; ``dice`` is a random number from 0 to 1, which spreads the kernels that share a
sign-in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import TokenError, TokenStoreError, without_traceback
from ..providers.base import REGISTRATION_ERRORS
from ..token_store import NOTHING, Record
from .failures import is_store_error, sign_in_ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import AuthenticationError, TokenRefreshError
    from ..tokens import OAuthTokenSet

MIN_PAUSE = 1.0  # seconds between two refreshes, however short the tokens live
_MARGIN = 1.0  # expires_in is in whole seconds, so up to one of them may be gone already
_EARLY = 0.1  # of the time from refresh_due to expiry: at most so much sooner does the background refresh
_BACKOFF_CAP = 60.0
_STORE_CAP = 2.0  # seconds at most until another try where the store, not the provider, was in the way
_MANY = 10  # failures in a row, after which a source that renews only after expiry is asked less often
_REGISTRATION_PAUSE = 600.0  # seconds until another try where a person must change a registration first
_REJECTED_PAUSE = 30.0  # seconds between two refreshes because an API rejected a token: it may reject every token
_MAX_PREDECESSORS = 16
_NAME_LENGTH = 100


class TokenState(Enum):
    """What an access token is worth (google-auth's words)."""

    FRESH = "fresh"  # use it
    STALE = "stale"  # good, and due for a refresh
    INVALID = "invalid"  # there is none, or it has expired


@dataclass(frozen=True)
class Backoff:
    """How long to leave the provider alone.

    Attributes:
        failures: How many refreshes have failed in a row.
        failure: Why the latest did.
        next_try: When the background tries again.
        not_before: When a read of a stale token may cause a refresh again.
        expired_not_before: The same for an expired token: a person may be waiting.
    """

    failures: int = 0
    failure: TokenRefreshError | None = None
    next_try: float = -math.inf
    not_before: float = -math.inf
    expired_not_before: float = -math.inf

    def failed(self, error: TokenRefreshError, *, now: float, dice: float, only_after_expiry: bool) -> Backoff:
        """Return the backoff after one more failure: pauses grow, and ``Retry-After`` (RFC 9110 §10.2.3) binds.

        Args:
            error: The failure.
            now: Epoch seconds.
            dice: From 0 to 1.
            only_after_expiry: Whether the source cannot renew a token before it has expired.
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
            next_try=not_before + (_REGISTRATION_PAUSE if hopeless else 0.0),  # a read may find it mended sooner
            not_before=not_before,
            expired_not_before=now + max(MIN_PAUSE, asked),
        )


@dataclass(frozen=True, repr=False)
class SessionState:
    """One moment of a session.

    Attributes:
        record: The sign-in that it shows, or the sign-out.
        user: Claims about who is signed in.
        error: Why the last thing tried did not work; None after a success.
        authorizing: Whether a sign-in is open in a browser.
        refreshing: Whether a refresh is under way.
        ended_by: Why only a new sign-in helps; None while the sign-in can be renewed.
        unsaved: Whether the store could not take ``record``.
        local_only: Whether no other kernel can know of this sign-in, because it was never stored.
        epoch: Counts sign-ins and sign-outs, here or in another kernel: what was begun before one is void.
        command: Counts sign-ins and sign-outs here: only the latest counts.
        predecessors: Earlier access tokens of this sign-in.
        rejected_at: When an API last rejected a token and a refresh was begun for it.
        backoff: How long to leave the provider alone.
    """

    record: Record = NOTHING
    user: dict[str, Any] | None = None
    error: AuthenticationError | None = None
    authorizing: bool = False
    refreshing: bool = False
    ended_by: TokenError | None = None
    unsaved: bool = False
    local_only: bool = False
    epoch: int = 0
    command: int = 0
    predecessors: tuple[str, ...] = ()
    rejected_at: float = -math.inf
    backoff: Backoff = field(default_factory=Backoff)

    # -- what it means ----------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> OAuthTokenSet | None:
        """The tokens, or None when signed out."""
        return self.record.tokens

    @property
    def ended(self) -> bool:
        """Whether the sign-in cannot be renewed any more; the access token may still be good for a while."""
        return self.record.ended

    @property
    def status(self) -> str:
        """One word for all of it."""
        if self.authorizing:
            return "authorizing"
        if self.ended:
            return "reauth_required"
        if self.tokens is None:
            return "signed_out"
        return "refreshing" if self.refreshing else "signed_in"

    @property
    def display_name(self) -> str:
        """A name for people to read, from claims that the provider chose: plain text, never HTML."""
        user = self.user or {}
        names = (user.get(claim) for claim in ("name", "preferred_username", "login", "email", "sub"))
        name = next((name for name in names if isinstance(name, str) and name.strip()), "")
        return "".join(char for char in name if char.isprintable())[:_NAME_LENGTH]

    @property
    def expiry(self) -> float:
        """Epoch seconds from which the access token must not be handed out any more."""
        tokens = self.tokens
        if tokens is None or tokens.expires_at is None or tokens.expires_in is None:
            return math.inf
        return tokens.expires_at - min(_MARGIN, tokens.expires_in / 5)

    def refresh_due(self, buffer: float) -> float:
        """Epoch seconds from which the access token should be refreshed before it is used.

        That is ``buffer`` seconds before its end, but at most a fifth of its life, so that short tokens cause no
        refresh storm; and the expiry where it cannot be refreshed.
        """
        tokens = self.tokens
        if tokens is None or tokens.expires_at is None or tokens.expires_in is None:
            return math.inf
        if self.ended or tokens.refresh_token is None:
            return self.expiry
        life = tokens.expires_in
        return max(tokens.expires_at - max(_MARGIN, min(buffer, life / 5)), tokens.issued_at + life / 4)

    def fresh_until(self, buffer: float) -> float:
        """Epoch seconds until which a read returns the access token as it is, and asks for nothing."""
        if self.tokens is None:
            return -math.inf
        return min(self.expiry, max(self.refresh_due(buffer), self.backoff.not_before))

    def token_state(self, now: float, buffer: float) -> TokenState:
        """Return what the access token is worth now."""
        if self.tokens is None or now >= self.expiry:
            return TokenState.INVALID
        return TokenState.STALE if now >= self.refresh_due(buffer) else TokenState.FRESH

    def may_refresh(self, now: float, buffer: float) -> bool:
        """Whether a read should have the token refreshed now."""
        worth = self.token_state(now, buffer)
        if self.tokens is None or worth is TokenState.FRESH:
            return False
        return now >= (self.backoff.expired_not_before if worth is TokenState.INVALID else self.backoff.not_before)

    def is_usable(self, now: float) -> bool:
        """Whether there is a token to work with, of a sign-in that goes on."""
        return not self.ended and self.tokens is not None and now < self.expiry

    def is_renewable(self, now: float) -> bool:
        """Whether there is a good token, or one that can be refreshed."""
        tokens = self.tokens
        return tokens is not None and (now < self.expiry or (tokens.refresh_token is not None and not self.ended))

    def next_look(self, *, now: float, buffer: float, dice: float) -> float:
        """Epoch seconds when the background should see to the token: somewhat early, each kernel at another time."""
        if self.tokens is None:
            return math.inf
        if self.backoff.failures:
            return self.backoff.next_try
        due = self.refresh_due(buffer)
        if self.tokens.refresh_token is not None and self.tokens.expires_at is not None:
            due -= dice * _EARLY * (self.tokens.expires_at - due)
        return max(due, now + MIN_PAUSE)

    def is_another_than(self, begun: Record) -> bool:
        """Whether another record has come since ``begun`` that can be refreshed as well."""
        return self.record.generation != begun.generation and not self.ended

    # -- signing in and out -----------------------------------------------------------------------------------------

    def commanded(self) -> SessionState:
        """Return the state when somebody signs in or out here: whatever was begun before is void."""
        return replace(self._voided(), command=self.command + 1, rejected_at=-math.inf)

    def signed_in(self, record: Record, *, error: AuthenticationError | None = None) -> SessionState:
        """Return the state after a sign-in; ``error`` says why the store could not take it."""
        state = self._voided()._showing(record, record.user, error=error, authorizing=False)
        return replace(state, unsaved=error is not None, local_only=error is not None)

    def signed_out(self, record: Record) -> SessionState:
        """Return the state after a sign-out."""
        return self._showing(record, None, error=None, authorizing=False)

    def sign_in_begun(self) -> SessionState:
        """Return the state when a sign-in is open in a browser."""
        return replace(self, authorizing=True, error=None)

    def sign_in_failed(self, error: AuthenticationError, *, authorizing: bool) -> SessionState:
        """Return the state when a sign-in has failed; ``authorizing`` says whether another is still open."""
        return replace(self, error=without_traceback(error), authorizing=authorizing)

    # -- refreshing -------------------------------------------------------------------------------------------------

    def refreshed(
        self, old: Record, record: Record, *, now: float, error: AuthenticationError | None = None
    ) -> SessionState:
        """Return the state after a refresh of ``old``; ``error`` says why the store could not take it."""
        state = self._with_predecessor(old)._showing(record, self.user, error=error)
        return replace(state, unsaved=error is not None)._paced(now)

    def refresh_failed(
        self, error: TokenRefreshError, *, now: float, dice: float, only_after_expiry: bool
    ) -> SessionState:
        """Return the state after a refresh that failed: the tokens stay, and it is tried again later."""
        if self.ended or self.tokens is None:
            return self
        backoff = self.backoff.failed(error, now=now, dice=dice, only_after_expiry=only_after_expiry)
        return replace(self, refreshing=False, backoff=backoff)

    def with_failure_shown(self, now: float) -> SessionState:
        """Return the state that shows why the token is not refreshed, where that is the user's business.

        What passes while the token is still good is not.
        """
        failure = self.backoff.failure
        if failure is None or self.error is failure or self.authorizing:
            return self
        if self.error is not None and self.error.code == failure.code:
            return self
        if failure.code in REGISTRATION_ERRORS or now >= self.expiry:
            return replace(self, error=failure)
        return self

    def ended_with(self, record: Record, error: TokenError) -> SessionState:
        """Return the state when only a new sign-in helps. The access token stays usable until it expires."""
        error = without_traceback(error)
        return self._showing(record, self.user, error=error, ended_by=error)

    def rejected(self, token: str, now: float) -> SessionState | None:
        """Return the state in which a refresh is begun because an API rejected ``token``; None to leave it.

        At most one refresh every 30 s is begun so, and none while the provider wants a pause.
        """
        if self.tokens is None or self.tokens.access_token != token:
            return None
        if 0 <= now - self.rejected_at < _REJECTED_PAUSE or now < self.backoff.not_before:
            return None
        return replace(self, rejected_at=now)

    def token_instead_of(self, token: str) -> str | None:
        """Return the access token if it is another one of the same sign-in as ``token``."""
        if self.tokens is None or self.tokens.access_token == token or token not in self.predecessors:
            return None
        return self.tokens.access_token

    # -- the store --------------------------------------------------------------------------------------------------

    def saved(self) -> SessionState:
        """Return the state when the store has what this session shows, or something later."""
        error = None if self.unsaved and isinstance(self.error, TokenStoreError) else self.error
        if not self.unsaved and not self.local_only:
            return self
        return replace(self, unsaved=False, local_only=False, error=error)

    def store_failed(self, error: TokenStoreError) -> SessionState:
        """Return the state when the store cannot be read: shown to who cannot be signed in for it, and to no other."""
        known = isinstance(self.error, TokenStoreError) and self.error.code == error.code
        return self if self.tokens is not None or known else replace(self, error=without_traceback(error))

    def store_worked(self) -> SessionState:
        """Return the state when the store could be read."""
        return replace(self, error=None) if isinstance(self.error, TokenStoreError) and not self.unsaved else self

    def store_returned(self) -> SessionState:
        """Return the state when the store works again: a read may try again what failed only because of it."""
        if self.backoff.failure is None or not is_store_error(self.backoff.failure):
            return self
        backoff = replace(self.backoff, not_before=-math.inf, expired_not_before=-math.inf)
        return replace(self, backoff=backoff)

    def adopted(self, record: Record, user: dict[str, Any] | None, *, now: float) -> SessionState:
        """Return the state that shows what another kernel did, or an earlier one stored."""
        another = record.sign_in != self.record.sign_in
        error = sign_in_ended() if record.ended and not self.ended else None
        before = self._voided() if another else self._with_predecessor(self.record)
        return before._showing(
            record,
            user,
            error=error,
            ended_by=error or (self.ended_by if record.ended else None),
            authorizing=self.authorizing and not (another and record.tokens is not None),
        )._paced(now)

    # -- the pieces of these ----------------------------------------------------------------------------------------

    def _showing(self, record: Record, user: dict[str, Any] | None, **changes: Any) -> SessionState:
        """Return the state that shows ``record``. Its packed form, which may be plain text, is not kept."""
        changes = {"refreshing": False, "ended_by": None, "backoff": Backoff(), **changes}
        return replace(self, record=replace(record, version=None), user=user, **changes)

    def _voided(self) -> SessionState:
        """Return the state of a new epoch: tokens of before, and what was begun before, are void."""
        return replace(self, epoch=self.epoch + 1, predecessors=())

    def _with_predecessor(self, old: Record) -> SessionState:
        if old.tokens is None:
            return self
        return replace(self, predecessors=(*self.predecessors, old.tokens.access_token)[-_MAX_PREDECESSORS:])

    def _paced(self, now: float) -> SessionState:
        """Return the state in which tokens that came expired are not renewed again without a pause."""
        tokens = self.tokens
        if tokens is None or now < self.expiry:
            return self
        return replace(self, backoff=Backoff(expired_not_before=min(tokens.issued_at, now) + MIN_PAUSE))

    def __repr__(self) -> str:
        return f"<SessionState {self.status}, {self.record!r}>"


class Reconciled(NamedTuple):
    """What a session makes of a record that it found in its store.

    Attributes:
        state: The state afterwards.
        save: Whether the store has lost what this session shows, which must be put there again.
        unreadable: Why the found record could not be taken over, or None.
    """

    state: SessionState
    save: bool = False
    unreadable: TokenError | None = None


def reconcile(
    state: SessionState,
    found: Record,
    *,
    claims: Callable[[OAuthTokenSet], dict[str, Any]],
    keeps_sign_outs: bool,
    now: float,
) -> Reconciled:
    """Decide what a record in the store means: later is taken over, earlier is a loss.

    Args:
        state: The session's.
        found: The store's record.
        claims: Returns what tokens say about their owner; may raise TokenError.
        keeps_sign_outs: Whether the store keeps a sign-out, so that an empty store has lost something.
        now: Epoch seconds.

    Raises:
        TokenStoreError: The record cannot be read here: of a newer version, or another key. Whoever wrote it knows
            better.
    """
    shown = state.record
    if found.problem is not None and (found.problem.code != "store_unreadable" or shown.tokens is None):
        raise found.problem
    if found.problem is None and (found.tokens, found.ended) == (shown.tokens, shown.ended):
        if found.generation > shown.generation:
            state = replace(state, record=replace(shown, generation=found.generation, sign_in=found.sign_in))
        return Reconciled(state.saved())
    if found.generation >= shown.generation:  # equal: two refreshed at once, and the store's tokens are those to share
        return _adopt(state.saved(), found, claims, now)
    if found is NOTHING and shown.tokens is not None and not (keeps_sign_outs or state.unsaved):
        return _adopt(state, shown.signed_out(at=int(now * 1e6)), claims, now)  # here, nothing means a sign-out
    return Reconciled(state, save=True)


def _adopt(
    state: SessionState, record: Record, claims: Callable[[OAuthTokenSet], dict[str, Any]], now: float
) -> Reconciled:
    try:
        user = record.user or (record.tokens and claims(record.tokens)) or None
    except TokenError as error:  # what is damaged is as good as nothing
        return Reconciled(state, unreadable=error)
    return Reconciled(state.adopted(record, user, now=now))
