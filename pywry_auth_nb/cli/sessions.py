"""The session of a command: the one that a notebook with the same settings has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import AuthenticationError, ConfigurationError, TokenStoreError

if TYPE_CHECKING:
    import argparse

    from ..session import SessionManager
    from ..settings import OAuth2Settings
    from ..tokens import AccessToken

_NO_STORE = (
    "The tokens are kept in memory, which ends with this command. Set PYWRY_OAUTH2__TOKEN_STORE_BACKEND to keyring, "
    "file or redis, here and for notebooks."
)


class Opened(NamedTuple):
    """A session, and the settings that it was made of."""

    session: SessionManager
    settings: OAuth2Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the session."""
    parser.add_argument(
        "--session-key", metavar="KEY", default="default", help="the session_key of one of several sign-ins"
    )


def open_session(options: argparse.Namespace) -> Opened:
    """Return the session that the settings describe.

    Raises:
        ConfigurationError: A setting is missing or wrong, or the sign-in would not outlast the command.
        TokenStoreError: The token store cannot be used here.
    """
    from ..providers import RefreshTokenSource
    from ..session import SessionManager
    from ..settings import OAuth2Settings

    settings = OAuth2Settings()
    session = SessionManager.from_settings(settings, session_key=options.session_key)
    lasts = not session.provider.interactive and not isinstance(session.provider, RefreshTokenSource)
    backend = settings.token_store_backend
    if backend == "memory" and not lasts:
        raise ConfigurationError(_NO_STORE)
    return Opened(session, settings)


def read_token(session: SessionManager) -> AccessToken:
    """Return a valid access token, renewing it if necessary.

    Raises:
        AuthenticationError: There is none; if the store could not be read, its error.
    """
    try:
        token: AccessToken = session.access_token
    except AuthenticationError:
        if isinstance(session.error, TokenStoreError):
            raise session.error from None
        raise
    return token
