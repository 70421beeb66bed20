"""What people give a session: a provider and a store, or the names that the settings have for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..providers import OAuthProvider
from ..token_store import TokenStore
from ..token_store.memory import default_store

if TYPE_CHECKING:
    from ..settings import OAuth2Settings


def settings_of(provider: str) -> OAuth2Settings:
    """Return the settings for a provider that is given by its name there.

    Raises:
        ConfigurationError: The name is unknown, or the settings are for another provider, whose client and secret must
            not be sent to this one.
    """
    from ..settings import OAuth2Settings

    named, configured = OAuth2Settings(provider=provider), OAuth2Settings().provider
    if configured not in {provider, OAuth2Settings.provider.default_value}:
        raise ConfigurationError(
            f"The settings are for {configured!r}, not {provider!r}. Set PYWRY_OAUTH2__PROVIDER={provider}, and "
            "its client; or create the provider here."
        )
    return named


def check_provider(provider: Any) -> OAuthProvider:
    """Return ``provider`` if it is one.

    Raises:
        ConfigurationError: It is a class, or something else.
    """
    if isinstance(provider, OAuthProvider):
        return provider
    if isinstance(provider, type):
        raise ConfigurationError(
            f"{provider.__name__} is a class. Create the provider: {provider.__name__}(client_id)."
        )
    raise ConfigurationError(
        f"The provider must be one such as GoogleProvider(client_id), or its name in the settings, such as 'google'; "
        f"this is of type {type(provider).__name__}."
    )


def store_of(given: Any) -> TokenStore:
    """Return the store that is given, by itself or by its name in the settings; this kernel's memory for None.

    Raises:
        ConfigurationError: It is a class, an unknown name, or something else.
        TokenStoreError: The store cannot be used here.
    """
    if given is None or given == "memory":
        return default_store()
    if isinstance(given, TokenStore):
        return given
    if isinstance(given, type):
        raise ConfigurationError(
            f"{given.__name__} is a class. Create the store, with parentheses: {given.__name__}()."
        )
    if isinstance(given, str):
        return _store_named(given)
    raise ConfigurationError(
        "token_store must be a token store such as FileTokenStore(), or 'memory', 'keyring', 'file' or 'redis'; this "
        f"is of type {type(given).__name__}."
    )


def _store_named(name: str) -> TokenStore:
    from ..token_store.factory import new_store

    if name != "redis":
        return new_store(name)
    from ..settings import OAuth2Settings
    from ..token_store.factory import redis_options

    return new_store(name, **redis_options(OAuth2Settings()))


def seconds_or_forever(timeout: float | None) -> float:
    """Return a time limit in seconds; infinity for None.

    Raises:
        ConfigurationError: It is not a number.
    """
    if timeout is None:
        return math.inf
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout):
        raise ConfigurationError("timeout must be a number of seconds, or None for no limit.")
    return timeout
