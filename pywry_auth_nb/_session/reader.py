"""`Reader`: returns a valid access token, or raises the reason why it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from ..errors import AuthenticationError, TokenExpiredError, TokenRefreshError
from .failures import login_required_error
from .state import TokenState

if TYPE_CHECKING:
    from ..tokens import OAuthTokenSet
    from .commands import Commands
    from .owner import StateOwner
    from .refresher import Refresher
    from .store_sync import StoreSync

PATIENCE = 3.0  # seconds that a reader waits for a new token while the old one is still valid
_TRIES = 3  # attempts of a reader: if the process is suspended, even a new token may have expired when it arrives


class Reader:
    """Reads the access token of one session, refreshing it if necessary. Use it on the background loop.

    Args:
        owner: The owner of the state.
        sync: Loads the record.
        refresher: Refreshes the token.
        commands: Acquires tokens without the user, if the provider can.
        watched: Whether other kernels may change the store.
    """

    def __init__(
        self, owner: StateOwner, sync: StoreSync, refresher: Refresher, commands: Commands, *, watched: bool
    ) -> None:
        self._owner = owner
        self._sync = sync
        self._refresher = refresher
        self._commands = commands
        self._watched = watched

    async def initialize(self) -> OAuthTokenSet | None:
        """Load the tokens of an earlier sign-in, refreshed if necessary; None if there are none."""
        await self._sync.load()
        await self._sync.soon()
        try:
            await self.get_access_token()
        except AuthenticationError:
            return None
        return self._owner.state.tokens

    async def get_access_token(self) -> str:
        """Return a valid access token, refreshing it first if it is near its expiry.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be refreshed; ``code`` says why.
        """
        await self.arrive()
        for _ in range(_TRIES):
            error = await self._refresh_if_due()
            usable = self._owner.state.token_state(time.time(), self._owner.buffer)
            if error is not None or usable is not TokenState.INVALID:
                break
        if self._owner.state.ended:  # a newer sign-in may have cleared state.error
            return self._usable(self._owner.state.ended_by)
        return self._usable(error or self._owner.state.backoff.failure or self._owner.state.error)

    async def arrive(self) -> None:
        """Load the record, and if there is none, acquire tokens without the user if the provider can.

        Raises:
            LoginRequired: The provider has no tokens; ``code`` says why.
        """
        await self._sync.load()
        if self._owner.state.tokens is None and self._watched:
            await self._sync.soon()
        await self._commands.acquire_if_untouched()

    async def _refresh_if_due(self) -> TokenRefreshError | None:
        """Refresh the token if it is near its expiry, with limited patience; return the failure, if any."""
        now, state = time.time(), self._owner.state
        if state.may_refresh(now, self._owner.buffer):
            patience = min(PATIENCE, state.expiry - now) if now < state.expiry else None
            try:
                with contextlib.suppress(asyncio.TimeoutError):  # the refresh continues in the background
                    await asyncio.wait_for(self._refresher.refresh(), patience)
            except TokenRefreshError as failure:
                return failure
        return None

    def _usable(self, error: AuthenticationError | None) -> str:
        """Return the access token if it has not expired; otherwise raise, with the reason in ``error``."""
        state = self._owner.state
        if state.tokens is None:
            raise login_required_error(state.error)
        if time.time() < state.expiry:
            return state.tokens.access_token
        if error is None:
            raise TokenExpiredError("The access token has expired already. Try again in a moment.")
        raise TokenExpiredError(error.message, code=error.code, retry_after=getattr(error, "retry_after", None))
