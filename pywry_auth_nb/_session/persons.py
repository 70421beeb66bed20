"""`Person`: who a sign-in belongs to, as far as the claims about its user say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Claims that identify a user for good: that of OpenID Connect, and that of GitHub and other providers without it.
_IDENTIFIERS = ("sub", "id")


class Person(NamedTuple):
    """A user of one provider.

    Attributes:
        claim: The name of the claim that identifies the user.
        subject: Its value.
        issuer: Who issued it, without ``https://``, since Google writes its issuer in both ways; empty if unknown.
    """

    claim: str
    subject: str
    issuer: str

    @classmethod
    def of(cls, user: Mapping[str, Any] | None) -> Person | None:
        """Return the person that claims are about; None if they do not say."""
        claims = user or {}
        issuer = str(claims.get("iss") or "").removeprefix("https://")
        known = (name for name in _IDENTIFIERS if claims.get(name) not in (None, ""))
        return next((cls(name, str(claims[name]), issuer) for name in known), None)


def are_different(one: Person | None, other: Person | None) -> bool:
    """Whether these are certainly two people. If one of them is unknown, they may be the same."""
    if one is None or other is None or one.claim != other.claim:
        return False
    return one.subject != other.subject or bool(one.issuer and other.issuer and one.issuer != other.issuer)
