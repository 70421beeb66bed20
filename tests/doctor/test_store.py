"""The token store: it keeps what it is given, and who else may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keyring.core
import pytest

from pywry_auth_nb.token_store import make_encryption_key
from tests.stores.servers import RedisServer
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.doctor.conftest import Visit

    Doctor = Callable[..., Visit]

HUB = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JUPYTERHUB_SERVICE_URL": "", "JUPYTERHUB_API_TOKEN": "CANARY"}
ADA = "on >CANARY-pw resetkeys ~pywry:ada:* resetchannels -@all +@connection -@dangerous +get +set +del +eval +scan"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis with a user Ada who may read only her own records."""
    with RedisServer() as server:
        assert server.cli("acl", "setuser", "ada", *ADA.split()) == "OK"
        yield server


def visit(doctor: Doctor, backend: str, url: str = "", **environ: str) -> Visit:
    """Look at a store."""
    settings = {"PYWRY_OAUTH2__TOKEN_STORE_BACKEND": backend, **({"PYWRY_OAUTH2__REDIS_URL": url} if url else {})}
    return doctor("--json", **settings, **environ)


def test_memory(doctor: Doctor) -> None:
    """Without a store a note says what a sign-in ends with, and what to set."""
    said = visit(doctor, "memory")

    assert said.levels["store_memory"] == "note"
    assert "TOKEN_STORE_BACKEND" in said.finding("store_memory")["advice"]


def test_a_file(doctor: Doctor, tmp_path: Path) -> None:
    """A folder is tried, and nothing of that stays there."""
    said = visit(doctor, "file")

    assert (said.levels["store"], said.levels["store_plain"]) == ("ok", "note")
    assert not list((tmp_path / "home").rglob("*.tokens"))


def test_a_file_that_cannot_be(doctor: Doctor, tmp_path: Path) -> None:
    """A folder that cannot be made is an error."""
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "pywry-auth-nb").write_text("in the way")
    said = visit(doctor, "file")

    assert said.status == 1
    assert {finding["level"] for finding in said.report["findings"] if finding["check"] == "store"} == {"error"}


def test_an_encrypted_file(doctor: Doctor) -> None:
    """With a key there is nothing to be said against it."""
    said = visit(doctor, "file", PYWRY_AUTH_ENCRYPTION_KEY=make_encryption_key())

    assert said.levels["store_encrypted"] == "ok"
    assert "store_plain" not in said.levels


def test_a_wrong_key(doctor: Doctor) -> None:
    """A key that cannot be used is an error, and not shown."""
    said = visit(doctor, "file", PYWRY_AUTH_ENCRYPTION_KEY="CANARY")

    assert (said.status, said.levels["store_key"]) == (1, "error")


def test_no_keyring(doctor: Doctor, clean: pytest.MonkeyPatch) -> None:
    """Without a keyring, the advice is what to use instead."""
    clean.setattr(keyring.core, "_keyring_backend", None)
    said = visit(doctor, "keyring", PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring")

    assert (said.status, said.levels["store_missing"]) == (1, "error")
    assert "TOKEN_STORE_BACKEND=file" in said.finding("store_missing")["advice"]


# -- Redis ------------------------------------------------------------------------------------------------------


def test_redis_that_is_well(doctor: Doctor, redis: RedisServer) -> None:
    """A user with a prefix of her own, and a key, is fine; nothing of the trial stays there."""
    said = visit(
        doctor,
        "redis",
        f"unix://ada:CANARY-pw@{redis.socket}",
        PYWRY_OAUTH2__REDIS_PREFIX="pywry:ada",
        PYWRY_AUTH_ENCRYPTION_KEY=make_encryption_key(),
        **HUB,
    )

    assert said.levels["store"] == said.levels["store_encrypted"] == said.levels["redis_acl"] == "ok"
    assert redis.cli("dbsize") == "0"


@pytest.mark.parametrize(("environ", "level"), [({}, "note"), (HUB, "warning")])
def test_redis_without_permissions(doctor: Doctor, redis: RedisServer, environ: dict[str, str], level: str) -> None:
    """A user who may read everything, and no encryption, is a warning on a hub, where others use the same server."""
    said = visit(doctor, "redis", redis.url, **environ)

    assert said.levels["redis_acl"] == said.levels["store_plain"] == level
    assert "error" not in said.levels.values()
    assert "docs/token-stores.md" in said.finding("redis_acl")["advice"]


def test_redis_with_permissions_that_are_too_wide(doctor: Doctor, redis: RedisServer) -> None:
    """A user who may read her neighbours' records, though not everything, may read too much."""
    redis.cli("acl", "setuser", "ada", "~pywry:*")
    url = f"unix://ada:CANARY-pw@{redis.socket}"

    assert visit(doctor, "redis", url, PYWRY_OAUTH2__REDIS_PREFIX="pywry:ada", **HUB).levels["redis_acl"] == "warning"


def test_redis_that_refuses(doctor: Doctor, redis: RedisServer) -> None:
    """A wrong password is an error, and not shown."""
    said = visit(doctor, "redis", f"unix://ada:CANARY-wrong@{redis.socket}")

    assert (said.status, said.levels["store_forbidden"]) == (1, "error")


def test_redis_out_of_reach(doctor: Doctor) -> None:
    """A server that is not there is an error."""
    said = visit(doctor, "redis", f"redis://ada:CANARY@127.0.0.1:{free_port()}/0")

    assert (said.status, said.levels["store_unavailable"]) == (1, "error")
    assert "redis_plain" not in said.levels


def test_redis_in_plain_text(doctor: Doctor) -> None:
    """A server elsewhere that is spoken to without TLS is a warning, with its host alone."""
    said = visit(doctor, "redis", "redis://ada:CANARY@redis.invalid:6379/0")

    assert said.levels["redis_plain"] == "warning"
    assert "redis.invalid" in said.finding("redis_plain")["message"]


def test_redis_over_tls(doctor: Doctor) -> None:
    """Over TLS, the connection causes no warning."""
    assert "redis_plain" not in visit(doctor, "redis", f"rediss://127.0.0.1:{free_port()}").levels


def test_a_wrong_url(doctor: Doctor) -> None:
    """A URL that Redis does not understand is an error, and not shown."""
    said = visit(doctor, "redis", "redis://ada:p/CANARY@host")

    assert (said.status, said.levels["configuration"]) == (1, "error")
