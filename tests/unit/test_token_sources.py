"""Sources that ask no person: a token or refresh token that is provided, and the client's own credentials."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pywry_auth_nb import (
    AccessTokenSource,
    ClientAssertion,
    ClientCredentialsSource,
    ClientKey,
    ConfigurationError,
    FileTokenStore,
    GenericOIDCProvider,
    LoginRequired,
    MemoryTokenStore,
    OAuth2Settings,
    RefreshTokenSource,
    SessionManager,
    TokenError,
    TokenExpiredError,
    create_provider_from_settings,
    reset_token_store,
)
from pywry_auth_nb.providers import access_token_source
from tests.conftest import sign_in
from tests.support.idp import CLIENT, Answer, Idp, compact
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pywry_auth_nb import AuthFlowManager

SECRET = "CANARY-client-secret"


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder for Jupyter's configuration, and no token store yet."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    reset_token_store()
    yield
    reset_token_store()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where something puts a token."""
    return tmp_path / "token"


@pytest.fixture
def seed(flow: AuthFlowManager, session: SessionManager, idp: Idp) -> str:
    """A refresh token of Ada's."""
    sign_in(flow, idp)
    assert session._engine.state.tokens is not None
    return str(session._engine.state.tokens.refresh_token)


def made(idp: Idp, lifetime: float, **claims: Any) -> str:
    """A JWT that is good for so many seconds."""
    return compact({"alg": "RS256"}, {"exp": int(time.time() + lifetime), **claims}, idp.key)


def refused(session: SessionManager) -> LoginRequired:
    """Why there is no token to read."""
    with pytest.raises(LoginRequired) as caught:
        _ = session.access_token
    return caught.value


# -- an access token --------------------------------------------------------------------------------------------------


def test_a_token_in_a_setting() -> None:
    """Reading it is enough; without a known end it has none."""
    session = SessionManager(AccessTokenSource("CANARY-at"))

    assert session.access_token == "CANARY-at"
    assert (session.status, session.expires_at, session.user) == ("signed_in", None, None)
    assert session.headers == {"Authorization": "Bearer CANARY-at"}


def test_a_jwt_says_when_it_ends(idp: Idp) -> None:
    """``exp`` is the end of a token in a setting, which is not verified."""
    session = SessionManager(AccessTokenSource(made(idp, 600)))

    _ = session.access_token
    assert session.expires_at == pytest.approx(time.time() + 600, abs=2)


def test_a_token_that_has_expired(idp: Idp) -> None:
    """It is not handed out; the message says where to put another."""
    error = refused(SessionManager(AccessTokenSource(made(idp, -5))))

    assert error.code == "provided_token_expired"
    assert "the setting 'access_token'" in error.message


def test_a_file_that_changes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read again after a minute at most: here after a second."""
    monkeypatch.setattr(access_token_source, "_LOOK_AGAIN", 1.0)
    place.write_text("CANARY-at-1\n")
    session = SessionManager(AccessTokenSource(file=place))
    assert session.access_token == "CANARY-at-1"

    place.write_text("CANARY-at-2\n")
    until(lambda: session.access_token == "CANARY-at-2")


def test_a_file_is_read_when_an_api_rejects_the_token(place: Path) -> None:
    """A 401 leads to the token that is in the file by then."""
    place.write_text("CANARY-at-1")
    session = SessionManager(AccessTokenSource(file=place))
    old = session.access_token
    place.write_text("CANARY-at-2")

    assert asyncio.run(session._engine.refresh_rejected(old)) == "CANARY-at-2"


def test_a_file_that_nothing_renews(place: Path, idp: Idp) -> None:
    """The token ends with its ``exp``; one that is put there later is found at the next read."""
    place.write_text(made(idp, 4))
    session = SessionManager(AccessTokenSource(file=place))
    _ = session.access_token
    until(lambda: time.time() >= session._engine.state.expiry)

    with pytest.raises(TokenExpiredError) as caught:
        _ = session.access_token
    assert caught.value.code == "provided_token_expired"
    place.write_text("CANARY-at-2")
    until(lambda: _token_of(session) == "CANARY-at-2")


def _token_of(session: SessionManager) -> str:
    try:
        return str(session.access_token)
    except TokenExpiredError:
        return ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("", "empty"),
        ("CANARY one", "something else"),
        ('{"access_token": "CANARY"}', "something else"),
        ("CANARY\nCANARY", "something else"),
        (b"\xff\xfe", "not text"),
    ],
)
def test_a_file_without_a_token(place: Path, content: str | bytes | None, reason: str) -> None:
    """The error names the file and what is wrong with it, and quotes nothing; the token may come later."""
    if content is not None:
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    session = SessionManager(AccessTokenSource(file=place))

    error = refused(session)
    assert error.code == "token_not_provided"
    assert str(place) in error.message
    assert reason in error.message
    place.write_text("CANARY-at")
    asyncio.run(session._engine.acquire_silently())
    assert session.access_token == "CANARY-at"


@pytest.mark.parametrize("value", ["", "Bearer CANARY", "CANARY\n", "CANARÿ"])
def test_a_setting_without_a_token(value: str) -> None:
    """A setting that is not one token is refused where it is made, without quoting it."""
    with pytest.raises(ConfigurationError, match="access_token") as caught:
        AccessTokenSource(value)
    assert "CANAR" not in caught.value.message


def test_a_provided_token_is_not_revoked(idp: Idp, place: Path) -> None:
    """A sign-out forgets the token: it belongs to what provided it. The next sign-in takes it again."""
    session = SessionManager(AccessTokenSource("CANARY-at"))
    _ = session.access_token

    result = asyncio.run(session.logout())

    assert result.access_token == "no_endpoint"
    assert refused(session).code == "login_required"
    assert session.login(5).tokens is not None
    assert session.access_token == "CANARY-at"


def test_another_token_in_the_setting_is_another_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set-up cell that is run again after the environment has changed uses the new token."""
    monkeypatch.setenv("PYWRY_OAUTH2__ACCESS_TOKEN", "CANARY-at-1")
    assert SessionManager.from_settings().access_token == "CANARY-at-1"
    monkeypatch.setenv("PYWRY_OAUTH2__ACCESS_TOKEN", "CANARY-at-2")

    assert SessionManager.from_settings().access_token == "CANARY-at-2"


def test_a_provided_token_is_not_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The configured store gets no second copy of it."""
    monkeypatch.setenv("PYWRY_OAUTH2__TOKEN_STORE_BACKEND", "file")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PYWRY_OAUTH2__ACCESS_TOKEN", "CANARY-at")

    session = SessionManager.from_settings()

    assert session.access_token == "CANARY-at"
    assert isinstance(session.token_store, MemoryTokenStore)


# -- a refresh token --------------------------------------------------------------------------------------------------


def test_a_refresh_token(provider: GenericOIDCProvider, idp: Idp, seed: str) -> None:
    """It is redeemed when a token is read, and its ID token says whose it is."""
    session = SessionManager(RefreshTokenSource(provider, seed), MemoryTokenStore())

    assert session.access_token.startswith("CANARY-at-")
    assert session.display_name == "Ada"
    assert idp.last("/token").form["refresh_token"] == seed


def test_a_rotated_refresh_token_is_found_in_the_store(
    provider: GenericOIDCProvider, idp: Idp, seed: str, tmp_path: Path
) -> None:
    """The next kernel continues with the replacement: the one that was provided is spent."""
    store = FileTokenStore(tmp_path / "tokens")
    first = SessionManager(RefreshTokenSource(provider, seed), store)
    _ = first.access_token
    replacement = next(token for token, good in idp.refresh_tokens.items() if good)

    second = SessionManager(RefreshTokenSource(provider, seed), FileTokenStore(tmp_path / "tokens"))

    assert second.access_token == first.access_token
    asyncio.run(second.refresh())
    assert idp.last("/token").form["refresh_token"] == replacement


def test_many_kernels_redeem_it_once(provider: GenericOIDCProvider, idp: Idp, seed: str, tmp_path: Path) -> None:
    """Sessions that begin at once with an empty store redeem the token once: reuse would end it (RFC 9700 §4.14.2)."""
    asked = idp.requests_to("/token")
    sessions = [
        SessionManager(RefreshTokenSource(provider, seed), FileTokenStore(tmp_path / "tokens")) for _ in range(8)
    ]

    async def read() -> set[str]:
        return set(await asyncio.gather(*(session.get_access_token() for session in sessions)))

    assert len(asyncio.run(read())) == 1
    assert idp.requests_to("/token") == asked + 1


def test_a_refresh_token_that_is_refused(provider: GenericOIDCProvider, idp: Idp, seed: str) -> None:
    """The sign-in ends, and the message says where another refresh token must be put."""
    idp.refresh_tokens.clear()
    session = SessionManager(RefreshTokenSource(provider, seed), MemoryTokenStore())

    with pytest.raises(TokenExpiredError, match="Put a new one there") as caught:
        _ = session.access_token
    assert caught.value.code == "invalid_grant"
    assert session.status == "reauth_required"


def test_another_refresh_token_begins_anew(provider: GenericOIDCProvider, idp: Idp, seed: str) -> None:
    """One that is provided later does not meet the record of the one before."""
    store = MemoryTokenStore()
    idp.refresh_tokens[seed] = False
    with pytest.raises(TokenExpiredError):
        _ = SessionManager(RefreshTokenSource(provider, seed), store).access_token
    idp.refresh_tokens["CANARY-rt-new"] = True

    assert SessionManager(RefreshTokenSource(provider, "CANARY-rt-new"), store).access_token.startswith("CANARY-at-")


def test_the_provider_is_away(provider: GenericOIDCProvider, idp: Idp, seed: str) -> None:
    """A failure that passes ends nothing: the next read tries again."""
    idp.answers["/token"] = Answer({}, 503, times=1)
    session = SessionManager(RefreshTokenSource(provider, seed), MemoryTokenStore())
    with pytest.raises(TokenExpiredError) as caught:
        _ = session.access_token
    assert caught.value.code == "provider_unavailable"

    until(lambda: bool(_token_of(session)))


def test_a_refresh_token_in_a_file(provider: GenericOIDCProvider, idp: Idp, seed: str, place: Path) -> None:
    """A file works as well; one that is not there is an error at once."""
    with pytest.raises(ConfigurationError, match="No such file"):
        RefreshTokenSource(provider, file=place)
    place.write_text(seed + "\n")

    assert SessionManager(RefreshTokenSource(provider, file=place)).access_token.startswith("CANARY-at-")


def test_a_sign_out_revokes_it(provider: GenericOIDCProvider, idp: Idp, seed: str) -> None:
    """All its tokens end; afterwards the session does not begin by itself again."""
    store = MemoryTokenStore()
    session = SessionManager(RefreshTokenSource(provider, seed), store)
    _ = session.access_token

    assert asyncio.run(session.logout()).complete
    assert not any(idp.refresh_tokens.values())
    assert refused(SessionManager(RefreshTokenSource(provider, seed), store)).code == "login_required"


# -- client credentials -----------------------------------------------------------------------------------------------


def service(idp: Idp, secret: str = SECRET, **options: Any) -> ClientCredentialsSource:
    """A client that gets tokens for itself."""
    return ClientCredentialsSource(GenericOIDCProvider(CLIENT, secret, idp.issuer, **options))


@pytest.mark.parametrize("way", ["basic", "post"])
def test_client_credentials(idp: Idp, way: str) -> None:
    """The client identifies itself in either way, asks for its own scopes, and is the subject of the token."""
    session = SessionManager(
        service(idp, scopes="openid profile jobs.run", client_auth=way, audience="reports", resource="https://api.test")
    )

    assert session.access_token.startswith("CANARY-at-")
    form = idp.last("/token").form
    assert form["audience"] == "reports"
    assert (form["grant_type"], form["scope"], form["resource"]) == (
        "client_credentials",
        "jobs.run",
        "https://api.test",
    )
    assert ("client_secret" in form) == (way == "post")
    assert session.user == {"sub": CLIENT}
    assert session.scopes == ("jobs.run",)


def test_the_scopes_of_users_are_not_asked_for(idp: Idp) -> None:
    """With the default scopes the client asks for none: which ones it gets is its registration's."""
    _ = SessionManager(service(idp)).access_token

    assert "scope" not in idp.last("/token").form


def test_a_new_token_when_the_old_ends(idp: Idp) -> None:
    """Without a refresh token the client asks again, in the background."""
    idp.lifetime = 4
    session = SessionManager(service(idp))
    first = session.access_token

    until(lambda: session._engine.state.tokens.access_token != first, 10)
    assert session.status == "signed_in"
    assert {request.form.get("grant_type") for request in idp.requests if request.path == "/token"} == {
        "client_credentials"
    }


def test_a_client_that_may_not(idp: Idp) -> None:
    """A refusal is an error at the read, with its code."""
    idp.answers["/token"] = Answer({"error": "unauthorized_client"}, 400)

    assert refused(SessionManager(service(idp))).code == "unauthorized_client"


def test_a_client_without_a_secret(idp: Idp) -> None:
    """It has no credentials, which is said before any request."""
    with pytest.raises(ConfigurationError, match="CLIENT_KEY_FILE"):
        service(idp, "")


def test_tokens_of_the_client_are_not_a_users(idp: Idp) -> None:
    """In one store the user's sign-in at the same client stays what it is, and so do tokens for other scopes."""
    provider = GenericOIDCProvider(CLIENT, SECRET, idp.issuer)
    names = {provider.identity, service(idp).identity, service(idp, scopes="jobs.run").identity}

    assert len(names) == 3


# -- a client's key ---------------------------------------------------------------------------------------------------


def rsa_key() -> Any:
    """An RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


KEYS: list[tuple[str, Callable[[], Any]]] = [
    ("RS256", rsa_key),
    ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
    ("ES384", lambda: ec.generate_private_key(ec.SECP384R1())),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate),
]


def pem_of(key: Any) -> bytes:
    """The key as PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))


@pytest.mark.parametrize(("algorithm", "make"), KEYS, ids=[name for name, _ in KEYS])
def test_a_signed_assertion(idp: Idp, place: Path, algorithm: str, make: Callable[[], Any]) -> None:
    """The provider gets an assertion by this client, for its token endpoint, for a minute, and no secret."""
    key = make()
    place.write_bytes(pem_of(key))
    session = SessionManager(service(idp, "", client_key=ClientKey(place, "key-7")))

    _ = session.access_token
    form = idp.last("/token").form
    assertion = form["client_assertion"]
    claims = jwt.decode(assertion, key.public_key(), [algorithm], audience=f"{idp.issuer}/token")
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert jwt.get_unverified_header(assertion)["kid"] == "key-7"
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == (CLIENT, CLIENT, 60)
    assert "client_secret" not in form
    assert form["client_id"] == CLIENT


def test_each_assertion_is_good_once(idp: Idp, place: Path) -> None:
    """Two requests have two: a provider may refuse one that it has seen (RFC 7523 §3)."""
    place.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    key = ClientKey(place)

    said = [jwt.decode(key.assertion(CLIENT, "x"), options={"verify_signature": False})["jti"] for _ in range(2)]
    assert said[0] != said[1]


def test_a_jwk(idp: Idp, place: Path) -> None:
    """A JWK brings its key ID along; ``audience`` replaces the endpoint."""
    key = ec.generate_private_key(ec.SECP256R1())
    place.write_text(json.dumps({**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key)), "kid": "key-9"}))

    assertion = ClientKey(place, audience=idp.issuer).assertion(CLIENT, f"{idp.issuer}/token")
    assert jwt.get_unverified_header(assertion)["kid"] == "key-9"
    assert jwt.decode(assertion, key.public_key(), ["ES256"], audience=idp.issuer)


def test_a_user_signs_in_with_a_client_that_has_a_key(idp: Idp, place: Path) -> None:
    """The code, refreshes and revocations are asked for with an assertion, too."""
    place.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    from pywry_auth_nb import AuthFlowManager

    flow = AuthFlowManager(
        GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, client_key=str(place)), MemoryTokenStore()
    )
    sign_in(flow, idp)
    asyncio.run(flow.session.refresh())
    asyncio.run(flow.session.logout())

    for path in ("/token", "/revoke"):
        audience = jwt.decode(idp.last(path).form["client_assertion"], options={"verify_signature": False})["aud"]
        assert audience == f"{idp.issuer}{path}"


def test_an_assertion_that_something_else_signs(idp: Idp, place: Path) -> None:
    """Workload identity: what is in the file by then is sent."""
    place.write_text("eyJ.one.x")
    session = SessionManager(service(idp, "", client_key=ClientAssertion(place)))
    _ = session.access_token
    assert idp.last("/token").form["client_assertion"] == "eyJ.one.x"
    place.write_text("eyJ.two.x")

    asyncio.run(session.refresh())
    assert idp.last("/token").form["client_assertion"] == "eyJ.two.x"


@pytest.mark.parametrize("content", [b"", b"CANARY", b'{"kty": "CANARY"}', b'{"kty": "oct", "k": "Q0FOQVJZ"}', None])
def test_a_file_without_a_key(place: Path, content: bytes | None) -> None:
    """It is refused where it is named, without quoting it."""
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"key cannot be read") as caught:
        ClientKey(place)
    assert str(place) in caught.value.message
    assert "CANARY" not in repr(caught.value)


def test_a_key_that_goes_away(idp: Idp, place: Path) -> None:
    """A key that was there and is not is an error of the request, with its code."""
    place.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    source = service(idp, "", client_key=ClientKey(place))
    place.unlink()

    assert refused(SessionManager(source)).code == "client_key_unusable"


def test_a_key_and_a_secret(idp: Idp, place: Path) -> None:
    """Only one of them can be meant."""
    place.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ConfigurationError, match="either"):
        GenericOIDCProvider(CLIENT, SECRET, idp.issuer, client_key=str(place))


# -- all of them ------------------------------------------------------------------------------------------------------


def sources(idp: Idp) -> list[Any]:
    """One of each."""
    provider = GenericOIDCProvider(CLIENT, SECRET, idp.issuer)
    return [
        AccessTokenSource("CANARY-at"),
        RefreshTokenSource(provider, "CANARY-rt"),
        ClientCredentialsSource(provider),
    ]


def test_no_page_to_sign_in_at(idp: Idp) -> None:
    """A sign-in in a browser cannot be begun, and they cannot be pickled, which would copy a secret."""
    for source in sources(idp):
        with pytest.raises(TokenError) as caught:
            source.build_authorize_url("http://127.0.0.1/callback", "state")
        assert caught.value.code == "token_provided"
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(source)


def test_nothing_shows_a_secret(idp: Idp, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a repr nor a log shows what was provided."""
    caplog.set_level(logging.DEBUG)
    for source in sources(idp):
        session = SessionManager(source, MemoryTokenStore())
        said = f"{source!r} {session!r} {vars(source)!r} {vars(getattr(source, '_provided', source))!r}"
        assert "CANARY" not in said


ORDER: list[tuple[str, dict[str, str], type]] = [
    ("a token before its file", {"access_token": "CANARY-at", "access_token_file": "/nowhere"}, AccessTokenSource),
    ("a token before a refresh token", {"access_token": "CANARY-at", "refresh_token": "CANARY-rt"}, AccessTokenSource),
    (
        "a refresh token before the client",
        {"refresh_token": "CANARY-rt", "grant_type": "client_credentials"},
        RefreshTokenSource,
    ),
    ("the client before a user", {"grant_type": "client_credentials"}, ClientCredentialsSource),
    ("else a user", {}, GenericOIDCProvider),
]


@pytest.mark.parametrize(("settings", "kind"), [case[1:] for case in ORDER], ids=[case[0] for case in ORDER])
def test_the_order(idp: Idp, settings: dict[str, str], kind: type) -> None:
    """The first that is set counts."""
    given = OAuth2Settings(provider="oidc", client_id=CLIENT, client_secret=SECRET, issuer_url=idp.issuer, **settings)

    assert type(create_provider_from_settings(given)) is kind


def test_an_argument_before_the_environment(monkeypatch: pytest.MonkeyPatch, idp: Idp, place: Path) -> None:
    """A source in a stronger layer of settings replaces every source of a weaker one."""
    monkeypatch.setenv("PYWRY_OAUTH2__ACCESS_TOKEN", "CANARY-at")
    place.write_text("CANARY-rt")
    settings = OAuth2Settings(provider="oidc", client_id=CLIENT, issuer_url=idp.issuer, refresh_token_file=str(place))

    assert type(create_provider_from_settings(settings)) is RefreshTokenSource


def test_client_credentials_from_settings(monkeypatch: pytest.MonkeyPatch, idp: Idp, place: Path) -> None:
    """Everything can be said in the environment."""
    key = ec.generate_private_key(ec.SECP256R1())
    place.write_bytes(pem_of(key))
    settings = {
        "PROVIDER": "oidc", "CLIENT_ID": CLIENT, "ISSUER_URL": idp.issuer, "GRANT_TYPE": "client_credentials",
        "CLIENT_KEY_FILE": str(place), "CLIENT_KEY_ID": "key-7", "CLIENT_ASSERTION_AUDIENCE": idp.issuer,
        "SCOPES": "jobs.run", "ALLOWED_ORIGINS": "https://api.example.org",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"PYWRY_OAUTH2__{name}", value)

    session = SessionManager.from_settings()

    assert session.access_token.startswith("CANARY-at-")
    assertion = idp.last("/token").form["client_assertion"]
    assert jwt.decode(assertion, key.public_key(), ["ES256"], audience=idp.issuer)
    assert session.allowed_origins == ["https://api.example.org"]
