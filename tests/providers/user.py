"""`User`: who follows the page of a provider, and signs in there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pywry_auth_nb import AuthFlowManager, SessionManager
from tests.providers.recipes import cell_of
from tests.support.quirky import QuirkyIdp

if TYPE_CHECKING:
    from pywry_auth_nb import AuthFlowResult
    from tests.documents.wire import Internet
    from tests.support.quirks import Quirks


class User:
    """A user in front of a notebook with the cell of a provider's page, and at the provider's sign-in page.

    Attributes:
        op: The lookalike of the provider.
        session: The session that the cell has made.
    """

    def __init__(self, quirks: Quirks, internet: Internet) -> None:
        provider = internet.provider_at(min(quirks.hosts))
        assert isinstance(provider, QuirkyIdp)
        self.quirks, self.op = quirks, provider
        self.start_again()

    def start_again(self) -> None:
        """Run the cell in a new kernel, at a provider that is honest again."""
        cell: dict[str, Any] = {}
        exec(cell_of(self.quirks), cell)  # noqa: S102 - the page of this repository
        self.op.be_honest()
        self.session: SessionManager = cell["session"]

    def sign_in(self, **answer: str | None) -> AuthFlowResult:
        """Sign in; ``answer`` is what the browser brings back in place of a code."""
        flow = AuthFlowManager(self.session.provider, session_manager=self.session)

        async def go() -> AuthFlowResult:
            request = await flow.begin(self.quirks.redirect_uri)
            return await flow.complete(self.op.authorize(request.url, **answer))

        return asyncio.run(go())

    def decline(self, **answer: str) -> AuthFlowResult:
        """Sign in up to the provider's page, and come back with an error."""
        return self.sign_in(code=None, **answer)

    def refresh(self) -> None:
        """Renew the token now."""
        asyncio.run(self.session.refresh())

    @property
    def refresh_token(self) -> str | None:
        """The refresh token that the session has."""
        return self.tokens.refresh_token

    @property
    def tokens(self) -> Any:
        """The tokens that the session has."""
        return self.session._engine.state.tokens
