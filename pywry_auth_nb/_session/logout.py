"""`LogoutResult`: the outcome of a sign-out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from ..providers.revocation import KEPT, NO_ENDPOINT, PUBLIC_CLIENT, REFUSED, REVOKED

NONE: Final = "none"
DELETED: Final = "deleted"
UNREADABLE: Final = "unreadable"
OFFERED: Final = "offered"

_BECAME = {
    REVOKED: "The provider has revoked {tokens}.",
    REFUSED: "The provider refused to revoke {tokens}.",
    NO_ENDPOINT: "The provider offers no way to revoke {tokens}.",
    PUBLIC_CLIENT: "The provider lets only clients with a secret revoke tokens, so it did not revoke {tokens}.",
    KEPT: "Signing out of the session that it was exchanged from revokes {tokens}.",
    UNREADABLE: "The stored record could not be read, so the provider was not asked to revoke {tokens}.",
}
_FAILED = "The request to revoke {tokens} failed ({outcome})."
_OTHERS = "The provider had sent further tokens for other APIs, which are not kept here and not revoked."
_REMAINS = (
    "What is not revoked stays valid until it expires: to end it sooner, remove this application's access in your "
    "account at the provider."
)
_AT_THE_PROVIDER = {
    NONE: "",
    OFFERED: "To sign out at the provider as well, open {url}",
    NO_ENDPOINT: "The provider has no address for signing out there: use its own pages.",
}
_NOT_LEARNED = "Where to sign out at the provider is not known ({outcome}): use its own pages."


@dataclass(frozen=True, repr=False)
class LogoutResult:
    """The outcome of a sign-out. Its text says what is left to do.

    Attributes:
        refresh_token: ``"revoked"``; ``"refused"`` (the provider said no); ``"no_endpoint"`` (it offers no revocation);
            ``"public_client"`` (it lets only clients with a secret revoke tokens); ``"kept"`` (it was exchanged for
            that of another session, whose sign-out revokes it); the error code of a failed request; ``"none"`` if
            there was no such token; or ``"unreadable"`` if the stored record could not be read.
        access_token: The same for the access token.
        store: ``"deleted"``, or the error code if the tokens could not be deleted and are still stored.
        other_tokens_left: Whether the provider had sent further tokens, as Globus does for other APIs. They are not
            kept here, so they are not revoked.
        end_session: Of ``logout(everywhere=True)``: ``"offered"`` if the user was shown where to sign out at the
            provider, ``"no_endpoint"`` if it has no such address, or the error code of a failed request; else
            ``"none"``.
        end_session_url: The address at which the user signs out at the provider; empty if there is none.
    """

    refresh_token: str = NONE
    access_token: str = NONE
    store: str = DELETED
    other_tokens_left: bool = False
    end_session: str = NONE
    end_session_url: str = ""

    @property
    def complete(self) -> bool:
        """Whether all tokens were deleted and revoked."""
        return self.store == DELETED and self._revoked and not self.other_tokens_left

    @property
    def _revoked(self) -> bool:
        return {self.refresh_token, self.access_token} <= {REVOKED, NONE}

    def __str__(self) -> str:
        end_session = _AT_THE_PROVIDER.get(self.end_session, _NOT_LEARNED)
        return " ".join(
            sentence
            for sentence in (
                "Signed out here.",
                "" if self.store == DELETED else f"The tokens are still stored ({self.store}): sign out once more.",
                *self._revocations(),
                _OTHERS if self.other_tokens_left else "",
                "" if self._revoked and not self.other_tokens_left else _REMAINS,
                end_session.format(url=self.end_session_url, outcome=self.end_session),
            )
            if sentence
        )

    def __repr__(self) -> str:
        return f"<LogoutResult: {self}>"

    def _revocations(self) -> list[str]:
        """Return a sentence for each thing that became of a token."""
        tokens = defaultdict(list)
        for name, outcome in (("access", self.access_token), ("refresh", self.refresh_token)):
            if outcome != NONE:
                tokens[outcome].append(name)
        return [
            _BECAME.get(outcome, _FAILED).format(outcome=outcome, tokens=_named(names))
            for outcome, names in tokens.items()
        ]


def _named(names: list[str]) -> str:
    return f"the {names[0]} token" if len(names) == 1 else "both tokens"
