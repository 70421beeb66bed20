"""Writes the table for users from the table of quirks.

``python -m tests.providers.overview > docs/providers/README.md``
"""

from __future__ import annotations

from tests.support.quirks import QUIRKS, Quirks

_HEAD = """\
# Providers

Each page says what to register, and has a cell to paste. The table is made from what the tests run (`tests/providers`):
a sign-in set up as the page says, two refreshes, each odd input with its right outcome, a dead refresh token, a user
who declines, and a sign-out. A row that names a file of tests is written by hand instead; that file is what was run.

A *lookalike* is a server of the tests that answers as the provider's documentation and reports of its users say. It is
not the provider, and where those are wrong or old, so is the lookalike. For any other provider, see
[OpenID Connect](oidc.md).

"""
_COLUMNS = (
    "provider",
    "sign-in",
    "refresh",
    "odd inputs tried",
    "sign-out: revoked",
    "signs out there",
    "what to set besides client and issuer",
    "how it was run",
)
_CLIENTS = {
    "none": "public client, PKCE",
    "client_secret_basic": "client with a secret, sent in the header",
    "client_secret_post": "client with a secret, sent in the body",
}


def overview() -> str:
    """Return the document."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, sorted(QUIRKS.values(), key=_by_name))]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _by_name(quirks: Quirks) -> str:
    return quirks.name.removeprefix("a ").lower()


def _row(quirks: Quirks) -> tuple[str, ...]:
    words = quirks.words or {
        "sign_in": _CLIENTS[quirks.client],
        "refresh": _refresh(quirks),
        "odd": _odd(quirks),
        "revocation": _revocation(quirks),
        "page": "by a link" if "end_session_endpoint" in quirks.endpoints else "no",
    }
    cells = (words[name] for name in ("sign_in", "refresh", "odd", "revocation", "page"))
    return (f"[{quirks.name}]({quirks.page})", *cells, quirks.set, quirks.run)


def _refresh(quirks: Quirks) -> str:
    if not quirks.refreshes:
        return "no refresh token"
    return "a new refresh token each time" if quirks.rotates else "the same refresh token"


def _odd(quirks: Quirks) -> str:
    like = QUIRKS.get(quirks.like)
    own = quirks.odd[len(like.odd) :] if like else quirks.odd
    return "; ".join([f"all of {like.name}'s", *(odd.what for odd in own)] if like else [odd.what for odd in own])


def _revocation(quirks: Quirks) -> str:
    outcomes = quirks.revocation
    if "no_endpoint" in outcomes.values():
        return "nothing, no endpoint"
    if set(outcomes.values()) == {"revoked"}:
        return "both tokens"
    return ", ".join(f"{kind.replace('_', ' ')} {became}" for kind, became in outcomes.items())


if __name__ == "__main__":
    print(overview(), end="")  # noqa: T201 - what the command is for
