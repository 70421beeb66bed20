"""The state of a session, and its transitions.

Pure: no I/O, no clock, no randomness, no asyncio. Every function returns a new state, which the engine applies. Times
are epoch seconds, and passed in as ``now``; ``dice`` is a random number from 0 to 1, which spreads the kernels that
share a sign-in over time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import TokenError, TokenStoreError, without_traceback
from ..providers.refusals import REGISTRATION_ERRORS
from ..providers.scopes import words
from ..token_store import NOTHING, Record
from ..tokens import jwt_claim
from .backoff import MIN_PAUSE, Backoff
from .failures import another_user, is_final, is_refusal, is_store_error, sign_in_ended
from .persons import Person, are_different

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import AuthenticationError, TokenRefreshError
    from ..tokens import OAuthTokenSet

_MARGIN = 1.0  # expires_in is in whole seconds, so up to one of them may be gone already
_JITTER = 0.1  # of the time from refresh_due to the end of the token: the maximum jitter of the background refresh
_REJECTED_PAUSE = 30.0  # seconds between two refreshes after an API's rejection: it may reject every token
_MAX_PREDECESSORS = 16
_NAME_LENGTH = 100


class TokenState(Enum):
    """How usable an access token is, in the terms of google-auth."""

    FRESH = "fresh"  # use it
    STALE = "stale"  # valid, but due for a refresh
    INVALID = "invalid"  # missing or expired


@dataclass(frozen=True, repr=False)
class SessionState:
    """The state of a session at one moment.

    Attributes:
        record: The record of the current sign-in or sign-out.
        user: Claims about the signed-in user.
        person: Who signed in last, until a sign-out here: another person's sign-in elsewhere does not replace this one.
        error: Why the last operation failed; None after a success.
        authorizing: Whether a sign-in is open in a browser.
        asks: What a cell asks of a user who is signed in already, in a sentence; empty if none does.
        refreshing: Whether a refresh is running.
        ended_by: Why a new sign-in is needed; None while the sign-in can be renewed.
        unsaved: Whether the store could not take ``record``.
        local_only: Whether other kernels cannot know of this sign-in, because it was never stored.
        elsewhere: Whether this sign-in was made in another kernel, or in an earlier one, and found in the store.
        epoch: Number of sign-ins and sign-outs, here or in another kernel; what an earlier epoch began is discarded.
        command: Number of sign-ins and sign-outs here; only the latest has an effect.
        predecessors: Earlier access tokens of this sign-in.
        rejected_at: When an API's rejection of a token last caused a refresh.
        backoff: The pause after failed refreshes.
    """

    record: Record = NOTHING
    user: dict[str, Any] | None = None
    person: Person | None = None
    error: AuthenticationError | None = None
    authorizing: bool = False
    asks: str = ""
    refreshing: bool = False
    ended_by: TokenError | None = None
    unsaved: bool = False
    local_only: bool = False
    elsewhere: bool = False
    epoch: int = 0
    command: int = 0
    predecessors: tuple[str, ...] = ()
    rejected_at: float = -math.inf
    backoff: Backoff = field(default_factory=Backoff)

    # -- properties -------------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> OAuthTokenSet | None:
        """The tokens, or None when signed out."""
        return self.record.tokens

    @property
    def origin(self) -> int:
        """Which sign-in the tokens are of; 0 when signed out. It is the same in all kernels that share the sign-in."""
        return self.record.sign_in if self.tokens is not None else 0

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the tokens were granted."""
        return words(self.tokens.scope) if self.tokens is not None else ()

    @property
    def ended(self) -> bool:
        """Whether the sign-in can no longer be renewed; the access token may still be valid for a while."""
        return self.record.ended

    @property
    def displaced(self) -> bool:
        """Whether the sign-in has ended because another person has signed in elsewhere."""
        return self.record.ended and self.record.tokens is None

    @property
    def status(self) -> str:
        """The value of the session's ``status`` trait."""
        if self.authorizing:
            return "authorizing"
        if self.ended:
            return "reauth_required"
        if self.tokens is None:
            return "signed_out"
        return "refreshing" if self.refreshing else "signed_in"

    @property
    def display_name(self) -> str:
        """The user's name for display, from the provider's claims. Plain text: escape it for HTML."""
        user = self.user or {}
        names = (user.get(claim) for claim in ("name", "preferred_username", "login", "email", "sub"))
        name = next((name for name in names if isinstance(name, str) and name.strip()), "")
        return "".join(char for char in name if char.isprintable())[:_NAME_LENGTH]

    @property
    def expiry(self) -> float:
        """Epoch seconds from which the access token is no longer returned."""
        tokens = self.tokens
        if tokens is None or tokens.expires_at is None or tokens.expires_in is None:
            return math.inf
        return tokens.expires_at - min(_MARGIN, tokens.expires_in / 5)

    @property
    def expired_at(self) -> float:
        """Epoch seconds of the token's expiry, or of its rejection by an API if its lifetime is unknown."""
        if self.tokens is None or self.expiry < math.inf:
            return self.expiry
        return self.rejected_at if self.rejected_at >= self.tokens.issued_at else math.inf

    def refresh_due(self, buffer: float) -> float:
        """Return the epoch seconds from which the tokens should be refreshed before the access token is used.

        That is ``buffer`` seconds before the first of them ends, but at most a fifth of its lifetime, so that
        short-lived tokens cause no refresh storm; or the expiry of the access token if it cannot be refreshed.
        """
        tokens = self.tokens
        if tokens is None or self.ended or tokens.refresh_token is None:
            return self.expiry
        life = self._first_end - tokens.issued_at
        if life == math.inf:
            return math.inf
        return max(self._first_end - max(_MARGIN, min(buffer, life / 5)), tokens.issued_at + life / 4)

    @property
    def _first_end(self) -> float:
        """Epoch seconds when the first of access and refresh token expires."""
        tokens = self.tokens
        ends = (tokens.expires_at, tokens.refresh_expires_at) if tokens is not None else ()
        return min((end for end in ends if end is not None), default=math.inf)

    def fresh_until(self, buffer: float) -> float:
        """Return the epoch seconds until which a read returns the access token without further checks."""
        if self.tokens is None:
            return -math.inf
        return min(self.expiry, max(self.refresh_due(buffer), self.backoff.not_before))

    def token_state(self, now: float, buffer: float) -> TokenState:
        """Return how usable the access token is now."""
        if self.tokens is None or now >= self.expiry:
            return TokenState.INVALID
        return TokenState.STALE if now >= self.refresh_due(buffer) else TokenState.FRESH

    def may_refresh(self, now: float, buffer: float) -> bool:
        """Whether a read should refresh the token now."""
        usable = self.token_state(now, buffer)
        if self.tokens is None or usable is TokenState.FRESH:
            return False
        return now >= (self.backoff.expired_not_before if usable is TokenState.INVALID else self.backoff.not_before)

    def is_usable(self, now: float) -> bool:
        """Whether there is a valid token, of a sign-in that has not ended."""
        return not self.ended and self.tokens is not None and now < self.expiry

    def is_renewable(self, now: float) -> bool:
        """Whether there is a valid token, or one that can be refreshed."""
        tokens = self.tokens
        return tokens is not None and (now < self.expiry or (tokens.refresh_token is not None and not self.ended))

    @property
    def id_token_expiry(self) -> float:
        """Epoch seconds from which the ID token is no longer returned; minus infinity if there is none, or no end."""
        end = jwt_claim(self.tokens and self.tokens.id_token, "exp")
        return -math.inf if end is None else end - min(_MARGIN, self._id_token_life / 5)

    @property
    def _id_token_life(self) -> float:
        token = self.tokens and self.tokens.id_token
        begin, end = jwt_claim(token, "iat"), jwt_claim(token, "exp")
        return math.inf if begin is None or end is None else max(end - begin, 0.0)

    def id_token_due(self, buffer: float) -> float:
        """Return the epoch seconds from which the tokens should be refreshed before the ID token is used."""
        return self.id_token_expiry - min(buffer, self._id_token_life / 5)

    def may_renew_id_token(self, now: float, buffer: float) -> bool:
        """Whether a read of the ID token should refresh the tokens now.

        Not if there is none: then none was asked for. Unless the tokens are due themselves, as one that was provided.
        """
        tokens = self.tokens
        if tokens is None or tokens.id_token is None:
            return self.may_refresh(now, buffer)
        if self.ended or tokens.refresh_token is None or now < self.id_token_due(buffer):
            return False
        return now >= (self.backoff.not_before if now < self.id_token_expiry else self.backoff.expired_not_before)

    def next_look(self, *, now: float, buffer: float, dice: float) -> float:
        """Return the epoch seconds of the next background check: slightly early, and different in each kernel."""
        if self.tokens is None:
            return math.inf
        if self.backoff.refusals:  # once more when the token is over, to learn whether the sign-in has ended
            return min(self.backoff.next_try, max(self.expired_at, self.backoff.expired_not_before))
        if self.backoff.failures:
            return self.backoff.next_try
        jittered_due = self.refresh_due(buffer)
        if self.tokens.refresh_token is not None and jittered_due < math.inf:
            jittered_due -= dice * _JITTER * (self._first_end - jittered_due)
        return max(jittered_due, now + MIN_PAUSE)

    def is_another_than(self, begun: Record) -> bool:
        """Whether the record has changed since ``begun``, and its sign-in has not ended."""
        return self.record.generation != begun.generation and not self.ended

    def is_of_another(self, user: dict[str, Any] | None) -> bool:
        """Whether these claims are certainly about another person than the one of this session."""
        return are_different(self.person, Person.of(user))

    def may_replace(self, found: Record) -> bool:
        """Whether this session's record may replace an earlier one: without tokens, no sign-in of another person."""
        return self.tokens is not None or not (self.displaced or self.is_of_another(found.user))

    # -- signing in and out -----------------------------------------------------------------------------------------

    def commanded(self) -> SessionState:
        """Return the state after a new sign-in or sign-out command here, which supersedes what was begun before."""
        return replace(self._voided(), command=self.command + 1)

    def begun_anew(self, record: Record, *, local_only: bool) -> SessionState:
        """Return the state when the sign-in that the tokens come from is another one, or has ended.

        A ``record`` with tokens is saved where it is missing.
        """
        return SessionState(
            record=record,
            user=record.user,
            person=Person.of(record.user),
            unsaved=record.tokens is not None,
            local_only=local_only and record.tokens is not None,
            epoch=self.epoch + 1,
            command=self.command + 1,
        )

    def signed_in(self, record: Record, *, error: AuthenticationError | None = None) -> SessionState:
        """Return the state after a sign-in; ``error`` says why the store could not take it."""
        person = Person.of(record.user)
        state = self._voided()._showing(record, record.user, person=person, error=error, authorizing=False)
        return replace(state, unsaved=error is not None, local_only=error is not None, elsewhere=False)

    def signed_out(self, record: Record) -> SessionState:
        """Return the state after a sign-out."""
        return self._showing(record, None, error=None, authorizing=False)

    def sign_in_begun(self) -> SessionState:
        """Return the state with a sign-in open in a browser."""
        return replace(self, authorizing=True, error=None)

    def sign_in_failed(self, error: AuthenticationError, *, authorizing: bool) -> SessionState:
        """Return the state after a failed sign-in; ``authorizing`` says whether another is still open."""
        return replace(self, error=without_traceback(error), authorizing=authorizing)

    # -- refreshing -------------------------------------------------------------------------------------------------

    def refreshed(
        self, old: Record, record: Record, *, now: float, error: AuthenticationError | None = None
    ) -> SessionState:
        """Return the state after a refresh of ``old``; ``error`` says why the store could not take it."""
        if self._rotates(record):
            return replace(self._rotated(record), unsaved=error is not None)
        state = self._with_predecessor(old)._showing(record, self.user or record.user, error=error)
        return replace(state, unsaved=error is not None)._paced(now)

    def refresh_failed(
        self, error: TokenRefreshError, *, now: float, dice: float, only_after_expiry: bool
    ) -> SessionState:
        """Return the state after a failed refresh: the tokens stay, and it is tried again later."""
        if self.ended or self.tokens is None:
            return self
        backoff = self.backoff.failed(error, now=now, dice=dice, only_after_expiry=only_after_expiry)
        return replace(self, refreshing=False, backoff=backoff)

    def is_ended_by(self, error: TokenRefreshError, now: float) -> bool:
        """Whether a failed refresh ends the sign-in.

        It does if the failure is final, or if the provider refuses again, and the access token is over: then it means
        by its refusals that the refresh token is no longer valid.
        """
        return is_final(error) or (is_refusal(error) and self.backoff.refusals > 0 and now >= self.expired_at)

    def with_failure_shown(self, now: float) -> SessionState:
        """Return the state with the failure of the refresh as its error, if the user should see it.

        A temporary failure is not shown while the token is still valid.
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
        """Return the state when a new sign-in is needed. The access token stays usable until it expires."""
        error = without_traceback(error)
        return self._showing(record, self.user, error=error, ended_by=error)

    def rejected(self, token: str, now: float) -> SessionState | None:
        """Return the state that begins a refresh because an API rejected ``token``; None to ignore the rejection.

        That happens at most every 30 s, and not during a backoff.
        """
        if self.tokens is None or self.tokens.access_token != token:
            return None
        if 0 <= now - self.rejected_at < _REJECTED_PAUSE or now < self.backoff.not_before:
            return None
        return replace(self, rejected_at=now)

    def token_instead_of(self, token: str) -> str | None:
        """Return the access token if it replaced ``token`` in the same sign-in."""
        if self.tokens is None or self.tokens.access_token == token or token not in self.predecessors:
            return None
        return self.tokens.access_token

    # -- the store --------------------------------------------------------------------------------------------------

    def saved(self) -> SessionState:
        """Return the state when the store has this session's record, or a later one."""
        error = None if self.unsaved and isinstance(self.error, TokenStoreError) else self.error
        if not self.unsaved and not self.local_only:
            return self
        return replace(self, unsaved=False, local_only=False, error=error)

    def store_failed(self, error: TokenStoreError) -> SessionState:
        """Return the state when the store cannot be read. The error is shown only if the session is signed out."""
        known = isinstance(self.error, TokenStoreError) and self.error.code == error.code
        return self if self.tokens is not None or known else replace(self, error=without_traceback(error))

    def store_worked(self) -> SessionState:
        """Return the state after a successful read of the store."""
        return replace(self, error=None) if isinstance(self.error, TokenStoreError) and not self.unsaved else self

    def store_returned(self) -> SessionState:
        """Return the state when the store works again, without the backoff that its failure caused."""
        if self.backoff.failure is None or not is_store_error(self.backoff.failure):
            return self
        backoff = replace(self.backoff, not_before=-math.inf, expired_not_before=-math.inf)
        return replace(self, backoff=backoff)

    def adopted(self, record: Record, user: dict[str, Any] | None, *, now: float) -> SessionState:
        """Return the state with a record that another kernel stored."""
        if record.tokens is not None and self.is_of_another(user):
            return self if self.displaced else self._displaced()
        another = record.sign_in != self.record.sign_in
        if not another and self._rotates(record):
            return self._rotated(record)
        error = sign_in_ended() if record.ended and (another or not self.ended) else None
        before = self._voided() if another else self._with_predecessor(self.record)
        return before._showing(
            record,
            user,
            person=self.person if record.tokens is None else Person.of(user),
            error=error,
            ended_by=error or (self.ended_by if record.ended else None),
            elsewhere=another or self.elsewhere,
            authorizing=self.authorizing and not (another and record.tokens is not None),
        )._paced(now)

    def _displaced(self) -> SessionState:
        """Return the state after another person's sign-in elsewhere: ended, and without tokens of either."""
        error, record = another_user(), replace(self.record, tokens=None, ended=True)
        return self._voided()._showing(record, self.user, error=error, ended_by=error)

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _showing(self, record: Record, user: dict[str, Any] | None, **changes: Any) -> SessionState:
        """Return the state with ``record``, without its packed form, which may be plain text."""
        changes = {"refreshing": False, "ended_by": None, "backoff": Backoff(), **changes}
        return replace(self, record=replace(record, version=None), user=user, **changes)

    def _rotates(self, record: Record) -> bool:
        """Whether ``record`` has the same tokens but for another refresh token."""
        ours, theirs = self.tokens, record.tokens
        if ours is None or theirs is None or theirs.refresh_token in {None, ours.refresh_token}:
            return False
        return replace(ours, refresh_token=theirs.refresh_token) == theirs

    def _rotated(self, record: Record) -> SessionState:
        """Return the state with another refresh token. It still waits for an access token, so the pauses go on."""
        return replace(self, record=replace(record, version=None))

    def _voided(self) -> SessionState:
        """Return the state of a new epoch, which supersedes earlier tokens and operations."""
        return replace(self, epoch=self.epoch + 1, predecessors=(), rejected_at=-math.inf)

    def _with_predecessor(self, old: Record) -> SessionState:
        if old.tokens is None:
            return self
        return replace(self, predecessors=(*self.predecessors, old.tokens.access_token)[-_MAX_PREDECESSORS:])

    def _paced(self, now: float) -> SessionState:
        """Return the state with a pause before the next refresh, if the new tokens have expired already."""
        tokens = self.tokens
        if tokens is None or now < self.expiry:
            return self
        return replace(self, backoff=Backoff(expired_not_before=min(tokens.issued_at, now) + MIN_PAUSE))

    def __repr__(self) -> str:
        return f"<SessionState {self.status}, {self.record!r}>"


class Reconciled(NamedTuple):
    """The result of comparing a session with the record in its store.

    Attributes:
        state: The new state.
        save: Whether the store has lost the session's record, which must be saved again.
        unreadable: Why the stored record could not be adopted, or None.
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
    """Compare the state with the stored record: adopt a later record, and save again over an earlier one.

    Args:
        state: The state of the session.
        found: The record in the store.
        claims: Returns the claims about the owner of tokens; may raise TokenError.
        keeps_sign_outs: Whether the store keeps a record of a sign-out, so that an empty store has lost a record.
        now: Epoch seconds.

    Raises:
        TokenStoreError: The record cannot be read here and must not be replaced: it is of a newer version, or
            encrypted with another key.
    """
    shown = state.record
    if found.problem is not None and (found.problem.code != "store_unreadable" or shown.tokens is None):
        raise found.problem
    if found.problem is None and (found.tokens, found.ended) == (shown.tokens, shown.ended):
        if found.generation < shown.generation and state.unsaved:
            return Reconciled(state, save=True)  # a sign-out that the store does not have yet
        if found.generation > shown.generation:
            state = replace(state, record=replace(shown, generation=found.generation, sign_in=found.sign_in))
        return Reconciled(state.saved())
    if found.generation >= shown.generation:  # if equal, two kernels refreshed at once: the stored tokens win
        return _adopt(state.saved(), found, claims, now)
    if found == NOTHING and not (keeps_sign_outs or state.unsaved):
        if state.ended:
            return Reconciled(state)  # such a store does not keep what cannot be renewed, either
        return _adopt(state, shown.signed_out(at=int(now * 1e6)), claims, now)  # here, nothing means a sign-out
    return Reconciled(state, save=True) if state.may_replace(found) else Reconciled(state.saved())


def _adopt(
    state: SessionState, record: Record, claims: Callable[[OAuthTokenSet], dict[str, Any]], now: float
) -> Reconciled:
    try:
        user = record.user or (record.tokens and claims(record.tokens)) or None
    except TokenError as error:  # a damaged record counts as none
        return Reconciled(state, unreadable=error)
    return Reconciled(state.adopted(record, user, now=now))
