"""`SessionState`: what it means, what each event makes of it, and what holds after any sequence of events."""

from __future__ import annotations

import base64
import itertools
import json
import math
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pywry_auth_nb import AuthFlowTimeout, OAuthTokenSet, TokenError, TokenRefreshError, TokenStoreError
from pywry_auth_nb._session.backoff import MIN_PAUSE, Backoff
from pywry_auth_nb._session.failures import not_stored, refresh_error
from pywry_auth_nb._session.persons import Person, are_different
from pywry_auth_nb._session.state import Reconciled, SessionState, TokenState, reconcile
from pywry_auth_nb.token_store import NOTHING, Record

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", bound=Exception)

NOW = 1_000_000.0
BUFFER = 300.0
ADA, BOB = {"sub": "ada", "name": "Ada"}, {"sub": "bob", "name": "Bob"}
NETWORK = TokenRefreshError(code="network")
STORE_DOWN = TokenStoreError(code="store_unavailable")
DAMAGED = Record(problem=TokenStoreError(code="store_unreadable"))


def tokens(access: str = "CANARY-at", *, life: float | None = 3600.0, **changes: Any) -> OAuthTokenSet:
    """Tokens issued at ``NOW``, with a refresh token."""
    return OAuthTokenSet(access, expires_in=life, **({"refresh_token": "CANARY-rt", "issued_at": NOW} | changes))


def showing(shown: OAuthTokenSet | None = None, **changes: Any) -> SessionState:
    """A session that shows ``shown``, stored as record 10."""
    return replace(SessionState().signed_in(Record(10, 10, shown or tokens(), ADA)), **changes)


def ended(**changes: Any) -> SessionState:
    """A session whose sign-in the provider does not renew any more: record 11."""
    state = showing(**changes)
    return state.ended_with(state.record.as_ended(), TokenRefreshError(code="invalid_grant"))


def raised(error: E) -> E:
    """The error, with the frame in which it was raised."""
    with pytest.raises(type(error)):
        raise error
    assert error.__traceback__ is not None
    return error


def failed(state: SessionState, error: TokenRefreshError = NETWORK, *, now: float = NOW) -> SessionState:
    """The state after one more failed refresh, with the longest pause."""
    return state.refresh_failed(error, now=now, dice=1.0, only_after_expiry=False)


# -- what it means ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (SessionState(), "signed_out"),
        (SessionState(refreshing=True), "signed_out"),
        (SessionState(authorizing=True), "authorizing"),
        (showing(), "signed_in"),
        (showing(refreshing=True), "refreshing"),
        (showing(authorizing=True, refreshing=True), "authorizing"),
        (ended(), "reauth_required"),
        (replace(ended(), authorizing=True), "authorizing"),
    ],
)
def test_the_status_is_one_word(state: SessionState, status: str) -> None:
    """An open sign-in comes first, then a sign-in that has ended."""
    assert state.status == status


def test_the_scopes_are_those_of_the_tokens() -> None:
    """H402: in the provider's order, each once; none when signed out."""
    assert showing(replace(tokens(), scope="b a,c b")).scopes == ("b", "a", "c")
    assert SessionState().scopes == ()


def test_the_origin_is_the_sign_in_of_the_tokens() -> None:
    """The same after a refresh, and in every kernel; none when signed out."""
    assert showing().origin == 10
    assert replace(showing(), record=Record(12, 10, tokens("CANARY-new"), ADA)).origin == 10
    assert SessionState().origin == 0
    assert SessionState(record=Record(12, 12)).origin == 0


@pytest.mark.parametrize("local_only", [False, True])
def test_a_session_for_an_audience_begins_anew(local_only: bool) -> None:
    """Nothing of the sign-in before is left, and what was begun in it is discarded."""
    before = failed(showing(refreshing=True, predecessors=("CANARY-old",)))
    after = before.begun_anew(Record(20, 20, tokens("CANARY-other"), BOB), local_only=local_only)
    assert (after.user, after.person, after.predecessors) == (BOB, Person.of(BOB), ())
    assert (after.unsaved, after.local_only, after.backoff) == (True, local_only, Backoff())
    assert (after.epoch, after.command) == (before.epoch + 1, before.command + 1)

    gone = before.begun_anew(NOTHING, local_only=local_only)
    assert (gone.status, gone.unsaved, gone.local_only, gone.user) == ("signed_out", False, False, None)


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (None, ""),
        ({}, ""),
        ({"sub": "s", "email": "e", "login": "l", "preferred_username": "p", "name": "n"}, "n"),
        ({"sub": "s", "email": "e", "login": "l", "preferred_username": "p"}, "p"),
        ({"sub": "s", "email": "e", "login": "l"}, "l"),
        ({"sub": "s", "email": "e"}, "e"),
        ({"sub": "s"}, "s"),
        ({"name": " ", "email": ["e"], "sub": 7}, ""),
        ({"name": "A\u202eda\n"}, "Ada"),
        ({"name": "a" * 101}, "a" * 100),
    ],
)
def test_the_display_name_is_the_first_claim_that_reads_as_one(user: dict[str, Any] | None, name: str) -> None:
    """Claims that are blank or no text are passed over; control characters go; 100 characters stay."""
    assert SessionState(user=user).display_name == name


def test_the_repr_shows_no_token() -> None:
    """A state in a log or a traceback says what it is, without secrets."""
    assert repr(showing()).startswith("<SessionState signed_in, <Record 10, ")
    assert "CANARY" not in repr(showing())


@pytest.mark.parametrize("value", [SessionState(), Backoff()])
def test_states_are_values(value: Any) -> None:
    """Another event makes another state; what was begun with this one can compare them."""
    with pytest.raises(FrozenInstanceError):
        value.failure = None


@pytest.mark.parametrize(("life", "until"), [(3600, 3599), (5, 4), (2, 1.6), (0, 0)])
def test_a_token_expires_up_to_a_second_early(life: float, until: float) -> None:
    """``expires_in`` is in whole seconds; of a short life a fifth is the margin."""
    assert showing(tokens(life=life)).expiry == NOW + until


@pytest.mark.parametrize("state", [SessionState(), showing(tokens(life=None))])
def test_without_a_known_end_nothing_expires_and_nothing_is_due(state: SessionState) -> None:
    """Signed out, or where the provider does not say how long a token lives."""
    assert state.expiry == state.refresh_due(BUFFER) == math.inf
    assert state.next_look(now=NOW, buffer=BUFFER, dice=1.0) == math.inf


@pytest.mark.parametrize(
    ("life", "buffer", "due"),
    [
        (3600, 300, 3300),  # the buffer
        (3600, 1800, 2880),  # at most a fifth of its life
        (3600, 0, 3599),  # at least the margin
        (2, 300, 1),  # the margin again
        (1, 300, 0.25),  # not in the first quarter of its life
        (0, 300, 0),
    ],
)
def test_a_refresh_is_due_before_the_expiry(life: float, buffer: float, due: float) -> None:
    """By the buffer, but no more than a fifth of the token's life, and no less than the margin."""
    assert showing(tokens(life=life)).refresh_due(buffer) == NOW + due


@pytest.mark.parametrize(
    ("life", "refresh_life", "due"),
    [
        (3600, 1800, 1500),  # the refresh token ends first
        (3600, 60, 48),  # at most a fifth of its life
        (3600, 7200, 3300),  # the access token ends first
        (3600, 0, 3300),  # the refresh token has no end
        (None, 1800, 1500),  # the end of the access token is unknown
        (None, 0, math.inf),
    ],
)
def test_a_refresh_is_due_before_the_refresh_token_ends(life: float | None, refresh_life: float, due: float) -> None:
    """H243: whichever of the two tokens ends first counts; a read gets the access token until that one expires."""
    state = showing(tokens(life=life, raw={"refresh_expires_in": refresh_life}))

    assert state.refresh_due(BUFFER) == NOW + due
    assert state.expiry == (math.inf if life is None else NOW + life - 1)
    assert NOW + due * 0.9 - 1 <= state.next_look(now=NOW, buffer=BUFFER, dice=1.0) <= NOW + due


def test_a_refresh_token_alone_is_no_success() -> None:
    """H240: with the same access token as before, pauses, error and predecessors stay, here and in other kernels."""
    before = failed(failed(showing(error=NETWORK, refreshing=True)))
    kept = before.record.renewed(tokens(refresh_token="CANARY-rt2"))

    for after in (before.refreshed(before.record, kept, now=NOW), before.adopted(kept, ADA, now=NOW)):
        assert after == replace(before, record=kept)


@pytest.mark.parametrize("state", [showing(tokens(refresh_token=None)), ended()])
def test_what_cannot_be_refreshed_is_due_when_it_expires(state: SessionState) -> None:
    """Without a refresh token, and after the provider has refused it."""
    assert state.refresh_due(BUFFER) == state.expiry == NOW + 3599


@pytest.mark.parametrize("record", [Record(10, 10, tokens(), ended=True), Record(10, 10, tokens(life=None))])
def test_an_ended_record_is_not_due_early_and_an_endless_one_never(record: Record) -> None:
    """A refresh token that is still there changes nothing about that."""
    state = SessionState(record)
    assert state.refresh_due(BUFFER) == state.expiry


def test_a_token_is_fresh_until_its_refresh_is_due() -> None:
    """Signed out there is no moment at which a read returns a token."""
    assert showing().fresh_until(BUFFER) == NOW + 3300
    assert SessionState().fresh_until(BUFFER) == -math.inf


@pytest.mark.parametrize(("pause", "until"), [(3000, 3300), (3400, 3400), (9999, 3599)])
def test_a_pause_keeps_a_token_fresh_but_not_beyond_its_expiry(pause: float, until: float) -> None:
    """While a refresh may not be tried, a read returns the token as it is."""
    assert showing(backoff=Backoff(not_before=NOW + pause)).fresh_until(BUFFER) == NOW + until


@pytest.mark.parametrize(
    ("after", "worth"),
    [
        (3299, TokenState.FRESH),
        (3300, TokenState.STALE),
        (3598, TokenState.STALE),
        (3599, TokenState.INVALID),
    ],
)
def test_a_token_goes_from_fresh_to_stale_to_invalid(after: float, worth: TokenState) -> None:
    """At the moment when it is due, and at its expiry."""
    assert showing().token_state(NOW + after, BUFFER) is worth


def test_without_tokens_the_token_is_invalid() -> None:
    """Signed out."""
    assert SessionState().token_state(NOW, BUFFER) is TokenState.INVALID


@pytest.mark.parametrize(
    ("after", "may"),
    [
        (3299, False),  # fresh
        (3300, False),  # stale, in the pause
        (3399, False),
        (3400, True),
        (3599, False),  # expired, in the pause of expired tokens
        (3699, False),
        (3700, True),
    ],
)
def test_a_read_refreshes_after_the_pause_of_the_tokens_state(after: float, may: bool) -> None:
    """Stale tokens and expired ones have pauses of their own."""
    state = showing(backoff=Backoff(not_before=NOW + 3400, expired_not_before=NOW + 3700))
    assert state.may_refresh(NOW + after, BUFFER) is may


def test_a_read_of_an_expired_token_does_not_wait_for_the_long_pause() -> None:
    """A person may be waiting."""
    state = showing(backoff=Backoff(not_before=NOW + 9999, expired_not_before=NOW + 3599))
    assert state.may_refresh(NOW + 3599, BUFFER)


def with_id_token(claims: dict[str, float], **changes: Any) -> OAuthTokenSet:
    """Tokens with an ID token of these claims, which is not signed: the state only looks at its times."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    return tokens(id_token=f"CANARY.{body}.CANARY", **changes)


@pytest.mark.parametrize(
    ("claims", "due", "expiry"),
    [
        ({"iat": NOW, "exp": NOW + 1000}, 799, 999),  # a fifth of its life before it ends
        ({"iat": NOW, "exp": NOW + 3600}, 3299, 3599),  # the buffer
        ({"iat": NOW, "exp": NOW + 2}, 1.2, 1.6),
        ({"iat": NOW + 9, "exp": NOW}, 0, 0),
        ({"exp": NOW + 1000}, 699, 999),
        ({"iat": NOW}, -math.inf, -math.inf),
        ({}, -math.inf, -math.inf),
    ],
)
def test_an_id_token_is_due_before_it_ends(claims: dict[str, float], due: float, expiry: float) -> None:
    """By its own claims; without an end it is never handed out."""
    state = showing(with_id_token(claims))
    assert state.id_token_expiry == pytest.approx(NOW + expiry)
    assert state.id_token_due(BUFFER) == pytest.approx(NOW + due)


@pytest.mark.parametrize(
    ("after", "may"),
    [
        (798, False),  # fresh
        (799, False),  # due, in the pause
        (949, False),
        (950, True),
        (999, False),  # expired, in the pause of expired tokens
        (1200, True),
    ],
)
def test_a_read_of_the_id_token_refreshes_after_the_pauses(after: float, may: bool) -> None:
    """Those of the access token, since one refresh brings both."""
    backoff = Backoff(not_before=NOW + 950, expired_not_before=NOW + 1200)
    state = showing(with_id_token({"iat": NOW, "exp": NOW + 1000}), backoff=backoff)
    assert state.may_renew_id_token(NOW + after, BUFFER) is may


def test_a_read_of_the_id_token_refreshes_only_what_can_bring_one() -> None:
    """Not after the end of a sign-in, and not without a refresh token; without an ID token only what is due anyway."""
    old = with_id_token({"iat": NOW, "exp": NOW + 1000})
    over = NOW + 2000
    assert showing(old).may_renew_id_token(over, BUFFER)
    assert not ended(record=Record(10, 10, old, ADA)).may_renew_id_token(over, BUFFER)
    assert not showing(replace(old, refresh_token=None)).may_renew_id_token(over, BUFFER)
    assert not showing().may_renew_id_token(over, BUFFER)
    assert showing().may_renew_id_token(NOW + 3300, BUFFER)
    assert not SessionState().may_renew_id_token(NOW, BUFFER)


def test_a_read_refreshes_nothing_that_is_fresh_or_missing() -> None:
    """Also without any pause."""
    assert not showing().may_refresh(NOW + 3299, BUFFER)
    assert showing().may_refresh(NOW + 3300, BUFFER)
    assert not SessionState().may_refresh(NOW, BUFFER)


@pytest.mark.parametrize(
    ("state", "after", "usable", "renewable"),
    [
        (showing(), 3598, True, True),
        (showing(), 3599, False, True),
        (showing(tokens(refresh_token=None)), 3598, True, True),
        (showing(tokens(refresh_token=None)), 3599, False, False),
        (ended(), 3598, False, True),
        (ended(), 3599, False, False),
        (SessionState(Record(10, 10, tokens(), ended=True)), 3599, False, False),
        (SessionState(), 0, False, False),
    ],
)
def test_usable_is_a_good_token_of_a_sign_in_that_goes_on(
    state: SessionState, after: float, usable: bool, renewable: bool
) -> None:
    """Renewable is a good token of any sign-in, or one that can be refreshed."""
    assert state.is_usable(NOW + after) is usable
    assert state.is_renewable(NOW + after) is renewable


@pytest.mark.parametrize(("dice", "after"), [(0.0, 3300), (0.5, 3285), (1.0, 3270)])
def test_the_background_looks_up_to_a_tenth_early(dice: float, after: float) -> None:
    """Each kernel at another time, so that they do not ask all at once."""
    assert showing().next_look(now=NOW, buffer=BUFFER, dice=dice) == NOW + after


def test_the_background_looks_at_the_expiry_of_what_cannot_be_refreshed() -> None:
    """Not early: there is nothing to spread."""
    assert showing(tokens(refresh_token=None)).next_look(now=NOW, buffer=BUFFER, dice=1.0) == NOW + 3599


def test_the_background_pauses_a_second_at_least() -> None:
    """However long ago the refresh was due."""
    assert showing().next_look(now=NOW + 9999, buffer=BUFFER, dice=1.0) == NOW + 9999 + MIN_PAUSE == NOW + 10000


def test_the_background_waits_for_the_next_try_after_a_failure() -> None:
    """Also with a token that is still fresh."""
    assert failed(showing()).next_look(now=NOW, buffer=BUFFER, dice=0.0) == NOW + 2


def test_another_record_is_one_of_another_generation_that_goes_on() -> None:
    """Not the same one, and not one that cannot be refreshed."""
    assert showing().is_another_than(Record(9, 9))
    assert not showing().is_another_than(Record(10, 10))
    assert not ended().is_another_than(Record(10, 10))


# -- backoff ----------------------------------------------------------------------------------------------------------


def in_a_row(number: int, error: TokenRefreshError = NETWORK, *, dice: float = 1.0, late: bool = False) -> Backoff:
    """The backoff after so many failures at ``NOW``."""
    backoff = Backoff()
    for _ in range(number):
        backoff = backoff.failed(error, now=NOW, dice=dice, only_after_expiry=late)
    return backoff


@pytest.mark.parametrize(("failures", "pause"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (7, 60), (20, 60)])
def test_pauses_double_up_to_a_minute(failures: int, pause: float) -> None:
    """For the background and for reads of a stale token; the dice halve them at most."""
    assert in_a_row(failures).not_before == in_a_row(failures).next_try == NOW + pause
    assert in_a_row(failures, dice=0.0).next_try == NOW + pause / 2


def test_a_backoff_remembers_the_latest_failure_and_how_many_there_were() -> None:
    """Without the frames in which it was raised: their variables may be tokens."""
    error = raised(TokenRefreshError(code="timeout"))
    error.__cause__ = ValueError("CANARY")
    backoff = in_a_row(2).failed(error, now=NOW, dice=0.0, only_after_expiry=False)
    assert backoff.failures == 3
    assert backoff.failure is error
    assert error.__traceback__ is error.__cause__ is None


def test_an_expired_token_pauses_a_second() -> None:
    """However often the refresh has failed."""
    assert in_a_row(1).expired_not_before == in_a_row(9).expired_not_before == NOW + 1


@pytest.mark.parametrize("code", ["rate_limited", "store_unavailable"])
def test_retry_after_binds(code: Any) -> None:
    """The background and all readers, also those of an expired token (RFC 9110 §10.2.3)."""
    backoff = in_a_row(1, TokenRefreshError(code=code, retry_after=120.0))
    assert backoff.not_before == backoff.next_try == backoff.expired_not_before == NOW + 120


def test_a_short_retry_after_shortens_no_pause() -> None:
    """It is the least that the provider wants."""
    backoff = in_a_row(6, TokenRefreshError(code="network", retry_after=0.5))
    assert backoff.not_before == NOW + 60
    assert backoff.expired_not_before == NOW + 1


@pytest.mark.parametrize("code", ["store_unavailable", "store_failed", "refresh_busy"])
def test_a_failure_of_the_store_pauses_two_seconds_at_most(code: Any) -> None:
    """The provider was not asked, so it needs no rest."""
    assert in_a_row(20, TokenRefreshError(code=code)).next_try == NOW + 2


@pytest.mark.parametrize("code", ["invalid_client", "redirect_uri_mismatch"])
def test_a_wrong_registration_is_tried_again_after_minutes(code: Any) -> None:
    """The background waits eleven minutes; a read of a stale token may find it corrected after one."""
    backoff = in_a_row(1, TokenRefreshError(code=code))
    assert backoff.not_before == NOW + 60
    assert backoff.next_try == NOW + 660
    assert backoff.expired_not_before == NOW + 1


@pytest.mark.parametrize(("code", "count"), [("token_refused", 3), ("unauthorized_client", 3), ("invalid_client", 0)])
def test_refusals_are_counted_among_failures(code: Any, count: int) -> None:
    """Those of the client itself are not about the refresh token, and failures in between change nothing."""
    backoff = in_a_row(2, TokenRefreshError(code=code))
    for error in (NETWORK, TokenRefreshError(code=code)):
        backoff = backoff.failed(error, now=NOW, dice=1.0, only_after_expiry=False)
    assert (backoff.failures, backoff.refusals) == (4, count)


@pytest.mark.parametrize(("failures", "late", "pause"), [(10, True, 60), (11, True, 660), (11, False, 60)])
def test_a_source_that_renews_only_after_expiry_is_asked_less_after_ten_failures(
    failures: int, late: bool, pause: float
) -> None:
    """Its first failures may only mean that the token had not expired yet."""
    backoff = in_a_row(failures, late=late)
    assert backoff.next_try == NOW + pause
    assert backoff.not_before == NOW + 60


def test_five_thousand_failures_overflow_nothing() -> None:
    """A laptop may be offline for days."""
    backoff = in_a_row(5000)
    assert backoff.failures == 5000
    assert backoff.next_try == NOW + 60


# -- signing in and out -----------------------------------------------------------------------------------------------

BUSY = replace(
    failed(showing(error=NETWORK, authorizing=True, refreshing=True, predecessors=("old",), rejected_at=NOW)),
    ended_by=NETWORK,
    refreshing=True,
)


def test_a_command_voids_what_was_begun_before() -> None:
    """It counts in both epochs and commands; earlier tokens and rejections are forgotten; the tokens are shown on."""
    after = BUSY.commanded()
    assert (after.epoch, after.command) == (BUSY.epoch + 1, BUSY.command + 1)
    assert after.predecessors == ()
    assert after.rejected_at == -math.inf
    assert after.record is BUSY.record


def test_a_sign_in_shows_its_record_and_nothing_of_before() -> None:
    """A new epoch with its tokens and its user; the packed record is not kept."""
    record = Record(20, 20, tokens("CANARY-new"), BOB, version=b"packed")
    after = BUSY.signed_in(record)
    assert after == SessionState(record, BOB, Person.of(BOB), epoch=BUSY.epoch + 1, command=BUSY.command)
    assert after.record.version is None


def test_a_sign_in_that_is_not_stored_says_so() -> None:
    """It is known here alone, and still to be stored."""
    error = not_stored(STORE_DOWN)
    after = SessionState().signed_in(Record(20, 20, tokens()), error=error)
    assert (after.unsaved, after.local_only, after.error) == (True, True, error)


def test_a_stored_sign_in_ends_that_of_before_being_local() -> None:
    """What the earlier sign-in could not store does not matter any more."""
    after = showing(unsaved=True, local_only=True).signed_in(Record(20, 20, tokens()))
    assert not after.unsaved
    assert not after.local_only


def test_a_sign_out_shows_no_user() -> None:
    """No tokens, no user, no error and no pause; what was begun is void by the command before."""
    after = BUSY.commanded().signed_out(Record(20, 20))
    ada = Person.of(ADA)  # until the sign-out is stored
    assert after == SessionState(Record(20, 20), person=ada, epoch=BUSY.epoch + 1, command=BUSY.command + 1)
    assert after.status == "signed_out"


def test_a_sign_in_in_the_browser_replaces_the_error() -> None:
    """Until it has failed or succeeded."""
    after = showing(error=NETWORK).sign_in_begun()
    assert (after.status, after.error) == ("authorizing", None)


@pytest.mark.parametrize("authorizing", [True, False])
def test_a_failed_sign_in_shows_why(authorizing: bool) -> None:
    """Without frames; another sign-in may still be open; the tokens of before stay."""
    error = raised(AuthFlowTimeout(None, 1.0))
    assert showing(authorizing=True).sign_in_failed(error, authorizing=authorizing) == showing(
        error=error, authorizing=authorizing
    )
    assert error.__traceback__ is None


# -- refreshing -------------------------------------------------------------------------------------------------------


def test_refreshed_tokens_take_the_place_of_the_old() -> None:
    """The user stays, a failure is forgotten, and the old access token is known as a predecessor."""
    new = Record(11, 10, tokens("CANARY-new"), version=b"packed")
    before = replace(failed(showing()), error=NETWORK, refreshing=True)
    after = before.refreshed(before.record, new, now=NOW)
    assert after == replace(
        before, record=new, error=None, refreshing=False, predecessors=("CANARY-at",), backoff=Backoff()
    )
    assert after.record.version is None


def test_refreshed_tokens_that_are_not_stored_are_used_all_the_same() -> None:
    """They are still to be stored, and the user hears of it."""
    error = not_stored(STORE_DOWN)
    after = showing().refreshed(showing().record, Record(11, 10, tokens("CANARY-new")), now=NOW, error=error)
    assert (after.unsaved, after.local_only, after.error) == (True, False, error)
    assert not after.refreshed(after.record, Record(12, 10, tokens()), now=NOW).unsaved


def test_the_last_sixteen_access_tokens_are_predecessors() -> None:
    """For a token that is older the answer is None."""
    state = showing(tokens("at-0"))
    for number in range(1, 21):
        state = state.refreshed(state.record, state.record.renewed(tokens(f"at-{number}")), now=NOW)
    assert state.predecessors == tuple(f"at-{number}" for number in range(4, 20))


def test_a_record_without_tokens_is_no_predecessor() -> None:
    """A session that showed nothing before has none."""
    assert SessionState().refreshed(NOTHING, Record(1, 0, tokens()), now=NOW).predecessors == ()


@pytest.mark.parametrize(("late", "may"), [(10.0, False), (10.9, False), (11.0, True), (60.0, True)])
def test_tokens_that_came_expired_pause_a_second_from_when_they_were_issued(late: float, may: bool) -> None:
    """Asking at once again would only bring more of them."""
    new = Record(11, 10, tokens(life=0, issued_at=NOW + 10))
    after = showing().refreshed(showing().record, new, now=NOW + late)
    assert after.backoff == Backoff(expired_not_before=NOW + 11)
    assert after.may_refresh(NOW + late, BUFFER) is may


def test_tokens_that_came_good_need_no_pause() -> None:
    """The moment of their expiry counts, not an instant more."""
    new = Record(11, 10, tokens(life=5))
    assert showing().refreshed(showing().record, new, now=NOW + 3.9).backoff == Backoff()
    assert showing().refreshed(showing().record, new, now=NOW + 4).backoff != Backoff()


def test_a_failed_refresh_keeps_the_tokens_and_is_tried_later() -> None:
    """It is not shown by itself."""
    before = showing(refreshing=True)
    after = failed(before)
    assert after == replace(before, refreshing=False, backoff=in_a_row(1))


def test_a_failed_refresh_counts_on() -> None:
    """From the failures of before; a source that renews late is noted."""
    state = showing(backoff=in_a_row(10))
    late = state.refresh_failed(NETWORK, now=NOW, dice=0.0, only_after_expiry=True)
    assert failed(state).backoff == in_a_row(11)
    assert late.backoff.next_try == NOW + 660


@pytest.mark.parametrize("state", [SessionState(), ended()])
def test_a_failure_after_the_end_changes_nothing(state: SessionState) -> None:
    """Signed out meanwhile, or refused."""
    assert failed(state) is state


def test_a_failure_is_shown_once_the_token_has_expired() -> None:
    """What passes while the token is still good is not the user's business."""
    state = failed(showing())
    assert state.with_failure_shown(NOW + 3598) is state
    shown = state.with_failure_shown(NOW + 3599)
    assert shown == replace(state, error=NETWORK)
    assert shown.with_failure_shown(NOW + 3600) is shown


def test_a_wrong_registration_is_shown_at_once() -> None:
    """A person must correct it, and waiting does not help."""
    error = TokenRefreshError(code="invalid_client")
    assert failed(showing(), error).with_failure_shown(NOW).error is error


@pytest.mark.parametrize(
    "state",
    [
        showing(),
        showing(error=NETWORK),
        failed(showing(authorizing=True)),
        failed(showing(error=TokenRefreshError(code="network"))),
    ],
)
def test_a_failure_is_not_shown_again_or_over_a_sign_in(state: SessionState) -> None:
    """Not without a failure, while a sign-in is open, or where an error of the same code is shown."""
    assert state.with_failure_shown(NOW + 9999) is state


def test_a_failure_replaces_an_error_of_another_code() -> None:
    """The latest reason is the one that helps."""
    assert failed(showing(error=STORE_DOWN)).with_failure_shown(NOW + 9999).error is NETWORK


def test_an_ended_sign_in_says_why_and_keeps_its_access_token() -> None:
    """Until that expires; there are no pauses any more."""
    before = replace(failed(showing()), refreshing=True)
    record = before.record.as_ended()
    error = raised(TokenRefreshError(code="invalid_grant"))
    after = before.ended_with(record, error)
    assert after == showing(record=record, error=error, ended_by=error)
    assert error.__traceback__ is None
    assert after.tokens is not None
    assert after.tokens.access_token == "CANARY-at"


# -- a provider that refuses in words of its own ----------------------------------------------------------------------

REFUSED = TokenRefreshError(code="token_refused")


@pytest.mark.parametrize("code", ["invalid_grant", "identity_changed", "id_token_iss"])
def test_a_final_failure_ends_the_sign_in_at_once(code: Any) -> None:
    """H204: also while the token is good."""
    assert showing().is_ended_by(TokenRefreshError(code=code), NOW)


@pytest.mark.parametrize(
    ("refusals", "at", "ends"), [(0, 3599, False), (1, 3598.9, False), (1, 3599, True), (5, 0, False), (2, 9999, True)]
)
def test_a_refusal_ends_the_sign_in_if_it_repeats_once_the_token_is_over(refusals: int, at: float, ends: bool) -> None:
    """H302: the first refusal may pass, and while the token is good there is time to find out."""
    state = showing(backoff=in_a_row(refusals, REFUSED))
    assert state.is_ended_by(REFUSED, NOW + at) is ends


@pytest.mark.parametrize("code", ["network", "timeout", "provider_unavailable", "store_unavailable", "refresh_busy"])
def test_a_failure_that_passes_never_ends_a_sign_in(code: Any) -> None:
    """H302: however often it comes, however long after the expiry; nor does a client that is not accepted."""
    for error in (TokenRefreshError(code=code), TokenRefreshError(code="invalid_client")):
        for before in (error, REFUSED):
            state = showing(backoff=in_a_row(99, before))
            assert not state.is_ended_by(error, NOW + 99_999)


def test_without_a_known_lifetime_a_token_is_over_when_an_api_rejects_it() -> None:
    """H302: not by a rejection of the token before it; a known lifetime counts more than a rejection."""
    endless = showing(tokens(life=None), backoff=in_a_row(1, REFUSED))
    assert not endless.is_ended_by(REFUSED, NOW + 99_999)
    assert replace(endless, rejected_at=NOW + 5).is_ended_by(REFUSED, NOW + 6)
    assert not replace(endless, rejected_at=NOW - 5).is_ended_by(REFUSED, NOW + 6)
    assert not showing(backoff=in_a_row(1, REFUSED), rejected_at=NOW + 5).is_ended_by(REFUSED, NOW + 6)
    assert SessionState().expired_at == math.inf


@pytest.mark.parametrize(
    ("state", "at"),
    [
        (showing(backoff=in_a_row(1, REFUSED)), 2),
        (showing(tokens(life=2), backoff=in_a_row(1, REFUSED)), 1.6),
        (showing(tokens(life=0), backoff=in_a_row(1, REFUSED)), 1),
        (showing(tokens(life=60), backoff=in_a_row(1, TokenRefreshError(code="unauthorized_client"))), 59),
        (showing(tokens(life=60), backoff=in_a_row(1, TokenRefreshError(code="invalid_client"))), 660),
        (showing(tokens(life=None), backoff=in_a_row(9, REFUSED)), 60),
    ],
)
def test_after_a_refusal_the_background_asks_again_when_the_token_is_over(state: SessionState, at: float) -> None:
    """H302: so that a user hears of the end in time; a second after the refusal at the earliest."""
    assert state.next_look(now=NOW, buffer=BUFFER, dice=1.0) == NOW + at


# -- an API that rejects a token --------------------------------------------------------------------------------------


def test_a_rejected_token_is_refreshed() -> None:
    """If it is the one that is shown."""
    assert showing().rejected("CANARY-at", NOW) == showing(rejected_at=NOW)
    assert showing().rejected("CANARY-other", NOW) is None
    assert SessionState().rejected("CANARY-at", NOW) is None


@pytest.mark.parametrize(("after", "again"), [(0, False), (29.9, False), (30, True), (-0.1, True), (-3600, True)])
def test_rejections_cause_a_refresh_every_thirty_seconds(after: float, again: bool) -> None:
    """An API may reject every token; a clock that is set back does not block the next refresh."""
    assert (showing(rejected_at=NOW).rejected("CANARY-at", NOW + after) is not None) is again


def test_after_the_clock_was_set_back_the_thirty_seconds_begin_anew() -> None:
    """From the time that the clock shows now."""
    again = showing(rejected_at=NOW).rejected("CANARY-at", NOW - 3600)
    assert again is not None
    assert again.rejected("CANARY-at", NOW - 3590) is None


@pytest.mark.parametrize(("after", "may"), [(59, False), (60, True)])
def test_a_rejected_token_waits_for_the_pause_that_the_provider_wants(after: float, may: bool) -> None:
    """However the API sees it."""
    state = failed(showing(), TokenRefreshError(code="network", retry_after=60.0))
    assert (state.rejected("CANARY-at", NOW + after) is not None) is may


def test_a_predecessor_is_answered_with_the_token_that_replaced_it() -> None:
    """Not the token itself, one of another sign-in, or any when signed out."""
    state = showing(predecessors=("CANARY-old", "CANARY-at"))
    assert state.token_instead_of("CANARY-old") == "CANARY-at"
    assert state.token_instead_of("CANARY-at") is None
    assert state.token_instead_of("CANARY-foreign") is None
    assert SessionState(predecessors=("CANARY-old",)).token_instead_of("CANARY-old") is None


# -- the store --------------------------------------------------------------------------------------------------------


def test_saved_notes_that_other_kernels_can_know() -> None:
    """The error about it is gone; with nothing to note the state is the same one."""
    assert showing(unsaved=True, local_only=True, error=STORE_DOWN).saved() == showing()
    assert showing(local_only=True).saved() == showing()
    assert showing(unsaved=True).saved() == showing()
    state = showing(error=STORE_DOWN)
    assert state.saved() is state


def test_saved_keeps_an_error_that_is_not_about_storing() -> None:
    """A failed refresh is as failed as before."""
    assert showing(unsaved=True, error=NETWORK).saved().error is NETWORK
    assert showing(local_only=True, error=STORE_DOWN).saved().error is STORE_DOWN


def test_a_store_that_cannot_be_read_is_shown_when_signed_out() -> None:
    """Once for each code; a session with tokens works without the store."""
    state = SessionState().store_failed(STORE_DOWN)
    assert state == SessionState(error=STORE_DOWN)
    assert state.store_failed(TokenStoreError(code="store_unavailable")) is state
    other = TokenStoreError(code="store_key")
    assert state.store_failed(other).error is other
    assert SessionState(error=NETWORK).store_failed(STORE_DOWN).error is STORE_DOWN
    assert showing().store_failed(STORE_DOWN) == showing()


def test_a_failure_of_the_store_is_shown_without_frames() -> None:
    """Their variables may be tokens."""
    error = raised(TokenStoreError())
    assert SessionState().store_failed(error).error is error
    assert error.__traceback__ is None


@pytest.mark.parametrize(
    "state", [showing(), showing(error=NETWORK), showing(error=STORE_DOWN, unsaved=True), SessionState()]
)
def test_a_store_that_works_changes_no_other_error(state: SessionState) -> None:
    """Nor that of tokens which are still to be stored."""
    assert state.store_worked() is state


def test_a_store_that_works_clears_its_error() -> None:
    """It could be read."""
    assert SessionState(error=STORE_DOWN).store_worked() == SessionState()


def test_a_store_that_returned_lets_reads_try_again() -> None:
    """The pauses of reads end; the failures still count, and the background keeps to its plan."""
    state = failed(showing(), TokenRefreshError(code="store_unavailable"))
    after = state.store_returned()
    assert after == replace(
        state, backoff=Backoff(1, state.backoff.failure, state.backoff.next_try, -math.inf, -math.inf)
    )


@pytest.mark.parametrize("state", [showing(), failed(showing())])
def test_a_store_that_returned_ends_no_pause_of_the_provider(state: SessionState) -> None:
    """Only what the store was to blame for."""
    assert state.store_returned() is state


# -- what another kernel did ------------------------------------------------------------------------------------------


def test_another_sign_in_begins_an_epoch() -> None:
    """Its tokens and its claims are shown; earlier tokens, errors and pauses are void; an open sign-in is done."""
    record, ada = Record(20, 20, tokens("CANARY-new"), version=b"packed"), {**ADA, "name": "Ada Lovelace"}
    after = BUSY.adopted(record, ada, now=NOW)
    assert after == SessionState(
        record, ada, Person.of(ADA), elsewhere=True, epoch=BUSY.epoch + 1, command=BUSY.command
    )
    assert after.record.version is None


def test_a_sign_out_elsewhere_leaves_an_open_sign_in_open() -> None:
    """The user wants to sign in here."""
    after = BUSY.adopted(Record(20, 20), None, now=NOW)
    assert (after.tokens, after.user, after.epoch) == (None, None, BUSY.epoch + 1)
    assert after.authorizing
    assert not showing().adopted(Record(20, 20), None, now=NOW).authorizing


def test_a_refresh_elsewhere_goes_on_with_the_sign_in() -> None:
    """The epoch stays, the old access token is a predecessor, and an open sign-in stays open."""
    after = BUSY.adopted(Record(11, 10, tokens("CANARY-new")), ADA, now=NOW)
    assert (after.epoch, after.predecessors, after.authorizing) == (BUSY.epoch, ("old", "CANARY-at"), True)
    assert (after.error, after.ended_by, after.backoff, after.refreshing) == (None, None, Backoff(), False)


def test_an_end_elsewhere_says_so_once() -> None:
    """A record that ended later keeps the reason that is known, and does not show it again."""
    after = showing().adopted(showing().record.as_ended(), ADA, now=NOW)
    assert after.error is after.ended_by is not None
    assert after.error.code == "invalid_grant"
    again = after.adopted(after.record.as_ended(), ADA, now=NOW)
    assert (again.error, again.ended_by) == (None, after.ended_by)


def test_a_sign_in_that_ended_and_was_renewed_elsewhere_after_all_goes_on() -> None:
    """Its end is forgotten."""
    after = ended().adopted(Record(12, 10, tokens("CANARY-new")), ADA, now=NOW)
    assert (after.status, after.ended_by, after.error) == ("signed_in", None, None)


def test_tokens_that_are_adopted_expired_pause_as_well() -> None:
    """A kernel that was asleep asks after a second from when they were issued."""
    after = showing().adopted(Record(11, 10, tokens(life=0)), ADA, now=NOW)
    assert after.backoff == Backoff(expired_not_before=NOW + 1)
    assert showing().adopted(Record(20, 20), None, now=NOW).backoff == Backoff()


# -- reconcile --------------------------------------------------------------------------------------------------------


def name_of(tokens: OAuthTokenSet) -> dict[str, Any]:
    """The claims of every token."""
    return {"sub": "from the token"}


def garbled(tokens: OAuthTokenSet) -> dict[str, Any]:
    """Claims that cannot be read."""
    raise TokenError(code="id_token_malformed")


def compare(state: SessionState, found: Record, *, keeps: bool = True, claims: Any = name_of) -> Reconciled:
    """Reconcile at ``NOW``."""
    return reconcile(state, found, claims=claims, keeps_sign_outs=keeps, now=NOW)


@pytest.mark.parametrize("code", ["store_version", "store_key", "store_unreadable"])
@pytest.mark.parametrize("state", [SessionState(), showing()])
def test_a_record_that_cannot_be_read_is_an_error(state: SessionState, code: Any) -> None:
    """Except a damaged one where there are tokens to put in its place."""
    problem = TokenStoreError(code=code)
    if code == "store_unreadable" and state.tokens is not None:
        assert compare(state, Record(problem=problem)) == Reconciled(state, save=True)
        return
    with pytest.raises(TokenStoreError) as caught:
        compare(state, Record(problem=problem))
    assert caught.value is problem


def test_the_record_that_is_shown_is_saved() -> None:
    """What was unsaved has been stored after all; otherwise the state is the same one."""
    state = showing()
    assert compare(state, state.record).state is state
    assert compare(replace(state, unsaved=True, local_only=True), state.record) == Reconciled(state)


def test_the_same_tokens_in_a_later_record_take_its_place_in_the_order() -> None:
    """They are not adopted again: no predecessor, no epoch."""
    after, save, unreadable = compare(showing(), Record(20, 15, tokens()))
    assert after == showing(record=Record(20, 15, tokens(), ADA))
    assert (save, unreadable) == (False, None)


def test_an_unsaved_sign_out_is_saved_where_the_store_has_an_earlier_one() -> None:
    """The store does not have it: another kernel could take the empty store for a loss."""
    state = SessionState(Record(20, 20), unsaved=True)
    for found in (NOTHING, Record(9, 9)):
        assert compare(state, found) == Reconciled(state, save=True)


def test_an_empty_store_of_five_methods_means_a_sign_out() -> None:
    """Equal to nothing is nothing, whichever object it is; a sign-in that has ended is not kept there anyhow."""
    for nothing in (NOTHING, replace(NOTHING, version=None)):
        after, save, _ = compare(showing(), nothing, keeps=False)
        assert (after.status, save) == ("signed_out", False)
        over = ended()
        assert compare(over, nothing, keeps=False) == Reconciled(over)


def test_another_sign_in_that_has_ended_says_so_itself() -> None:
    """Also where the sign-in of before had ended as well."""
    after = compare(ended(), replace(Record(30, 30, tokens("CANARY-other")).as_ended(), generation=31)).state
    assert after.ended_by is after.error
    assert after.error is not None


def test_the_same_tokens_in_an_earlier_record_change_nothing() -> None:
    """A record is never moved back."""
    state = showing()
    assert compare(state, Record(9, 9, tokens())).state is state


@pytest.mark.parametrize("generation", [10, 11])
def test_a_later_record_is_taken_over_and_of_two_at_once_the_stores(generation: int) -> None:
    """What was not stored here is history."""
    found = Record(generation, 10, tokens("CANARY-new"), ADA)
    state = showing(unsaved=True, error=STORE_DOWN)
    assert compare(state, found) == Reconciled(showing().adopted(found, ADA, now=NOW))


def test_a_later_end_of_the_same_access_token_is_taken_over() -> None:
    """The tokens may differ in their refresh token alone, or in nothing."""
    found = Record(11, 10, tokens(), ADA, ended=True)
    assert compare(showing(), found).state.status == "reauth_required"


def test_tokens_without_a_user_say_themselves_whose_they_are() -> None:
    """By their claims; where these say nothing, the user is not known."""
    found = Record(20, 20, tokens("CANARY-new"))
    assert compare(SessionState(), found).state.user == {"sub": "from the token"}
    assert compare(showing(), found, claims=lambda _: {}).state.user is None
    assert compare(showing(), replace(found, user=ADA), claims=garbled).state.user == ADA


def test_a_later_sign_out_is_taken_over() -> None:
    """There are no claims to read."""
    assert compare(showing(), Record(20, 20), claims=garbled) == Reconciled(
        showing().adopted(Record(20, 20), None, now=NOW)
    )


def test_a_record_with_garbled_claims_is_not_taken_over() -> None:
    """The session stays what it is, and says what was wrong; it does not overwrite the record."""
    after, save, unreadable = compare(showing(unsaved=True), Record(20, 20, tokens("CANARY-new")), claims=garbled)
    assert after == showing()
    assert not save
    assert unreadable is not None
    assert unreadable.code == "id_token_malformed"


@pytest.mark.parametrize("found", [Record(9, 9, tokens("CANARY-old")), Record(9, 9)])
@pytest.mark.parametrize("keeps", [True, False])
def test_an_earlier_record_is_a_loss(found: Record, keeps: bool) -> None:
    """The store gets back what this session shows."""
    state = showing()
    after, save, unreadable = compare(state, found, keeps=keeps)
    assert after is state
    assert (save, unreadable) == (True, None)


@pytest.mark.parametrize(("keeps", "unsaved"), [(True, False), (True, True), (False, True)])
def test_an_empty_store_gets_the_tokens_that_it_lost_or_never_had(keeps: bool, unsaved: bool) -> None:
    """A store that keeps sign-outs would have one; one that does not was never given unsaved tokens."""
    state = showing(unsaved=unsaved)
    assert compare(state, NOTHING, keeps=keeps) == Reconciled(state, save=True)


def test_an_empty_store_that_keeps_no_sign_outs_means_a_sign_out() -> None:
    """Its record is as late as now, and later than the one that is shown."""
    after, save, _ = compare(showing(), NOTHING, keeps=False)
    assert (after.status, save) == ("signed_out", False)
    assert after.record == Record(int(NOW * 1e6), int(NOW * 1e6))
    late = SessionState(Record(2**60, 2**60, tokens()))
    assert compare(late, NOTHING, keeps=False).state.record == Record(2**60 + 1, 2**60 + 1)


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("state", [SessionState(), SessionState(Record(20, 20))])
def test_an_empty_store_is_what_a_session_without_tokens_expects(state: SessionState, keeps: bool) -> None:
    """There is nothing to save, and nothing to take over."""
    assert compare(state, NOTHING, keeps=keeps).state is state
    assert not compare(state, NOTHING, keeps=keeps).save


# -- another person ---------------------------------------------------------------------------------------------------

GOOGLE = "https://accounts.google.com"


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        ({"sub": "ada"}, {"sub": "bob"}, True),
        ({"id": 1}, {"id": 2}, True),
        ({"id": 1, "login": "ada"}, {"id": 1, "login": "lovelace"}, False),  # who renamed themselves
        ({"sub": 7}, {"sub": "7"}, False),
        ({"sub": "ada", "iss": "https://one"}, {"sub": "ada", "iss": "https://two"}, True),
        ({"sub": "ada", "iss": GOOGLE}, {"sub": "ada", "iss": "accounts.google.com"}, False),
        ({"sub": "ada", "iss": GOOGLE}, {"sub": "ada"}, False),
        ({"sub": "ada"}, {"id": "bob"}, False),  # they may be one
        ({"sub": "ada"}, {"name": "Bob"}, False),
        ({"sub": "ada"}, {"sub": ""}, False),
        ({"sub": "ada"}, {"sub": None, "id": 0}, False),
        ({}, None, False),
    ],
)
def test_people_are_told_apart_by_what_does_not_change(
    one: dict[str, Any], other: dict[str, Any] | None, different: bool
) -> None:
    """R53: by issuer and subject, or by an id; where these are unknown, nothing can be told."""
    assert are_different(Person.of(one), Person.of(other)) is different
    assert are_different(Person.of(other), Person.of(one)) is different


THEIRS = Record(20, 20, tokens("CANARY-theirs"), BOB)


def test_another_persons_sign_in_ends_this_one() -> None:
    """R53: with its code, without tokens of either, and without being saved; an open sign-in stays open."""
    after, save, _ = compare(BUSY, THEIRS)

    assert (after.status, replace(after, authorizing=False).status) == ("authorizing", "reauth_required")
    assert (after.tokens, after.user, after.person, save) == (None, ADA, BUSY.person, False)
    assert after.error is after.ended_by is not None
    assert after.error.code == "identity_changed"
    assert "session_key" in after.error.message
    assert after.epoch == BUSY.epoch + 1
    assert not after.is_renewable(NOW)
    assert "CANARY" not in repr([after, after.record])


@pytest.mark.parametrize("found", [THEIRS, THEIRS.renewed(tokens("CANARY-later")), THEIRS.as_ended(), NOTHING])
@pytest.mark.parametrize("keeps", [True, False])
def test_it_ends_once(found: Record, keeps: bool) -> None:
    """R53: whatever becomes of the other's sign-in, this session has nothing to say or to store."""
    state = compare(showing(), THEIRS).state
    after, save, _ = compare(state, found, keeps=keeps)

    assert after is state
    assert not save


def test_the_same_person_goes_on_after_that() -> None:
    """R53: a sign-in of hers elsewhere is followed again, and so is a sign-out."""
    state = compare(showing(), THEIRS).state
    again = compare(state, Record(30, 30, tokens("CANARY-again"), ADA)).state
    assert (again.status, again.error, again.ended_by) == ("signed_in", None, None)
    out = compare(state, Record(30, 30)).state
    assert (out.status, out.error, out.person) == ("signed_out", None, state.person)


def test_a_sign_out_elsewhere_does_not_hide_a_change_of_person() -> None:
    """R53: whether a session has seen the sign-out in between makes no difference."""
    out = compare(showing(), Record(15, 15)).state
    assert compare(out, THEIRS).state.ended_by is not None


def test_a_new_session_takes_what_the_store_holds() -> None:
    """R53: it has no person yet; nor does one for whom none is known, or which has signed in as the other."""
    for state in (SessionState(), SessionState().signed_in(Record(10, 10, tokens())), showing(person=None)):
        after = compare(state, THEIRS).state
        assert (after.tokens, after.person) == (THEIRS.tokens, Person.of(BOB))
    bobs = SessionState().signed_in(Record(10, 10, tokens(), BOB))
    assert compare(bobs, THEIRS).state.tokens == THEIRS.tokens
    unknown = compare(showing(), replace(THEIRS, user=None), claims=lambda _: {}).state
    assert (unknown.tokens, unknown.person) == (THEIRS.tokens, None)


@pytest.mark.parametrize("unsaved", [True, False])
def test_a_sign_out_does_not_replace_another_persons_sign_in(unsaved: bool) -> None:
    """R53: also where it is later, and could not be stored when it happened."""
    state = replace(showing().signed_out(Record(30, 30)), unsaved=unsaved)
    assert compare(state, THEIRS) == Reconciled(replace(state, unsaved=False))
    assert compare(replace(state, person=None), THEIRS).save, "a loss of the store"


def test_a_later_sign_in_replaces_that_of_another_person() -> None:
    """R53: the store has lost it, or could not take it before."""
    state = SessionState().signed_in(Record(30, 30, tokens(), ADA), error=STORE_DOWN)
    assert compare(state, THEIRS) == Reconciled(state, save=True)


# -- any sequence of events -------------------------------------------------------------------------------------------

WORDS = {"signed_out", "authorizing", "signed_in", "refreshing", "reauth_required"}
MENDABLE = {"store_version", "store_key"}

sessions = st.integers(0, 2)
lifetimes = st.sampled_from([0.0, 1.0, 60.0, 3600.0, None])
moments = st.integers(0, 99)  # of the records that were ever stored, counted from the latest
failures = st.sampled_from(["network", "invalid_client", "refresh_busy", "provider_unavailable"])


class Machine(RuleBasedStateMachine):
    """Three sessions share a record in a store; the engine's part is played as in ``_session``, without I/O.

    While a session refreshes it has the lease, and looks at the store only before and after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.states = [SessionState() for _ in range(3)]
        self.keeps = True
        self.stored, self.history = NOTHING, [NOTHING]
        self.problem: TokenStoreError | None = None  # why the stored record cannot be read
        self.down = False
        self.refreshing: tuple[int, SessionState] | None = None  # which session, and how it began
        self.numbers = itertools.count()

    @initialize(keeps=st.booleans())
    def choose_a_store(self, keeps: bool) -> None:
        """The store keeps sign-outs, or it does not."""
        self.keeps = keeps

    # the world

    @rule(seconds=st.sampled_from([0.5, 20.0, 1000.0, 4000.0, -600.0]))
    def time_passes(self, seconds: float) -> None:
        """The clock goes on, or is set back."""
        self.now += seconds

    @rule()
    def the_store_fails(self) -> None:
        """It cannot be asked until it returns."""
        self.down = True

    @rule()
    def the_store_returns(self) -> None:
        """Each session tries again what failed only because of it."""
        self.down = False
        for number, state in enumerate(self.states):
            self.apply(number, state.store_returned())

    @rule(code=st.sampled_from(["store_unreadable", "store_version", "store_key"]))
    def the_record_becomes_unreadable(self, code: Any) -> None:
        """It is damaged, or another program wrote it."""
        self.problem = TokenStoreError(code=code)

    @rule()
    def the_store_loses_the_record(self) -> None:
        """As a server without a disk does."""
        self.stored, self.problem = NOTHING, None

    @rule(ago=moments)
    def the_store_is_restored(self, ago: int) -> None:
        """It has an earlier record again."""
        self.stored, self.problem = self.earlier(ago), None

    # signing in and out

    @rule(number=sessions, life=lifetimes, renewable=st.booleans(), user=st.sampled_from([ADA, BOB, None]))
    def sign_in(self, number: int, life: float | None, renewable: bool, user: dict[str, Any] | None) -> None:
        """The tokens are shown, stored or not."""
        before = self.states[number]
        self.apply(number, before.commanded())
        new = self.new_tokens(life, "CANARY-rt" if renewable else None)
        shown, error = self.states[number].record, None
        try:
            record = self.write(lambda there: self.began(max(there, shown, key=generation_of), new, user))
        except TokenStoreError as failure:
            record, error = self.began(shown, new, user), not_stored(failure)
        self.apply(number, self.states[number].signed_in(record, error=error))
        after = self.states[number]
        assert (after.tokens, after.status, after.predecessors) == (new, "signed_in", ())
        assert after.person == Person.of(user)
        assert (after.unsaved, after.local_only) == (self.down, self.down)
        assert after.epoch > before.epoch

    @rule(number=sessions)
    def sign_out(self, number: int) -> None:
        """No tokens are shown, whatever the store does; another person's stay where they are."""
        before = self.states[number]
        self.apply(number, before.commanded())
        self.apply(number, self.states[number].signed_out(self.began(before.record, None)))
        if not before.displaced:
            self.write_sign_out(number)
        assert (self.states[number].status, self.states[number].predecessors) == ("signed_out", ())

    def write_sign_out(self, number: int) -> None:
        """Store it, unless another person is signed in there."""
        state = self.states[number]

        def change(there: Record) -> Record | None:
            latest = max(there, state.record, key=generation_of)
            return None if state.is_of_another(there.user) else self.began(latest, None)

        try:
            kept = self.write(change)
        except TokenStoreError:
            self.apply(number, replace(state, unsaved=True))
        else:
            if kept.tokens is None:
                self.apply(number, replace(state, record=replace(kept, version=None), person=None).saved())

    @rule(number=sessions)
    def begin_in_the_browser(self, number: int) -> None:
        """A sign-in is open."""
        self.apply(number, self.states[number].sign_in_begun())
        assert self.states[number].status == "authorizing"

    @rule(number=sessions)
    def fail_in_the_browser(self, number: int) -> None:
        """It was not finished in time."""
        self.apply(number, self.states[number].sign_in_failed(AuthFlowTimeout(None, 1.0), authorizing=False))

    # refreshing

    @rule(number=sessions)
    def begin_to_refresh(self, number: int) -> None:
        """Look at the store under the lease, and ask the provider if that is still needed."""
        if self.is_leased(number) or not self.can_refresh(number):
            return
        state = self.states[number]
        if self.down and not state.local_only:
            self.fail(number, refresh_error(TokenStoreError()))
            return
        self.look(number)
        if self.can_refresh(number):
            self.apply(number, replace(self.states[number], refreshing=True))
            self.refreshing = number, self.states[number]

    @rule(life=lifetimes, rotates=st.booleans())
    def the_provider_refreshes(self, life: float | None, rotates: bool) -> None:
        """The answer is void in another epoch; else it is stored and shown."""
        number, old = self.answered()
        if number is None or old.tokens is None:
            return
        new = self.new_tokens(life, "CANARY-rotated" if rotates else None).succeed(old.tokens)
        record, error = old.renewed(new), None
        try:
            kept = self.write(replace_if(old, record))
        except TokenStoreError as failure:
            kept, error = record, failure
        if kept is not record:
            self.reconcile(number, kept)
            return
        state = self.states[number].saved() if error is None else self.states[number]
        self.apply(number, state.refreshed(old, record, now=self.now, error=error and not_stored(error)))
        assert self.states[number].token_instead_of(old.tokens.access_token) == new.access_token

    @rule(code=failures, retry_after=st.sampled_from([None, 0.1, 90.0]))
    def the_provider_fails(self, code: Any, retry_after: float | None) -> None:
        """The tokens stay, and both pauses last as long as the provider wants."""
        number, old = self.answered()
        if number is not None:
            self.fail(number, TokenRefreshError(code=code, retry_after=retry_after))
            state = self.states[number]
            assert state.record == old
            assert min(state.backoff.not_before, state.backoff.expired_not_before) >= self.now + (retry_after or 0.0)

    @rule(code=st.sampled_from(["token_refused", "unauthorized_client"]))
    def the_provider_refuses_in_other_words(self, code: Any) -> None:
        """The tokens stay until it does so again once they are over."""
        number, old = self.answered()
        if number is None:
            return
        error, state = TokenRefreshError(code=code), self.states[number]
        if state.is_ended_by(error, self.now):
            assert state.backoff.refusals
            assert not state.is_usable(self.now) or state.expiry == math.inf
            self.end(number, old, error)
        else:
            self.fail(number, error)
            assert self.states[number].record == old

    @rule()
    def the_provider_refuses(self) -> None:
        """Only a new sign-in helps."""
        number, old = self.answered()
        if number is not None:
            self.end(number, old, TokenRefreshError(code="invalid_grant"))

    @rule(number=sessions)
    def notice_the_end(self, number: int) -> None:
        """A token that has expired and cannot be refreshed ends the sign-in."""
        state = self.states[number]
        if state.tokens is not None and state.tokens.refresh_token is None and self.now >= state.expiry:
            self.end(number, state.record, TokenError(code="no_refresh_token"))

    @rule(number=sessions)
    def an_api_rejects_the_token(self, number: int) -> None:
        """That begins a refresh, and not another one at once."""
        before = self.states[number]
        if before.tokens is None:
            return
        begun = before.rejected(before.tokens.access_token, self.now)
        assert before.token_instead_of(before.tokens.access_token) is None
        if begun is not None:
            assert self.now >= before.backoff.not_before
            assert begun.rejected(before.tokens.access_token, self.now) is None
            self.apply(number, begun)
            self.begin_to_refresh(number)

    # the store

    @rule(number=sessions)
    def look(self, number: int) -> None:
        """Take over what the store has, or put back what it has lost."""
        if self.refreshing is not None and self.refreshing[0] == number:
            return
        if self.down:
            self.apply(number, self.states[number].store_failed(TokenStoreError()))
        else:
            self.reconcile(number, self.there())

    @rule(number=sessions, ago=moments)
    def hear_late(self, number: int, ago: int) -> None:
        """A slow store answers with a record that it had before."""
        if self.refreshing is None or self.refreshing[0] != number:
            self.reconcile(number, self.earlier(ago))

    @rule()
    def settle(self) -> None:
        """A store that works brings all sessions together."""
        self.the_store_returns()
        if self.problem is not None and self.problem.code in MENDABLE:
            self.problem = None
        self.the_provider_fails("network", None)
        for number in [0, 1, 2] * 3:
            self.look(number)
        others = [state for state in self.states if state.is_of_another(self.stored.user)]
        assert all(state.tokens is None for state in others)
        agreed = [self.agreed(state) for state in self.states if state not in others]
        assert all(each == agreed[0] for each in agreed)
        if self.problem is None:
            assert all(each == (self.stored.tokens, self.stored.ended) for each in agreed)
            assert not any(state.unsaved or state.local_only for state in self.states)
        else:  # a damaged record stays where no session has tokens to replace it
            assert all(self.agreed(state) == (None, False) for state in self.states)

    def agreed(self, state: SessionState) -> tuple[OAuthTokenSet | None, bool]:
        """Return what all sessions have alike: of an end, a store without sign-outs tells only those who saw it."""
        return (None, False) if state.displaced or (state.ended and not self.keeps) else (state.tokens, state.ended)

    # what always holds

    @invariant()
    def every_state_makes_sense(self) -> None:
        """What a state says about itself agrees, now and for any buffer."""
        for state in self.states:
            assert state.status in WORDS
            assert state.ended == (state.ended_by is not None)
            assert not state.ended or state.tokens is None or state.tokens.refresh_token is None
            assert state.displaced == (state.ended and state.tokens is None)
            assert not state.displaced or state.ended_by.code == "identity_changed"
            assert state.tokens is None or state.person == Person.of(state.user)
            assert len(state.predecessors) <= 16
            assert state.record.version is None
            assert state.is_renewable(self.now) or not state.is_usable(self.now)
            assert "CANARY" not in repr(state)
            self.its_times_agree(state, 0.0)
            self.its_times_agree(state, BUFFER)

    def its_times_agree(self, state: SessionState, buffer: float) -> None:
        """An expired token is not fresh, and a fresh one is not refreshed."""
        worth = state.token_state(self.now, buffer)
        assert state.refresh_due(buffer) <= state.expiry
        assert state.fresh_until(buffer) <= state.expiry
        if state.tokens is None or (state.tokens.expires_at is not None and self.now >= state.tokens.expires_at):
            assert worth is TokenState.INVALID
        if self.now < state.fresh_until(buffer):
            assert worth is not TokenState.INVALID
        if worth is TokenState.FRESH or self.now < state.fresh_until(buffer):
            assert not state.may_refresh(self.now, buffer)
        if not state.backoff.failures:
            assert state.next_look(now=self.now, buffer=buffer, dice=1.0) >= self.now + MIN_PAUSE

    # the engine's part

    def apply(self, number: int, after: SessionState) -> None:
        """Make ``after`` the state of a session; it never goes back."""
        before = self.states[number]
        assert after.epoch >= before.epoch
        assert after.command >= before.command
        assert after.record.generation >= before.record.generation
        self.states[number] = after.with_failure_shown(self.now)

    def reconcile(self, number: int, found: Record) -> None:
        """Take over ``found`` if it is later, and save what is shown if it is earlier."""
        options: dict[str, Any] = {"claims": lambda _: {}, "keeps_sign_outs": self.keeps, "now": self.now}
        try:
            state, save, unreadable = reconcile(self.states[number], found, **options)
        except TokenStoreError as error:
            self.apply(number, self.states[number].store_failed(error))
            return
        assert reconcile(state, found, **options) == (state, save, unreadable)
        before = self.states[number]
        assert not are_different(before.person, state.person)
        self.apply(number, state.store_worked())
        if save:
            self.save(number)

    def save(self, number: int) -> None:
        """Store what a session shows, unless something later is there."""
        state, mine = self.states[number], self.states[number].record
        assert not state.displaced

        def change(there: Record) -> Record | None:
            return mine if there.generation < mine.generation and state.may_replace(there) else None

        try:
            kept = self.write(change)
        except TokenStoreError:
            self.apply(number, replace(self.states[number], unsaved=True))
        else:
            if kept is mine:
                self.apply(number, self.states[number].saved())
            else:
                self.reconcile(number, kept)

    def end(self, number: int, old: Record, error: TokenError) -> None:
        """Note that ``old`` cannot be renewed, unless another session has renewed it."""
        if self.states[number].ended:
            return
        record, unsaved = old.as_ended(), False
        kept = record
        try:
            kept = self.write(replace_if(old, record))
        except TokenStoreError:
            unsaved = True
        if kept is not record:
            self.reconcile(number, kept)
            return
        after = self.states[number].ended_with(record, error)
        self.apply(number, replace(after, unsaved=after.unsaved or unsaved))

    def fail(self, number: int, error: TokenRefreshError) -> None:
        """Try again later."""
        after = self.states[number].refresh_failed(error, now=self.now, dice=0.5, only_after_expiry=False)
        self.apply(number, after)

    def answered(self) -> tuple[int | None, Record]:
        """Return which session has its answer, and the record that it began with; None where the answer is void."""
        if self.refreshing is None:
            return None, NOTHING
        (number, begun), self.refreshing = self.refreshing, None
        state = self.states[number]
        self.apply(number, replace(state, refreshing=False))
        return (number if begun.epoch == state.epoch else None), begun.record

    def is_leased(self, number: int) -> bool:
        """Whether another session has the lease, or keeps it for tokens that are not stored."""
        others = (state for other, state in enumerate(self.states) if other != number)
        return self.refreshing is not None or any(state.unsaved and not state.local_only for state in others)

    def can_refresh(self, number: int) -> bool:
        """Whether there is a refresh token that is good."""
        state = self.states[number]
        return state.tokens is not None and state.tokens.refresh_token is not None and not state.ended

    # the store's part

    def there(self) -> Record:
        """Return what the store has."""
        if self.problem is not None:
            return Record(problem=self.problem, version=b"packed")
        return self.stored if self.stored is NOTHING else replace(self.stored, version=b"packed")

    def write(self, change: Callable[[Record], Record | None]) -> Record:
        """Put ``change`` of what is there in its place; return what is there then."""
        if self.down:
            raise TokenStoreError
        there = self.there()
        new = change(there)
        if new is None:
            return there
        lost = not self.keeps and (new.tokens is None or new.ended)
        self.stored, self.problem = NOTHING if lost else new, None
        self.history.append(self.stored)
        return new

    def earlier(self, ago: int) -> Record:
        """Return a record that the store had before."""
        return self.history[-1 - ago % len(self.history)]

    # the provider's part

    def new_tokens(self, life: float | None, refresh_token: str | None) -> OAuthTokenSet:
        """Return tokens issued now, unlike all others."""
        access = f"CANARY-{next(self.numbers)}"
        return OAuthTokenSet(access, refresh_token=refresh_token, expires_in=life, issued_at=self.now)

    def began(self, before: Record, new: OAuthTokenSet | None, user: dict[str, Any] | None = None) -> Record:
        """Return the record of a sign-in, or a sign-out, after ``before``."""
        generation = before.signed_out(at=int(self.now * 1e6)).generation
        return Record(generation, generation, new, user)


def generation_of(record: Record) -> int:
    """Its place in the order."""
    return record.generation


def replace_if(old: Record, new: Record) -> Callable[[Record], Record | None]:
    """Return the change that puts ``new`` in place of ``old``, or of what is earlier."""
    return lambda there: new if there.generation < new.generation or there.tokens == old.tokens else None


def test_sessions_stay_in_order_and_agree_in_the_end() -> None:
    """Whatever happens to three sessions, their store, their clock and their provider, in whatever order."""
    options = settings(
        max_examples=60,
        stateful_step_count=40,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],  # a busy machine
    )
    run_state_machine_as_test(Machine, settings=options)
