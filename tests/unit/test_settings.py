"""`OAuth2Settings`: where settings come from, which wins, and that secrets stay hidden."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keyring
import keyring.backend
import pytest
from IPython.core.interactiveshell import InteractiveShell

from pywry_auth_nb import (
    AuthenticationError,
    ConfigurationError,
    GenericOIDCProvider,
    GitHubProvider,
    MemoryTokenStore,
    OAuth2Settings,
    SessionManager,
    create_provider_from_settings,
    get_token_store,
    reset_token_store,
)
from pywry_auth_nb._io.cells import warn_if_in_a_cell
from tests.support.cases import case

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "CANARY-client-secret"
SEED = {
    "provider": "custom",
    "client_id": "",
    "client_secret": "",
    "scopes": "openid email profile",
    "authorize_url": "",
    "token_url": "",
    "userinfo_url": "",
    "issuer_url": "",
    "tenant_id": "common",
    "use_pkce": True,
    "token_store_backend": "memory",
    "auth_timeout_seconds": 120.0,
    "refresh_buffer_seconds": 60,
}


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for Jupyter's configuration, and no settings in the environment."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "")
    return tmp_path


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """The shell of a notebook."""
    shell = InteractiveShell.instance()
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_the_defaults_are_the_seeds() -> None:
    """Names and defaults are those of ``pywry.auth``."""
    settings = OAuth2Settings()

    assert {name: getattr(settings, name) for name in SEED} == SEED


VARIABLES: list[tuple[str, str, Any]] = [
    ("provider", "github", "github"),
    ("client_id", "abc", "abc"),
    ("use_pkce", "false", False),
    ("use_pkce", "True", True),
    ("auth_timeout_seconds", "45.5", 45.5),
    ("refresh_buffer_seconds", "30", 30),
    ("token_store_backend", "keyring", "keyring"),
    ("revocation_url", "https://op.example/revoke", "https://op.example/revoke"),
    ("require_id_token_validation", "0", False),
    ("client_auth", "post", "post"),
    ("client_auth", "", ""),
    ("check_nonce", "false", False),
    ("audience", "https://api.example", "https://api.example"),
    ("resource", "https://one.example https://two.example", ["https://one.example", "https://two.example"]),
    ("resource", "https://one.example,https://two.example,\n", ["https://one.example", "https://two.example"]),
    ("resource", ' ["https://one.example/a,b"]', ["https://one.example/a,b"]),
    ("trusted_audiences", "one", ["one"]),
    ("trusted_audiences", "", []),
    ("authorize_params", "hd=example.org&claims=%7B%7D&prompt=", {"hd": "example.org", "claims": "{}", "prompt": ""}),
    (
        "authorize_params",
        '{"hd": "example.org", "max_age": 0, "x": true}',
        {"hd": "example.org", "max_age": "0", "x": "true"},
    ),
    ("authorize_params", "a=1&a=2", {"a": ["1", "2"]}),
    ("token_params", '{"a": ["1", "2"], "b": "3"}', {"a": ["1", "2"], "b": "3"}),
    ("token_params", "", {}),
]


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """``PYWRY_OAUTH2__…`` sets any of them, in the setting's own type."""
    for name, text, value in VARIABLES:
        with case(name, text):
            monkeypatch.setenv(f"PYWRY_OAUTH2__{name.upper()}", text)

            assert getattr(OAuth2Settings(), name) == value


def test_a_keyword_wins_over_the_environment_and_that_over_a_file(
    config_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the code, the stronger."""
    (config_folder / "jupyter_pywry_auth_config.py").write_text(
        "c.OAuth2Settings.client_id = 'file'\nc.OAuth2Settings.tenant_id = 'file'\nc.OAuth2Settings.scopes = 'file'"
    )
    monkeypatch.setenv("PYWRY_OAUTH2__CLIENT_ID", "environment")
    monkeypatch.setenv("PYWRY_OAUTH2__TENANT_ID", "environment")
    settings = OAuth2Settings(client_id="keyword")

    assert (settings.client_id, settings.tenant_id, settings.scopes) == ("keyword", "environment", "file")


def test_jupyters_json_files_are_read_too(config_folder: Path) -> None:
    """``jupyter_config.json`` holds settings for everything, ours among them, and ours alone win over it."""
    (config_folder / "jupyter_config.json").write_text(
        json.dumps({"OAuth2Settings": {"client_id": "general", "provider": "google"}})
    )
    (config_folder / "jupyter_pywry_auth_config.json").write_text(json.dumps({"OAuth2Settings": {"client_id": "own"}}))
    settings = OAuth2Settings()

    assert (settings.client_id, settings.provider) == ("own", "google")


def test_the_kernels_own_configuration_is_read(shell: InteractiveShell) -> None:
    """``c.OAuth2Settings…`` in ``ipython_kernel_config.py`` works."""
    shell.config.OAuth2Settings.client_id = "kernel"

    assert OAuth2Settings().client_id == "kernel"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"provider": "gitlab"}, "provider"),
    ({"auth_timeout_seconds": 9}, "at least 10"),
    ({"refresh_buffer_seconds": 9}, "refresh_buffer_seconds"),
    ({"use_pkce": "perhaps"}, "use_pkce"),
    ({"client_secret": ["CANARY"]}, "client_secret"),
    ({"clientid": "x"}, "clientid"),
    ({"auth_timeout_seconds": float("nan")}, "auth_timeout_seconds"),
    ({"auth_timeout_seconds": float("inf")}, "auth_timeout_seconds"),
    ({"authorize_params": {"x": {"CANARY": 1}}}, "authorize_params"),
    ({"token_params": ["CANARY"]}, "token_params"),
    ({"resource": {"CANARY": 1}}, "resource"),
    ({"client_auth": "CANARY"}, "client_auth"),
]


def test_a_wrong_value_is_named_and_not_shown() -> None:
    """The error says which setting and what it must be."""
    for settings, word in WRONG:
        with case(settings):
            with pytest.raises(ConfigurationError, match=word) as caught:
                OAuth2Settings(**settings)

            assert caught.value.code == "configuration"
            assert "CANARY" not in str(caught.value)


WRONG_VARIABLES = [
    ("REFRESH_BUFFER_SECONDS", "soon"),
    ("CLIENT_AUTH", "CANARY"),
    ("CHECK_NONCE", "CANARY"),
    *(("AUTHORIZE_PARAMS", value) for value in ("CANARY", '{"CANARY', '{"x": {"CANARY": 1}}', "a=1&CANARY", "=CANARY")),
    *(
        ("TOKEN_PARAMS", value)
        for value in ("CANARY", '["CANARY"]', '{"CANARY": {}}', '{"x": "CANARY", "x": "CANARY"}')
    ),
    *(("RESOURCE", value) for value in ('["CANARY', '[{"CANARY": 1}]')),
    ("TRUSTED_AUDIENCES", "[CANARY]"),
]


def test_a_wrong_value_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the administrator finds it; the value may be a secret, and is nowhere in the error or its causes."""
    for name, value in WRONG_VARIABLES:
        with case(name, value), monkeypatch.context() as context:
            context.setenv(f"PYWRY_OAUTH2__{name}", value)
            with pytest.raises(ConfigurationError, match=f"PYWRY_OAUTH2__{name} has") as caught:
                OAuth2Settings()

            assert "CANARY" not in str(caught.value)
            assert caught.value.__cause__ is caught.value.__context__ is None


def test_what_a_switch_and_a_number_take_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words that can be typed."""
    for name, plain in [("CHECK_NONCE", "true or false"), ("AUTH_TIMEOUT_SECONDS", "a number of at least 10")]:
        with case(name), monkeypatch.context() as context:
            context.setenv(f"PYWRY_OAUTH2__{name}", "no")
            with pytest.raises(ConfigurationError, match=f": {plain} is needed"):
                OAuth2Settings()


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It would be left out in silence; one that is right is not named, and no value is shown."""
    monkeypatch.setenv("PYWRY_OAUTH2__AUDIENCE", "https://api.example")
    monkeypatch.setenv("PYWRY_AUTH_REDIRECT_URI", "https://jupyter.example")
    OAuth2Settings()
    assert "no setting" not in caplog.text

    for name in ("PYWRY_OAUTH2__AUDIANCE", "PYWRY_OAUTH2_CLIENT_ID"):
        with case(name), monkeypatch.context() as context:
            context.setenv(name, "CANARY")
            OAuth2Settings()

            assert f"There is no setting called {name}, so" in caplog.text
    assert "CANARY" not in caplog.text


def test_lists_and_parameters_may_be_written_in_a_file(config_folder: Path) -> None:
    """``c.OAuth2Settings.audience`` and its like: as Python has them, as in a variable, or added to what there is."""
    (config_folder / "jupyter_pywry_auth_config.py").write_text(
        "c.OAuth2Settings.audience = 'https://api.example'\n"
        "c.OAuth2Settings.resource = ('urn:a', 'urn:b')\n"
        "c.OAuth2Settings.token_params = 'x=1'\n"
        "c.OAuth2Settings.authorize_params = {'max_age': 60}\n"
        "c.OAuth2Settings.trusted_audiences.append('one')\n"
    )
    settings = OAuth2Settings()

    assert (settings.audience, settings.resource) == ("https://api.example", ["urn:a", "urn:b"])
    assert (settings.token_params, settings.authorize_params) == ({"x": "1"}, {"max_age": "60"})
    assert settings.trusted_audiences == ["one"]


def test_no_settings_share_a_list() -> None:
    """What is added to the value of one is not in the next."""
    OAuth2Settings().authorize_params["x"] = "1"

    assert OAuth2Settings().authorize_params == {}


def test_a_broken_file_is_named(config_folder: Path) -> None:
    """And the rest of it is not shown."""
    (config_folder / "jupyter_pywry_auth_config.py").write_text(f"c.OAuth2Settings.client_secret = '{SECRET}'\n1/0")

    with pytest.raises(ConfigurationError, match=r"jupyter_pywry_auth_config.py .*ZeroDivisionError") as caught:
        OAuth2Settings()
    assert caught.value.__cause__ is None
    assert SECRET not in str(caught.value)


def test_a_broken_file_of_another_program_is_left_out(config_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server's configuration may need packages that the kernel has not, or end the program."""
    (config_folder / "jupyter_config.py").write_text("import sys\nsys.exit(3)")
    (config_folder / "jupyter_config.json").write_text(json.dumps({"OAuth2Settings": {"client_id": "json"}}))

    assert OAuth2Settings().client_id == "json"
    assert "jupyter_config.py cannot be read (SystemExit). It is ignored." in caplog.text


def test_the_first_folder_is_the_strongest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for all of Jupyter: one's own folder comes before the system's; and JSON wins over Python."""
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", f"{tmp_path / 'first'}{os.pathsep}{tmp_path / 'second'}")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jupyter_pywry_auth_config.py").write_text(
            f"c.OAuth2Settings.client_id = '{name}'; c.OAuth2Settings.tenant_id = 'python'"
        )
    (tmp_path / "first" / "jupyter_pywry_auth_config.json").write_text('{"OAuth2Settings": {"tenant_id": "json"}}')
    settings = OAuth2Settings()

    assert (settings.client_id, settings.tenant_id) == ("first", "json")


# -- the client secret ------------------------------------------------------------------------------------------


def test_a_secret_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of containers: the environment names the file."""
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv("PYWRY_OAUTH2__CLIENT_SECRET_FILE", str(path))

    assert OAuth2Settings().client_secret == SECRET


@pytest.mark.parametrize("nearer", ["keyword", "environment"])
def test_the_nearest_secret_wins_wherever_it_is_kept(
    config_folder: Path, monkeypatch: pytest.MonkeyPatch, nearer: str
) -> None:
    """A file that a keyword names is stronger than a secret in a configuration file; an empty variable is none."""
    (config_folder / "jupyter_pywry_auth_config.py").write_text("c.OAuth2Settings.client_secret = 'weak'")
    (config_folder / "secret").write_bytes(b"\xef\xbb\xbf" + SECRET.encode())
    monkeypatch.setenv("PYWRY_OAUTH2__CLIENT_SECRET", "")
    path = str(config_folder / "secret")
    if nearer == "environment":
        monkeypatch.setenv("PYWRY_OAUTH2__CLIENT_SECRET_FILE", path)

    settings = OAuth2Settings(client_secret_file=path) if nearer == "keyword" else OAuth2Settings()
    assert settings.client_secret == SECRET


def test_a_secret_file_with_more_in_it_is_refused(tmp_path: Path) -> None:
    """A second line would be sent as part of the secret."""
    (tmp_path / "secret").write_text(f"{SECRET}\nand more")

    with pytest.raises(ConfigurationError, match="nothing else") as caught:
        _ = OAuth2Settings(client_secret_file=str(tmp_path / "secret")).client_secret
    assert "CANARY" not in str(caught.value)


def test_a_missing_secret_file_is_an_error(tmp_path: Path) -> None:
    """It is said when the secret is wanted, and names the file."""
    settings = OAuth2Settings(client_secret_file=str(tmp_path / "none"))

    with pytest.raises(ConfigurationError, match="none"):
        _ = settings.client_secret


class FakeKeyring(keyring.backend.KeyringBackend):
    """The system's keyring: what lies behind it is the wire here."""

    viable = False  # keyring must not find it by itself
    priority = 5

    def get_password(self, service: str, username: str) -> str | None:
        """Know one secret."""
        return SECRET if (service, username) == ("my-service", "my-client") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Not needed."""

    def delete_password(self, service: str, username: str) -> None:
        """Not needed."""


def test_a_secret_is_read_from_the_keyring() -> None:
    """By service, the username being the client; or by both."""
    before = keyring.get_keyring()
    keyring.set_keyring(FakeKeyring())
    try:
        assert OAuth2Settings(client_id="my-client", client_secret_keyring="my-service").client_secret == SECRET
        assert OAuth2Settings(client_secret_keyring="my-service:my-client").client_secret == SECRET
        with pytest.raises(ConfigurationError, match="keyring set other my-client"):
            _ = OAuth2Settings(client_id="my-client", client_secret_keyring="other").client_secret
    finally:
        keyring.set_keyring(before)


def test_settings_show_no_secret() -> None:
    """B6: a setting's secret is masked wherever Python shows values."""
    settings = OAuth2Settings(
        client_id="me", client_secret=SECRET, provider="google", token_params={"key": SECRET, "keys": [SECRET]}
    )
    provider = create_provider_from_settings(settings)

    assert repr(settings) == "<OAuth2Settings google, client 'me'>"
    assert SECRET not in repr([settings.client_secret, settings.trait_values(), vars(settings), vars(provider)])
    assert provider.client_secret == SECRET


@pytest.mark.parametrize("where", ["this cell", "an earlier cell"])
def test_a_literal_secret_in_a_cell_earns_a_warning(shell: InteractiveShell, where: str) -> None:
    """It would be saved with the notebook; the warning says what to do and does not repeat it."""
    shell.run_cell(f"secret = {SECRET!r}", store_history=True)
    if where == "an earlier cell":
        shell.run_cell("1", store_history=True)

    with pytest.warns(UserWarning, match="PYWRY_OAUTH2__CLIENT_SECRET") as caught:
        GitHubProvider("me", client_secret=SECRET)
    assert all("CANARY" not in str(warning.message) for warning in caught)
    assert all("cells.py" in warning.filename for warning in caught), "Python prints the line a warning points at"


def test_a_secret_from_elsewhere_earns_none(shell: InteractiveShell) -> None:
    """A cell that reads the environment has no secret in it, whatever else is written there."""
    for secret in [SECRET, "client_secret", "a", "SECRE"]:
        with case(secret):
            shell.run_cell("import os; In = 5; client_secret = os.environ.get('SECRET')", store_history=True)

            with warnings.catch_warnings():
                warnings.simplefilter("error")
                GitHubProvider("me", client_secret=secret)
                GitHubProvider("me")
                warn_if_in_a_cell("")


def test_no_notebook_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain Python has no cells."""
    monkeypatch.delitem(sys.modules, "IPython")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_in_a_cell(SECRET)


# -- a session from settings ------------------------------------------------------------------------------------


@pytest.fixture
def _no_store() -> Iterator[None]:
    reset_token_store()
    yield
    reset_token_store()


@pytest.mark.usefixtures("_no_store")
def test_a_session_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator sets everything; the notebook needs one line."""
    for name, value in {
        "PROVIDER": "oidc",
        "CLIENT_ID": "me",
        "ISSUER_URL": "https://op.example",
        "REFRESH_BUFFER_SECONDS": "25",
    }.items():
        monkeypatch.setenv(f"PYWRY_OAUTH2__{name}", value)
    session = SessionManager.from_settings()

    assert isinstance(session.provider, GenericOIDCProvider)
    assert (session.provider.issuer_url, session.refresh_buffer_seconds) == ("https://op.example", 25)
    assert session.token_store is get_token_store("memory")


@pytest.mark.usefixtures("_no_store")
def test_settings_of_the_sign_in_reach_it() -> None:
    """``use_pkce`` is that of the session's own sign-ins."""
    settings = OAuth2Settings(provider="github", client_id="me", client_secret=SECRET, use_pkce=False)

    assert SessionManager.from_settings(settings)._sign_ins.use_pkce is False


@pytest.mark.usefixtures("_no_store")
def test_the_redis_url_is_a_setting() -> None:
    """A16: the store that is configured is the one that is used."""
    settings = OAuth2Settings(
        provider="github", client_id="me", token_store_backend="redis", redis_url="redis://:CANARY@redis.example:6380/1"
    )
    session = SessionManager.from_settings(settings)

    assert repr(session.token_store) == "<RedisTokenStore redis://redis.example:6380/1, plain text>"


@pytest.mark.usefixtures("_no_store")
def test_arguments_of_the_session_win() -> None:
    """What is given to ``from_settings`` besides goes to the session; a store that is given leaves the other unmade."""
    settings = OAuth2Settings(provider="github", client_id="me", token_store_backend="keyring")
    store = MemoryTokenStore()
    session = SessionManager.from_settings(settings, token_store=store, session_key="mine", refresh_buffer_seconds=5)

    assert (session.token_store, session.session_key, session.refresh_buffer_seconds) == (store, "mine", 5)


def test_settings_without_a_client_are_refused() -> None:
    """Nothing works without; it is said before anything is tried."""
    with pytest.raises(AuthenticationError, match="client_id"):
        SessionManager.from_settings(OAuth2Settings(provider="google"))


def test_the_page_has_every_setting() -> None:
    """``docs/settings.md`` names all of them, with their defaults, and none that is not there."""
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    tables = [part.partition("\n\n")[0] for part in page.split("| `PYWRY_OAUTH2__…` |")[1:]]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for table in tables for row in table.splitlines()[2:]]
    named = {name: row[1].strip("`") for row in rows for name in re.findall(r"`([A-Z_]+)`", row[0])}
    settings = OAuth2Settings()
    defaults = {name.upper(): str(getattr(settings, name) or "") for name in settings.trait_names(config=True)}
    on = ("USE_PKCE", "REQUIRE_ID_TOKEN_VALIDATION", "CHECK_NONCE")
    defaults |= {"AUTH_TIMEOUT_SECONDS": "120", **dict.fromkeys(on, "true")}

    assert named == defaults
