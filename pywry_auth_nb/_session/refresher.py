"""`Refresher`: gets new tokens from the provider, one kernel at a time among all that share a sign-in.

Lease → read → adopt what another kernel has refreshed, or ask → compare-and-swap → release. What is to be done is
decided under the lease, whatever was known before.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from .._io.loop import backoff, jitter
from ..errors import TokenError, TokenRefreshError, TokenStoreError
from ..token_store import Lease
from .failures import is_final, login_required_error, not_stored, refresh_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..token_store import Record
    from ..tokens import OAuthTokenSet
    from .owner import StateOwner
    from .record_sync import RecordSync
    from .state import SessionState
    from .store_sync import StoreSync

REQUEST = 30.0  # seconds that asking the provider, and storing what it answers, may take
LEASE_DEADLINE = 25.0  # seconds to wait for another kernel's refresh; a reader waits 30
_POLL = (0.03, 0.15)  # seconds between two looks whether it is done: at first, and later


class Refresher:
    """Refreshes the tokens of one session. Use it on the background loop.

    Args:
        owner: Whose state.
        records: The store as this session sees it.
        sync: Takes over what is found there.
    """

    def __init__(self, owner: StateOwner, records: RecordSync, sync: StoreSync) -> None:
        self._owner = owner
        self._records = records
        self._sync = sync
        self._kept_lease: Lease | None = None  # of a refresh that is not stored: no other kernel must do it again
        self._releasing: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Refresh the access token, or wait for the refresh that is under way in this process.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: It failed; the state says what becomes of the sign-in.
        """
        await asyncio.shield(self._owner.one("refresh", self._refresh))

    async def refresh_rejected(self, token: str) -> None:
        """Refresh because an API rejected ``token``, which looked good: at most every 30 s, for it may reject all."""
        begun = self._owner.state.rejected(token, time.time())
        if begun is not None or self._owner.is_doing("refresh"):
            self._owner.apply(begun or self._owner.state)
            with contextlib.suppress(TokenRefreshError):
                await self.refresh()

    async def _refresh(self) -> None:
        begun = self._owner.state
        self._refresh_token_in(begun)
        self._owner.apply(replace(begun, refreshing=True))
        try:
            await self._owner.provider.warm_up()  # before other kernels have to wait for it
            lease = await self._acquire_lease(begun.record)
            if lease is not None:
                await self._refresh_under(lease)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the session must not stay in "refreshing"
            error = refresh_error(failure)
            if begun.epoch == self._owner.state.epoch:
                self._note_failure(error)
            raise error from None
        finally:
            if self._owner.state.refreshing:
                self._owner.apply(replace(self._owner.state, refreshing=False))

    def _note_failure(self, error: TokenRefreshError) -> None:
        """Keep the tokens and try again later, unless that is hopeless."""
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
            TokenStoreError: The store cannot lend the lease.
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
        """Decide under the lease; release it if there is nothing to do under it."""
        good = False
        try:
            await self._sync.read_surely()
            good = self._records.may_refresh and lease.lasts(REQUEST) and self._is_needed(begun)
        finally:
            if not good:
                await self._records.release(lease)
        return good

    def _is_needed(self, begun: Record) -> bool:
        """Whether what this session shows still needs the refresh that began with ``begun``."""
        state = self._owner.state
        if state.tokens is None:
            raise login_required_error()
        if state.is_another_than(begun):
            return time.time() >= state.refresh_due(self._owner.buffer)
        self._refresh_token_in(state)
        return True

    def release_kept_lease(self) -> None:
        """Release the lease of a refresh that was not stored, if there is one: the store has the tokens now."""
        lease, self._kept_lease = self._kept_lease, None
        if lease is not None:
            self._releasing = asyncio.ensure_future(self._records.release(lease))

    # -- the refresh itself -----------------------------------------------------------------------------------------

    async def _refresh_under(self, lease: Lease) -> None:
        """Refresh, and keep the lease for as long as no other kernel can know of the new tokens."""
        try:
            await self._ask_and_store()
        finally:
            if self._owner.state.unsaved and not self._owner.state.local_only:
                self._kept_lease = lease
            else:
                await self._records.release(lease)

    async def _ask_and_store(self) -> None:
        """Ask the provider, and put its answer into the store, then in place of the old tokens."""
        begun, old = self._owner.state, self._owner.state.record
        refresh_token = self._refresh_token_in(begun)
        assert old.tokens is not None  # noqa: S101 - there is a refresh token
        try:
            new = await self._continued(old.tokens, refresh_token)
        except TokenRefreshError as error:
            if is_final(error) and begun.epoch == self._owner.state.epoch and not await self.end(old, error):
                return  # another kernel was faster, after all
            raise
        if begun.epoch == self._owner.state.epoch:
            await self._keep(old, old.renewed(new.succeed(old.tokens)))
        if begun.epoch != self._owner.state.epoch:  # signed out or in anew meanwhile: these tokens are void
            await self.revoke_late(new)

    async def _continued(self, old: OAuthTokenSet, refresh_token: str) -> OAuthTokenSet:
        """Return the provider's new tokens, if they continue the sign-in of the old ones; else revoke them."""
        new = await self._ask(refresh_token)
        try:
            self._owner.provider.check_continuity(old, new)
        except TokenError:
            await self._owner.provider.revoke_tokens(new)
            raise
        return new

    async def _ask(self, refresh_token: str) -> OAuthTokenSet:
        """Ask; once more if the connection broke, which leaves open whether the provider had heard it.

        If it had, the refresh token may be spent, and only those that forgive a quick second try can help.
        """
        try:
            return await self._owner.provider.refresh_tokens(refresh_token)
        except TokenRefreshError as error:
            if error.code != "network":
                raise
        return await self._owner.provider.refresh_tokens(refresh_token)

    async def _keep(self, old: Record, record: Record) -> None:
        """Store refreshed tokens; a store that fails must not cost the session."""
        epoch, error = self._owner.state.epoch, None
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
        """Note for every kernel that after ``old`` only a new sign-in helps.

        Returns:
            Whether that is so: not when another kernel turns out to have refreshed the tokens.
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
            return True  # of what is not shown any more
        if kept is not record:
            await self._sync.reconcile(kept)
            return self._owner.state.ended
        state = self._owner.state.ended_with(record, error)
        self._owner.apply(replace(state, unsaved=state.unsaved or unsaved))
        return True

    async def revoke_late(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that came too late, unless that would end the sign-in that overtook them."""
        if self._owner.state.tokens is None or not self._owner.provider.revokes_consent:
            await self._owner.provider.revoke_tokens(tokens)

    def _refresh_token_in(self, state: SessionState) -> str:
        """Return the refresh token if this process may use it.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: Code ``no_refresh_token`` or ``forked``.
        """
        if state.tokens is None:
            raise login_required_error()
        if state.tokens.refresh_token is None or state.ended:
            raise TokenRefreshError("This sign-in cannot be renewed. Sign in again.", code="no_refresh_token")
        if self._owner.forked and (state.unsaved or not self._records.store.shared):
            raise TokenRefreshError(code="forked")
        return state.tokens.refresh_token


def _replace_if(old: Record, new: Record) -> Callable[[Record], Record | None]:
    """Return the change that puts ``new`` in place of ``old``, or of what is earlier, as a store that lost it has."""
    return lambda there: new if there.generation < new.generation or there.tokens == old.tokens else None
