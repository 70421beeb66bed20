"""`Refresher`: refreshes tokens at the provider, in one kernel at a time of all that share a sign-in.

Lease → read → adopt the tokens of another kernel, or refresh → compare-and-swap → release. The decision is made under
the lease, on what was read under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._io.loop import backoff, jitter
from .._wire.error_codes import NETWORK_ERRORS
from ..errors import TokenError, TokenRefreshError, TokenStoreError
from ..token_store import Lease
from .failures import login_required_error, not_stored, refresh_error
from .persons import Person, are_different

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..token_store import Record
    from ..tokens import OAuthTokenSet
    from .owner import StateOwner
    from .record_sync import RecordSync
    from .state import SessionState
    from .store_sync import StoreSync

log = logging.getLogger("pywry_auth_nb")

REQUEST = 40.0  # seconds that a refresh may take: 30 for the provider's tokens, 10 to check and to store them
LEASE_DEADLINE = 40.0  # seconds to wait for another kernel's refresh; a reader waits 45
_QUICKLY = 5.0  # seconds within which a connection must break for a second try
_POLL = (0.03, 0.15)  # seconds between two polls for it: first, and at most


class Refresher:
    """Refreshes the tokens of one session. Use it on the background loop.

    Args:
        owner: The owner of the state.
        records: The session's record in the store.
        sync: Adopts the records that are found there.
    """

    def __init__(self, owner: StateOwner, records: RecordSync, sync: StoreSync) -> None:
        self._owner = owner
        self._records = records
        self._sync = sync
        self._kept_lease: Lease | None = None  # of a refresh that is not stored: no other kernel may repeat it
        self._logged = ""  # the provider's words, so that they are logged once
        self._releasing: set[asyncio.Task[None]] = set()

    async def refresh(self) -> None:
        """Refresh the access token, or wait for the running refresh of this session.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: The refresh failed; the state says whether the sign-in has ended.
        """
        await asyncio.shield(self._owner.one("refresh", self._refresh))

    async def refresh_rejected(self, token: str) -> None:
        """Refresh because an API rejected ``token``, which had not expired: at most every 30 s, in case it rejects all.

        A token that has been replaced already needs no refresh.
        """
        tokens, begun = self._owner.state.tokens, self._owner.state.rejected(token, time.time())
        if tokens is None or tokens.access_token != token:
            return
        if begun is not None:
            self._owner.apply(begun)
        elif not self._owner.is_doing("refresh"):
            return
        with contextlib.suppress(TokenRefreshError):
            await self.refresh()

    async def _refresh(self) -> None:
        begun = self._owner.state
        self._refresh_token_in(begun)
        self._owner.apply(replace(begun, refreshing=True))
        try:
            await self._owner.provider.warm_up()  # before the lease, which other kernels wait for
            lease = await self._acquire_lease(begun.record)
            if lease is not None:
                await self._refresh_under(lease)
        except Exception as failure:  # noqa: BLE001 - the session must never stay in "refreshing"
            error = refresh_error(failure)
            if begun.epoch == self._owner.state.epoch:
                self._note_failure(error)
            raise error from None
        finally:
            if self._owner.state.refreshing:
                self._owner.apply(replace(self._owner.state, refreshing=False))

    def _note_failure(self, error: TokenRefreshError) -> None:
        """Keep the tokens and back off. Log the provider's words when they are new."""
        if error.description not in ("", self._logged):
            self._logged = error.description
            log.warning("%s: the refresh failed (%s): %s", self._owner.provider.label, error.code, error.description)
        late = self._owner.provider.refresh_only_after_expiry
        dice = jitter(0.0, 1.0)
        failed = self._owner.state.refresh_failed(error, now=time.time(), dice=dice, only_after_expiry=late)
        self._owner.apply(failed)

    # -- the lease --------------------------------------------------------------------------------------------------

    async def _acquire_lease(self, begun: Record) -> Lease | None:
        """Wait for the lease under which to refresh ``begun``, or until another session has refreshed it.

        Returns:
            The lease; None when there is nothing left to do.

        Raises:
            LoginRequired: The user signed out meanwhile.
            TokenStoreError: The store cannot provide the lease.
            TokenRefreshError: Code ``refresh_busy``.
        """
        kept, self._kept_lease = self._kept_lease, None
        if kept is not None and kept.lasts(REQUEST):
            return kept
        if kept is not None:
            await self._records.release(kept)
        end, pauses = time.monotonic() + LEASE_DEADLINE, backoff(*_POLL)
        while time.monotonic() < end:
            await self._records.others_had_time()
            await self._sync.now()
            if not self._is_needed(begun):
                return None
            lease = await self._try_lease()
            if lease is None:
                await asyncio.sleep(next(pauses))
            elif await self._is_good(lease, begun):
                return lease
        raise TokenRefreshError(code="refresh_busy")

    async def _try_lease(self) -> Lease | None:
        try:
            return await self._records.try_lease()
        except TokenStoreError:
            if self._owner.state.local_only:
                return Lease()
            raise

    async def _is_good(self, lease: Lease, begun: Record) -> bool:
        """Decide under the lease whether to refresh; release the lease if not."""
        good = False
        try:
            await self._sync.read_surely()
            good = self._records.may_refresh and lease.lasts(REQUEST) and self._is_needed(begun)
        finally:
            if not good:
                await self._records.release(lease)
        return good

    def _is_needed(self, begun: Record) -> bool:
        """Whether the session still needs the refresh that began with ``begun``."""
        state = self._owner.state
        if state.tokens is None:
            raise login_required_error(state.ended_by)
        if state.is_another_than(begun):
            return state.may_refresh(time.time(), self._owner.buffer)
        self._refresh_token_in(state)
        return True

    def release_kept_lease(self) -> None:
        """Release the lease that was kept for tokens that were not stored: the store has them now."""
        lease, self._kept_lease = self._kept_lease, None
        if lease is not None:
            releasing = asyncio.ensure_future(self._records.release(lease))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    # -- the refresh itself -----------------------------------------------------------------------------------------

    async def _refresh_under(self, lease: Lease) -> None:
        """Refresh, and keep the lease while the new tokens could not be stored for other kernels."""
        try:
            await self._ask_and_store()
        finally:
            if self._owner.state.unsaved and not self._owner.state.local_only:
                self._kept_lease = lease
            else:
                await self._records.release(lease)

    async def _ask_and_store(self) -> None:
        """Refresh at the provider, save the new tokens in the store, then show them."""
        begun, old = self._owner.state, self._owner.state.record
        refresh_token = self._refresh_token_in(begun)
        assert old.tokens is not None  # noqa: S101 - there is a refresh token
        try:
            new = await self._continued(old.tokens, refresh_token)
        except TokenRefreshError as error:
            await self._keep_refresh_token(begun, error)
            state = self._owner.state
            ends = begun.epoch == state.epoch and state.is_ended_by(error, time.time())
            if ends and not await self.end(old, error):
                return  # another kernel has refreshed them
            raise
        if begun.epoch == self._owner.state.epoch:
            tokens = new.succeed(old.tokens)
            user = old.user or self._owner.provider.claims(tokens) or None  # the first tokens may be a refresh's
            await self._keep(old, replace(old.renewed(tokens), user=user))
        if begun.epoch != self._owner.state.epoch:  # signed out, or in again, meanwhile
            await self.discard(new, begun.user)

    async def _continued(self, old: OAuthTokenSet, refresh_token: str) -> OAuthTokenSet:
        """Return the new tokens if they are the same user's; otherwise revoke them and raise."""
        new = await self._ask(refresh_token)
        try:
            return self._owner.provider.accept(old, new)
        except TokenError:
            await self._owner.provider.revoke_tokens(new)
            raise

    async def _keep_refresh_token(self, begun: SessionState, error: TokenRefreshError) -> None:
        """Keep the refresh token of tokens that were refused: the old one may be spent, and the next try needs one.

        No attacker gains: one who can forge the response can also leave out its ID token, which is optional (OIDC Core
        §12.2).
        """
        refused, error.refused = error.refused, None
        old, epoch = begun.record, self._owner.state.epoch
        if refused is None or refused.refresh_token is None or old.tokens is None or begun.epoch != epoch:
            return
        if refused.refresh_token != old.tokens.refresh_token:
            await self._keep(old, old.renewed(old.tokens.with_refresh_token_of(refused)))

    async def _ask(self, refresh_token: str) -> OAuthTokenSet:
        """Request new tokens; once more if the connection broke at once.

        The provider may have received the first request. Then the refresh token may be spent, unless the provider
        tolerates a quick retry.
        """
        begun = time.monotonic()
        try:
            return await self._owner.provider.refresh_tokens(refresh_token)
        except TokenRefreshError as error:
            if error.code not in NETWORK_ERRORS or time.monotonic() - begun > _QUICKLY:
                raise
        return await self._owner.provider.refresh_tokens(refresh_token)

    async def _keep(self, old: Record, record: Record) -> None:
        """Save refreshed tokens. The session keeps them even if the store fails."""
        epoch, error = self._owner.state.epoch, None
        self._logged = ""
        try:
            kept = await self._records.update(_replace_if(old, record))
        except TokenStoreError as failure:
            kept, error = record, failure
        if epoch != self._owner.state.epoch:
            return
        if kept is not record:
            await self._sync.reconcile(kept)
            return
        state = self._owner.state.saved() if error is None else self._owner.state
        self._owner.apply(state.refreshed(old, record, now=time.time(), error=error and not_stored(error)))

    async def end(self, old: Record, error: TokenError) -> bool:
        """End the sign-in of ``old`` for every kernel: a new one is needed.

        Returns:
            Whether it has ended: False if another kernel has refreshed the tokens.
        """
        if self._owner.state.ended:
            return True
        epoch, record, unsaved = self._owner.state.epoch, old.as_ended(), False
        kept = record
        try:
            kept = await self._records.update(_replace_if(old, record))
        except TokenStoreError:
            unsaved = True  # it is stored later
        if epoch != self._owner.state.epoch:
            return True  # the session shows another sign-in by now
        if kept is not record:
            await self._sync.reconcile(kept)
            return self._owner.state.ended
        state = self._owner.state.ended_with(record, error)
        self._owner.apply(replace(state, unsaved=state.unsaved or unsaved))
        return True

    async def discard(self, tokens: OAuthTokenSet, user: dict[str, Any] | None) -> None:
        """Revoke tokens of ``user`` that will not be used, unless the session has tokens of the same user.

        Many providers would end those as well, since they belong to one consent or one session there.
        """
        state = self._owner.state
        if state.tokens is None or are_different(Person.of(state.user), Person.of(user)):
            await self._owner.provider.discard_tokens(tokens)

    def _refresh_token_in(self, state: SessionState) -> str:
        """Return the refresh token if this process may use it.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: Code ``no_refresh_token`` or ``forked``.
        """
        if state.tokens is None:
            raise login_required_error(state.ended_by)
        if state.tokens.refresh_token is None or state.ended:
            raise TokenRefreshError("This sign-in cannot be renewed. Sign in again.", code="no_refresh_token")
        if self._owner.forked and (state.unsaved or not self._records.store.shared):
            raise TokenRefreshError(code="forked")
        return state.tokens.refresh_token


def _replace_if(old: Record, new: Record) -> Callable[[Record], Record | None]:
    """Return the change that replaces ``old``, or an earlier record of a store that lost it, by ``new``."""
    return lambda there: new if there.generation < new.generation or there.tokens == old.tokens else None
