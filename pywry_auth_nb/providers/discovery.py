"""A provider's metadata: where they are, and what of them can be used (OIDC Discovery §3 and §4, RFC 8414)."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from .._io.urls import check_url, is_safe, origin
from ..errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .._io.answers import Answer
    from .._io.http import HttpClient

log = logging.getLogger("pywry_auth_nb")

_OPENID, _OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
_WELL_KNOWN = re.compile(rf"({_OPENID}|{_OAUTH})(?=/|$)")
#: Arguments of a provider, and what the metadata call them.
ENDPOINTS = {
    "authorize_url": "authorization_endpoint",
    "token_url": "token_endpoint",
    "userinfo_url": "userinfo_endpoint",
    "revocation_url": "revocation_endpoint",
    "device_authorization_url": "device_authorization_endpoint",
    "end_session_url": "end_session_endpoint",
    "jwks_url": "jwks_uri",
}
#: Those that every sign-in needs, and those without which metadata have to be requested.
NEEDED = frozenset({"authorize_url", "token_url"})
NEEDED_WITHOUT_METADATA = NEEDED | {"jwks_url"}
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 429})  # of the statuses 400 to 499, those after which the same place may answer


def texts(value: Any) -> list[str]:
    """Return the strings in an optional list of the metadata; what is neither a list nor text counts as absent."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


# -- where ------------------------------------------------------------------------------------------------------------


def issuers_at(issuer_url: str) -> tuple[str, ...]:
    """Return the issuers that ``issuer_url`` may stand for; the first is the likeliest.

    That is itself, unless it is the address of an issuer's metadata, which does not tell whether the issuer ends in a
    slash.
    """
    issuer = _WELL_KNOWN.sub("", issuer_url, count=1)
    if issuer == issuer_url:
        return (issuer_url,) if issuer_url else ()
    return (issuer.rstrip("/"), issuer.rstrip("/") + "/")


def places_of(issuer: str) -> list[str]:
    """Return where an issuer's metadata may be: the place of OIDC Discovery §4, then that of RFC 8414 §3.1.

    Raises:
        TokenError: Code ``insecure_url``.
    """
    check_url(issuer)
    if "?" in issuer:
        message = (
            "An issuer is a URL without a query (OpenID Connect Discovery §3). Check issuer_url, or give the address "
            "as metadata_url."
        )
        raise TokenError(message, code="insecure_url")
    parts = urlsplit(issuer.removesuffix("/"))
    return [urlunsplit(parts) + _OPENID, urlunsplit(parts._replace(path=_OAUTH + parts.path))]


async def fetch(http: HttpClient, places: Sequence[str]) -> dict[str, Any]:
    """Return the metadata at the first place that has any.

    Raises:
        TokenError: Code ``discovery_failed``, ``bad_response`` or another of the HTTP client's. If all places answer
            and have none, the error is about the first.
    """
    answers = []
    for place in places:
        answer = await _get(http, place)
        if answer.ok and isinstance(answer.body, dict):
            return answer.body
        answers.append(answer)
        if not _is_elsewhere(answer):
            break
    failed = answers[0] if _is_elsewhere(answers[-1]) else answers[-1]
    host = urlsplit(places[0]).hostname
    if failed.ok and failed.body is None:
        raise TokenError(code="bad_response", host=host)
    raise TokenError(code="discovery_failed", host=host, status=failed.status, retry_after=failed.retry_after)


def _is_elsewhere(answer: Answer) -> bool:
    """Whether an answer without metadata says that they may be at another place, and not that waiting helps."""
    return answer.status < 300 or (400 <= answer.status < 500 and answer.status not in _PASSING)  # noqa: PLR2004


async def _get(http: HttpClient, url: str) -> Answer:
    """GET metadata, which needs no secret, following redirects within the origin.

    Raises:
        TokenError: Code ``redirect_refused``, or another of the HTTP client's.
    """
    for _ in range(_MAX_REDIRECTS + 1):
        answer = await http.request("GET", url, expect_json=False, redirects=True)
        if not 300 <= answer.status < 400:  # noqa: PLR2004
            return answer
        url = _within_origin(url, answer)
    raise TokenError(code="redirect_refused", host=urlsplit(url).hostname)


def _within_origin(url: str, answer: Answer) -> str:
    """Return where a redirect leads, if that is at the origin it came from."""
    target = ""
    if answer.status in _REDIRECTS and answer.location:
        with contextlib.suppress(ValueError):
            target = urljoin(url, answer.location)
    if not is_safe(target) or origin(target) != origin(url):
        raise TokenError(code="redirect_refused", host=urlsplit(url).hostname)
    return target


# -- what -------------------------------------------------------------------------------------------------------------


def endpoints(
    metadata: dict[str, Any], configured: Mapping[str, str], *, needed: Collection[str], loopback: bool
) -> dict[str, str]:
    """Return the endpoints that were configured, and the others as the metadata have them, by argument.

    Args:
        metadata: The metadata.
        configured: The endpoints that were configured, by argument; empty for those that were not.
        needed: The arguments without which there is no sign-in.
        loopback: Whether those in the metadata may be http on this machine; see :func:`_endpoint`.

    Raises:
        TokenError: Code ``missing_metadata`` or ``insecure_url``.
    """
    found = {}
    for argument, name in ENDPOINTS.items():
        found[argument] = configured[argument]
        if found[argument]:
            check_url(found[argument])
        else:
            needed_as = argument if argument in needed else ""
            found[argument] = _endpoint(metadata, name, needed_as=needed_as, loopback=loopback)
    return found


def _endpoint(metadata: dict[str, Any], name: str, *, needed_as: str, loopback: bool) -> str:
    """Return an endpoint in the metadata; empty if it is absent, or cannot be used and need not be.

    Args:
        metadata: The metadata.
        name: The endpoint's name there.
        needed_as: The argument that would replace it, if a sign-in needs it.
        loopback: Whether it may be http on this machine: only if the metadata are there, too, since others could
            direct requests to this machine.

    Raises:
        TokenError: Code ``missing_metadata`` or ``insecure_url``, if a sign-in needs it.
    """
    url = metadata.get(name) or ""
    if isinstance(url, str) and is_safe(url) and (loopback or url.startswith("https:")):
        return url
    if not needed_as:
        if url:
            log.warning("The provider's metadata have an unusable address as %s, which is left out.", name)
        return ""
    if not url:
        message = f"The provider's metadata have no {name}. Give {needed_as} here, or ask the provider's operator."
        raise TokenError(message, code="missing_metadata")
    message = (
        f"The {name} in the provider's metadata is not an https:// address. Ask the provider's operator to correct it "
        "(Keycloak behind a proxy: KC_PROXY_HEADERS and KC_HOSTNAME)."
    )
    raise TokenError(message, code="insecure_url")
