"""ID tokens: what OIDC Core §3.1.3.7 and RFC 8725 refuse and accept, signed with real keys and sent over the wire.

Numbers C… are the OpenID Foundation's relying-party tests, H… our own catalogue of hostile providers.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import functools
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from pywry_auth_nb import GenericOIDCProvider, OAuthTokenSet, TokenError
from pywry_auth_nb.providers import id_token as jws
from tests.support.cases import case
from tests.support.clients import NONCE, exchange
from tests.support.idp import CLIENT, Answer, Idp, b64, compact

if TYPE_CHECKING:
    from collections.abc import Callable


ACCESS_TOKEN = "CANARY-at-known"


@pytest.fixture
def op(op: Idp) -> Idp:
    """The provider, whose access token is known beforehand: ID tokens may hold its hash."""
    return honest(op)


@pytest.fixture
def fresh(op: Idp, client: Callable[[], GenericOIDCProvider]) -> Callable[[], GenericOIDCProvider]:
    """Makes that provider honest again and a new client of it: for each round of a test that loops."""

    def make() -> GenericOIDCProvider:
        honest(op)
        return client()

    return make


def honest(op: Idp) -> Idp:
    """Make the provider honest again, with the known access token."""
    op.be_honest()
    op.token_extra = {"access_token": ACCESS_TOKEN}
    return op


def refused(rp: GenericOIDCProvider, op: Idp) -> str:
    """Sign in, be refused, and return the code; the tokens are given back, and nothing leaks (I1, I3, I4)."""
    with pytest.raises(TokenError) as caught:
        exchange(rp, op)

    assert "CANARY" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert op.requests_to("/token") == 1
    asked = {request.path for request in op.requests}
    assert asked <= {"/.well-known/openid-configuration", "/jwks", "/token", "/revoke"}
    return caught.value.code


def check(rp: GenericOIDCProvider, token: str, nonce: str | None = None) -> dict[str, Any]:
    """Validate one ID token by itself."""
    return asyncio.run(rp.validate_id_token(token, nonce))


@functools.cache
def key(name: str) -> Any:
    """A private key, made once: key generation is slow."""
    kind, _, number = name.partition(":")
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=int(number))
    if kind == "ec":
        return ec.generate_private_key({"256": ec.SECP256R1, "384": ec.SECP384R1, "521": ec.SECP521R1}[number]())
    return ed25519.Ed25519PrivateKey.generate() if number == "25519" else ed448.Ed448PrivateKey.generate()


def jwk(private: Any, **members: Any) -> dict[str, Any]:
    """The public JWK of a key."""
    kinds = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    alg = next((alg for kind, alg in kinds.items() if isinstance(private, kind)), "EdDSA")
    made = json.loads(jwt.get_algorithm_by_name(alg).to_jwk(private.public_key()))
    made.pop("key_ops", None)
    return made | members


def at_hash(algorithm: str) -> str:
    """The left half of the access token's hash."""
    digest = hashlib.new(algorithm, ACCESS_TOKEN.encode()).digest()
    return b64(digest[: len(digest) // 2])


# -- what it says -------------------------------------------------------------------------------------------------


def after(seconds: float) -> Callable[[Idp], int]:
    """So many seconds from now."""
    return lambda _: int(time.time() + seconds)


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "C02-iss-plus-1": ({"iss": lambda op: op.issuer + "1"}, "iss"),
    "H119-iss-trailing-slash": ({"iss": lambda op: op.issuer + "/"}, "iss"),
    "H119-iss-upper-case": ({"iss": lambda op: op.issuer.upper()}, "iss"),
    "H119-iss-prefix": ({"iss": lambda op: op.issuer[:-1]}, "iss"),
    "H119-iss-without-scheme": ({"iss": lambda op: op.issuer.partition("://")[2]}, "iss"),
    "H119-iss-space": ({"iss": lambda op: op.issuer + " "}, "iss"),
    "H119-iss-missing": ({"iss": ...}, "iss"),
    "H119-iss-null": ({"iss": None}, "iss"),
    "H119-iss-empty": ({"iss": ""}, "iss"),
    "H119-iss-list": ({"iss": lambda op: [op.issuer]}, "iss"),
    "H119-iss-object": ({"iss": lambda op: {op.issuer: 1}}, "iss"),
    "C04-aud-wrong": ({"aud": "stranger"}, "aud"),
    "C24-aud-missing": ({"aud": ...}, "aud"),
    "H120-aud-null": ({"aud": None}, "aud"),
    "H120-aud-empty": ({"aud": ""}, "aud"),
    "H120-aud-number": ({"aud": 5}, "aud"),
    "H120-aud-object": ({"aud": {CLIENT: 1}}, "aud"),
    "H120-aud-empty-list": ({"aud": []}, "aud"),
    "H120-aud-list-in-list": ({"aud": [[CLIENT]]}, "aud"),
    "H120-aud-substring": ({"aud": CLIENT[:-1]}, "aud"),
    "H120-aud-superstring": ({"aud": CLIENT + "x"}, "aud"),
    "H120-aud-upper-case": ({"aud": CLIENT.upper()}, "aud"),
    "H120-aud-words": ({"aud": f"{CLIENT} stranger"}, "aud"),
    "H122-aud-secondary": ({"aud": [CLIENT, "stranger"]}, "aud"),
    "H123-aud-secondary-azp-stranger": ({"aud": [CLIENT, "stranger"], "azp": "stranger"}, "azp"),
    "H123-aud-number-azp-us": ({"aud": [CLIENT, 5], "azp": CLIENT}, "aud"),
    "H123-aud-without-us-azp-us": ({"aud": ["stranger"], "azp": CLIENT}, "aud"),
    "H122-aud-secondary-null": ({"aud": [CLIENT, None]}, "aud"),
    "H122-aud-secondary-object": ({"aud": [CLIENT, {}]}, "aud"),
    "H124-azp-stranger": ({"azp": "stranger"}, "azp"),
    "H124-azp-null": ({"azp": None}, "azp"),
    "H124-azp-empty": ({"azp": ""}, "azp"),
    "H125-azp-number": ({"azp": 5}, "azp"),
    "H125-azp-list": ({"azp": [CLIENT]}, "azp"),
    "C03-sub-missing": ({"sub": ...}, "sub"),
    "H126-sub-null": ({"sub": None}, "sub"),
    "H126-sub-empty": ({"sub": ""}, "sub"),
    "H126-sub-whitespace": ({"sub": " \t\n"}, "sub"),
    "H126-sub-float": ({"sub": 5.0}, "sub"),
    "H126-sub-bool": ({"sub": True}, "sub"),
    "H126-sub-256-digits": ({"sub": 10**255}, "sub"),
    "H126-sub-list": ({"sub": ["ada"]}, "sub"),
    "H126-sub-256-characters": ({"sub": "a" * 256}, "sub"),
    "H127-exp-missing": ({"exp": ...}, "exp"),
    "H127-exp-6-minutes-ago": ({"exp": after(-360)}, "exp"),
    "H127-exp-beyond-leeway": ({"exp": after(-40)}, "exp"),
    "H128-exp-string": ({"exp": lambda op: str(after(300)(op))}, "exp"),
    "H128-exp-true": ({"exp": True}, "exp"),
    "H128-exp-null": ({"exp": None}, "exp"),
    "H128-exp-list": ({"exp": []}, "exp"),
    "H128-exp-1e300": ({"exp": 1e300}, "exp"),
    "H128-exp-400-digits": ({"exp": 10**400}, "exp"),
    "H128-exp-milliseconds": ({"exp": lambda op: after(300)(op) * 1000}, "exp"),
    "H128-exp-negative": ({"exp": -1}, "exp"),
    "H128-exp-zero": ({"exp": 0}, "exp"),
    "H128-exp-NaN": ({"exp": float("nan")}, "malformed"),
    "H128-exp-Infinity": ({"exp": float("inf")}, "malformed"),
    "C05-iat-missing": ({"iat": ...}, "iat"),
    "H129-iat-string": ({"iat": lambda op: str(after(0)(op))}, "iat"),
    "H129-iat-null": ({"iat": None}, "iat"),
    "H129-iat-true": ({"iat": True}, "iat"),
    "H129-iat-future": ({"iat": after(40)}, "iat"),
    "H129-iat-11-minutes-ago": ({"iat": after(-660)}, "iat"),
    "H129-iat-is-week-in-past": ({"iat": after(-7 * 86400)}, "iat"),
    "H129-iat-10-years-ago": ({"iat": after(-10 * 365 * 86400)}, "iat"),
    "H129-iat-1e300": ({"iat": 1e300}, "iat"),
    "H130-nbf-future": ({"nbf": after(40)}, "nbf"),
    "H130-nbf-string": ({"nbf": "0"}, "nbf"),
    "H130-nbf-null": ({"nbf": None}, "nbf"),
    "H130-nbf-true": ({"nbf": True}, "nbf"),
    "H130-nbf-1e300": ({"nbf": 1e300}, "nbf"),
    "C12-nonce-wrong": ({"nonce": "another"}, "nonce"),
    "H131-nonce-missing": ({"nonce": ...}, "nonce"),
    "H131-nonce-null": ({"nonce": None}, "nonce"),
    "H131-nonce-empty": ({"nonce": ""}, "nonce"),
    "H131-nonce-number": ({"nonce": 5}, "nonce"),
    "H131-nonce-list": ({"nonce": [NONCE]}, "nonce"),
    "H131-nonce-prefix": ({"nonce": NONCE[:-1]}, "nonce"),
    "H131-nonce-suffix": ({"nonce": NONCE + "x"}, "nonce"),
    "H131-nonce-upper-case": ({"nonce": NONCE.upper()}, "nonce"),
    "H131-nonce-non-ASCII": ({"nonce": "é"}, "nonce"),
    "H131-nonce-surrogate": ({"nonce": "\ud800"}, "nonce"),
    "C30-at_hash-wrong": ({"at_hash": "A" * 22}, "at_hash"),
    "H134-at_hash-of-another-alg": ({"at_hash": lambda _: at_hash("sha512")}, "at_hash"),
    "H134-at_hash-padded": ({"at_hash": lambda _: at_hash("sha256") + "=="}, "at_hash"),
    "H134-at_hash-whole": ({"at_hash": b64(hashlib.sha256(ACCESS_TOKEN.encode()).digest())}, "at_hash"),
    "H134-at_hash-empty": ({"at_hash": ""}, "at_hash"),
    "H134-at_hash-null": ({"at_hash": None}, "at_hash"),
    "H134-at_hash-number": ({"at_hash": 5}, "at_hash"),
    "H134-at_hash-list": ({"at_hash": lambda _: [at_hash("sha256")]}, "at_hash"),
    "H134-at_hash-non-ASCII": ({"at_hash": "é"}, "at_hash"),
    "H134-at_hash-surrogate": ({"at_hash": "\udfff"}, "at_hash"),
    "H143-64-KB": ({"x": "a" * 65536}, "malformed"),
}


@pytest.mark.parametrize("rule", sorted({rule for _, rule in BAD_CLAIMS.values()}))
def test_a_bad_claim_is_refused(fresh: Callable[[], GenericOIDCProvider], op: Idp, rule: str) -> None:
    """B2, B3: each rule about what an ID token says refuses it, and the code names the claim."""
    bad = {name: claims for name, (claims, broken) in BAD_CLAIMS.items() if broken == rule}
    for name, claims in bad.items():
        with case(name):
            rp = fresh()
            op.claims = {claim: value(op) if callable(value) else value for claim, value in claims.items()}

            assert refused(rp, op) == f"id_token_{rule}"


GOOD_CLAIMS: dict[str, dict[str, Any]] = {
    "C01-honest": {},
    "H121-aud-as-array": {"aud": [CLIENT]},
    "H121-aud-twice-us": {"aud": [CLIENT, CLIENT]},
    "H123-Zitadel": {"aud": [CLIENT, "246263290592821251@proj", "246361787010646019"], "azp": CLIENT},
    "H123-Keycloak": {"aud": ["account", CLIENT], "azp": CLIENT},
    "H124-azp-us": {"azp": CLIENT},
    "H126-sub-255-characters": {"sub": "a" * 255},
    "H127-exp-20-s-ago": {"exp": after(-20)},
    "H129-iat-20-s-ahead": {"iat": after(20)},
    "H129-iat-9-minutes-ago": {"iat": after(-540)},
    "H130-nbf-20-s-ahead": {"nbf": after(20)},
    "H128-fractions": {"exp": lambda _: time.time() + 0.5, "iat": lambda _: time.time() - 0.5},
    "C31-at_hash-missing": {"at_hash": ...},
    "H144-strange-names": {"__proto__": {"admin": True}, "__class__": "x", "": None, "é": "é"},
    "C35-aggregated-claims": {"_claim_names": {"a": "s"}, "_claim_sources": {"s": {"JWT": "x.y.z"}}},
    "H143-60-KB": {"x": "a" * 45_000},
}


def test_a_good_claim_is_accepted(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """B3: what the specification allows signs in, clocks that differ by 20 s included."""
    for name, claims in GOOD_CLAIMS.items():
        with case(name):
            rp = fresh()
            op.claims = {claim: value(op) if callable(value) else value for claim, value in claims.items()}

            tokens = exchange(rp, op)

            assert tokens.access_token == ACCESS_TOKEN
            assert rp.claims(tokens)["sub"] == op.claims.get("sub", "ada")


def test_distributed_claims_are_not_fetched(rp: GenericOIDCProvider, op: Idp) -> None:
    """C36, H190: an endpoint that an ID token names is not asked."""
    op.claims = {"_claim_names": {"a": "s"}, "_claim_sources": {"s": {"endpoint": f"{op.issuer}/elsewhere"}}}

    exchange(rp, op)

    assert op.requests_to("/elsewhere") == 0


def test_the_id_token_of_an_earlier_sign_in_is_refused(rp: GenericOIDCProvider, op: Idp) -> None:
    """H133: it is genuine and fresh, but answers another nonce."""
    earlier = exchange(rp, op, nonce="earlier").id_token
    op.token_extra["id_token"] = str(earlier)
    op.requests.clear()

    assert refused(rp, op) == "id_token_nonce"


def test_the_id_token_of_another_issuer_is_refused(rp: GenericOIDCProvider, op: Idp) -> None:
    """H140: the same client id at two issuers, and even the same key, do not make one issuer speak for the other."""
    with Idp() as other:
        other.key, other.kid = op.key, op.kid
        op.token_extra["id_token"] = other.id_token(ACCESS_TOKEN, NONCE)

        assert refused(rp, op) == "id_token_iss"


def test_a_sign_in_succeeds_after_a_refused_one(rp: GenericOIDCProvider, op: Idp) -> None:
    """I5: a refusal leaves the provider as it was."""
    op.claims = {"aud": "stranger"}
    refused(rp, op)
    op.claims = {}

    assert exchange(rp, op).access_token == ACCESS_TOKEN


@pytest.mark.parametrize("value", [..., None], ids=["H095-missing", "H095-null"])
def test_an_answer_without_id_token_is_refused(rp: GenericOIDCProvider, op: Idp, value: Any) -> None:
    """B2, H095: without it the provider has not repeated our nonce (OIDC Core §3.1.3.3)."""
    op.token_extra["id_token"] = value

    assert refused(rp, op) == "id_token_missing"


def test_an_unchecked_id_token_says_nothing(op: Idp) -> None:
    """H096: a provider whose ID tokens are not validated may send anything; none of it is believed."""
    provider = GenericOIDCProvider(CLIENT, issuer_url=op.issuer, require_id_token_validation=False)
    op.token_extra["id_token"] = compact({"alg": "none"}, {"sub": "eve"}, key("rsa:2048"))

    assert provider.claims(exchange(provider, op)) == {}


# -- how it is written --------------------------------------------------------------------------------------------


def edited(header: dict[str, Any]) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Sign honestly, under a header with these changes."""
    return lambda op, honest, claims: compact(
        {name: value for name, value in (honest | header).items() if value is not ...}, claims, op.key
    )


def rewritten(change: Callable[[str, str, str], str]) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Sign honestly, then change the three segments."""
    return lambda op, honest, claims: change(*compact(honest, claims, op.key).split("."))


def unsigned(alg: str) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Leave the signature out."""
    return lambda op, honest, claims: compact(honest | {"alg": alg}, claims, op.key).rpartition(".")[0] + "."


def mac(secret: Callable[[Idp], bytes]) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Sign with a key that an attacker knows: the one for HMAC confusion."""
    return lambda op, honest, claims: compact(honest | {"alg": "HS256"}, claims, secret(op), "HS256")


def pem(op: Idp) -> bytes:
    """The public key as it is found in a file."""
    return op.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def der(op: Idp) -> bytes:
    """The public key in binary."""
    return op.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def raw_header(text: str | bytes) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Sign honestly, under a header of these bytes."""
    return lambda op, _, claims: compact(text.encode() if isinstance(text, str) else text, claims, op.key)


def raw_payload(text: str | bytes) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Sign these bytes honestly."""
    return lambda op, honest, _: compact(honest, text.encode() if isinstance(text, str) else text, op.key)


ALGORITHM: dict[str, Any] = {
    **{f"C09-{alg}-unsigned": unsigned(alg) for alg in ("none", "None", "NONE", "nOnE", "RS256 ", "")},
    **{f"H101-{alg}-signed": edited({"alg": alg}) for alg in ("none", "None", "NONE", "nOnE")},
    "H102-HS256-PEM": mac(pem),
    "H102-HS256-PEM-stripped": mac(lambda op: pem(op).strip()),
    "H102-HS256-DER": mac(der),
    "H102-HS256-JWK": mac(lambda op: json.dumps(op.jwk()).encode()),
    "H102-HS256-modulus": mac(lambda op: op.key.public_key().public_numbers().n.to_bytes(256, "big")),
    "C25-HS256-client-secret": mac(lambda _: b"client-secret"),
    "H104-HS256-empty": mac(lambda _: b""),
    "H104-HS256-client-id": mac(lambda _: CLIENT.encode()),
    **{
        f"H105-alg-{alg!r}": edited({"alg": alg})
        for alg in ("HS256", "HS384", "RS257", "rs256", "RS256 ", "RSA", "ES256K", "RSA-OAEP", "dir", 256, None, True)
    },
    "H117-alg-missing": edited({"alg": ...}),
    "H117-alg-list": edited({"alg": ["RS256"]}),
    "H117-alg-empty-list": edited({"alg": []}),
    "H117-alg-object": edited({"alg": {"RS256": 1}}),
}

MALFORMED: dict[str, Any] = {
    **{f"H112-kid-{kid!r}": edited({"kid": kid}) for kid in (5, ["key-1"], None, {}, True)},
    "H112-kid-1-MB": edited({"kid": "a" * 100_000}),
    **{
        f"H114-crit-{crit!r}": edited({"crit": crit})
        for crit in (["x"], ["exp"], [], "alg", None, {}, ["b64"], ["alg"])
    },
    "H114-b64-false": edited({"b64": False}),
    "H114-b64-false-crit": edited({"b64": False, "crit": ["b64"]}),
    **{
        f"H115-typ-{typ!r}": edited({"typ": typ})
        for typ in (
            *("at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "JWE", "jwt ", ""),
            *(None, 5, ["JWT"]),
        )
    },
    "H116-cty-JWT": edited({"cty": "JWT"}),
    "H116-5-segments": rewritten(lambda h, p, s: f"{h}.{p}.{s}.{p}.{s}"),
    "H097-1-segment": rewritten(lambda h, p, s: h + p + s),
    "H097-2-segments": rewritten(lambda h, p, _: f"{h}.{p}"),
    "H097-4-segments": rewritten(lambda h, p, s: f"{h}.{p}.{s}."),
    "H097-leading-dot": rewritten(lambda h, p, s: f".{h}.{p}.{s}"),
    "H097-JSON-serialization": rewritten(lambda h, p, s: json.dumps({"protected": h, "payload": p, "signature": s})),
    "H117-header-empty": rewritten(lambda _, p, s: f".{p}.{s}"),
    "H117-header-array": raw_header('["RS256"]'),
    "H117-header-string": raw_header('"RS256"'),
    "H117-header-null": raw_header("null"),
    "H117-header-no-JSON": raw_header("{alg: RS256}"),
    "H117-header-invalid-UTF-8": raw_header(b'{"alg":"RS256","x":"\xff"}'),
    "H117-header-UTF-16": raw_header('{"alg":"RS256","kid":"key-1"}'.encode("utf-16")),
    "H117-header-BOM": raw_header(b'\xef\xbb\xbf{"alg":"RS256","kid":"key-1"}'),
    "H117-header-duplicate": raw_header('{"alg":"RS256","kid":"key-1","alg":"RS256"}'),
    "H117-header-trailing": raw_header('{"alg":"RS256","kid":"key-1"}{}'),
    "H117-header-deep": raw_header('{"alg":"RS256","x":' + "[" * 30_000),
    "H118-payload-empty": raw_payload(""),
    "H118-payload-array": raw_payload("[]"),
    "H118-payload-string": raw_payload('"ada"'),
    "H118-payload-number": raw_payload("5"),
    "H118-payload-null": raw_payload("null"),
    "H118-payload-no-JSON": raw_payload("sub=ada"),
    "H118-payload-invalid-UTF-8": raw_payload(b'{"sub":"\xff"}'),
    "H118-payload-UTF-16": lambda op, h, p: compact(h, json.dumps(p).encode("utf-16"), op.key),
    "H118-payload-BOM": lambda op, h, p: compact(h, json.dumps(p).encode("utf-8-sig"), op.key),
    "H118-payload-duplicate": lambda op, h, p: compact(h, json.dumps(p)[:-1].encode() + b',"sub":"ada"}', op.key),
    "H118-payload-NaN": lambda op, h, p: compact(h, json.dumps(p)[:-1].encode() + b',"x":NaN}', op.key),
    "H118-payload-deep": raw_payload("[" * 30_000),
    "H108-signature-padded": rewritten(lambda h, p, s: f"{h}.{p}.{s}=="),
    "H108-payload-padded": lambda op, h, p: compact(h, json.dumps(p).encode(), op.key).replace(".", "=.", 1),
    "H108-space-before": rewritten(lambda h, p, s: f" {h}.{p}.{s}"),
    "H108-space-after": rewritten(lambda h, p, s: f"{h}.{p}.{s} "),
    "H108-space-within": rewritten(lambda h, p, s: f"{h}.{p}.{s[:10]} {s[10:]}"),
    "H108-junk-within": rewritten(lambda h, p, s: f"{h}.{p}.{s[:10]}!!{s[10:]}"),
    "H108-non-canonical": rewritten(lambda h, p, s: f"{h}.{p}.{s[:-1]}{chr(ord(s[-1]) + 1)}"),
}


def test_an_algorithm_that_is_not_on_our_list_is_refused(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """Unsigned, symmetric and unknown algorithms are refused before any key is looked for; metadata widens nothing."""
    for name, forge in ALGORITHM.items():
        with case(name):
            rp = fresh()
            op.metadata = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256", "RS257", "rs256"]}
            op.forge = functools.partial(forge, op)

            assert refused(rp, op) == "id_token_algorithm"
            assert op.requests_to("/jwks") == 0


HELPFUL: dict[str, tuple[str, str]] = {
    "HS256": (
        "{head}.{body}.c2ln",
        "signed with HS256, a shared secret: set the client's ID token signature to RS256 or ES256",
    ),
    "HS512": (
        "{head}.{body}.c2ln",
        "signed with HS512, a shared secret: set the client's ID token signature to RS256 or ES256",
    ),
    "none": (
        "{head}.{body}.c2ln",
        "not signed (algorithm none): set the client's ID token signature to RS256 or ES256",
    ),
    "CANARY <b>": (
        "{head}.{body}.c2ln",
        "an algorithm that is not accepted. Set the client's ID token signature to RS256 or ES256",
    ),
    "RSA-OAEP-256": ("{head}.a.b.c.d", "is encrypted, and only signed ones can be read: turn the encryption"),
}


def test_a_refused_algorithm_says_what_to_set_at_the_provider() -> None:
    """H309, H105, H116: many providers sign with the client's secret, or encrypt, until they are told otherwise."""
    for alg, (form, words) in HELPFUL.items():
        with case(alg):
            header = b64(json.dumps({"alg": alg, "typ": "JWT"}).encode())
            with pytest.raises(TokenError) as caught:
                jws.read(form.format(head=header, body=b64(b"{}")))
            assert words in caught.value.message
            assert "CANARY" not in caught.value.message


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"iat": 900}, "(iat): +900 s from this machine's clock. Check this machine's clock and the provider's"),
        ({"iat": -1000, "exp": -700}, "(exp): -700 s from this machine's clock. Check"),
        ({"iat": -1000}, "(iat): -1000 s from this machine's clock. Check"),
        ({"nbf": 900}, "(nbf): +900 s from this machine's clock. Check"),
    ],
)
def test_clocks_that_differ_say_by_how_much(
    rp: GenericOIDCProvider, op: Idp, monkeypatch: pytest.MonkeyPatch, claims: dict[str, int], words: str
) -> None:
    """H127, H129, H130: and neither clock is blamed alone."""
    now = int(time.time())
    monkeypatch.setattr("pywry_auth_nb.providers.id_token.time.time", lambda: float(now))
    op.claims = {name: now + ahead for name, ahead in claims.items()}
    with pytest.raises(TokenError) as caught:
        exchange(rp, op)

    assert words in caught.value.message


@pytest.mark.parametrize("claim", ["iss", "aud", "azp", "sub", "nonce", "at_hash"])
def test_a_refused_claim_is_named(claim: str) -> None:
    """H309: so that it can be looked for in the provider's settings."""
    assert f"({claim})" in TokenError(code=f"id_token_{claim}").message  # type: ignore[arg-type]


def test_a_malformed_token_is_refused(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """One spelling, one meaning: everything else is refused before any key is looked for."""
    for name, forge in MALFORMED.items():
        with case(name):
            rp = fresh()
            op.forge = functools.partial(forge, op)

            assert refused(rp, op) in {"id_token_malformed", "token_response"}
            assert op.requests_to("/jwks") == 0


SEGMENTS = ["{0}.{1}.{2}-_", "{0}.{1}-_.{2}", "{0}-_.{1}.{2}"]


def test_the_other_base64_alphabet_is_refused() -> None:
    """H108: ``+`` and ``/`` mean the same bytes to a lenient decoder, and are not what was signed."""
    for segments in SEGMENTS:
        with case(segments):
            token = segments.format(b64(b'{"alg":"RS256"}  '), b64(b"{}  "), "AAAA")
            with pytest.raises(TokenError) as caught:
                jws.read(token.replace("-", "+").replace("_", "/"))

            assert caught.value.code == "id_token_malformed"


LOUD_TOKENS: dict[str, str] = {
    "segments": "CANARY",
    "base64": "CANARY.CANARY=.CANARY",
    "JSON": f"{b64(b'CANARY')}.e30.",
    "UTF-8": f"{b64(b'CANARY' + bytes([255]))}.e30.",
}


def test_an_error_about_a_malformed_token_keeps_no_part_of_it() -> None:
    """I4: also where no event loop strips them, neither the error nor what it came from quotes the token."""
    for name, token in LOUD_TOKENS.items():
        with case(name):
            with pytest.raises(TokenError) as caught:
                jws.read(token)

            error: BaseException | None = caught.value
            while error is not None:
                assert "CANARY" not in str(error) + repr(error)
                error = error.__cause__ or error.__context__


GOOD_HEADERS: dict[str, dict[str, Any]] = {
    "H115-typ-absent": {"typ": ...},
    "H115-typ-lower-case": {"typ": "jwt"},
    "H115-typ-media-type": {"typ": "application/jwt"},
    "C06-kid-absent-single-jwks": {"kid": ...},
    "H113-jku": {"jku": "https://evil.example/keys"},
    "H113-x5u-x5t": {"x5u": "https://evil.example/cert", "x5t": "AAAA", "x5c": ["AAAA"]},
    "H116-zip": {"zip": "DEF"},
    "H117-unknown": {"x-anything": {"a": [1]}},
}


def test_a_good_header_is_accepted(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """What RFC 7515 allows and what it tells us to ignore does not stop a sign-in."""
    for name, header in GOOD_HEADERS.items():
        with case(name):
            rp = fresh()
            op.header = header

            assert exchange(rp, op).access_token == ACCESS_TOKEN


# -- who signed it ------------------------------------------------------------------------------------------------


def by(
    private: Callable[[Idp], Any], alg: str = "RS256", **header: Any
) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Sign with another key, or in another way."""
    return lambda op, honest, claims: compact(honest | {"alg": alg} | header, claims, private(op), alg)


def raw_signature(
    signature: Callable[[Any, bytes], bytes], name: str = "ec:256"
) -> Callable[[Idp, dict[str, Any], dict[str, Any]], str]:
    """Put these bytes where an ES256 signature belongs."""

    def forge(_: Idp, honest: dict[str, Any], claims: dict[str, Any]) -> str:
        head, body, honest_signature = compact(honest | {"alg": "ES256"}, claims, key(name), "ES256").split(".")
        return f"{head}.{body}.{b64(signature(key(name), jws._decode(honest_signature)))}"

    return forge


def stranger(_: Idp) -> Any:
    """A key that the provider has not published."""
    return key("rsa:2048")


def own(op: Idp) -> Any:
    """The provider's signing key."""
    return op.key


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEYS: dict[str, Any] = {
    "enc": lambda _: jwk(key("rsa:2048"), kid="key-1", use="enc"),
    "plain": lambda _: jwk(key("rsa:2048"), kid="key-1"),
    "ec": lambda _: jwk(key("ec:256"), kid="key-1", use="sig"),
    "ec384": lambda _: jwk(key("ec:384"), kid="key-1", use="sig"),
    "ed": lambda _: jwk(key("ed:25519"), kid="key-1", use="sig"),
}
BAD_SIGNATURES: dict[str, tuple[Callable[[Idp], dict[str, Any]] | None, Any]] = {
    "H110-stranger": (None, by(stranger)),
    "H110-stranger-without-kid": (None, lambda op, h, p: compact({"alg": h["alg"]}, p, stranger(op))),
    "H110-enc-key": (KEYS["enc"], by(stranger)),
    **{
        f"H110-key_ops-{ops!r}": (lambda _, ops=ops: jwk(key("rsa:2048"), kid="key-1", key_ops=ops), by(stranger))
        for ops in (["encrypt"], ["sign"], [], "verify", None, {"verify": 1})
    },
    "H110-use-null": (lambda _: jwk(key("rsa:2048"), kid="key-1", use=None), by(stranger)),
    "H110-use-list": (lambda _: jwk(key("rsa:2048"), kid="key-1", use=["sig"]), by(stranger)),
    "H111-RSA-1024": (lambda _: jwk(key("rsa:1024"), kid="key-1"), by(lambda _: key("rsa:1024"))),
    "H111-RSA-1024-PS256": (lambda _: jwk(key("rsa:1024"), kid="key-1"), by(lambda _: key("rsa:1024"), "PS256")),
    "H112-kid-path": (None, by(own, kid="../../../../dev/null")),
    "H112-kid-SQL": (None, by(own, kid="' OR '1'='1")),
    "H112-kid-empty": (None, by(own, kid="")),
    "H112-kid-surrogate": (None, by(own, kid="\ud800")),
    "H113-jwk-in-header": (None, lambda op, h, p: compact(h | {"jwk": jwk(key("rsa:2048"))}, p, stranger(op))),
    "H113-jku-in-header": (None, lambda op, h, p: compact(h | {"jku": f"{op.issuer}/evil"}, p, stranger(op))),
    "H113-x5u-in-header": (None, lambda op, h, p: compact(h | {"x5u": f"{op.issuer}/evil"}, p, stranger(op))),
    "H105-RS384-by-RS256-key": (None, by(own, "RS384")),
    "H105-PS256-by-RS256-key": (None, by(own, "PS256")),
    "H105-RS256-said-PS256-done": (None, lambda op, h, p: compact(h, p, op.key, "PS256")),
    "H170-jwk-alg-ES256": (lambda _: jwk(key("rsa:2048"), kid="key-1", alg="ES256"), by(stranger)),
    "H170-jwk-alg-null": (lambda _: jwk(key("rsa:2048"), kid="key-1", alg=None), by(stranger)),
    "H106-ES256-said-RS256-done": (KEYS["plain"], lambda op, h, p: compact(h | {"alg": "ES256"}, p, stranger(op))),
    "H106-RS256-said-ES256-done": (KEYS["ec"], lambda _, h, p: compact(h, p, key("ec:256"), "ES256")),
    "H106-ES256-by-P-384": (KEYS["ec384"], by(lambda _: key("ec:384"), "ES256")),
    "H106-EdDSA-by-EC": (KEYS["ec"], by(lambda _: key("ed:25519"), "EdDSA")),
    "H139-EdDSA-stranger": (KEYS["ed"], by(lambda _: key("ed:448"), "EdDSA")),
    "C26-ES256-flipped": (KEYS["ec"], raw_signature(lambda _, s: bytes([s[0] ^ 1]) + s[1:])),
    "H107-psychic": (KEYS["ec"], raw_signature(lambda *_: bytes(64))),
    "H107-r-and-s-order": (KEYS["ec"], raw_signature(lambda *_: P256_ORDER.to_bytes(32, "big") * 2)),
    "H107-all-ones": (KEYS["ec"], raw_signature(lambda *_: b"\xff" * 64)),
    "H107-s-is-order": (KEYS["ec"], raw_signature(lambda _, s: s[:32] + P256_ORDER.to_bytes(32, "big"))),
    "H107-DER": (
        KEYS["ec"],
        raw_signature(lambda _, s: encode_dss_signature(int.from_bytes(s[:32], "big"), int.from_bytes(s[32:], "big"))),
    ),
    "H107-too-long": (KEYS["ec"], raw_signature(lambda _, s: s[:32] + b"\0" + s[32:])),
    "H107-empty": (KEYS["ec"], raw_signature(lambda *_: b"")),
    "C10-signature-flipped": (
        None,
        rewritten(lambda h, p, s: f"{h}.{p}.{b64(bytes([jws._decode(s)[0] ^ 1]) + jws._decode(s)[1:])}"),
    ),
    "C10-signature-empty": (None, rewritten(lambda h, p, _: f"{h}.{p}.")),
    "C10-signature-of-another": (None, lambda op, h, p: _swapped(compact(h, p | {"sub": "eve"}, op.key), h, p, op)),
    "H108-truncated": (None, rewritten(lambda h, p, s: f"{h}.{p}.{b64(jws._decode(s)[:-1])}")),
    "H108-extra-byte": (None, rewritten(lambda h, p, s: f"{h}.{p}.{b64(jws._decode(s) + bytes(1))}")),
    "H108-leading-zero": (None, rewritten(lambda h, p, s: f"{h}.{p}.{b64(bytes(1) + jws._decode(s))}")),
    "H168-oct": (lambda _: {"kty": "oct", "kid": "key-1", "k": b64(b"x" * 32)}, by(own)),
}


def _swapped(other: str, header: dict[str, Any], claims: dict[str, Any], op: Idp) -> str:
    """An honest token with the signature of another."""
    return f"{compact(header, claims, op.key).rpartition('.')[0]}.{other.rpartition('.')[2]}"


def test_a_bad_signature_is_refused(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """B3: only a key that the provider publishes for just this signs an ID token, whatever the token says."""
    for name, (published, forge) in BAD_SIGNATURES.items():
        with case(name):
            rp = fresh()
            if published is not None:
                op.answers["/jwks"] = Answer({"keys": [published(op)]})
            op.forge = functools.partial(forge, op)

            assert refused(rp, op) == "id_token_signature"


def test_a_signature_with_any_bit_changed_is_refused() -> None:
    """H108: all 256 bytes of an RSA signature count."""
    head, body, signature = compact({"alg": "RS256"}, {"sub": "ada"}, key("rsa:2048")).split(".")
    public, data = jwk(key("rsa:2048")), jws._decode(signature)

    assert jws.verify_signature(jws.read(f"{head}.{body}.{signature}"), public)
    for index in range(len(data)):
        changed = data[:index] + bytes([data[index] ^ (1 << index % 8)]) + data[index + 1 :]
        assert not jws.verify_signature(jws.read(f"{head}.{body}.{b64(changed)}"), public)


def test_a_token_with_any_character_changed_is_refused() -> None:
    """H108, H109: wherever one character of a token becomes another, it is malformed or its signature fails."""
    token, public = (
        compact({"alg": "RS256"}, {"sub": "ada", "n": [1, {"a": "é"}]}, key("rsa:2048")),
        jwk(key("rsa:2048")),
    )

    def accepted(changed: str) -> bool:
        try:
            return jws.verify_signature(jws.read(changed), public)
        except TokenError:
            return False

    assert accepted(token)
    for index, old in enumerate(token):
        for new in {"A", "B", "-", "/", ".", "=", " ", "é"} - {old}:
            assert not accepted(token[:index] + new + token[index + 1 :])


GOOD_ALGORITHMS = [
    *[("rsa:2048", alg, f"sha{alg[2:]}") for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
    ("rsa:3072", "RS256", "sha256"),
    ("ec:256", "ES256", "sha256"),
    ("ec:384", "ES384", "sha384"),
    ("ec:521", "ES512", "sha512"),
    ("ed:25519", "EdDSA", "sha512"),
]


def test_every_algorithm_of_our_list_is_accepted(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """C08: RS, PS, ES and EdDSA sign in, each with the at_hash that belongs to it."""
    for name, alg, digest in GOOD_ALGORITHMS:
        with case(name, alg):
            rp = fresh()
            op.answers["/jwks"] = Answer({"keys": [jwk(key(name), kid="key-1", alg=alg)]})
            op.claims = {"at_hash": at_hash(digest)}
            op.forge = functools.partial(by(lambda _, name=name: key(name), alg), op)

            assert exchange(rp, op).access_token == ACCESS_TOKEN


def test_at_hash_uses_the_hash_of_its_algorithm(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """H134: the at_hash of RS256 is wrong under another algorithm."""
    for alg in ["RS384", "PS512"]:
        with case(alg):
            rp = fresh()
            op.answers["/jwks"] = Answer({"keys": [jwk(key("rsa:2048"), kid="key-1")]})
            op.claims = {"at_hash": at_hash("sha256")}
            op.forge = functools.partial(by(stranger, alg), op)

            assert refused(rp, op) == "id_token_at_hash"


def strangers(op: Idp) -> list[dict[str, Any]]:
    """Keys that the conformance suite puts beside the real one, which a client must not stumble over."""
    return [
        jwk(key("rsa:2048")),
        jwk(key("rsa:3072"), kid="other"),
        jwk(key("rsa:2048"), kid=op.kid, use="enc", alg="RSA-OAEP"),
        jwk(key("ed:25519"), kid=op.kid),
        jwk(key("ec:256"), kid=op.kid),
        {"kty": "oct", "k": b64(b"x" * 32), "kid": op.kid},
        {"kty": "unknown", "kid": op.kid},
        {"kty": ["RSA"], "kid": [op.kid], "use": {}, "alg": [], "key_ops": 5},
        {},
    ]


@pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("kid", ["key-1", ...], ids=["H167-same-kid", "C07-kid-absent-multiple-jwks"])
def test_the_right_key_is_found_among_others(rp: GenericOIDCProvider, op: Idp, kid: Any, place: int) -> None:
    """C07, H166, H167: other keys beside the right one, with its kid even, do not stop a sign-in."""
    others = strangers(op)
    op.answers["/jwks"] = Answer({"keys": [op.jwk(), *others] if place == 0 else [*others, op.jwk()]})
    op.header = {"kid": kid}

    assert exchange(rp, op).access_token == ACCESS_TOKEN


def test_two_keys_of_one_kid_are_both_tried(rp: GenericOIDCProvider, op: Idp) -> None:
    """H167: also when they are of one type."""
    op.answers["/jwks"] = Answer({"keys": [jwk(key("rsa:2048"), kid=op.kid), op.jwk()]})

    assert exchange(rp, op).access_token == ACCESS_TOKEN


def test_not_every_key_is_tried(rp: GenericOIDCProvider, op: Idp) -> None:
    """C07: a token without kid is tried with sixteen keys at most, which bounds its cost."""
    op.header = {"kid": ...}
    op.answers["/jwks"] = Answer({"keys": [jwk(key("rsa:2048"), kid=str(number)) for number in range(15)] + [op.jwk()]})
    assert exchange(rp, op).access_token == ACCESS_TOKEN

    op.requests.clear()
    rp._keys._fetched_at -= 301
    op.answers["/jwks"] = Answer({"keys": [jwk(key("rsa:2048"), kid=str(number)) for number in range(16)] + [op.jwk()]})
    assert refused(rp, op) == "id_token_signature"


UNNAMED: dict[str, Callable[[Idp], list[dict[str, Any]]]] = {
    "no-kid": lambda op: [{name: value for name, value in op.jwk().items() if name != "kid"}],
    "kid-null": lambda op: [op.jwk() | {"kid": None}],
    "beside-a-named-one": lambda op: [op.jwk() | {"kid": None}, jwk(key("rsa:2048"), kid=op.kid)],
    "without-use-and-alg": lambda op: [{name: op.jwk()[name] for name in ("kty", "n", "e")}],
}


def test_a_key_without_a_name_is_tried(fresh: Callable[[], GenericOIDCProvider], op: Idp) -> None:
    """H244, H166: also for a token that names a key: many providers name it in the token alone."""
    for name, published in UNNAMED.items():
        with case(name):
            rp = fresh()
            op.answers["/jwks"] = Answer({"keys": published(op)})

            assert exchange(rp, op).access_token == ACCESS_TOKEN


@pytest.mark.parametrize(("name", "alg"), [("rsa:2048", "RS256"), ("ec:256", "ES256"), ("ed:25519", "EdDSA")])
def test_a_key_may_stand_in_a_certificate_alone(rp: GenericOIDCProvider, op: Idp, name: str, alg: str) -> None:
    """H244: a JWK that has ``x5c`` and no numbers; another certificate's key verifies nothing."""
    kind = jwk(key(name))["kty"]
    certified = {"kty": kind, "kid": "key-1", "x5c": [certificate(key(name))]}
    token = jws.read(compact({"alg": alg}, {"sub": "ada"}, key(name), alg))

    assert jws.verify_signature(token, certified)
    assert not jws.verify_signature(token, certified | {"x5c": [certificate(op.key)]})
    for broken in (["!"], [], "x", [5], None, [b64(b"x")]):
        assert not jws.verify_signature(token, certified | {"x5c": broken})


def certificate(private: Any) -> str:
    """A self-signed certificate, as ``x5c`` has it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signing")])
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    made = x509.CertificateBuilder(name, name, private.public_key(), 1, begin, begin.replace(year=2099))
    digest = None if isinstance(private, ed25519.Ed25519PrivateKey) else SHA256()
    return base64.b64encode(made.sign(private, digest).public_bytes(Encoding.DER)).decode()


SAME_ALGORITHM = [("EdDSA", "Ed25519", True), ("Ed25519", "EdDSA", True), (None, "Ed25519", True)]
OTHER_ALGORITHM = [("Ed448", "Ed25519", False), ("Ed448", "EdDSA", False), ("ES256", "Ed25519", False)]


@pytest.mark.parametrize(("published", "used", "fits"), [*SAME_ALGORITHM, *OTHER_ALGORITHM])
def test_an_edwards_curve_has_two_names(
    rp: GenericOIDCProvider, op: Idp, published: str | None, used: str, fits: bool
) -> None:
    """H244: ``EdDSA`` and the name of the curve (RFC 9864) mean one algorithm; that of another curve does not."""
    alg = {"alg": published} if published else {}
    op.answers["/jwks"] = Answer({"keys": [jwk(key("ed:25519"), kid="key-1") | alg]})
    op.claims = {"at_hash": ...}
    op.forge = lambda header, claims: compact(header | {"alg": used}, claims, key("ed:25519"), "EdDSA")

    if fits:
        assert exchange(rp, op).access_token == ACCESS_TOKEN
    else:
        assert refused(rp, op) == "id_token_signature"


def test_a_key_of_one_curve_signs_nothing_for_the_other(rp: GenericOIDCProvider, op: Idp) -> None:
    """H139: ``Ed25519`` in the header of a token that an Ed448 key has signed, and the other way round."""
    for name, claimed in (("ed:448", "Ed25519"), ("ed:25519", "Ed448")):
        with case(name):
            op.requests.clear()
            rp._keys._fetched_at -= 301
            op.answers["/jwks"] = Answer({"keys": [jwk(key(name), kid="key-1")]})
            op.forge = lambda header, claims, name=name, alg=claimed: compact(
                header | {"alg": alg}, claims, key(name), "EdDSA"
            )

            assert refused(rp, op) == "id_token_signature"


HASHES: dict[str, bytes] = {
    "Ed25519": hashlib.sha512(ACCESS_TOKEN.encode()).digest()[:32],
    "Ed448": hashlib.shake_256(ACCESS_TOKEN.encode()).digest(57),
}


@pytest.mark.parametrize(("alg", "half"), HASHES.items(), ids=HASHES)
def test_an_edwards_curve_has_its_own_hash(rp: GenericOIDCProvider, op: Idp, alg: str, half: bytes) -> None:
    """H134: ``at_hash`` of Ed25519 is made by SHA-512, that of Ed448 by SHAKE256 with 114 bytes (RFC 8032 §5)."""
    private = key(f"ed:{alg[2:]}")
    op.answers["/jwks"] = Answer({"keys": [jwk(private, kid="key-1")]})
    op.claims = {"at_hash": b64(half)}
    op.forge = lambda header, claims: compact(header | {"alg": alg}, claims, private, "EdDSA")

    assert exchange(rp, op).access_token == ACCESS_TOKEN


def test_only_the_public_part_of_a_key_is_used(rp: GenericOIDCProvider, op: Idp) -> None:
    """H168: a provider that publishes its private key, or junk in its place, still signs in."""
    op.answers["/jwks"] = Answer({"keys": [op.jwk() | {"d": "!", "p": 5, "q": None, "k": "x", "oth": [], "x5c": "?"}]})

    assert exchange(rp, op).access_token == ACCESS_TOKEN


MALFORMED_KEYS: dict[str, dict[str, Any]] = {
    **{f"n-{value!r}": {"n": value} for value in (None, 5, [], {}, "", "!!", "é", "\ud800", "AA", "/w==")},
    **{f"e-{value!r}": {"e": value} for value in (None, 5, [], "", "AQ", "Ag", "_" * 400)},
    "n-even": {"n": b64(b"\xfe" * 256)},
    "n-100-KB": {"n": b64(b"\xff" * 100_000)},
    "n-missing": {"n": ...},
    "kty-list": {"kty": ["RSA"]},
    "kty-EC": {"kty": "EC"},
    "kty-missing": {"kty": ...},
    "EC-off-curve": {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32), "alg": ...},
    "EC-infinity": {"kty": "EC", "crv": "P-256", "x": b64(bytes(32)), "y": b64(bytes(32)), "alg": ...},
    "EC-unknown-curve": {"kty": "EC", "crv": ["P-256"], "x": 5, "y": {}, "alg": ...},
}


def test_a_malformed_key_is_skipped(op: Idp) -> None:
    """H168: it verifies nothing and crashes nothing; the right key beside it does its work."""
    for name, members in MALFORMED_KEYS.items():
        with case(name):
            bad = {name: value for name, value in (op.jwk() | members).items() if value is not ...}
            token = jws.read(compact({"alg": "RS256", "kid": "key-1"}, {}, op.key))

            assert not jws.verify_signature(token, bad)
            assert [jws.verify_signature(token, each) for each in (bad, op.jwk())] == [False, True]


# -- one token by itself ------------------------------------------------------------------------------------------


def test_validation_returns_the_claims(rp: GenericOIDCProvider, op: Idp) -> None:
    """``validate_id_token`` returns everything that the token says."""
    assert check(rp, op.id_token(nonce=NONCE), NONCE)["nonce"] == NONCE
    assert check(rp, op.id_token(email="ada@example.org"))["email"] == "ada@example.org"


BAD_BY_ITSELF: list[tuple[dict[str, Any], str]] = [
    ({"nonce": "x"}, "nonce"),
    ({"aud": "x"}, "aud"),
    ({"exp": 5}, "exp"),
    ({"iss": "x"}, "iss"),
    ({"sub": ""}, "sub"),
]


def test_validation_names_the_rule(rp: GenericOIDCProvider, op: Idp) -> None:
    """``validate_id_token`` checks what ``exchange_code`` checks."""
    for claims, rule in BAD_BY_ITSELF:
        with case(rule):
            with pytest.raises(TokenError) as caught:
                check(rp, op.id_token(**({"nonce": NONCE} | claims)), NONCE)

            assert caught.value.code == f"id_token_{rule}"


def test_validation_accepts_a_token_that_is_not_fresh(rp: GenericOIDCProvider, op: Idp) -> None:
    """A token by itself need not come from a moment ago; it must only not have expired."""
    assert check(rp, op.id_token(iat=int(time.time()) - 3000))["sub"] == "ada"


NO_ID_TOKENS = ["", ".", "..", "x", "é.é.é", "a.b.c", "\0", "\ud800.\ud800.\ud800", "." * 70_000]


def test_validation_of_anything_is_a_typed_error(rp: GenericOIDCProvider) -> None:
    """Any string other than an ID token is ``id_token_malformed``."""
    for token in NO_ID_TOKENS:
        with case(token):
            with pytest.raises(TokenError) as caught:
                check(rp, token)

            assert caught.value.code == "id_token_malformed"


def test_validation_needs_an_issuer() -> None:
    """Without ``issuer_url`` there are no keys, which the error says."""
    provider = GenericOIDCProvider(CLIENT, authorize_url="https://h/a", token_url="https://h/t")
    with pytest.raises(TokenError) as caught:
        check(provider, compact({"alg": "RS256"}, {}, key("rsa:2048")))

    assert caught.value.code == "jwks_failed"


def test_a_trusted_audience_may_stand_beside_us() -> None:
    """H123: where a provider always names a second audience, it can be trusted by name."""
    now = int(time.time())
    claims = {"iss": "i", "sub": "ada", "aud": [CLIENT, "api"], "exp": now + 60, "iat": now}
    token = jws.Unverified("", {"alg": "RS256"}, claims)

    def checked(trusted: tuple[str, ...]) -> dict[str, Any]:
        return jws.check_claims(token, issuer="i", client_id=CLIENT, nonce=None, trusted_audiences=trusted)

    assert checked(("api",)) == claims
    with pytest.raises(TokenError):
        checked(("other",))


def test_an_audience_is_trusted_by_name(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H242, H122, H123: one name or several; every audience but us must be among them."""
    for trusted in ["api", ["api", "more"], ("api",), {"api"}]:
        with case(trusted):
            honest(op).claims = {"aud": [CLIENT, "api"]}
            assert exchange(client(trusted_audiences=trusted), op).access_token == ACCESS_TOKEN

            honest(op).claims = {"aud": [CLIENT, "api", "stranger"]}
            assert refused(client(trusted_audiences=trusted), op) == "id_token_aud"
    for nothing in ["", [], [""], "a", ["ap", "i"]]:
        with case(nothing):
            honest(op).claims = {"aud": [CLIENT, "api"]}
            assert refused(client(trusted_audiences=nothing), op) == "id_token_aud"


def test_the_error_names_audience_and_setting(rp: GenericOIDCProvider, op: Idp) -> None:
    """H242: as plain text, cut, so that what to set can be copied from it."""
    op.claims = {"aud": [CLIENT, "<b>246361787010646019\x1b[31m\n" + "x" * 500]}
    with pytest.raises(TokenError) as caught:
        exchange(rp, op)

    assert "'<b>246361787010646019[31mxxx" in str(caught.value)
    assert "trusted_audiences" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_the_error_names_every_other_audience(rp: GenericOIDCProvider, op: Idp) -> None:
    """H242: one sign-in is enough to see what to set; a token that names many does not fill the screen."""
    op.claims = {"aud": ["first", CLIENT, "second"]}
    with pytest.raises(TokenError, match=r"other applications: 'first', 'second'\. If"):
        exchange(rp, op)

    op.claims = {"aud": [CLIENT, *map(str, range(1000))]}
    with pytest.raises(TokenError, match=r"'4' and more\. If"):
        exchange(rp, op)


def test_a_numeric_subject_is_its_decimal_text(rp: GenericOIDCProvider, op: Idp) -> None:
    """H244, H126: it is the same user as the text, in every way the claims are read."""
    op.claims = {"sub": 4711}
    tokens = exchange(rp, op)

    assert rp.claims(tokens)["sub"] == "4711"
    assert check(rp, op.id_token())["sub"] == "4711"
    rp.check_continuity(tokens, OAuthTokenSet("CANARY", id_token=op.id_token(sub="4711")))
    with pytest.raises(TokenError):
        rp.check_continuity(tokens, OAuthTokenSet("CANARY", id_token=op.id_token(sub=4712)))


@pytest.mark.parametrize(("rule", "accepted"), [(lambda _: True, True), (lambda _: False, False)])
def test_an_issuer_may_be_a_rule(rule: Callable[[dict[str, Any]], bool], accepted: bool) -> None:
    """H141, H142: a provider with several issuers decides by the claims; a missing ``iss`` is refused in any case."""
    now = int(time.time())
    claims: dict[str, Any] = {"iss": "i", "sub": "ada", "aud": CLIENT, "exp": now + 60, "iat": now}

    def codes(claims: dict[str, Any]) -> str:
        try:
            jws.check_claims(jws.Unverified("", {}, claims), issuer=rule, client_id=CLIENT, nonce=None)
        except TokenError as error:
            return error.code
        return ""

    assert codes(claims) == ("" if accepted else "id_token_iss")
    assert codes(claims | {"iss": None}) == "id_token_iss"
