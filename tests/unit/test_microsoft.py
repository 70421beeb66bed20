"""`MicrosoftProvider` against an authority with many tenants, as Microsoft's is."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import AuthFlowManager, SessionManager, TokenError, TokenRefreshError
from pywry_auth_nb.errors import AuthenticationError, ConfigurationError
from pywry_auth_nb.providers import MicrosoftProvider
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI, exchange
from tests.support.idp import CLIENT, Answer
from tests.support.lookalikes import CONTOSO, PERSONAL, SECRET, WORDS, MicrosoftLookalike

if TYPE_CHECKING:
    from collections.abc import Callable


FABRIKAM = "99999999-8888-7777-6666-555555555555"


@pytest.fixture(scope="module")
def kind() -> type[MicrosoftLookalike]:
    """The provider of this module's tests."""
    return MicrosoftLookalike


def code(work: Callable[..., Any], *arguments: Any) -> str:
    """Return the code of what goes wrong, after a look at its words; or nothing."""
    try:
        work(*arguments)
    except TokenError as error:
        failure = error
    else:
        return ""
    assert not {word for word in ("CANARY", WORDS) if word in str(failure) + repr(failure)}
    return failure.code


def prepare(rp: MicrosoftProvider) -> None:
    """Discover."""
    asyncio.run(rp.prepare())


def key_without_issuer(op: MicrosoftLookalike) -> None:
    """Publish the key without saying for whom it signs."""
    op.answers["/keys"] = Answer({"keys": [{k: v for k, v in op.jwk().items() if k != "issuer"}]})


def answered(rp: MicrosoftProvider, iss: str) -> str:
    """Return the code with which an authorization response of this issuer is refused, or nothing."""
    asyncio.run(rp.prepare())
    return code(lambda: rp.check_issuer(iss))


def test_the_addresses_are_known_beforehand() -> None:
    """A3, A7: ``build_authorize_url`` needs no request; the seed's attributes and scopes, offline_access included."""
    rp = MicrosoftProvider(CLIENT)
    asked = dict(parse_qsl(urlsplit(rp.build_authorize_url(REDIRECT_URI, "s")).query))

    assert rp.authorize_url == "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
    assert rp.token_url == "https://login.microsoftonline.com/common/oauth2/v2.0/token"
    assert rp.userinfo_url == "https://graph.microsoft.com/oidc/userinfo"
    assert rp.revocation_url == ""
    assert rp.tenant_id == "common"
    assert rp.issuer_url == "https://login.microsoftonline.com/common/v2.0"
    assert asked["scope"] == "openid email profile offline_access"
    assert "prompt" not in asked, "Microsoft gives refresh tokens without being asked for consent every time"


def test_a_whole_sign_in(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """A6: with the default tenant: sign in as a user of one tenant, refresh, sign out."""
    rp = client()
    session = SessionManager(rp)
    flow = AuthFlowManager(rp, session_manager=session)

    async def go() -> None:
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(op.authorize(str(request.url)))
        assert session.user is not None
        assert (session.user["iss"], session.user["tid"]) == (op.issuer_of(CONTOSO), CONTOSO)
        assert session.user["name"] == "Ada Lovelace"
        await session.refresh()
        await session.logout()

    asyncio.run(go())
    assert op.requests_to("/common/oauth2/v2.0/token") == 2


WHO = {
    ("common", CONTOSO): "",
    ("common", PERSONAL): "",
    ("organizations", CONTOSO): "",
    ("organizations", PERSONAL): "id_token_iss",
    ("consumers", PERSONAL): "",
    ("consumers", CONTOSO): "id_token_iss",
    (CONTOSO, CONTOSO): "",
    (CONTOSO.upper(), CONTOSO): "",
    (CONTOSO, FABRIKAM): "id_token_iss",
    (PERSONAL, PERSONAL): "",
    ("contoso.example", CONTOSO): "",
    ("Contoso.Example", CONTOSO): "",
    ("contoso.example", FABRIKAM): "id_token_iss",
}


def test_who_may_sign_in_where(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """A6: ``tenant_id`` decides whose ID tokens ``exchange_code`` accepts, and whose response (RFC 9207)."""
    for tenants, expected in WHO.items():
        with case(tenants):
            op.be_honest()
            where, op.tid = tenants
            rp = client(where)

            assert code(exchange, rp, op) == expected
            assert answered(rp, op.issuer_of(op.tid)) == ("issuer_mismatch" if expected else "")


BAD_ISSUERS: dict[str, dict[str, Any]] = {
    "tid-missing": {"tid": ...},
    "tid-other": {"tid": FABRIKAM},
    "tid-list": {"tid": [CONTOSO]},
    "tid-null": {"tid": None},
    "iss-template": {"iss": "{tenantid}", "tid": "{tenantid}"},
    "iss-common": {"iss": "common", "tid": "common"},
    "iss-upper-case": {"iss": CONTOSO.upper().replace("1", "A"), "tid": CONTOSO.upper().replace("1", "A")},
    "iss-no-guid": {"iss": "contoso.example", "tid": "contoso.example"},
    "iss-longer": {"iss": f"{CONTOSO}/x", "tid": f"{CONTOSO}/x"},
    "iss-newline": {"iss": f"{CONTOSO}\n", "tid": f"{CONTOSO}\n"},
    "iss-empty": {"iss": "", "tid": ""},
}


def test_an_issuer_must_be_that_of_its_tenant(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """A6, B3, H141: ``tid`` is a GUID, and ``iss`` is built from it, character by character."""
    for name, claims in BAD_ISSUERS.items():
        with case(name):
            op.be_honest()
            op.claims = claims | ({"iss": op.issuer_of(claims["iss"])} if "iss" in claims else {})
            key_without_issuer(op)

            assert code(exchange, client(), op) == "id_token_iss"


ISSUERS = ["https://evil.example/{}/v2.0", "https://sts.windows.net/{}/", "{}", "http://127.0.0.1/{}/v2.0"]


def test_another_authority_is_another_issuer(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """A6, B4: the tenant's GUID alone proves nothing, in an ID token and in a response."""
    for iss in ISSUERS:
        with case(iss):
            op.be_honest()
            op.claims = {"iss": iss.format(CONTOSO)}
            key_without_issuer(op)

            for where in ("common", "organizations", CONTOSO, "contoso.example"):
                assert code(exchange, client(where), op) == "id_token_iss"
                assert answered(client(where), iss.format(CONTOSO)) == "issuer_mismatch"


def test_one_tenant_needs_no_tid(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """Without the scope profile Microsoft may leave ``tid`` out: where one issuer is expected, ``iss`` says it all."""
    op.claims = {"tid": ...}
    assert code(exchange, client(CONTOSO), op) == ""

    op.claims = {"tid": FABRIKAM}
    assert code(exchange, client(CONTOSO), op) == "id_token_iss"


OWNERS: dict[str, tuple[Any, str]] = {
    "template": ("{tenantid}", ""),
    "this-tenant": (CONTOSO, ""),
    "another-tenant": (PERSONAL, "id_token_signature"),
    "empty": ("", "id_token_signature"),
}


def test_a_key_signs_for_its_owner_alone(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """A6: Microsoft says beside each key for which issuer it signs; a key of personal accounts speaks for no tenant."""
    for name, (owner, expected) in OWNERS.items():
        with case(name):
            op.be_honest()
            op.key_owner = op.issuer_of(owner)

            assert code(exchange, client(), op) == expected


def test_a_key_s_owner_must_be_text(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """B3: anything else owns nothing; no owner at all is as before Microsoft published it."""
    op.key_owner = None
    assert code(exchange, client(), op) == "id_token_signature"

    key_without_issuer(op)
    assert code(exchange, client(), op) == ""


METADATA = {
    "common": ["{tenantid}"],
    "organizations": ["{tenantid}"],
    "consumers": [PERSONAL],
    CONTOSO: [CONTOSO],
    "contoso.example": [CONTOSO, FABRIKAM],
}


def test_metadata_is_of_the_tenant_that_was_asked(
    client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike
) -> None:
    """A6, H035: the template where it means many tenants, else one tenant's GUID: the very one where it is known."""
    for where, said in product(METADATA, ["{tenantid}", CONTOSO, FABRIKAM, PERSONAL, "common", "contoso.example", ""]):
        with case(where, said):
            op.be_honest()
            op.metadata = {"issuer": op.issuer_of(said)}
            accepted = METADATA[where] + ([PERSONAL] if where == "contoso.example" else [])

            expected = "" if said in accepted else "metadata_issuer"
            assert code(prepare, client(where)) == expected


def test_another_issuer_s_metadata_is_refused(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """H035: also where Microsoft's own rule is looser than OpenID Connect's."""
    for issuer in [None, 5, ["x"], "https://evil.example/{tenantid}/v2.0", ...]:
        with case(issuer):
            op.be_honest()
            op.answers["/common/v2.0/.well-known/openid-configuration"] = Answer(
                {} if issuer is ... else {"issuer": issuer}
            )

            assert code(prepare, client()) == "metadata_issuer"


BAD_TENANTS = [
    "",
    "/",
    "a/b",
    "..",
    ".",
    "a b",
    "common/",
    "x?y",
    "x#y",
    "x@y",
    "x%2Fy",
    "-x",
    "é",
    "a\n",
    "x" * 300,
    "{x}",
]


def test_a_tenant_must_be_a_name() -> None:
    """B16: it becomes part of an address; ``ConfigurationError`` is also ``AuthenticationError`` and ``ValueError``."""
    for tenant in BAD_TENANTS:
        with case(tenant):
            with pytest.raises(ConfigurationError) as caught:
                MicrosoftProvider(CLIENT, tenant_id=tenant)
            assert isinstance(caught.value, AuthenticationError)
            assert isinstance(caught.value, ValueError)
            assert "tenant_id" in str(caught.value)


# -- what Microsoft says ------------------------------------------------------------------------------------------


def test_a_single_page_registration_is_explained(
    client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike
) -> None:
    """AADSTS9002327, of ``exchange_code``: what to change in the registration."""
    op.platform = "spa"
    with pytest.raises(TokenError, match="Mobile and desktop applications") as caught:
        exchange(client(), op)

    assert caught.value.code == "registered_as_spa"
    assert WORDS not in str(caught.value)
    assert caught.value.description == f"AADSTS9002327: {WORDS} Trace ID: 0 Timestamp: 2026-01-01 00:00:00Z"


REGISTRATIONS = [
    ("public", "", ""),
    ("public", SECRET, "client_secret_unwanted"),
    ("web", "", "client_secret_missing"),
    ("web", "CANARY-wrong", "invalid_client"),
    ("web", SECRET, ""),
]


def test_the_secret_fits_the_registration(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """AADSTS7000218, 7000215, 700025: whether a secret is wanted is a matter of registration."""
    for platform, secret, expected in REGISTRATIONS:
        with case(platform, expected):
            op.be_honest()
            op.platform = platform

            assert code(exchange, client(client_secret=secret), op) == expected


NUMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "700016": ({"error": "unauthorized_client", "error_codes": [700016]}, "unauthorized_client"),
    "50011": ({"error": "invalid_request", "error_codes": [50011]}, "redirect_uri_mismatch"),
    "500113": ({"error": "invalid_request", "error_codes": [500113]}, "redirect_uri_mismatch"),
    "7000222": ({"error": "invalid_client", "error_codes": [7000222]}, "invalid_client"),
    "50194": ({"error": "invalid_request", "error_codes": [50194]}, "tenant_mismatch"),
    "9002346": ({"error": "invalid_request", "error_codes": [9002346]}, "tenant_mismatch"),
    "second": ({"error": "invalid_request", "error_codes": [1, 50011]}, "redirect_uri_mismatch"),
    "text": ({"error": "invalid_request", "error_description": f"AADSTS50011: {WORDS}"}, "redirect_uri_mismatch"),
    "text-within": ({"error": "invalid_request", "error_description": f"{WORDS} AADSTS50011"}, "invalid_request"),
    "unknown": ({"error": "invalid_request", "error_codes": [99], "error_description": WORDS}, "invalid_request"),
    "malformed": ({"error": "invalid_request", "error_codes": ["50011", None, {}]}, "invalid_request"),
    "codes-no-list": ({"error": "invalid_request", "error_codes": 50011}, "invalid_request"),
    "text-no-text": ({"error": "invalid_request", "error_description": ["AADSTS50011"]}, "invalid_request"),
    "expired": ({"error": "invalid_grant", "error_codes": [700082]}, "invalid_grant"),
    "mfa": ({"error": "interaction_required", "error_codes": [50076]}, "invalid_grant"),
    "consent": ({"error": "consent_required", "error_codes": [65001]}, "invalid_grant"),
    "throttled": ({"error": "temporarily_unavailable", "error_codes": [50196]}, "provider_unavailable"),
}


def test_an_error_is_known_by_its_number(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """A15: of ``exchange_code`` and, as ``TokenRefreshError``, of ``refresh_tokens``; nothing is quoted."""
    for name, (body, expected) in NUMBERS.items():
        with case(name):
            op.be_honest()
            op.answers["/common/oauth2/v2.0/token"] = Answer(body, 400)
            rp = client()

            assert code(exchange, rp, op) == expected
            with pytest.raises(TokenRefreshError) as caught:
                asyncio.run(rp.refresh_tokens("CANARY-rt"))
            assert caught.value.code == ("token_refused" if expected == "invalid_request" else expected)


def test_a_refresh_stays_in_its_tenant(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """B2: with ``common`` a token of another tenant is another user's, even if ``sub`` is the same."""
    rp = client()
    old = exchange(rp, op)
    op.tid = FABRIKAM
    new = asyncio.run(rp.refresh_tokens(str(old.refresh_token)))

    with pytest.raises(TokenRefreshError) as caught:
        rp.check_continuity(old, new)
    assert caught.value.code == "identity_changed"


def test_the_other_methods(client: Callable[..., MicrosoftProvider], op: MicrosoftLookalike) -> None:
    """``get_userinfo`` is Graph's; ``validate_id_token`` knows the tenants; ``revoke_token`` is False; ``close``."""
    rp = client()
    tokens = exchange(rp, op)

    assert asyncio.run(rp.get_userinfo(tokens.access_token))["sub"] == "ada"
    assert asyncio.run(rp.validate_id_token(op.id_token()))["tid"] == CONTOSO
    assert code(lambda: asyncio.run(rp.validate_id_token(op.id_token(tid=FABRIKAM)))) == "id_token_iss"
    assert code(lambda: asyncio.run(rp.get_userinfo("CANARY"))) == "userinfo_failed"
    assert asyncio.run(rp.revoke_token(tokens.access_token)) is False
    asyncio.run(rp.close())
    assert exchange(rp, op).access_token


def test_a_tenant_that_is_not_there_is_an_error(client: Callable[..., MicrosoftProvider]) -> None:
    """Discovery reports an unknown tenant before the browser is redirected."""
    assert code(prepare, client("nobody.example")) == "discovery_failed"
