"""What each provider of the field does in its own way: the table ``tests/providers/quirks.toml``, read.

The table drives the lookalikes (:mod:`tests.support.quirky`), their tests (``tests/providers``) and the table for users
(``docs/providers/README.md``). In its texts, ``{client}`` is the client's ID, ``(absent)`` removes a member, and
``(now)`` and ``(now-3600)`` are epoch seconds: in ``claims`` of a provider those of the sign-in, elsewhere those of the
answer.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).parents[1] / "providers" / "quirks.toml"
_NOW = re.compile(r"\(now(?P<seconds>[+-]\d+)?\)")


@dataclass(frozen=True)
class Need:
    """Something that the client must send, and what becomes of a sign-in without it.

    Attributes:
        name: A parameter of the authorize URL.
        value: What it must be; of ``scope``, a word that must be in it.
        without: Members of the token answer that are otherwise if it is missing.
    """

    name: str
    value: str
    without: dict[str, Any]


@dataclass(frozen=True)
class Odd:
    """One odd input, and what is right.

    Attributes:
        what: The oddity in a few words, for the table.
        at: ``sign-in``, ``refresh`` or ``callback``: when it comes.
        right: ``accepted``, ``sign in again``, or the code of the error.
        says: A part of the error's description, or of its message.
        due_within: The next renewal must come within these seconds.
        callback: Parameters of the authorization response, in place of a code.
        answer: What the token endpoint answers: ``status``, ``body``.
    """

    what: str
    at: str
    right: str = "accepted"
    says: str = ""
    due_within: float | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    callback: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quirks:
    """One provider, as its documentation and its users' reports describe it.

    Attributes:
        key: Its name in the table, and of its page.
        name: Its name for people.
        run: How it was run.
        set: What a user must set, besides client and issuer.
        in_page: The key whose page it shares.
        like: The key of a provider whose entry this one completes.
        lookalike: What stands for it in the tests where data do not suffice; of the rest, only ``words`` is given.
        words: Cells of the table for users that are not made from the rest.
        issuer: The issuer; empty if it has none.
        endpoints: By the name in the metadata (``token_endpoint``), all that there are.
        unlisted: The endpoints that are not in the metadata.
        metadata_url: Where the metadata are; empty for the usual place below the issuer.
        metadata: Further metadata.
        redirect_uri: One that can be registered.
        client: How it authenticates: ``none``, ``client_secret_basic`` or ``client_secret_post``.
        names_itself: Whether the authorization response has ``iss`` (RFC 9207).
        code_length: How long its authorization codes are.
        lifetime: How long access tokens live, in seconds.
        token: Members of the token answer that are otherwise, or more.
        refreshes: Whether it gives refresh tokens.
        rotates: Whether each refresh gives a new one, and ends the old one.
        claims: Of the ID token.
        userinfo: Members of the UserInfo answer that are otherwise, or more.
        needs: What the client must send.
        dead: What the token endpoint answers to a refresh token that is dead: ``status``, ``body``.
        decline: What the browser brings when the user declines; empty if its page has no such button.
        revocation: What a sign-out gives for each kind of token.
        refuses: The answer to a revocation that is refused, by kind of token.
        odd: The odd inputs.
    """

    key: str
    name: str
    run: str
    set: str
    in_page: str = ""
    like: str = ""
    lookalike: str = ""
    words: dict[str, str] = field(default_factory=dict)
    issuer: str = ""
    endpoints: dict[str, str] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    metadata_url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    redirect_uri: str = "http://localhost:8888/pywry-auth/callback"
    client: str = "none"
    names_itself: bool = False
    code_length: int = 22
    lifetime: float = 3600
    token: dict[str, Any] = field(default_factory=dict)
    refreshes: bool = True
    rotates: bool = True
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    dead: dict[str, Any] = field(default_factory=lambda: {"status": 400, "body": {"error": "invalid_grant"}})
    decline: dict[str, str] = field(default_factory=lambda: {"error": "access_denied"})
    revocation: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    odd: tuple[Odd, ...] = ()

    @property
    def page(self) -> str:
        """The page for users, in ``docs/providers``."""
        return f"{self.in_page or self.key}.md"

    @cached_property
    def urls(self) -> dict[str, str]:
        """Every address of the provider, and what is there."""
        metadata = self.metadata_url or f"{self.issuer.removesuffix('/')}/.well-known/openid-configuration"
        return {url: name for name, url in self.endpoints.items()} | ({metadata: "metadata"} if self.issuer else {})

    @property
    def hosts(self) -> set[str]:
        """The hosts of these addresses, with the port where it is not 443."""
        return {urlsplit(url).netloc for url in self.urls}


def filled(value: Any, client: str, now: float) -> Any:
    """Return a value of the table with what its texts stand for; members that are ``(absent)`` become ``...``."""
    if isinstance(value, dict):
        return {name: filled(each, client, now) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, client, now) for each in value]
    if not isinstance(value, str):
        return value
    if value == "(absent)":
        return ...
    when = _NOW.fullmatch(value)
    return int(now) + int(when["seconds"] or 0) if when else value.replace("{client}", client)


def present(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are not ``...``."""
    return {name: value for name, value in members.items() if value is not ...}


def _read() -> dict[str, Quirks]:
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {key: _quirks(key, entry, table) for key, entry in table.items()}


def _quirks(key: str, entry: dict[str, Any], table: dict[str, Any]) -> Quirks:
    base = table.get(entry.get("like", ""), {})
    merged = {**base, **entry}
    lists = {
        "needs": tuple(Need(**need) for need in merged.get("needs", ())),
        "odd": tuple(Odd(**odd) for odd in (*base.get("odd", ()), *entry.get("odd", ()))),
        "unlisted": tuple(merged.get("unlisted", ())),
    }
    return Quirks(key, **merged | lists)


QUIRKS = _read()
#: Those whose lookalike is made of data alone.
OF_DATA = {key: quirks for key, quirks in QUIRKS.items() if not quirks.lookalike}
