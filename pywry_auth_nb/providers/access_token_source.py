"""`AccessTokenSource`: an access token that is provided from outside."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from .._io.loop import on_loop
from ..errors import TokenError
from ..tokens import OAuthTokenSet, Secret, jwt_claim
from .provided import Provided
from .refusals import as_refresh_error
from .revocation import NO_ENDPOINT
from .token_source import TokenSource

if TYPE_CHECKING:
    from os import PathLike

_LOOK_AGAIN = 60.0  # seconds after which a file is read again, as Kubernetes' own clients do
_MIN_LIFETIME = 2.0  # seconds that a token must still be valid to be returned
_IN_PLACE = Secret("it is in its place")  # stands for a refresh token: the token is read again instead


class AccessTokenSource(TokenSource):
    """Uses an access token that is provided from outside, without any interaction, and never sends it anywhere itself.

    Use it like a provider: ``SessionManager(AccessTokenSource(file="/var/run/secrets/egi.eu/access_token"))``. A file
    is read again every minute, when an API rejects the token, and when the token is about to expire. If the token is a
    JWT, its ``exp`` (RFC 7519 §4.1.4) tells when it expires; it is not verified.

    Args:
        access_token: The token. Read it from the environment, since cells are saved in the notebook.
        file: A file with the token and nothing else, at most 64 KiB, which something else keeps up to date: a platform,
            an agent, Kubernetes.
        label: What to call the source for display.

    Raises:
        ConfigurationError: Neither or both of the first two are given, or the token is not one.
    """

    #: The token has a place already, and is not kept in a second one.
    kept_in_store = False

    def __init__(self, access_token: str = "", *, file: str | PathLike[str] = "", label: str = "") -> None:
        access_token = Secret(access_token)
        self._provided = Provided("access_token", access_token, file)
        super().__init__("provided", label=label or "provided token")

    @property
    def identity(self) -> str:
        """Identifies the token or its file, so that the tokens of one are never used for another."""
        return json.dumps(["provided", self._provided.fingerprint])

    @on_loop
    async def acquire_token_silent(self) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Return the token as it is now; its owner is not known.

        Raises:
            TokenError: Code ``token_not_provided`` or ``provided_token_expired``.
        """
        return self._tokens(await self._provided.read_soon()), {}

    def _tokens(self, token: Secret) -> OAuthTokenSet:
        now, expiry = time.time(), jwt_claim(token, "exp")
        left = math.inf if expiry is None else expiry - now
        if left < _MIN_LIFETIME:
            raise TokenError(code="provided_token_expired", place=self._provided.place)
        lifetime = min(left, _LOOK_AGAIN) if self._provided.is_file else left
        return OAuthTokenSet(
            token,
            refresh_token=_IN_PLACE,
            expires_in=None if lifetime == math.inf else lifetime,
            issued_at=now,
        )

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:  # noqa: ARG002 - the token is read again
        """Return the token as it is now. The argument is not used.

        Raises:
            TokenRefreshError: As :meth:`acquire_token_silent`.
        """
        try:
            return self._tokens(await self._provided.read_soon())
        except TokenError as error:
            raise as_refresh_error(error) from None

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:  # noqa: ARG002 - for providers
        """Return nothing: no provider is known that could be asked."""
        return {}

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:  # noqa: ARG002 - it belongs to others
        """Revoke nothing: the token belongs to what provided it."""
        return {"access_token": NO_ENDPOINT}
