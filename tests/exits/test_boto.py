"""AWS's own Python library finds what `session.serve` gives it by the environment alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from pywry_auth_nb import Role

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager
    from tests.exits.sts import Sts

ARN = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(autouse=True)
def machine_without_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no settings of this machine come before."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


def credentials() -> Any:
    """The credentials that every client of a new boto session has."""
    return botocore.session.Session().get_credentials()


@pytest.mark.parametrize("via", ["endpoint", "file"])
def test_boto_has_the_keys_of_the_role(
    signed_in: SessionManager, sts: Sts, via: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the endpoint it never sees the token; by the file it exchanges it itself."""
    if via == "file":  # at DEBUG boto logs the answer of the token service, which the endpoint spares it
        monkeypatch.setattr(logging.getLogger("botocore"), "level", logging.INFO)
    with signed_in.serve(aws=Role(ARN, sts=sts.url, via=via)) as exits, caplog.at_level(logging.DEBUG):
        key = exits.key_file.read_text()
        found = credentials()
        frozen = found.get_frozen_credentials()

    assert (frozen.access_key, frozen.token) == ("CANARY-id-1", "CANARY-session-1")
    assert found.method == {"endpoint": "container-role", "file": "assume-role-with-web-identity"}[via]
    assert sts.forms[0]["RoleArn"] == ARN
    assert key not in caplog.text


def test_boto_signs_with_renewed_keys(signed_in: SessionManager, sts: Sts) -> None:
    """When its keys are about to end, it asks the endpoint again, which exchanges again."""
    sts.lifetime = 300  # seconds; boto wants new keys in the last quarter of an hour
    with signed_in.serve(aws=Role(ARN, sts=sts.url)):
        found = credentials()
        assert found.get_frozen_credentials().token == "CANARY-session-1"
        sts.lifetime = 3600
        signed_in.serve(aws=Role(ARN, sts=sts.url))  # the kernel's keys are not old enough for the test
        assert found.get_frozen_credentials().token == "CANARY-session-2"
        signed_in._gate.close()  # type: ignore[union-attr]
