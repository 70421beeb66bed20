"""`Reader`: returns a valid access token or ID token, or raises the reason why it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from ..errors import AuthenticationError, TokenExchangeError, TokenExpiredError, TokenRefreshError
from ..providers.userinfo import TokenRejected
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
_ASKED_AGAIN = 300.0  # seconds until another refresh for an ID token that the last one did not replace
_NO_OTHER = (
    "The ID token has expired, and the provider gave no refresh token to renew it with. Sign in again: "
    'session.login(prompt="login").'
)
_NOT_RENEWABLE = (
    "The provider rejects the access token, and gave no refresh token to renew it with. Sign in again. If that does "
    "not help, the token lacks a scope."
)


class Reader:
    """Reads the tokens of one session, refreshing them if necessary. Use it on the background loop.

    Args:
        owner: The owner of the state.
        sync: Loads the record.
        refresher: Refreshes the token.
        commands: Acquires tokens without the user, if the provider can.
    """

    def __init__(self, owner: StateOwner, sync: StoreSync, refresher: Refresher, commands: Commands) -> None:
        self._owner = owner
        self._sync = sync
        self._refresher = refresher
        self._commands = commands
        self._not_replaced: tuple[str | None, float] = (None, 0.0)  # by a refresh; until when not to try again
        self._confirmed: str | None = None

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

    async def get_id_token(self) -> str:
        """Return a valid ID token, refreshing the tokens first if it is near its expiry.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: It has expired, and could not be renewed; ``code`` says why.
            TokenError: Code ``id_token_missing``: the provider gave none. Another: it was refused when it was checked.
        """
        await self.arrive()
        error = await self._renew_id_token_if_due()
        state = self._owner.state
        if state.tokens is None:
            raise login_required_error(state.ended_by or state.error)
        id_token = state.tokens.id_token
        if id_token is None and error is None:
            raise self._owner.provider.no_id_token()
        if id_token is None or time.time() >= state.id_token_expiry:
            raise self._id_token_expired(error)
        if id_token != self._confirmed:
            await self._owner.provider.confirm_id_token(id_token)
            self._confirmed = id_token
        return id_token

    async def fetch_userinfo(self) -> dict[str, Any]:
        """Fetch the UserInfo claims; if the provider rejects the token, renew it and ask once more.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The sign-in has ended, or the token has expired, or ended at the provider, and could not
                be refreshed.
            TokenError: The request failed.
        """
        provider, token = self._owner.provider, await self.get_access_token()
        try:
            return await provider.get_userinfo(token)
        except TokenRejected:
            renewed = await self._renewed(token)
            if renewed is None:
                raise
        return await provider.get_userinfo(renewed)

    async def _renewed(self, rejected: str) -> str | None:
        """Return the token that replaces one that the provider rejected; None if there is none yet."""
        await self._refresher.refresh_rejected(rejected)
        state, renewed = self._owner.state, self._owner.state.token_instead_of(rejected)
        if state.ended_by is not None:
            raise TokenExpiredError(state.ended_by.message, code=state.ended_by.code) from None
        if renewed is None and state.tokens is not None and state.tokens.refresh_token is None:
            raise TokenExpiredError(_NOT_RENEWABLE, code="no_refresh_token") from None
        return renewed

    async def arrive(self) -> None:
        """Load the record, and if there is none, acquire tokens without the user if the provider can.

        Raises:
            LoginRequired: The provider has no tokens; ``code`` says why.
        """
        await self._sync.load()
        if self._owner.state.tokens is None:
            await self._sync.soon()
        await self._commands.acquire_if_untouched()

    async def _refresh_if_due(self) -> TokenRefreshError | None:
        """Refresh the token if it is near its expiry, with limited patience; return the failure, if any."""
        state = self._owner.state
        return await self._refresh(state.expiry) if state.may_refresh(time.time(), self._owner.buffer) else None

    async def _refresh(self, expiry: float) -> TokenRefreshError | None:
        """Refresh the tokens; wait with limited patience until ``expiry``, when what is read now ends."""
        now = time.time()
        patience = min(PATIENCE, expiry - now) if now < expiry else None
        try:
            with contextlib.suppress(asyncio.TimeoutError):  # the refresh continues in the background
                await asyncio.wait_for(self._refresher.refresh(), patience)
        except TokenRefreshError as failure:
            return failure
        return None

    async def _renew_id_token_if_due(self) -> TokenRefreshError | None:
        """Refresh the tokens if the ID token is near its expiry; return the failure, if any.

        Many providers give no ID token with a refresh (OIDC Core §12.2): then it is not repeated for each read.
        """
        state, now = self._owner.state, time.time()
        if not state.may_renew_id_token(now, self._owner.buffer):
            return None
        before, (not_replaced, until) = state.tokens and state.tokens.id_token, self._not_replaced
        if before is not None and before == not_replaced and now < until:
            return None
        error = await self._refresh(state.id_token_expiry)
        after = self._owner.state.tokens
        if error is None and after is not None and after.id_token == before and not self._owner.is_doing("refresh"):
            self._not_replaced = (before, now + _ASKED_AGAIN)
        return error

    def _id_token_expired(self, error: TokenRefreshError | None) -> TokenExpiredError:
        state = self._owner.state
        reason = error or state.ended_by or state.backoff.failure
        if reason is not None:
            return TokenExpiredError(reason.message, code=reason.code, description=reason.description)
        if state.tokens is not None and state.tokens.refresh_token is None:
            return TokenExpiredError(_NO_OTHER, code="no_refresh_token")
        return TokenExpiredError(code="id_token_not_renewed")

    def _usable(self, error: AuthenticationError | None) -> str:
        """Return the access token if it has not expired; otherwise raise, with the reason in ``error``."""
        state = self._owner.state
        if state.tokens is None:
            raise login_required_error(state.ended_by or state.error)
        if time.time() < state.expiry:
            return state.tokens.access_token
        if error is None:
            raise TokenExpiredError("The access token has expired already. Try again in a moment.")
        retry_after = getattr(error, "retry_after", None)
        kind = TokenExchangeError if isinstance(error, TokenExchangeError) else TokenExpiredError
        raise kind(error.message, code=error.code, description=error.description, retry_after=retry_after)
