"""Records: they come out of the bytes that they went into, and nothing but a clear error out of any others."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.errors import TokenStoreError
from pywry_auth_nb.token_store import Record
from pywry_auth_nb.token_store.codec import Codec, make_encryption_key
from tests.support.cases import case

if TYPE_CHECKING:
    from pathlib import Path

NAME = "file:default"
KEYS = (make_encryption_key(), make_encryption_key())
PLAIN, ENCRYPTED = Codec(), Codec(KEYS[0])
TOKENS = OAuthTokenSet("CANARY-at", refresh_token="CANARY-rt", expires_in=60, issued_at=1_000_000.5)
SMALL = Record(generation=8, sign_in=7, tokens=TOKENS, user={"sub": "ada"})
RECORD = json.loads(PLAIN.encode(SMALL, NAME))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def code_of(codec: Codec, record: bytes, name: str = NAME) -> str:
    """Return the code of the error, or ``record``; any other error fails the test."""
    try:
        decoded = codec.decode(record, name)
    except TokenStoreError as caught:
        error = caught
    else:
        assert decoded.problem is None
        assert 0 < decoded.generation < 2**53
        return "record"
    assert "CANARY" not in "".join(traceback.format_exception(error))
    return error.code


def written(**changes: Any) -> bytes:
    """Return a plain record with some of its members changed by a writer, whose checksum is right."""
    members = {name: value for name, value in (RECORD | changes).items() if name != "sha256"}
    body = json.dumps({name: value for name, value in members.items() if name != "v"}, separators=(",", ":")).encode()
    return json.dumps({**members, "sha256": hashlib.sha256(body).hexdigest()}).encode()


def record(**changes: Any) -> bytes:
    """Return a plain record with some of its tokens' members changed."""
    return written(tokens=RECORD["tokens"] | changes)


def test_what_the_tests_write_is_read() -> None:
    """A record that is written here without a change is sound, or the tests below would show nothing."""
    assert PLAIN.decode(record(), NAME) == PLAIN.decode(PLAIN.encode(SMALL, NAME), NAME)


def test_secrets_are_stored_once(tokens: OAuthTokenSet) -> None:
    """B18: A record is compact ASCII and holds no second copy of a token."""
    twice = OAuthTokenSet("CANARY-at", refresh_token="CANARY-rt", raw={"access_token": "CANARY-at", "é": "ü"})

    plain = PLAIN.encode(Record(1, 1, twice, {"name": "Ünï"}), NAME)

    assert plain.count(b"CANARY-at") == plain.count(b"CANARY-rt") == 1
    assert plain.isascii()
    assert len(PLAIN.encode(Record(1, 1, tokens), NAME)) < 4250


def test_the_beginning_tells_two_records_apart() -> None:
    """A look at 128 bytes sees every change: of the generation in plain text, of the nonce in an encrypted record."""
    one, other = Record(2**53 - 2, 2**53 - 2, TOKENS), Record(2**53 - 1, 2**53 - 2, TOKENS)

    for codec in (PLAIN, ENCRYPTED):
        assert codec.encode(one, NAME)[:128] != codec.encode(other, NAME)[:128]


@pytest.mark.parametrize("codec", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "record",
    [SMALL, SMALL.renewed(OAuthTokenSet("CANARY-2")), SMALL.as_ended(), SMALL.signed_out(), Record(1, 1, TOKENS)],
    ids=["sign-in", "refresh", "ended", "sign-out", "no claims"],
)
def test_every_kind_of_record(codec: Codec, record: Record) -> None:
    """What a session may do to a record comes back as it was."""
    assert codec.decode(codec.encode(record, NAME), NAME) == record


def test_a_sign_out_keeps_no_secret() -> None:
    """Neither a token nor anything about the person is left in its record."""
    assert b"CANARY" not in PLAIN.encode(SMALL.signed_out(), NAME)
    assert b'"ada"' in PLAIN.encode(SMALL, NAME)
    assert b'"ada"' not in PLAIN.encode(SMALL.signed_out(), NAME)
    assert b"CANARY-rt" not in PLAIN.encode(SMALL.as_ended(), NAME)


def test_an_encrypted_record_shows_nothing() -> None:
    """It has a version, a key's name, a nonce of its own each time, and ciphertext."""
    records = [json.loads(ENCRYPTED.encode(SMALL, NAME)) for _ in range(2)]

    assert sorted(records[0]) == ["data", "kid", "nonce", "v"]
    assert records[0]["nonce"] != records[1]["nonce"]
    assert len(base64.urlsafe_b64decode(records[0]["nonce"])) == 12
    assert b"CANARY" not in base64.urlsafe_b64decode(records[0]["data"])


@given(st.binary(max_size=300))
def test_any_bytes(junk: bytes) -> None:
    """R25: Whatever lies in the store, it gives tokens or our error."""
    assert code_of(PLAIN, junk) == code_of(ENCRYPTED, junk) == "store_unreadable"


@given(json_values)
def test_any_json(value: Any) -> None:
    """R25: JSON of any shape, also inside a good envelope, gives tokens or our error."""
    for document in (value, RECORD | {"v": value}, json.loads(written(tokens=value))):
        text = json.dumps(document).encode()
        assert code_of(PLAIN, text) in {"record", "store_unreadable", "store_version"}
        assert code_of(ENCRYPTED, text) in {"store_unreadable", "store_version"}


@given(st.sampled_from(sorted(RECORD["tokens"])), json_values)
def test_tokens_members_of_any_type(member: str, value: Any) -> None:
    """A15: A member of any type gives usable tokens or our error: no surprise later, when they are used."""
    text = record(**{member: value})
    if code_of(PLAIN, text) == "record":
        loaded = PLAIN.decode(text, NAME)
        assert loaded.tokens is not None
        assert isinstance(loaded.tokens.is_expired, bool)
        assert PLAIN.decode(PLAIN.encode(loaded, NAME), NAME) == loaded


@given(st.sampled_from(sorted(RECORD)), json_values)
def test_members_of_any_type(member: str, value: Any) -> None:
    """A15: The same for the members beside the tokens."""
    text = written(**{member: value})
    if code_of(PLAIN, text) == "record":
        loaded = PLAIN.decode(text, NAME)
        assert loaded.signed_out().generation > loaded.generation
        assert PLAIN.decode(PLAIN.encode(loaded, NAME), NAME) == loaded


WRONG_TYPES: list[dict[str, Any]] = [
    {"access_token": ""},
    {"access_token": None},
    {"token_type": None},
    {"expires_in": "3600"},
    {"expires_in": True},
    {"expires_in": float("inf")},
    {"expires_in": float("nan")},
    {"expires_in": 10**400},
    {"issued_at": None},
    {"refresh_token": 1},
    {"scope": None},
    {"raw": []},
]


def test_wrong_types() -> None:
    """A15: Types are those that were written; nothing is converted."""
    for changes in WRONG_TYPES:
        with case(changes):
            assert code_of(PLAIN, record(**changes)) == "store_unreadable"


WRONG_BESIDE: list[dict[str, Any]] = [
    {"generation": 0},
    {"generation": -1},
    {"generation": 2**53},
    {"generation": 1.0},
    {"generation": True},
    {"generation": "8"},
    {"generation": None},
    {"sign_in": 0},
    {"sign_in": None},
    {"ended": 0},
    {"ended": None},
    {"user": []},
    {"user": "ada"},
    {"tokens": []},
    {"v": True},
    {"v": 0},
    {"v": -1},
    {"v": 2.0},
    {"v": "2"},
    {"v": None},
]


def test_wrong_types_beside_the_tokens() -> None:
    """A15: Other members are not converted either; an invalid place in the order must not win over all others."""
    for changes in WRONG_BESIDE:
        with case(changes):
            assert code_of(PLAIN, written(**changes)) == "store_unreadable"


def test_deep_nesting() -> None:
    """JSON that is nested deeper than Python's stack is damage like any other."""
    assert code_of(PLAIN, b'{"v":2,"tokens":' + b"[" * 100_000) == "store_unreadable"


@pytest.mark.parametrize("codec", [PLAIN, ENCRYPTED])
@pytest.mark.parametrize("lifetime", [None, 0, 1800.5])
def test_the_lifetime_of_a_refresh_token_and_other_tokens_are_kept(codec: Codec, lifetime: float | None) -> None:
    """H243, H246: both survive a restart, though not everything that the provider said of them does."""
    tokens = replace(TOKENS, refresh_expires_in=lifetime, has_other_tokens=True)
    read = codec.decode(codec.encode(replace(SMALL, tokens=tokens), NAME), NAME).tokens

    assert read is not None
    assert (read.refresh_expires_in, read.has_other_tokens) == (lifetime, True)


def test_a_record_of_an_earlier_version() -> None:
    """H243: it has the lifetime of its refresh token in ``raw`` alone, and says nothing of other tokens."""
    members = {**RECORD["tokens"], "raw": {"refresh_expires_in": 1800}}
    earlier = {name: value for name, value in members.items() if name not in {"refresh_expires_in", "has_other_tokens"}}
    read = PLAIN.decode(written(tokens=earlier), NAME).tokens

    assert read is not None
    assert (read.refresh_expires_in, read.has_other_tokens) == (1800, False)


def test_members_of_a_later_version() -> None:
    """What a later release adds to a record of this version does no harm; a later version is refused with advice."""
    later = written(later=7)
    assert code_of(PLAIN, later) == "record"
    changed = json.dumps(json.loads(later) | {"later": 8}).encode()
    assert code_of(PLAIN, changed) == "store_unreadable", "not what was written"
    for version in (3, 99, 10**400):
        for codec in (PLAIN, ENCRYPTED):
            with pytest.raises(TokenStoreError, match="newer version") as caught:
                codec.decode(json.dumps(RECORD | {"v": version}).encode(), NAME)
            assert caught.value.code == "store_version"


@given(st.data())
def test_tampering(data: st.DataObject) -> None:
    """R25: No changed bit of an encrypted record goes unnoticed, nor does a missing end."""
    good = bytearray(ENCRYPTED.encode(SMALL, NAME))
    envelope = json.loads(good)
    member = data.draw(st.sampled_from(["nonce", "data"]))
    raw = bytearray(base64.urlsafe_b64decode(envelope[member]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    envelope[member] = base64.urlsafe_b64encode(raw).decode()

    assert code_of(ENCRYPTED, json.dumps(envelope).encode()) == "store_unreadable"
    assert code_of(ENCRYPTED, bytes(good[: data.draw(st.integers(0, len(good) - 1))])) == "store_unreadable"


def test_a_moved_record() -> None:
    """A record that is copied under another user's name does not open there."""
    mine = ENCRYPTED.encode(SMALL, "ada:oauth:tokens:default")

    assert code_of(ENCRYPTED, mine, "ada:oauth:tokens:default") == "record"
    assert code_of(ENCRYPTED, mine, "bob:oauth:tokens:default") == "store_unreadable"


def test_no_downgrade() -> None:
    """With a key configured, plain text is refused: an attacker with access to the store must not choose the tokens."""
    both = json.dumps(RECORD | json.loads(ENCRYPTED.encode(SMALL, NAME)) | {"data": ""}).encode()

    assert code_of(ENCRYPTED, PLAIN.encode(SMALL, NAME)) == "store_unreadable"
    assert code_of(ENCRYPTED, both) == "store_unreadable"


def test_rotation() -> None:
    """The first key encrypts, all decrypt, and a key that was dropped is missed by name."""
    old, rotated, new = Codec(KEYS[0]), Codec(f"{KEYS[1]},{KEYS[0]}"), Codec(f"\n{KEYS[1]}\n")

    assert rotated.decode(old.encode(SMALL, NAME), NAME) == SMALL
    assert new.decode(rotated.encode(SMALL, NAME), NAME) == SMALL
    assert code_of(new, old.encode(SMALL, NAME)) == "store_key"
    assert code_of(PLAIN, old.encode(SMALL, NAME)) == "store_key"


NO_KEYS: dict[str, str] = {
    "empty": "",
    "comma": " , ",
    "short": "CANARY",
    "cut": KEYS[0][:-4],
    "long": KEYS[0] + "AAAA",
    "one of two": f"{KEYS[0]},CANARY",
    "umlauts": "é" * 44,
    "padding": "=" * 44,
    "standard": "+/" * 22,
}


def test_an_invalid_key() -> None:
    """An invalid key is refused with how to make one, and is not repeated."""
    for name, key in NO_KEYS.items():
        with case(name):
            with pytest.raises(TokenStoreError, match="make_encryption_key") as caught:
                Codec(key)

            assert caught.value.code == "store_key"
            assert "CANARY" not in str(caught.value)


def test_where_keys_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, then the variable, then the file that the other variable names."""
    (tmp_path / "keys").write_text(KEYS[1] + "\n")
    monkeypatch.setenv("PYWRY_AUTH_ENCRYPTION_KEY_FILE", str(tmp_path / "keys"))
    from_file = Codec()
    monkeypatch.setenv("PYWRY_AUTH_ENCRYPTION_KEY", KEYS[0])

    assert from_file.decode(Codec(KEYS[1]).encode(SMALL, NAME), NAME) == SMALL
    assert code_of(Codec(), ENCRYPTED.encode(SMALL, NAME)) == "record"
    assert code_of(Codec(KEYS[1]), ENCRYPTED.encode(SMALL, NAME)) == "store_key"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_no_key_where_one_is_named(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing or empty does not mean "store plain text"; nor does an empty variable."""
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    monkeypatch.setenv("PYWRY_AUTH_ENCRYPTION_KEY_FILE", str(tmp_path / "keys"))
    with pytest.raises(TokenStoreError) as from_file:
        Codec()
    monkeypatch.setenv("PYWRY_AUTH_ENCRYPTION_KEY", "")
    with pytest.raises(TokenStoreError) as from_variable:
        Codec()

    assert from_file.value.code == from_variable.value.code == "store_key"


NO_JSON: list[dict[str, Any]] = [{"x": object()}, {"x": float("nan")}, {"x": b"CANARY"}]


def test_what_json_cannot_hold() -> None:
    """Tokens whose extra members JSON cannot hold are refused before anything is written."""
    for raw in NO_JSON:
        with case(raw):
            for strange in (
                Record(1, 1, OAuthTokenSet("CANARY", raw=raw)),
                Record(1, 1, OAuthTokenSet("CANARY"), user=raw),
            ):
                with pytest.raises(TokenStoreError, match="JSON cannot") as caught:
                    PLAIN.encode(strange, NAME)
                assert caught.value.code == "store_value"


def test_nothing_shows_the_key() -> None:
    """Not the codec's repr, either."""
    key = base64.urlsafe_b64encode(b"CANARY" + os.urandom(26)).decode()

    assert repr(Codec(key)) == "<Codec, encrypted>"
    assert repr(Codec()) == "<Codec, plain text>"
