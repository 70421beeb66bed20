"""What a session is at one moment, as one immutable value; and the traits that show its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import traitlets as t

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import AuthenticationError
    from .tokens import OAuthTokenSet

_MARGIN = 1.0  # expires_in is in whole seconds, so up to one of them may be gone already


@dataclass(frozen=True, repr=False)
class Snapshot:
    """One moment of a session.

    Attributes:
        tokens: The tokens, or None when nobody is signed in.
        user: Claims about who is signed in.
        error: Why the last thing tried did not work; None after a success.
        authorizing: A sign-in is open in a browser.
        refreshing: A refresh is under way.
        ended: The sign-in cannot be renewed any more; the access token may still have some life.
    """

    tokens: OAuthTokenSet | None = None
    user: dict[str, Any] | None = None
    error: AuthenticationError | None = None
    authorizing: bool = False
    refreshing: bool = False
    ended: bool = False

    @property
    def status(self) -> str:
        """One word for all of it."""
        if self.authorizing:
            return "authorizing"
        if self.ended:
            return "reauth_required"
        if self.tokens is None:
            return "signed_out"
        return "refreshing" if self.refreshing else "signed_in"

    def due(self, buffer: float) -> float:
        """Epoch seconds from which the access token should be renewed before it is used.

        That is ``buffer`` seconds before its end, but at most a fifth of its life, so that short tokens do not cause a
        refresh storm; and the last moment where renewing is impossible.
        """
        if self.tokens is None or self.tokens.expires_at is None or self.tokens.expires_in is None:
            return math.inf
        life = self.tokens.expires_in
        if self.ended or self.tokens.refresh_token is None:
            return self.over
        return max(self.tokens.expires_at - min(buffer, max(_MARGIN, life / 5)), self.tokens.issued_at + life / 4)

    @property
    def over(self) -> float:
        """Epoch seconds from which the access token must not be handed out any more."""
        if self.tokens is None or self.tokens.expires_at is None or self.tokens.expires_in is None:
            return math.inf
        return self.tokens.expires_at - min(_MARGIN, self.tokens.expires_in / 5)


class View(t.TraitType[Any, Any]):
    """A read-only trait computed from its owner, so that it is right at once on every thread.

    Observers hear of a change from :func:`announce`; the value itself is never stored twice.
    """

    def __init__(self, read: Callable[[Any], Any], help: str) -> None:  # noqa: A002 - traitlets' name
        super().__init__(None, allow_none=True, read_only=True, help=help)
        self._read = read

    def get(self, obj: t.HasTraits, cls: type[Any] | None = None) -> Any:  # noqa: ARG002
        """Return what the owner shows now."""
        return self._read(obj)


def announce(owner: t.HasTraits, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Tell the observers of ``owner`` which of its views changed."""
    for name, new in after.items():
        if new != before[name]:
            owner.notify_change(t.Bunch(name=name, old=before[name], new=new, owner=owner, type="change"))
