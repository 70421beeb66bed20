"""The keyring backend by which pip and uv sign in at a private index."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import keyring
import pytest
from keyring import backend, core
from keyring.backend import KeyringBackend
from keyring.backends import chainer
from keyring.errors import NoKeyringError

from pywry_auth_nb import TokenStoreError
from pywry_auth_nb._io import keyring as store_keyring
from pywry_auth_nb.adapters.keyring import IndexKeyring
from tests.support.cases import case
from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.idp import Idp

INDEX = "https://pypi.example.org/simple/"


class InMemory(KeyringBackend):
    """The system's keyring."""

    viable = False  # keyring must not find it by itself
    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        """Read an entry."""
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Write an entry."""
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Remove an entry."""
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idp: Idp) -> pytest.MonkeyPatch:
    """A sign-in without a click, and an index."""
    (tmp_path / "token").write_text("CANARY-at-of-a-job", encoding="utf-8")
    for name, value in {
        "PROVIDER": "oidc",
        "CLIENT_ID": CLIENT,
        "ISSUER_URL": idp.issuer,
        "ACCESS_TOKEN_FILE": str(tmp_path / "token"),
        "ALLOWED_ORIGINS": "https://pypi.example.org http://127.0.0.1:8080",
    }.items():
        monkeypatch.setenv(f"PYWRY_OAUTH2__{name}", value)
    return monkeypatch


@pytest.fixture
def chain(settings: pytest.MonkeyPatch) -> InMemory:
    """What keyring chooses where there is a system's keyring, too; return that one."""
    system = InMemory()
    settings.setattr(backend, "get_all_keyring", lambda: [IndexKeyring(), system])
    settings.setattr(core, "_keyring_backend", chainer.ChainerBackend())
    return system


def test_it_answers_for_the_origins_in_the_setting_alone() -> None:
    """By the index's address, or by its host, as pip asks second; and not in plain text, or for what looks alike."""
    ours = IndexKeyring()
    for service in (INDEX, "https://pypi.example.org", "pypi.example.org", "http://127.0.0.1:8080/simple/"):
        with case(service):
            assert ours.get_password(service, "oauth2") == "CANARY-at-of-a-job"
            credential = ours.get_credential(service, None)
            assert credential is not None
            assert (credential.username, credential.password) == ("oauth2", "CANARY-at-of-a-job")
    for service in (
        "",
        "pywry-oauth",
        "http://pypi.example.org/simple/",
        "https://pypi.example.org:8443/simple/",
        "https://pypi.example.org@evil.example/simple/",
        "https://pypi.example.org.evil.example/simple/",
        "https://evil.example/?https://pypi.example.org",
        "127.0.0.1:8080",
        "https://[",
    ):
        with case(service):
            assert ours.get_password(service, "oauth2") is None
            assert ours.get_credential(service, "oauth2") is None


def test_it_is_light(settings: pytest.MonkeyPatch) -> None:
    """Every use of keyring on this machine imports it."""
    code = (
        "import sys, pywry_auth_nb.adapters.keyring; "
        "print({'httpx', 'traitlets', 'jwt', 'cryptography'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "set()"


def test_it_is_no_backend_without_origins(settings: pytest.MonkeyPatch) -> None:
    """So that installing this package changes no one's keyring."""
    assert IndexKeyring.viable
    settings.delenv("PYWRY_OAUTH2__ALLOWED_ORIGINS")

    assert not IndexKeyring.viable


def test_the_systems_keyring_keeps_its_work(chain: InMemory) -> None:
    """In a chain, this one comes first and leaves to the next all that is not its own."""
    keyring.set_password("pywry-oauth", "ada", "secret")
    assert chain.kept == {("pywry-oauth", "ada"): "secret"}
    assert keyring.get_password("pywry-oauth", "ada") == "secret"
    assert keyring.get_password(INDEX, "oauth2") == "CANARY-at-of-a-job"
    keyring.delete_password("pywry-oauth", "ada")
    assert chain.kept == {}


def test_a_store_without_a_systems_keyring_says_so(settings: pytest.MonkeyPatch) -> None:
    """As without this backend: it keeps nothing."""
    settings.setattr(core, "_keyring_backend", IndexKeyring())
    with pytest.raises(TokenStoreError) as caught:
        store_keyring.check("pywry-oauth", encrypted=True)
    assert caught.value.code == "store_missing"
    with pytest.raises(NoKeyringError):
        keyring.delete_password("pywry-oauth", "ada")


def test_it_does_not_ask_itself(chain: InMemory, settings: pytest.MonkeyPatch, idp: Idp, tmp_path: Path) -> None:
    """A client's secret may be kept under the name of an index: its reading is left to the next backend."""
    (tmp_path / "refresh").write_text("CANARY-rt-of-a-job", encoding="utf-8")
    idp.refresh_tokens["CANARY-rt-of-a-job"] = True
    chain.kept["pypi.example.org", CLIENT] = "CANARY-client-secret"
    settings.delenv("PYWRY_OAUTH2__ACCESS_TOKEN_FILE")
    settings.setenv("PYWRY_OAUTH2__REFRESH_TOKEN_FILE", str(tmp_path / "refresh"))
    settings.setenv("PYWRY_OAUTH2__CLIENT_SECRET_KEYRING", "pypi.example.org")

    assert str(keyring.get_password(INDEX, "oauth2")).startswith("CANARY-at-")
    assert idp.requests_to("/token") == 1


def test_without_a_sign_in_there_is_no_answer(settings: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """So pip asks its user; the log says why."""
    settings.delenv("PYWRY_OAUTH2__ACCESS_TOKEN_FILE")

    assert IndexKeyring().get_password(INDEX, "oauth2") is None
    assert "There is no signed-in session" in caplog.text
