"""Presets of `session.serve`: the protocols of AWS, Google, Anthropic and Databricks, with the light clients."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.auth
import httpx
import pytest
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from pywry_auth_nb import Audience, ConfigurationError, Role, TokenError
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager
    from tests.exits.sts import Sts

ARN = "arn:aws:iam::123456789012:role/reader"
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/jupyter"


def id_token(session: SessionManager) -> str:
    """The ID token that the session has now."""
    tokens = session._engine.state.tokens
    assert tokens is not None
    assert tokens.id_token is not None
    return tokens.id_token


# -- AWS --------------------------------------------------------------------------------------------------------------


def container_credentials() -> httpx.Response:
    """Ask as every AWS client asks for a container's credentials: by two variables, and with the key as it stands."""
    key = Path(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text()
    headers = {"Authorization": key, "Accept": "application/json", "User-Agent": "aws-sdk"}
    return httpx.get(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=headers, timeout=30)


def test_a_role_gives_its_keys_to_aws_clients(signed_in: SessionManager, sts: Sts) -> None:
    """The token is exchanged once, in this kernel, for all who ask; they never see it."""
    with signed_in.serve(aws=Role(ARN, sts=sts.url)) as exits:
        answers = [container_credentials().json() for _ in range(5)]

        assert set(answers[0]) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
        assert [answer["SecretAccessKey"] for answer in answers] == ["CANARY-secret-1"] * 5
        assert answers[0]["Token"] == "CANARY-session-1"
        assert "CANARY" not in repr(exits) + repr(signed_in._gate.__dict__)
    assert sts.forms == [
        {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleSessionName": "pywry-auth",
            "DurationSeconds": "3600",
            "WebIdentityToken": id_token(signed_in),
            "RoleArn": ARN,
        }
    ]


def test_keys_are_renewed_while_clients_still_take_the_old_ones(signed_in: SessionManager, sts: Sts) -> None:
    """Those who ask together cause one exchange; if it fails, the old keys are given out until they end."""
    sts.lifetime = 3600
    with signed_in.serve(aws=Role(ARN, sts=sts.url, token="access_token")):
        keys = next(iter(_keys(signed_in)))
        object.__setattr__(keys._keys, "issued_at", keys._keys.issued_at - 3600)
        object.__setattr__(keys._keys, "expires_at", keys._keys.expires_at - 3000)
        sts.refuses = True
        assert container_credentials().json()["Token"] == "CANARY-session-1"
        sts.refuses = False

        key = Path(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text()

        async def together() -> set[str]:
            async with httpx.AsyncClient(timeout=30) as client:
                url = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
                asked = [client.get(url, headers={"Authorization": key}) for _ in range(10)]
                return {answer.json()["Token"] for answer in await asyncio.gather(*asked)}

        assert asyncio.run(together()) == {"CANARY-session-3"}
    assert [form["WebIdentityToken"] for form in sts.forms] == [signed_in.access_token] * 3


def _keys(session: SessionManager) -> list[Any]:
    """The exchanges that are open."""
    import gc

    from pywry_auth_nb.exits.sts import RoleKeys

    return [each for each in gc.get_objects() if isinstance(each, RoleKeys) and each._holder.engine is session._engine]


def test_the_words_of_minio_and_ceph(signed_in: SessionManager) -> None:
    """MinIO needs no role where a claim names the policy; Ceph has no namespace."""
    from tests.exits.sts import Sts

    for role, namespace in ((Role(sts="SELF"), 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'), (Role(ARN), "")):
        with case(role), Sts(namespace) as service:
            here = Role(role.arn, sts=service.url)
            with signed_in.serve(aws=here):
                assert container_credentials().json()["AccessKeyId"] == "CANARY-id-1"
            assert service.forms[0].get("RoleArn", "") == role.arn


def test_a_role_that_is_refused_says_so_at_once(signed_in: SessionManager, sts: Sts, tmp_path: Path) -> None:
    """With a code, and the service's words without the token that it quotes. Nothing is left behind."""
    sts.refuses = True
    with pytest.raises(TokenError) as caught:
        signed_in.serve(aws=Role(ARN, sts=sts.url), files=[tmp_path / "token"])

    assert caught.value.code == "sts_refused"
    assert "AccessDenied" in caught.value.message
    assert caught.value.description == "Not authorized: …"
    assert not (tmp_path / "token").exists()
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in os.environ


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "CANARY"><!ENTITY b "&a;&a;&a;">]>
<Credentials><AccessKeyId>&b;</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>"""
PLAIN = b"""<r><AccessKeyId>i</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2100-01-01T00:00:00Z</Expiration></r>"""
NO_KEYS = [
    b"",
    b"{}",
    b"<r/>",
    b"<r>",
    BOMB,
    BOMB.decode().encode("utf-16"),
    PLAIN.replace(b"2100", b"soon"),
    PLAIN.replace(b">t<", b"><"),
    PLAIN.replace(b">s<", b">s&#10;t<"),
    b"\xff" + PLAIN,
]


def test_an_answer_without_keys_is_refused(signed_in: SessionManager, sts: Sts) -> None:
    """No entity is expanded, and nothing of the answer is shown."""
    for body in NO_KEYS:
        sts.body = body
        with case(body), pytest.raises(TokenError) as caught:
            signed_in.serve(aws=Role(ARN, sts=sts.url))
        assert caught.value.code == "sts_response"
    sts.body = PLAIN
    with signed_in.serve(aws=Role(ARN, sts=sts.url)):
        assert container_credentials().json()["Expiration"] == "2100-01-01T00:00:00Z"


def test_aws_by_a_file(signed_in: SessionManager) -> None:
    """Each client exchanges the token by itself."""
    with signed_in.serve(aws=Role(ARN, sts="https://sts.example.org", via="file")) as exits:
        assert Path(exits.environment["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text() == id_token(signed_in)
        assert os.environ["AWS_ROLE_ARN"] == ARN
        assert os.environ["AWS_ENDPOINT_URL_STS"] == "https://sts.example.org"
        assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in os.environ


def test_the_address_of_awss_own_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the region, or as the variable of AWS says; of another partition it must be said."""
    assert Role(ARN).endpoint == "https://sts.amazonaws.com"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert Role(ARN).endpoint == "https://sts.eu-central-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://sts.example.org")
    assert Role("arn:aws-cn:iam::123456789012:role/x").endpoint == "https://sts.example.org"
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="sts="):
        _ = Role("arn:aws-cn:iam::123456789012:role/x").endpoint


def test_a_role_that_cannot_be(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake is named when it is made."""
    bad: list[dict[str, Any]] = [
        {},
        {"arn": "reader"},
        {"arn": f"{ARN}\n"},
        {"arn": ARN, "seconds": 60},
        {"arn": ARN, "session_name": "a b"},
        {"arn": ARN, "via": "carrier pigeon"},
        {"arn": ARN, "token": "refresh_token"},
        {"sts": "https://minio.example.org", "via": "file"},
    ]
    for options in bad:
        with case(options), pytest.raises(ConfigurationError) as caught:
            Role(**options)
        assert caught.value.code == "preset_unavailable"
    for role in (Role(ARN, sts="http://minio.example.org"), ARN):
        with case(role), pytest.raises(ConfigurationError) as caught:
            signed_in.serve(aws=role)  # type: ignore[arg-type]
        assert caught.value.code == "preset_unavailable"
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.setenv(variable, "x")
        with case(variable), pytest.raises(ConfigurationError, match=variable):
            signed_in.serve(aws=Role(ARN, sts="https://sts.example.org"))
        monkeypatch.delenv(variable)


def test_a_second_call_may_take_another_way(signed_in: SessionManager, sts: Sts) -> None:
    """The variables of the first are not in the way of the second."""
    signed_in.serve(aws=Role(ARN, sts=sts.url, via="file"))
    with signed_in.serve(aws=Role(ARN, sts=sts.url)):
        assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in os.environ
        assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in os.environ


def test_a_default_profile_comes_before_an_endpoint(
    signed_in: SessionManager, sts: Sts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """AWS clients would use it without a word, so `serve` says so; a file comes first for them."""
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for profile in ("[default]\naws_access_key_id = x\n", "[default]\nsso_session = %x\n"):
        file.write_text(profile)
        with case(profile), pytest.raises(ConfigurationError, match="default profile") as caught:
            signed_in.serve(aws=Role(ARN, sts=sts.url))
        assert caught.value.code == "preset_unavailable"
        with signed_in.serve(aws=Role(ARN, sts=sts.url, via="file")):
            pass
    for profile in ("[work]\naws_access_key_id = x\n", "[default]\nregion = x\n", "no profile"):
        file.write_text(profile)
        with case(profile), signed_in.serve(aws=Role(ARN, sts=sts.url)):
            pass


# -- Google -----------------------------------------------------------------------------------------------------------


class GoogleSts:
    """Google's token service, as a route of the tests' token service: it answers JSON."""

    def __init__(self, sts: Sts) -> None:
        self.sts = sts
        sts.body = b'{"access_token": "CANARY-google", "expires_in": 3600, "token_type": "Bearer"}'
        self.url = f"{sts.url}/v1/token"

    @property
    def tokens(self) -> list[str]:
        """The tokens that were exchanged."""
        return [form["subject_token"] for form in self.sts.forms]


@pytest.mark.parametrize("via", ["endpoint", "file"])
def test_google_finds_the_token(signed_in: SessionManager, sts: Sts, via: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`google.auth.default()` of this kernel, and of what it starts, exchanges a fresh token."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")  # else it asks Google for its name
    service = GoogleSts(sts)
    with signed_in.serve(google=Audience(POOL, sts=service.url, via=via)):
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        old = id_token(signed_in)
        credentials.refresh(Request())
        assert credentials.token == "CANARY-google"
        asyncio.run(signed_in.refresh())
        if via == "file":
            path = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
            until(lambda: Path(path["credential_source"]["file"]).read_text() == id_token(signed_in))
        credentials.refresh(Request())

    assert service.tokens == [old, id_token(signed_in)]
    assert sts.forms[0]["audience"] == POOL
    assert sts.forms[0]["subject_token_type"] == "urn:ietf:params:oauth:token-type:id_token"
    with pytest.raises(GoogleAuthError):
        credentials.refresh(Request())


def test_google_may_act_as_a_service_account(signed_in: SessionManager) -> None:
    """Its clients then ask for that account's token."""
    account = "reader@project.iam.gserviceaccount.com"
    with signed_in.serve(google=Audience(POOL, account, token="access_token")) as exits:
        found = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
        key = exits.key_file.read_text()
        assert found["credential_source"]["headers"] == {"Authorization": f"Bearer {key}"}
        assert key not in repr(vars(exits))

    assert found["service_account_impersonation_url"].endswith(f"/serviceAccounts/{account}:generateAccessToken")
    assert found["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
    assert found["token_url"] == "https://sts.googleapis.com/v1/token"


def test_an_audience_that_cannot_be(signed_in: SessionManager) -> None:
    """A mistake is named when it is made."""
    bad: list[dict[str, Any]] = [
        {"name": "https://iam.googleapis.com/"},
        {"name": POOL, "service_account": "a/b"},
        {"name": POOL, "via": "x"},
        {"name": POOL, "sts": "http://sts.example.org"},
    ]
    for options in bad:
        with case(options), pytest.raises(ConfigurationError) as caught:
            Audience(**options)
        assert caught.value.code == "preset_unavailable"
    with pytest.raises(ConfigurationError, match="Audience"):
        signed_in.serve(google=POOL)  # type: ignore[arg-type]


# -- others -----------------------------------------------------------------------------------------------------------


def test_anthropic_and_databricks_find_the_id_token(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads it from a file that its variable names."""
    monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_1")
    monkeypatch.setenv("ANTHROPIC_ORGANIZATION_ID", "1")
    with signed_in.serve(anthropic=True, databricks=True) as exits:
        for variable in ("ANTHROPIC_IDENTITY_TOKEN_FILE", "DATABRICKS_OIDC_TOKEN_FILEPATH"):
            assert Path(os.environ[variable]).read_text() == id_token(signed_in)
        assert os.environ["DATABRICKS_AUTH_TYPE"] == "file-oidc"
        assert "anthropic, databricks" in repr(exits)
        expire(signed_in)
        exits.keeper.look()
        until(lambda: Path(os.environ["ANTHROPIC_IDENTITY_TOKEN_FILE"]).read_text() == id_token(signed_in))


def test_what_anthropic_needs_besides(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other variables must be set, and no key that counts before."""
    with pytest.raises(ConfigurationError, match="ANTHROPIC_FEDERATION_RULE_ID and ANTHROPIC_ORGANIZATION_ID"):
        signed_in.serve(anthropic=True)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY is set"):
        signed_in.serve(anthropic=True)
