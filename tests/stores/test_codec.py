"""Records: tokens come out of the bytes that they went into, and nothing but a clear error out of any others."""

from __future__ import annotations

import base64
import json
import os
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.errors import TokenStoreError
from pywry_auth_nb.token_store.codec import Codec, make_encryption_key

if TYPE_CHECKING:
    from pathlib import Path

NAME = "file:default"
KEYS = (make_encryption_key(), make_encryption_key())
PLAIN, ENCRYPTED = Codec(), Codec(KEYS[0])
SMALL = OAuthTokenSet("CANARY-at", refresh_token="CANARY-rt", expires_in=60, issued_at=1_000_000.5)
RECORD = json.loads(PLAIN.encode(SMALL, NAME))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def code_of(codec: Codec, record: bytes, name: str = NAME) -> str:
    """Return the code of the error, or ``tokens``; any other error fails the test."""
    try:
        codec.decode(record, name)
    except TokenStoreError as caught:
        error = caught
    else:
        return "tokens"
    assert "CANARY" not in "".join(traceback.format_exception(error))
    return error.code


def record(**changes: Any) -> bytes:
    """Return a plain record with some of its tokens' members changed."""
    return json.dumps(RECORD | {"tokens": RECORD["tokens"] | changes}).encode()


def test_secrets_are_stored_once(tokens: OAuthTokenSet) -> None:
    """B18: A record is compact ASCII and holds no second copy of a token."""
    twice = OAuthTokenSet("CANARY-at", refresh_token="CANARY-rt", raw={"access_token": "CANARY-at", "é": "ü"})

    plain = PLAIN.encode(twice, NAME)

    assert plain.count(b"CANARY-at") == plain.count(b"CANARY-rt") == 1
    assert plain.isascii()
    assert plain.startswith(b'{"v":1,"tokens":{')
    assert len(PLAIN.encode(tokens, NAME)) < 4200


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
    for document in (value, {"v": 1, "tokens": value}, {"v": value, "tokens": RECORD["tokens"]}):
        text = json.dumps(document).encode()
        assert code_of(PLAIN, text) in {"tokens", "store_unreadable"}
        assert code_of(ENCRYPTED, text) == "store_unreadable"


@given(st.sampled_from(sorted(RECORD["tokens"])), json_values)
def test_members_of_any_type(member: str, value: Any) -> None:
    """A15: A member of any type gives usable tokens or our error: no surprise later, when they are used."""
    text = record(**{member: value})
    if code_of(PLAIN, text) == "tokens":
        loaded = PLAIN.decode(text, NAME)
        assert isinstance(loaded.is_expired, bool)
        assert PLAIN.decode(PLAIN.encode(loaded, NAME), NAME) == loaded


@pytest.mark.parametrize(
    "changes",
    [
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
    ],
)
def test_wrong_types(changes: dict[str, Any]) -> None:
    """A15: Types are those that were written; nothing is converted."""
    assert code_of(PLAIN, record(**changes)) == "store_unreadable"


def test_deep_nesting() -> None:
    """JSON that is nested deeper than Python's stack is damage like any other."""
    assert code_of(PLAIN, b'{"v":1,"tokens":' + b"[" * 100_000) == "store_unreadable"


def test_members_of_a_later_version() -> None:
    """What a later release adds to a record of this version does no harm; a later version is refused with advice."""
    assert code_of(PLAIN, json.dumps(RECORD | {"gen": 7}).encode()) == "tokens"
    with pytest.raises(TokenStoreError, match="newer version") as caught:
        PLAIN.decode(json.dumps(RECORD | {"v": 2}).encode(), NAME)
    assert caught.value.code == "store_unreadable"


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
    """A record that somebody copied under another user's name does not open there."""
    mine = ENCRYPTED.encode(SMALL, "ada:oauth:tokens:default")

    assert code_of(ENCRYPTED, mine, "ada:oauth:tokens:default") == "tokens"
    assert code_of(ENCRYPTED, mine, "bob:oauth:tokens:default") == "store_unreadable"


def test_no_downgrade() -> None:
    """With a key configured, plain text is refused: whoever can write to the store must not choose the tokens."""
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


@pytest.mark.parametrize(
    "key", ["", " , ", "CANARY", KEYS[0][:-4], KEYS[0] + "AAAA", f"{KEYS[0]},CANARY", "é" * 44, "=" * 44, "+/" * 22]
)
def test_what_is_no_key(key: str) -> None:
    """It is refused with how to make one, and is not repeated."""
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
    assert code_of(Codec(), ENCRYPTED.encode(SMALL, NAME)) == "tokens"
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


@pytest.mark.parametrize("raw", [{"x": object()}, {"x": float("nan")}, {"x": b"CANARY"}])
def test_what_json_cannot_hold(raw: dict[str, Any]) -> None:
    """Tokens that somebody made with strange extras are refused before anything is written."""
    with pytest.raises(TokenStoreError, match="no JSON"):
        PLAIN.encode(OAuthTokenSet("CANARY", raw=raw), NAME)


def test_nothing_shows_the_key() -> None:
    """Not the codec's repr, either."""
    key = base64.urlsafe_b64encode(b"CANARY" + os.urandom(26)).decode()

    assert repr(Codec(key)) == "<Codec, encrypted>"
    assert repr(Codec()) == "<Codec, plain text>"
