"""`Holder`: the tokens of one person, read for other programs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from .._session.persons import are_different
from ..errors import LoginRequired, TokenError, TokenExpiredError
from ..tokens import Secret, jwt_claim

if TYPE_CHECKING:
    from .._session.engine import SessionEngine

TokenKind = Literal["access_token", "id_token"]

_PAUSE = 30.0  # seconds between two refreshes for an ID token: the provider may give no new ones
_MARGIN = 5.0  # seconds before its end when an ID token is not given out any more, but for one that lives shorter


class Holder:
    """Reads the tokens of the person who is signed in now. A session may become another person's later.

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
        token = await (fresh_id_token(self.engine) if kind == "id_token" else self.engine.get_access_token())
        self._check()
        return Secret(token)

    def fresh_until(self, kind: TokenKind) -> float:
        """Return the epoch seconds until which the token that was read last need not be read again."""
        return _id_token_until(_id_token(self.engine)) if kind == "id_token" else self.engine.fresh[2]

    async def instead_of(self, refused: str) -> Secret | None:
        """Return another access token in place of one that an API rejected, or None."""
        token = await self.engine.refresh_rejected(refused)
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


async def fresh_id_token(engine: SessionEngine) -> str:
    """Return an ID token that is valid now, renewed if the provider gives new ones with a refresh.

    Raises:
        LoginRequired: The session is signed out.
        TokenError: Code ``id_token_missing``.
        TokenExpiredError: Code ``id_token_exp``: only a new sign-in brings another one.
    """
    await engine.get_access_token()
    if _expired(engine) and engine.state.tokens and time.time() - engine.state.tokens.issued_at > _PAUSE:
        await engine.refresh()
    if _expired(engine):
        raise TokenExpiredError(
            "The ID token has expired, and the provider gives a new one only with a new sign-in.", code="id_token_exp"
        )
    return _id_token(engine)


def _id_token(engine: SessionEngine) -> str:
    tokens = engine.state.tokens
    if tokens is None or tokens.id_token is None:
        raise TokenError(code="id_token_missing")
    return tokens.id_token


def _expired(engine: SessionEngine) -> bool:
    return time.time() >= _id_token_until(_id_token(engine))


def _id_token_until(token: str) -> float:
    """Return the epoch seconds until which an ID token is given out."""
    end, begin = jwt_claim(token, "exp") or 0.0, jwt_claim(token, "iat") or 0.0
    return end - min(_MARGIN, max(end - begin, 0.0) / 5)
