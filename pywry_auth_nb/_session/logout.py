"""`LogoutResult`: what became of a session that was ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..providers.base import REVOKED


@dataclass(frozen=True)
class LogoutResult:
    """What became of a session that was ended. A cell that ends with ``await session.logout()`` shows it.

    Attributes:
        refresh_token: ``"revoked"``, ``"not_revoked"`` (the provider refused, or offers no revocation), the code of
            what went wrong while asking it, ``"none"`` when there was no such token, or ``"unreadable"`` when the
            store could not say.
        access_token: The same for the access token.
        store: ``"deleted"``, or the code of what went wrong while deleting: then the tokens are still stored.
    """

    refresh_token: str = "none"  # noqa: S105 - an outcome
    access_token: str = "none"  # noqa: S105 - an outcome
    store: str = "deleted"

    @property
    def complete(self) -> bool:
        """Whether nothing of the session is left, here or at the provider."""
        return self.store == "deleted" and {self.refresh_token, self.access_token} <= {REVOKED, "none"}
