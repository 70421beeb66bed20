"""Request parameters beyond those of RFC 6749: what a provider wants to be told, and what must not be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .._io.values import read_parameters
from ..errors import ConfigurationError
from ..tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Collection

    from .client_auth import ClientCredential

#: A parameter's value; several for one that is repeated, and ``""`` for one that is left out.
Value = str | Sequence[str]
Parameters = Mapping[str, Value]
ClientAuth = Literal["", "basic", "post", "none"]

#: Parameters that tie the answer to the request (RFC 9700 §2.1.1), so that callers may not override them.
PROTECTED = frozenset(
    {"response_type", "response_mode", "client_id", "redirect_uri", "state", "nonce", "code_challenge"}
    | {"code_challenge_method", "request", "request_uri", "client_secret"}
)
_IN_AUTHORIZE_URLS = PROTECTED | {"scope"}  # which is an argument by itself, and decides whether there is a nonce
_IN_TOKEN_REQUESTS = PROTECTED | {
    "grant_type", "code", "code_verifier", "refresh_token", "client_assertion", "client_assertion_type",
}  # fmt: skip
#: Parameters that say what a token is good for: tokens of one audience are never used for another.
_PURPOSE = ("audience", "resource")


class ProviderOptions(TypedDict, total=False):
    """The keyword arguments of every provider; see :class:`OAuthProvider`."""

    device_authorization_url: str
    authorize_params: Parameters | None
    token_params: Parameters | None
    audience: str
    resource: Value
    prompt: str
    login_hint: str
    client_auth: ClientAuth
    client_key: ClientCredential | str | None
    label: str


class OIDCOptions(ProviderOptions, total=False):
    """The keyword arguments of every OpenID Connect provider; see :class:`GenericOIDCProvider`."""

    trusted_audiences: Collection[str] | str
    check_nonce: bool


def of_authorize_url(*layers: Parameters | None) -> dict[str, Value]:
    """Merge parameters for the authorize URL; those of later layers win.

    Raises:
        ConfigurationError: One is protected, or not text.
    """
    return _merged("authorize_params", _IN_AUTHORIZE_URLS, layers)


def of_token_requests(*layers: Parameters | None) -> dict[str, Value]:
    """Merge parameters for token requests, which may be secret; those of later layers win.

    Raises:
        ConfigurationError: One is protected, or not text.
    """
    merged = _merged("token_params", _IN_TOKEN_REQUESTS, layers)
    return {name: Secret(value) if isinstance(value, str) else [*map(Secret, value)] for name, value in merged.items()}


def _merged(argument: str, protected: frozenset[str], layers: Sequence[Parameters | None]) -> dict[str, Value]:
    try:
        merged: dict[str, Value] = {
            name: value for layer in layers for name, value in read_parameters(layer or {}).items()
        }
    except ValueError as error:
        problem = str(error)
    else:
        if forbidden := sorted(protected & merged.keys()):
            raise ConfigurationError(f"{argument} must not set {', '.join(forbidden)}: this package does.")
        return merged
    raise ConfigurationError(f"{argument} must be a mapping of names to text: {problem}.")


def given(parameters: Parameters) -> dict[str, Value]:
    """Return the parameters that have a value: one without is the same as none (RFC 6749 §3.1)."""
    return {name: value for name, value in parameters.items() if value}


def add_to_query(url: str, added: Parameters, *, dropped: Collection[str] = ()) -> str:
    """Return ``url`` with further parameters. The query that it already has is kept (RFC 6749 §3.1), but for these.

    Args:
        url: The URL.
        added: The parameters to add.
        dropped: Names of other parameters to leave out of the query.
    """
    parts = urlsplit(url)
    taken = {*added, *dropped}
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in taken]
    return urlunsplit(parts._replace(query=urlencode([*kept, *added.items()], doseq=True)))


def account_prompt(usual: Value, offered: Collection[str]) -> str:
    """Return the ``prompt`` for choosing another account, given the usual one and those that the provider offers."""
    ask = "login" if offered and "select_account" not in offered else "select_account"
    words = " ".join(_each(usual)).split()
    return f"{ask} consent" if "consent" in words else ask


def purpose(*requests: Parameters) -> str:
    """Return what tokens are asked for, as text that is the same for the same audience and resources; usually empty."""
    values = {name: sorted({each for asked in requests for each in _each(asked.get(name, ""))}) for name in _PURPOSE}
    return urlencode(values, doseq=True)


def _each(value: Value) -> Sequence[str]:
    return [value] if isinstance(value, str) and value else list(value)
