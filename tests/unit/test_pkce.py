"""`PKCEChallenge`: the rules of RFC 7636."""

from __future__ import annotations

import dataclasses
import pprint
import re
from itertools import product

import pytest

from pywry_auth_nb import PKCEChallenge
from tests.support.cases import case

RFC_VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
RFC_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_length_that_the_rfc_does_not_allow_is_refused() -> None:
    """H005: fewer than 32 or more than 96 bytes would give a verifier outside 43 to 128 characters (§4.1)."""
    for length in [-1, 0, 1, 31, 97, 128, 10**9]:
        with case(length), pytest.raises(ValueError, match="32 to 96"):
            PKCEChallenge.generate(length)


def test_the_length_counts_bytes() -> None:
    """The bounds themselves are allowed, and give exactly the characters of base64url without padding."""
    for length, characters in [(32, 43), (33, 44), (64, 86), (95, 127), (96, 128)]:
        with case(length, characters):
            assert len(PKCEChallenge.generate(length).verifier) == characters


def test_the_default_has_512_bits() -> None:
    """Without a length, 64 random bytes are used."""
    assert len(PKCEChallenge.generate().verifier) == 86


def test_verifier_and_challenge_use_the_unreserved_alphabet() -> None:
    """H004: only unreserved characters (§4.1), no padding, and a challenge of 43 characters (§4.2)."""
    for _ in range(200):
        pair = PKCEChallenge.generate()
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", pair.verifier)
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", pair.challenge)


def test_the_challenge_is_the_one_of_appendix_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """H004: for the verifier of RFC 7636 appendix B the module computes the challenge that stands there."""
    monkeypatch.setattr("secrets.token_urlsafe", lambda _: RFC_VERIFIER)

    pair = PKCEChallenge.generate()

    assert (str(pair.verifier), pair.challenge, pair.method) == (RFC_VERIFIER, RFC_CHALLENGE, "S256")


def test_a_thousand_pairs_are_a_thousand_secrets() -> None:
    """H003: no verifier and no challenge comes twice, and neither begins as another does."""
    pairs = [PKCEChallenge.generate() for _ in range(1000)]

    assert len({str(pair.verifier) for pair in pairs}) == 1000
    assert len({pair.challenge for pair in pairs}) == 1000
    assert len({pair.verifier[:16] for pair in pairs}) == 1000
    assert not {str(pair.verifier) for pair in pairs} & {pair.challenge for pair in pairs}


def test_every_position_of_the_verifier_varies() -> None:
    """H003: over a thousand verifiers each of the 86 positions shows every base64url character that it can."""
    verifiers = [PKCEChallenge.generate().verifier for _ in range(1000)]

    seen = [len(set(column)) for column in zip(*verifiers, strict=True)]

    assert min(seen[:-1]) > 55  # of 64; missing nine by chance has a probability below 1e-40
    assert seen[-1] == 4  # 512 bits leave two for the last character


def test_the_method_is_never_plain() -> None:
    """H006: ``plain`` protects nothing, so there is no way to ask for it."""
    assert PKCEChallenge.generate().method == "S256"
    with pytest.raises(TypeError):
        PKCEChallenge.generate(64, "plain")  # type: ignore[call-arg]


def test_a_pair_does_not_change() -> None:
    """The pair is frozen."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        PKCEChallenge.generate().verifier = "x"  # type: ignore[misc]


SHOW = [repr, str, pprint.pformat, ascii, lambda pair: f"{pair}", lambda pair: repr([pair])]

LOOK = [lambda pair: pair, dataclasses.asdict, vars]


def test_nothing_shows_the_verifier() -> None:
    """Shown in any way, also taken apart into a dict, a pair does not tell its verifier."""
    for look, show in product(LOOK, SHOW):
        with case(look, show):
            pair = PKCEChallenge.generate()

            assert pair.verifier not in show(look(pair))  # type: ignore[operator]
