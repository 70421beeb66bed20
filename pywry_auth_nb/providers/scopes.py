"""Scopes (RFC 6749 §3.3): as a person writes them, and as a provider answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from .._io.values import read_scopes
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..tokens import OAuthTokenSet

#: Scopes: separated by spaces, or a list, tuple or set.
Scopes = str | Collection[str]


def read(scopes: Any) -> list[str]:
    """Return scopes as a list.

    Raises:
        ConfigurationError: They are neither text nor a list, tuple or set of text.
    """
    try:
        return read_scopes(scopes)
    except ValueError:
        kind = type(scopes).__name__
    raise ConfigurationError(
        f"scopes must be text separated by spaces, or a list of text, and not a {kind}: scopes='openid profile'."
    )


def words(scope: str) -> tuple[str, ...]:
    """Return the scopes in a response, where some providers put commas in between (LinkedIn, GitHub)."""
    return tuple(dict.fromkeys(scope.replace(",", " ").split()))


def granted(tokens: OAuthTokenSet) -> tuple[str, ...]:
    """Return what the tokens show to be granted.

    Not every response names ``openid`` and ``offline_access``: an ID token and a refresh token stand for them, too.
    """
    shown = (("openid", tokens.id_token), ("offline_access", tokens.refresh_token))
    return (*words(tokens.scope), *(scope for scope, token in shown if token))


def union(*lists: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes of all lists, each once."""
    return tuple(dict.fromkeys(scope for scopes in lists for scope in scopes))
