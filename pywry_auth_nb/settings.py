"""`OAuth2Settings`: which provider and client to use, from Jupyter config, the environment or keyword arguments."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets as t
from jupyter_core.paths import jupyter_config_path
from traitlets.config import Config, Configurable
from traitlets.config.loader import ConfigFileNotFound, FileConfigLoader, JSONFileConfigLoader, PyFileConfigLoader

from .errors import ConfigurationError
from .tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "PYWRY_OAUTH2__"
_CONFIG_FILES = ("jupyter_config", "jupyter_pywry_auth_config")
_MIN_SECONDS = 10


class OAuth2Settings(Configurable):
    """Settings of one sign-in; every one has a default.

    A keyword argument wins over the environment (``PYWRY_OAUTH2__CLIENT_ID``), which wins over configuration
    (``c.OAuth2Settings.client_id`` in ``jupyter_pywry_auth_config.py`` or ``jupyter_config.py`` in a folder that
    ``jupyter --paths`` names, or in the kernel's own ``ipython_kernel_config.py``).

    Raises:
        ConfigurationError: A value is not of the right kind, or a keyword names no setting.
    """

    provider = t.Enum(["google", "github", "microsoft", "oidc", "custom"], "custom").tag(config=True)
    client_id = t.Unicode(help="Client identifier registered with the provider").tag(config=True)
    client_secret = t.Unicode(help="Its secret, if it has one; better by one of the next two").tag(config=True)
    client_secret_file = t.Unicode(help="A file that holds the secret and nothing else").tag(config=True)
    client_secret_keyring = t.Unicode(
        help="Where the system's keyring has the secret: a service name, also as SERVICE:USERNAME; the username is "
        "client_id when left out"
    ).tag(config=True)
    scopes = t.Unicode(
        "openid email profile", help="Separated by spaces. The default means: what the provider's class asks for"
    ).tag(config=True)
    authorize_url = t.Unicode(help="Authorization endpoint (custom)").tag(config=True)
    token_url = t.Unicode(help="Token endpoint (custom)").tag(config=True)
    userinfo_url = t.Unicode(help="UserInfo endpoint (custom)").tag(config=True)
    revocation_url = t.Unicode(help="Revocation endpoint (custom)").tag(config=True)
    issuer_url = t.Unicode(help="Issuer, exactly as the provider writes it (oidc)").tag(config=True)
    tenant_id = t.Unicode("common", help="Tenant (microsoft)").tag(config=True)
    require_id_token_validation = t.Bool(default_value=True, help="Whether an ID token must come and be valid").tag(
        config=True
    )
    use_pkce = t.Bool(default_value=True, help="Whether to send a code challenge (RFC 7636)").tag(config=True)
    token_store_backend = t.Enum(["memory", "keyring", "redis", "file"], "memory").tag(config=True)
    auth_timeout_seconds = t.Float(120.0, min=_MIN_SECONDS, help="How long run_native waits").tag(config=True)
    refresh_buffer_seconds = t.Int(60, min=_MIN_SECONDS, help="How long before its end a token is renewed").tag(
        config=True
    )

    def __init__(self, **settings: Any) -> None:
        unknown = sorted(settings.keys() - self._names())
        if unknown:
            raise ConfigurationError(f"There is no setting called {', '.join(unknown)}. Check the spelling.")
        config = _config()
        try:
            super().__init__(config=config, **{**self._environment(), **settings})
        except t.TraitError as error:
            raise _wrong_value(error) from None

    @classmethod
    def _names(cls) -> set[str]:
        return set(cls.class_trait_names(config=True))

    @classmethod
    def _environment(cls) -> dict[str, Any]:
        """Return the settings that the environment has."""
        found = {}
        for name, trait in cls.class_traits(config=True).items():
            value = os.environ.get(PREFIX + name.upper())
            if value is not None:
                try:
                    found[name] = trait.from_string(value)
                except (ValueError, TypeError, t.TraitError):
                    raise ConfigurationError(
                        f"The environment variable {PREFIX}{name.upper()} has a value that does not fit."
                    ) from None
        return found

    @t.default("client_secret")
    def _stored_client_secret(self) -> str:
        """Read the secret from where it is kept, when it was not given."""
        if self.client_secret_file:
            return Secret(_read(Path(self.client_secret_file)))
        if self.client_secret_keyring:
            from ._keyring import read_secret

            service, _, username = self.client_secret_keyring.partition(":")
            secret = read_secret(service, username or self.client_id)
            if secret is None:
                raise ConfigurationError(
                    f"The keyring has no secret for {service!r}. Put it there: keyring set {service} "
                    f"{username or self.client_id}"
                )
            return Secret(secret)
        return Secret("")

    @t.validate("client_secret")
    def _hide(self, proposal: t.Bunch) -> str:
        return Secret(proposal.value)

    def __repr__(self) -> str:
        return f"<OAuth2Settings {self.provider}, client {self.client_id!r}>"


def warn_if_in_a_cell(secret: str) -> None:
    """Warn when ``secret`` stands in a cell of this notebook, and so in its file and in IPython's history."""
    if secret and any(secret in cell for cell in _cells()):
        warnings.warn(
            "The client secret stands in a cell, so it is saved in the notebook. Read it from the environment "
            "(PYWRY_OAUTH2__CLIENT_SECRET), a file or the keyring, and have the provider issue a new one.",
            UserWarning,
            stacklevel=1,  # not the caller's: Python would print that line, secret and all
        )


def _cells() -> Iterator[str]:
    """Return the source of every cell that has run in this kernel."""
    if "IPython" in sys.modules:
        from IPython import get_ipython

        shell = get_ipython()
        yield from (cell for cell in (shell.user_ns.get("In", []) if shell else []) if isinstance(cell, str))


def _config() -> Config:
    """Return what the configuration files say: Jupyter's, then the running kernel's own."""
    config = Config()
    for folder in reversed(jupyter_config_path()):  # the first one named is the strongest
        for name in _CONFIG_FILES:
            for loader in (JSONFileConfigLoader(f"{name}.json", folder), PyFileConfigLoader(f"{name}.py", folder)):
                config.merge(_load(loader, folder))
    if "IPython" in sys.modules:
        from IPython import get_ipython

        config.merge(getattr(get_ipython(), "config", None) or Config())
    return config


def _load(loader: FileConfigLoader, folder: str) -> Config:
    """Return what one file says; nothing when there is no such file."""
    try:
        return loader.load_config()
    except ConfigFileNotFound:
        return Config()
    except Exception as error:  # noqa: BLE001 - a configuration file is a program
        raise ConfigurationError(f"{Path(folder) / loader.filename} cannot be read ({type(error).__name__}).") from None


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The file with the client secret, {path}, cannot be read ({type(error).__name__})."
        ) from None


def _wrong_value(error: t.TraitError) -> ConfigurationError:
    """Say which setting is wrong, and nothing of its value, which may be a secret."""
    words = str(error).split("'")
    name = next((word for word in words if word in OAuth2Settings.class_trait_names(config=True)), "one")
    trait: Any = OAuth2Settings.class_traits().get(name)
    least = f" of at least {trait.min}" if getattr(trait, "min", None) is not None else ""
    needed = f": {trait.info()}{least} is needed" if trait is not None else ""
    return ConfigurationError(f"The setting {name!r} has a value that does not fit{needed}.")
