"""`LogoutResult`: the outcome of a sign-out."""

from __future__ import annotations

from dataclasses import dataclass

from ..providers.base import REVOKED


@dataclass(frozen=True)
class LogoutResult:
    """The outcome of a sign-out: what became of each token.

    Attributes:
        refresh_token: ``"revoked"``, ``"not_revoked"`` (the provider refused, or offers no revocation), the error
            code of a failed request, ``"none"`` if there was no such token, or ``"unreadable"`` if the stored record
            could not be read.
        access_token: The same for the access token.
        store: ``"deleted"``, or the error code if the tokens could not be deleted and are still stored.
    """

    refresh_token: str = "none"  # noqa: S105 - an outcome
    access_token: str = "none"  # noqa: S105 - an outcome
    store: str = "deleted"

    @property
    def complete(self) -> bool:
        """Whether all tokens were deleted and revoked."""
        return self.store == "deleted" and {self.refresh_token, self.access_token} <= {REVOKED, "none"}
