"""`Holder`: the tokens of one person, read for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .._session.persons import are_different
from ..errors import LoginRequired
from ..tokens import Secret
from .link import fingerprint

if TYPE_CHECKING:
    from .._session.engine import SessionEngine

TokenKind = Literal["access_token", "id_token"]


class Holder:
    """Reads the tokens of the person who is signed in at the first read. A session may become another person's later.

    Args:
        engine: The engine of the session.
    """

    def __init__(self, engine: SessionEngine) -> None:
        self.engine = engine
        self._person = engine.state.person

    @property
    def gone(self) -> bool:
        """Whether that person has signed out, or another one has signed in."""
        state = self.engine.state
        return (state.tokens is None and not state.ended) or are_different(self._person, state.person)

    async def read(self, kind: TokenKind) -> Secret:
        """Return a token that is valid now.

        Raises:
            LoginRequired: The session is signed out.
            TokenError: There is no such token now; ``code`` says why.
        """
        token = await (self.engine.get_id_token() if kind == "id_token" else self.engine.get_access_token())
        self._check()
        return Secret(token)

    def fresh_until(self, kind: TokenKind) -> float:
        """Return the epoch seconds until which the token that was read last need not be read again."""
        return self.engine.fresh_id_token[1] if kind == "id_token" else self.engine.fresh[2]

    async def instead_of(self, refused: str) -> Secret | None:
        """Return another access token in place of one that an API rejected, by its fingerprint; or None."""
        state = self.engine.state
        known = (*state.predecessors, *([] if state.tokens is None else [state.tokens.access_token]))
        rejected = next((token for token in known if fingerprint(token) == refused), None)
        token = None if rejected is None else await self.engine.refresh_rejected(rejected)
        self._check()
        return None if token is None else Secret(token)

    @property
    def expires_at(self) -> float | None:
        """Epoch seconds when the current access token expires; None if that is not known."""
        tokens = self.engine.state.tokens
        return None if tokens is None else tokens.expires_at

    def _check(self) -> None:
        if self.gone:
            raise LoginRequired("The session has been signed out, or is another user's now.", code="identity_changed")
        self._person = self._person or self.engine.state.person  # the store may not have been read before
