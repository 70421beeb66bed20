"""`TokenSource`: a provider whose tokens come without a user who signs in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

from .._io.loop import on_loop
from ..errors import TokenError
from .base import OAuthProvider

if TYPE_CHECKING:
    from collections.abc import Collection

    from .._wire.error_codes import ErrorCode
    from ..pkce import PKCEChallenge
    from ..tokens import OAuthTokenSet
    from .scopes import Scopes


class TokenSource(OAuthProvider):
    """Provides tokens without interaction; use it like a provider. Subclasses define :meth:`acquire_token_silent`."""

    interactive = False
    #: Code of the error if a sign-in in a browser is begun all the same.
    refusal: ClassVar[ErrorCode] = "token_provided"

    @property
    def exchanger(self) -> OAuthProvider | None:
        """None: no provider is known."""
        return None

    def build_authorize_url(
        self,
        redirect_uri: str,  # noqa: ARG002 - as all of these
        state: str,  # noqa: ARG002
        pkce: PKCEChallenge | None = None,  # noqa: ARG002
        extra_params: dict[str, str] | None = None,  # noqa: ARG002
    ) -> str:
        """Refuse: there is no page at which to sign in.

        Raises:
            TokenError: Always.
        """
        raise TokenError(code=self.refusal)

    async def exchange_code(
        self,
        code: str,  # noqa: ARG002 - as all of these
        redirect_uri: str,  # noqa: ARG002
        pkce_verifier: str | None = None,  # noqa: ARG002
        nonce: str | None = None,  # noqa: ARG002
    ) -> OAuthTokenSet:
        """Refuse: there is no authorization code.

        Raises:
            TokenError: Always.
        """
        raise TokenError(code=self.refusal)

    def __reduce__(self) -> NoReturn:
        raise TypeError("This holds a secret, so it cannot be pickled or copied. Create a new one there.")


class ProviderTokenSource(TokenSource):
    """A source that asks a provider's token endpoint, as the client that is registered there.

    Args:
        provider: The provider, with its client.
        scopes: Scopes to request; those of ``provider`` when left out.
    """

    def __init__(self, provider: OAuthProvider, scopes: Scopes | None = None) -> None:
        self._provider = provider
        super().__init__(provider.client_id, scopes=provider.scopes if scopes is None else scopes)
        self.client_secret = provider.client_secret

    @property
    def exchanger(self) -> OAuthProvider | None:
        """The provider."""
        return self._provider

    @property
    def label(self) -> str:
        """Name of the provider for display."""
        return self._provider.label

    def scope_name(self, scope: str) -> str:
        """Return the full name of a scope; see :meth:`OAuthProvider.scope_name`."""
        return self._provider.scope_name(scope)

    def covers(self, granted: Collection[str], scope: str) -> bool:
        """Whether ``scope`` is among the ``granted`` ones; see :meth:`OAuthProvider.covers`."""
        return self._provider.covers(granted, scope)

    @on_loop
    async def prepare(self) -> None:
        """Discover the provider's endpoints.

        Raises:
            TokenError: Discovery failed, or the provider's metadata was refused.
        """
        await self._provider.prepare()

    @on_loop
    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._provider.close()

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:
        """Revoke the tokens at the provider; see :meth:`OAuthProvider.revoke_tokens`."""
        return await self._provider.revoke_tokens(tokens)

    async def discard_tokens(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that will not be used; see :meth:`OAuthProvider.discard_tokens`."""
        await self._provider.discard_tokens(tokens)
