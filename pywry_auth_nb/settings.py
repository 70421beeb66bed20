"""`OAuth2Settings`: which provider and client to use, from Jupyter config, the environment or keyword arguments."""

from __future__ import annotations

import logging
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets as t
from jupyter_core.paths import jupyter_config_path
from traitlets.config import Config, Configurable
from traitlets.config.loader import ConfigFileNotFound, FileConfigLoader, JSONFileConfigLoader, PyFileConfigLoader

from ._io.cells import shell
from ._io.values import read_list, read_parameters, read_scopes
from .errors import ConfigurationError, TokenStoreError
from .tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

log = logging.getLogger("pywry_auth_nb")

PREFIX = "PYWRY_OAUTH2__"
_ANY = PREFIX.rstrip("_")
_OURS = "jupyter_pywry_auth_config"
_CONFIG_FILES = ("jupyter_config", _OURS)
_SECRET_SOURCES = ("client_secret", "client_secret_file", "client_secret_keyring")
_KEY_SOURCES = ("client_key_file", "client_assertion_file")
_TOKENS = ("access_token", "access_token_file", "refresh_token", "refresh_token_file")
_SECRETS = ("client_secret", "access_token", "refresh_token")
_MIN_SECONDS = 10
#: traitlets' names of types, in words for users.
_PLAIN = {"a boolean": "true or false", "a float": "a number", "an int": "a whole number"}


class Parsed(t.TraitType[Any, Any]):
    """A list or mapping, in any of the ways in which people write one.

    Args:
        read: Returns the value of what was written, or raises ValueError.
        info: Describes what may be written, for errors.
        help: As for every trait.
    """

    def __init__(self, read: Callable[[Any], Any], info: str, help: str) -> None:  # noqa: A002 - traitlets' name
        self._read = read
        self.info_text = info
        super().__init__(help=help)

    def default(self, obj: Any = None) -> Any:  # noqa: ARG002 - traitlets' signature
        """Return a new empty value."""
        return self._read("")

    def validate(self, obj: Any, value: Any) -> Any:  # noqa: ARG002 - traitlets' signature
        """Return what was written as a value."""
        with suppress(ValueError):
            return self._read(value)
        raise t.TraitError(repr(self.name))

    def from_string(self, s: str) -> Any:
        """Return what was written in an environment variable as a value."""
        return self._read(s)


class Scopes(t.Unicode):  # type: ignore[type-arg]
    """Scopes separated by spaces; written as such, or as a list, tuple or set."""

    info_text = "scopes separated by spaces, or a list of them,"

    def validate(self, obj: Any, value: Any) -> str:  # noqa: ARG002 - traitlets' signature
        """Return what was written as text."""
        with suppress(ValueError):
            return " ".join(read_scopes(value))
        raise t.TraitError(repr(self.name))


def _read_hidden(value: Any) -> dict[str, Any]:
    """Return parameters whose values are hidden in a repr, since they may be secret."""
    read = read_parameters(value)
    return {name: Secret(each) if isinstance(each, str) else [*map(Secret, each)] for name, each in read.items()}


_PARAMETERS = "a mapping of names to text, as JSON or a=b&c=d,"
_LIST = "a list of text, separated by spaces or commas, or as JSON,"


class OAuth2Settings(Configurable):
    """Settings of one sign-in. All have defaults.

    Keyword arguments override the environment (``PYWRY_OAUTH2__CLIENT_ID``), which overrides configuration files
    (``c.OAuth2Settings.client_id`` in ``jupyter_pywry_auth_config.py`` or ``jupyter_config.py`` in a folder that
    ``jupyter --paths`` names, or in the kernel's own ``ipython_kernel_config.py``).

    Raises:
        ConfigurationError: A value has the wrong type, or a keyword is not a setting.
    """

    provider = t.Enum(["google", "github", "microsoft", "jupyterhub", "oidc", "custom"], "custom").tag(config=True)
    client_id = t.Unicode(help="Client identifier registered with the provider").tag(config=True)
    client_secret = t.Unicode(help="Its secret, if it has one; better by one of the next two").tag(config=True)
    client_secret_file = t.Unicode(help="A file that holds the secret and nothing else").tag(config=True)
    client_secret_keyring = t.Unicode(
        help="Where the system's keyring has the secret: a service name, also as SERVICE:USERNAME; the username is "
        "client_id when left out"
    ).tag(config=True)
    scopes = Scopes(
        "openid email profile", help="Separated by spaces. The default means: what the provider's class asks for"
    ).tag(config=True)
    authorize_url = t.Unicode(help="Authorization endpoint (custom)").tag(config=True)
    token_url = t.Unicode(help="Token endpoint (custom)").tag(config=True)
    userinfo_url = t.Unicode(help="UserInfo endpoint (custom)").tag(config=True)
    revocation_url = t.Unicode(help="Revocation endpoint (custom)").tag(config=True)
    device_authorization_url = t.Unicode(help="Device authorization endpoint (RFC 8628)").tag(config=True)
    issuer_url = t.Unicode(help="Issuer, exactly as the provider writes it (oidc)").tag(config=True)
    metadata_url = t.Unicode(help="Where the metadata are, if not at the place that follows from the issuer").tag(
        config=True
    )
    jwks_url = t.Unicode(help="Signing keys; with the issuer and both endpoints, no metadata are requested").tag(
        config=True
    )
    end_session_url = t.Unicode(help="Where the user signs out of the provider").tag(config=True)
    authorize_params = Parsed(read_parameters, _PARAMETERS, "Further parameters of the authorize URL").tag(config=True)
    token_params = Parsed(_read_hidden, _PARAMETERS, "Further parameters of token requests").tag(config=True)
    audience = t.Unicode(help="The API that the token is for (Auth0)").tag(config=True)
    resource = Parsed(read_list, _LIST, "The same by RFC 8707: addresses of APIs").tag(config=True)
    prompt = t.Unicode(help="What the provider must ask the user: login, consent, select_account").tag(config=True)
    login_hint = t.Unicode(help="The user who is expected to sign in").tag(config=True)
    client_auth = t.Enum(
        ["", "basic", "post", "none"], "", help="How the secret is sent; when left out, the metadata decide"
    ).tag(config=True)
    client_key_file = t.Unicode(help="A file with the key that the client signs with, instead of a secret").tag(
        config=True
    )
    client_key_id = t.Unicode(help="The key's kid at the provider").tag(config=True)
    client_assertion_audience = t.Unicode(help="Whom they are for; the endpoint when left out").tag(config=True)
    client_assertion_file = t.Unicode(help="A file with the client's assertion, which something else signs").tag(
        config=True
    )
    access_token = t.Unicode(help="A token that is provided from outside; better by the next one").tag(config=True)
    access_token_file = t.Unicode(help="A file that holds it, kept up to date by something else").tag(config=True)
    refresh_token = t.Unicode(help="A refresh token to begin with; better by the next one").tag(config=True)
    refresh_token_file = t.Unicode(help="A file that holds it").tag(config=True)
    grant_type = t.Enum(
        ["authorization_code", "client_credentials"],
        "authorization_code",
        help="Whose tokens: those of a user who signs in, or the client's own (RFC 6749 §4.4)",
    ).tag(config=True)
    allowed_origins = Parsed(read_list, _LIST, "Origins that session.auth and Git may send the token to").tag(
        config=True
    )
    label = t.Unicode(help="Name of the provider for display; the host when left out").tag(config=True)
    trusted_audiences = Parsed(read_list, _LIST, "Other audiences that ID tokens may name").tag(config=True)
    check_nonce = t.Bool(default_value=True, help="Whether an ID token must repeat the nonce").tag(config=True)
    redis_url = t.Unicode(help="Where the tokens are kept (redis)").tag(config=True)
    redis_prefix = t.Unicode(
        help="What the names of all keys begin with (redis); the store's own default when left out"
    ).tag(config=True)
    tenant_id = t.Unicode("common", help="Tenant (microsoft)").tag(config=True)
    require_id_token_validation = t.Bool(default_value=True, help="Whether an ID token must come and be valid").tag(
        config=True
    )
    use_pkce = t.Bool(default_value=True, help="Whether to send a code challenge (RFC 7636)").tag(config=True)
    loopback_host = t.Unicode("127.0.0.1", help="Host of the redirect URI on this machine").tag(config=True)
    loopback_port = t.Int(0, min=0, max=65535, help="Its port; 0 for any free one").tag(config=True)
    token_store_backend = t.Enum(["memory", "keyring", "redis", "file"], "memory").tag(config=True)
    auth_timeout_seconds = t.Float(
        120.0,
        min=_MIN_SECONDS,
        help="How long to wait for the user to sign in, in seconds, for AuthFlowManager's auth_timeout. The widget and "
        "session.login() have their own",
    ).tag(config=True)
    refresh_buffer_seconds = t.Int(60, min=_MIN_SECONDS, help="How long before its end a token is renewed").tag(
        config=True
    )

    def __init__(self, **settings: Any) -> None:
        settings = _hide_secret(settings)
        unknown = sorted(settings.keys() - self._names())
        if unknown:
            raise ConfigurationError(f"There is no setting called {', '.join(unknown)}. Check the spelling.")
        config = _config()
        environment = self._environment()
        for sources in (_SECRET_SOURCES + _KEY_SOURCES, _TOKENS):
            _strongest(sources, settings, environment, config.OAuth2Settings)
        config.OAuth2Settings.update(_hide_secret(config.OAuth2Settings))
        try:
            super().__init__(config=config, **{**environment, **settings})
        except t.TraitError as error:
            problem = _wrong_value(error)
        else:
            return
        raise problem  # outside the handler: a traceback through traitlets would show the value

    @classmethod
    def _names(cls) -> set[str]:
        return set(cls.class_trait_names(config=True))

    @classmethod
    def _environment(cls) -> dict[str, Any]:
        """Return the settings given in the environment; warn of variables that match no setting, perhaps misspelt."""
        names = {PREFIX + name.upper(): name for name in cls._names()}
        unknown = sorted(name for name in os.environ if name.upper().startswith(_ANY) and name not in names)
        if unknown:
            log.warning("There is no setting called %s, so it is ignored. Check the spelling.", ", ".join(unknown))
        given = {name: os.environ.get(variable) for variable, name in names.items()}
        return {name: cls._read_variable(name, Secret(value)) for name, value in given.items() if value is not None}

    @classmethod
    def _read_variable(cls, name: str, value: Secret) -> Any:
        if name in _SECRETS:
            return value
        trait: Any = cls.class_traits()[name]
        with suppress(ValueError, TypeError, t.TraitError):
            return trait.validate(None, trait.from_string(str(value)))
        raise ConfigurationError(
            f"The environment variable {PREFIX}{name.upper()} has a value that does not fit{_expected(name)}."
        )

    @t.default("client_secret")
    def _stored_client_secret(self) -> str:
        """Read the secret from its file or the keyring."""
        if self.client_secret_file:
            return Secret(_read(Path(self.client_secret_file)))
        if self.client_secret_keyring:
            from ._io.keyring import read_secret

            service, _, username = self.client_secret_keyring.partition(":")
            try:
                secret = read_secret(service, username or self.client_id)
            except TokenStoreError as error:
                raise ConfigurationError(
                    "The keyring that should have the client secret cannot be used here. Unlock it, or keep the secret "
                    f"in a file ({PREFIX}CLIENT_SECRET_FILE) or in the environment.",
                    code=error.code,
                ) from None
            if secret is None:
                raise ConfigurationError(
                    f"The keyring has no secret for {service!r}. Put it there: keyring set {service} "
                    f"{username or self.client_id}"
                )
            return Secret(secret)
        return Secret("")

    @t.validate(*_SECRETS)
    def _hide(self, proposal: t.Bunch) -> str:
        return Secret(proposal.value)

    @t.validate("auth_timeout_seconds")
    def _check_finite(self, proposal: t.Bunch) -> float:
        if not math.isfinite(proposal.value):
            raise t.TraitError("'auth_timeout_seconds'")
        return float(proposal.value)

    def __repr__(self) -> str:
        return f"<OAuth2Settings {self.provider}, client {self.client_id!r}>"


def _hide_secret(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` with every secret as a :class:`Secret`."""
    return {
        name: Secret(value) if name in _SECRETS and isinstance(value, str) else value
        for name, value in settings.items()
    }


def _strongest(sources: Sequence[str], *layers: MutableMapping[str, Any]) -> None:
    """Remove a secret, given by one of its ``sources``, from every layer but the first that sets one."""
    found = False
    for layer in layers:
        for name in sources:
            if name in layer and (found or not layer[name]):
                del layer[name]
        found = found or any(name in layer for name in sources)


def _config() -> Config:
    """Return the merged configuration: Jupyter's files, then the running kernel's own."""
    config = Config()
    for folder in reversed(jupyter_config_path()):  # the first folder takes precedence
        for name in _CONFIG_FILES:
            for loader in (PyFileConfigLoader(f"{name}.py", folder), JSONFileConfigLoader(f"{name}.json", folder)):
                config.merge(_load(loader, folder))
    config.merge(getattr(shell(), "config", None) or Config())
    return config


def _load(loader: FileConfigLoader, folder: str) -> Config:
    """Return the configuration in one file; empty if the file does not exist."""
    try:
        return loader.load_config()
    except ConfigFileNotFound:
        return Config()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a configuration file is a program
        problem = f"{Path(folder) / loader.filename} cannot be read ({type(error).__name__})."
    if loader.filename.startswith(_OURS):
        raise ConfigurationError(f"{problem} Correct it, or remove it.")
    log.warning("%s It is ignored.", problem)  # it may be the server's, and need packages that are not installed here
    return Config()


def _read(path: Path) -> str:
    try:
        secret = path.expanduser().read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"The file with the client secret, {path}, cannot be read ({type(error).__name__}). Check where it is, and "
            "who may read it."
        ) from None
    if len(secret.splitlines()) != 1:
        raise ConfigurationError(f"The file with the client secret, {path}, must hold the secret and nothing else.")
    return secret


def _wrong_value(error: t.TraitError) -> ConfigurationError:
    """Return the error for a wrong setting, without its value, which may be a secret."""
    words = str(error).split("'")
    name = next((word for word in words if word in OAuth2Settings.class_trait_names(config=True)), "one")
    return ConfigurationError(f"The setting {name!r} has a value that does not fit{_expected(name)}.")


def _expected(name: str) -> str:
    """Describe the values that a setting takes."""
    trait: Any = OAuth2Settings.class_traits().get(name)
    least = f" of at least {trait.min}" if getattr(trait, "min", None) is not None else ""
    return f": {_PLAIN.get(trait.info(), trait.info())}{least} is needed" if trait is not None else ""
