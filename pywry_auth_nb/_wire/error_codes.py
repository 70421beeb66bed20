"""The table of error codes: HTTP status, title, what happened and what to do.

Error messages, pages, JSON responses and ``docs/error-codes.md`` are generated from it. After a change of the table,
regenerate the docs::

    python -m pywry_auth_nb._wire.error_codes > docs/error-codes.md

This module imports nothing else of the package: the kernel and the Jupyter server both use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import TypeIs

#: The codes of the table below, for type checkers, which cannot read the keys of a dict.
ErrorCode = Literal[
    "access_denied",
    "account_selection_required",
    "already_used",
    "authentication_failed",
    "authorization_pending",
    "bad_host",
    "bad_method",
    "bad_request",
    "bad_response",
    "bad_token",
    "certificate",
    "client_auth_unsupported",
    "client_key_unusable",
    "client_secret_missing",
    "client_secret_unwanted",
    "configuration",
    "connection_refused",
    "consent_required",
    "cross_site",
    "csrf_failed",
    "device_unsupported",
    "discovery_failed",
    "endpoint_forbidden",
    "endpoint_key",
    "endpoint_path",
    "exchange_refused",
    "exchange_unavailable",
    "expired_token",
    "flow_cancelled",
    "flow_timeout",
    "forbidden",
    "forked",
    "gateway_refused",
    "gateway_unavailable",
    "handle_elsewhere",
    "handle_ended",
    "hub_auth_state_missing",
    "hub_refused",
    "hub_scope_missing",
    "hub_signs_in",
    "hub_token_expired",
    "id_token_algorithm",
    "id_token_at_hash",
    "id_token_aud",
    "id_token_auth_time",
    "id_token_azp",
    "id_token_exp",
    "id_token_iat",
    "id_token_iss",
    "id_token_malformed",
    "id_token_missing",
    "id_token_nbf",
    "id_token_nonce",
    "id_token_not_renewed",
    "id_token_signature",
    "id_token_sub",
    "identity_changed",
    "insecure_redirect_uri",
    "insecure_url",
    "insufficient_scope",
    "interaction_required",
    "internal",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_response",
    "invalid_scope",
    "invalid_target",
    "issuer_mismatch",
    "issuer_missing",
    "jupyter_login",
    "jwks_failed",
    "kernel_busy",
    "kernel_gone",
    "kernel_slow",
    "login_required",
    "metadata_issuer",
    "missing_metadata",
    "network",
    "no_browser",
    "no_front_end",
    "no_hub",
    "no_kernel",
    "no_refresh_token",
    "no_session",
    "not_authenticated",
    "not_found",
    "not_started",
    "origin_not_allowed",
    "other_browser",
    "paste_unusable",
    "person_needed",
    "pkce_unsupported",
    "port_unavailable",
    "preset_unavailable",
    "provided_token_expired",
    "provider_error",
    "provider_unavailable",
    "proxy",
    "rate_limited",
    "redirect_refused",
    "redirect_uri_mismatch",
    "refresh_busy",
    "refresh_failed",
    "refused",
    "registered_as_spa",
    "scope_not_granted",
    "server_error",
    "slow_down",
    "step_up_required",
    "store_failed",
    "store_forbidden",
    "store_key",
    "store_missing",
    "store_unavailable",
    "store_unreadable",
    "store_value",
    "store_version",
    "sts_refused",
    "sts_response",
    "temporarily_unavailable",
    "tenant_mismatch",
    "timeout",
    "token_error",
    "token_exchanged",
    "token_expired",
    "token_not_provided",
    "token_provided",
    "token_refused",
    "token_response",
    "token_type",
    "too_large",
    "unauthorized_client",
    "unknown_flow",
    "unknown_host",
    "unsupported_grant_type",
    "unverified_email",
    "userinfo_failed",
    "userinfo_sub",
    "version_mismatch",
    "way_unavailable",
    "wrong_thread",
]


@dataclass(frozen=True)
class Entry:
    """The meaning of one code.

    Sentence and advice may contain ``{placeholders}``. A part in ``[brackets]`` is omitted unless its placeholder has a
    value. Other placeholders have a default, for pages that know only the code.

    Attributes:
        status: The HTTP status.
        title: A heading.
        sentence: What happened.
        advice: What to do.
    """

    status: int
    title: str
    sentence: str
    advice: str

    @property
    def placeholders(self) -> frozenset[str]:
        """The names of the placeholders in sentence and advice."""
        return frozenset(_PLACEHOLDER.findall(f"{self.sentence} {self.advice}"))

    def text(self, **values: Any) -> str:
        """Return sentence and advice with the placeholders filled in."""
        return fill(f"{self.sentence} {self.advice}", values)


#: Defaults of the placeholders outside brackets. ``place`` is where the user signs in from.
_DEFAULTS = {
    "host": "The provider",
    "place": "notebook",
    "audience": "this API",
    "scope": "admin:auth_state!user",
    "call": "…",
    "server": "this server",
    "variable": "HTTPS_PROXY, ALL_PROXY",
}
_PLACEHOLDER = re.compile(r"\{(\w+)[^}]*\}")
_OPTIONAL = re.compile(r"\[([^][{]*\{(\w+)[^][]*)\]")


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Return ``text`` with its placeholders filled in, without the optional parts that have no value."""
    words = _DEFAULTS | {name: value for name, value in values.items() if value is not None}
    kept = _OPTIONAL.sub(lambda part: part[1] if part[2] in words else "", text)
    return kept.format_map(words)


def is_known(code: object) -> TypeIs[ErrorCode]:
    """Whether ``code`` is in the table. A code from a kernel or a provider may be anything."""
    return isinstance(code, str) and code in TABLE


def explain(code: str) -> Entry:
    """Return the entry of ``code``; a general one for a code outside the table, such as that of a provider class."""
    return TABLE[code] if is_known(code) else TABLE["authentication_failed"]


_AGAIN = "Sign in again."
_SAFETY = "and was refused for your safety."
_REGISTRATION = "Check the client's registration at the provider."
_ASK_OPERATOR = "Ask the provider's operator."
_BAD_ID_TOKEN = "The provider's ID token was refused"  # noqa: S105 - a title
_CHECK_CLOCK = "Check this machine's clock and the provider's, then sign in again."
_HUB = "The hub did not provide its token"

TABLE: Mapping[ErrorCode, Entry] = {
    # -- permissions ----------------------------------------------------------------------------------------------
    "jupyter_login": Entry(
        403,
        "Sign in to Jupyter first",
        "This browser is not signed in to Jupyter.",
        "Sign in there, then sign in again from the {place}.",
    ),
    "forbidden": Entry(
        403,
        "Not allowed",
        "You may not run code on this Jupyter server, so you cannot sign in for it.",
        "Use a server where you may run code.",
    ),
    "other_browser": Entry(
        403,
        "No sign-in is open in this browser",
        "A sign-in must end in the browser, and with the Jupyter user, where it began.",
        "If you have just signed in, there is nothing left to do. Otherwise sign in again from the {place}.",
    ),
    "csrf_failed": Entry(
        403,
        "The request is not protected",
        "The request has no valid XSRF token.",
        "Send the value of the cookie _xsrf in the header X-XSRFToken.",
    ),
    "cross_site": Entry(
        403,
        "The request comes from another site",
        "Pages of other sites may not send this request.",
        "Send it from a page of this Jupyter server.",
    ),
    "refused": Entry(
        403,
        "Jupyter refused the request",
        "Jupyter refused the request.",
        "Check the address, and that you are signed in to Jupyter.",
    ),
    "rate_limited": Entry(
        429,
        "Too many sign-ins at once",
        "Too many sign-ins were begun within a short time.",
        "Wait a minute, then sign in again.",
    ),
    # -- the address ----------------------------------------------------------------------------------------------
    "not_found": Entry(
        404,
        "There is nothing at this address",
        "The server has no page at this address.",
        "Sign in again from the {place}.",
    ),
    "bad_request": Entry(
        400,
        "This address is not complete",
        "A parameter of this address is missing, too long, or repeated.",
        "The {place} shows whether you are signed in.",
    ),
    "bad_host": Entry(
        400,
        "The host name is wrong",
        "The server does not answer requests for this host name.",
        "Sign in again from the {place}.",
    ),
    "bad_method": Entry(
        405,
        "The request has the wrong method",
        "This address does not support this method.",
        "Use GET to read, and POST to change something.",
    ),
    # -- the kernel, as the Jupyter server sees it ----------------------------------------------------------------
    "kernel_gone": Entry(
        404,
        "The notebook's kernel has stopped",
        "The kernel that the sign-in belongs to is not running.",
        "Run the notebook's cells again, then sign in.",
    ),
    "no_session": Entry(
        404,
        "The notebook has no sign-in open",
        "The notebook's kernel does not know this sign-in. It may have restarted.",
        "Run the notebook's cells again, then sign in.",
    ),
    "kernel_busy": Entry(
        504,
        "The notebook does not answer",
        "The notebook's kernel is blocked.",
        "Wait for it or restart it, then sign in again.",
    ),
    "kernel_slow": Entry(
        504,
        "This takes longer than expected",
        "The notebook's kernel is still working on the sign-in.",
        "Look at the notebook: if it does not say that you are signed in within a minute, sign in again.",
    ),
    "gateway_refused": Entry(
        502,
        "The gateway refused the Jupyter server",
        "The gateway where the notebook's kernel runs refused the Jupyter server.",
        "Ask the server's administrator to check the gateway's token (c.GatewayClient.auth_token).",
    ),
    "gateway_unavailable": Entry(
        502,
        "The gateway does not answer",
        "The gateway where the notebook's kernel runs did not answer the Jupyter server.",
        "Sign in again in a moment. If that does not help, ask the server's administrator: the log names the reason.",
    ),
    "version_mismatch": Entry(
        501,
        "The versions do not match",
        "The notebook's kernel and the Jupyter server have different versions of pywry-auth-nb.",
        "Install the same version in both, then restart both.",
    ),
    "not_authenticated": Entry(
        401,
        "Not signed in",
        "The session is not signed in.",
        "Send the browser to pywry-auth/login first.",
    ),
    # -- how a sign-in ends ---------------------------------------------------------------------------------------
    "already_used": Entry(
        200,
        "This sign-in is finished",
        "This sign-in has ended, or another one took its place.",
        "The {place} shows whether you are signed in.",
    ),
    "unknown_flow": Entry(
        404,
        "No such sign-in is open",
        "The sign-in has ended already, or its kernel was restarted.",
        _AGAIN,
    ),
    "flow_cancelled": Entry(
        400,
        "The sign-in was cancelled",
        "The sign-in was cancelled before it was finished.",
        "Sign in again to go on.",
    ),
    "flow_timeout": Entry(
        400,
        "The sign-in took too long",
        "The sign-in was not finished in time[ ({timeout:.0f} s)].",
        f"{_AGAIN}[ If the provider showed an error, register {{redirect_uri}} there as a redirect URI.]",
    ),
    "authorization_pending": Entry(
        400,
        "The sign-in waits for you",
        "The sign-in has not been approved at the provider yet.",
        "Enter the code at the provider's page, and approve it there.",
    ),
    "slow_down": Entry(
        400,
        "The provider was asked too often",
        "The provider wants to be asked less often whether the sign-in was approved.",
        "Wait a moment; it is asked again by itself.",
    ),
    "expired_token": Entry(
        400,
        "The code has expired",
        "The code was not entered at the provider in time.",
        "Sign in again for a new code.",
    ),
    "device_unsupported": Entry(
        400,
        "The provider has no codes to enter",
        "The provider offers no sign-in with a code that is entered in another browser.",
        "Sign in another way; or, if it does offer one, give its endpoint as device_authorization_url.",
    ),
    "paste_unusable": Entry(
        400,
        "This is not the provider's answer",
        "The pasted text is not the address that the provider sent the browser to.",
        "Paste the whole address of the page at which the sign-in ended, with its code and state.",
    ),
    "way_unavailable": Entry(
        400,
        "This way to sign in does not work here",
        "This way to sign in does not work here.",
        "Sign in another way, or leave via out.",
    ),
    "access_denied": Entry(
        400,
        "Access was declined",
        "The provider says that access was declined.",
        "Sign in again to go on. If you did not decline, the {place} may show the provider's reason.",
    ),
    "consent_required": Entry(
        400,
        "Consent was not given",
        "The provider did not get your consent to this sign-in.",
        "Sign in again, and agree; if you were not asked, leave prompt=none out.",
    ),
    "interaction_required": Entry(
        400,
        "The provider needs to ask you something",
        "The provider needs to ask you something before it signs you in, and was not allowed to.",
        "Sign in again without prompt=none, or ask the provider's operator what it requires of you.",
    ),
    "account_selection_required": Entry(
        400,
        "The provider needs to know which account",
        "The provider needs you to choose an account, and was not allowed to ask.",
        "Sign in again with prompt=select_account.",
    ),
    "authentication_failed": Entry(
        400,
        "The sign-in failed",
        "The sign-in failed.",
        "Check the {place} for details, then sign in again.",
    ),
    "internal": Entry(
        400,
        "Something went wrong",
        "pywry-auth-nb met an unexpected error.",
        "Try again; if it happens again, report it with the log.",
    ),
    # -- the provider's answer ------------------------------------------------------------------------------------
    "issuer_mismatch": Entry(
        400,
        "The answer came from another provider",
        f"The answer comes from another provider {_SAFETY}",
        _AGAIN,
    ),
    "issuer_missing": Entry(
        400,
        "The answer does not say where it comes from",
        f"The answer does not say which provider it comes from, though it should, {_SAFETY}",
        _AGAIN,
    ),
    "invalid_response": Entry(
        400,
        "The provider's answer is not valid",
        f"The provider's answer is not valid[ ({{reason}})] {_SAFETY}",
        _AGAIN,
    ),
    "provider_error": Entry(
        400,
        "The provider refused the sign-in",
        "The provider refused to sign you in.",
        "Try again, or ask its operator.",
    ),
    "server_error": Entry(
        400,
        "The provider has a problem",
        "The provider had an internal problem.",
        "Try again in a moment.",
    ),
    "temporarily_unavailable": Entry(
        400,
        "The provider is overloaded",
        "The provider is overloaded.",
        "Try again in a moment.",
    ),
    "token_refused": Entry(
        400,
        "The provider refused to give a token",
        "The provider refused to give a token[ (HTTP {status})].",
        "Sign in again; if it happens again, ask the provider's operator.",
    ),
    "token_response": Entry(
        400,
        "The provider's token response is not valid",
        "The provider's token response has no valid [{member!r} ]value.",
        "Try again; if it happens again, report it to the provider.",
    ),
    "token_type": Entry(
        400,
        "The provider's token type is not supported",
        "The provider issued a token that is not a bearer token.",
        "Request bearer tokens in the client's registration.",
    ),
    # -- the client's registration --------------------------------------------------------------------------------
    "invalid_client": Entry(
        400,
        "The provider does not accept this application",
        "The provider does not accept this client.",
        "Check client_id, client_secret, and how it is sent (client_auth).",
    ),
    "unauthorized_client": Entry(
        400,
        "This application may not do that",
        "The provider does not allow this client to do that.",
        _REGISTRATION,
    ),
    "unsupported_grant_type": Entry(
        400,
        "The provider does not offer this grant",
        "The provider does not offer this grant.",
        _REGISTRATION,
    ),
    "invalid_scope": Entry(
        400,
        "The provider does not grant these scopes",
        "The provider does not grant these scopes.",
        "Check them against the client's registration.",
    ),
    "invalid_target": Entry(
        400,
        "The provider gives no token for this API",
        "The provider gives no token for this audience or resource.",
        "Check its name, and that the client may use it.",
    ),
    "exchange_refused": Entry(
        400,
        "The provider did not exchange the token",
        "The provider did not exchange the token for one for {audience}.",
        "The sign-in is as it was. Check that the provider allows this client to exchange tokens, and which.",
    ),
    "exchange_unavailable": Entry(
        400,
        "This token cannot be exchanged",
        "This session's token comes from outside, so it is not known who could exchange it.",
        "Name the provider: session.for_audience(…, provider=…).",
    ),
    "token_exchanged": Entry(
        400,
        "There is nothing to sign in at",
        "The token of this session is exchanged for that of another session, so there is nothing to sign in at.",
        "Sign in with that session.",
    ),
    "invalid_request": Entry(
        400,
        "The provider did not understand the request",
        "The provider did not understand the request.",
        "Check the redirect URI and the client's registration.",
    ),
    "client_secret_missing": Entry(
        400,
        "The provider requires a client secret",
        "The provider requires a client secret from this client.",
        "Pass client_secret, or register the client as public.",
    ),
    "client_secret_unwanted": Entry(
        400,
        "The provider does not accept a client secret",
        "This client is registered as public.",
        "Leave client_secret out.",
    ),
    "client_auth_unsupported": Entry(
        400,
        "The client secret cannot be sent",
        "The provider supports none of our ways to send a client secret.",
        "Leave client_secret out if the client is registered as public; else register it for client_secret_basic.",
    ),
    "redirect_uri_mismatch": Entry(
        400,
        "The redirect URI is not registered",
        "The redirect URI is not registered at the provider.",
        "Add it to the application's registration, character by character.",
    ),
    "registered_as_spa": Entry(
        400,
        "The redirect URI is registered for a single-page application",
        "The redirect URI is registered for a single-page application.",
        "Register it for a desktop application without a secret, or for a web application with one.",
    ),
    "tenant_mismatch": Entry(
        400,
        "The application belongs to another tenant",
        "The application is registered for another tenant.",
        "Pass that tenant's ID as tenant_id.",
    ),
    "unverified_email": Entry(
        400,
        "The e-mail address is not verified",
        "The provider signs in only users with a verified e-mail address.",
        "Verify it at the provider, then sign in again.",
    ),
    # -- discovery and addresses ----------------------------------------------------------------------------------
    "discovery_failed": Entry(
        502,
        "The provider cannot be used",
        "{host} is not an OpenID Connect issuer, or is not working[ (HTTP {status})].",
        "Check issuer_url; if the provider's metadata are elsewhere, give their address as metadata_url.",
    ),
    "metadata_issuer": Entry(
        400,
        "The issuer does not match",
        "The provider's metadata names another issuer.",
        "Write issuer_url exactly as in the provider's metadata.",
    ),
    "missing_metadata": Entry(
        400,
        "An address of the provider is missing",
        "The provider's metadata lacks an address, or there is no issuer to ask for it.",
        "Give issuer_url (by name), or authorize_url and token_url.",
    ),
    "pkce_unsupported": Entry(
        400,
        "The provider does not support PKCE",
        "The provider does not support PKCE with S256, without which signing in is not safe.",
        _ASK_OPERATOR,
    ),
    "insecure_redirect_uri": Entry(
        400,
        "Jupyter is not served over https",
        "Jupyter is served over plain http, so a sign-in could be intercepted.",
        "Open Jupyter over https. Behind a proxy, its administrator sets c.ServerApp.trust_xheaders = True or "
        "c.PywryAuth.redirect_uri.",
    ),
    "insecure_url": Entry(
        400,
        "An address is not safe",
        "A provider's address must be an https:// URL (http:// is accepted only for loopback hosts).",
        "Correct the address.",
    ),
    # -- the network ----------------------------------------------------------------------------------------------
    "network": Entry(
        502,
        "The provider cannot be reached",
        "{host} could not be reached[ ({reason})].",
        "Check the address and the network, then try again.",
    ),
    "unknown_host": Entry(
        502,
        "The provider's host name is not known",
        "{host} cannot be found: its host name has no address.",
        "Check the spelling of the address, and that this machine is in the right network or VPN. If only a proxy "
        "knows the name, set HTTPS_PROXY, and take the name out of NO_PROXY.",
    ),
    "connection_refused": Entry(
        502,
        "The provider refuses connections",
        "{host} refused the connection.",
        "Check the port in the address, and that the server is running. If a firewall is in between, set HTTPS_PROXY.",
    ),
    "certificate": Entry(
        502,
        "The provider's certificate is not trusted",
        "{host} shows a certificate that is not trusted[: {reason}][. Trusted are those of {trusted}].",
        "If the network inspects TLS, or the provider has a private authority, set SSL_CERT_FILE or REQUESTS_CA_BUNDLE "
        "to the file of its root certificate. Otherwise check the address and this machine's clock.",
    ),
    "proxy": Entry(
        502,
        "The proxy does not let the request through",
        "{host} was not reached through the proxy[ {proxy}][: {reason}].",
        "Check {variable} and NO_PROXY.",
    ),
    "timeout": Entry(
        504,
        "The provider did not answer in time",
        "{host} did not answer[ within {timeout:.0f} s].",
        "Check the network, then try again.",
    ),
    "redirect_refused": Entry(
        400,
        "The provider's address leads elsewhere",
        "{host} answered with a redirect, which could send secrets elsewhere.",
        "Check the address.",
    ),
    "bad_response": Entry(
        400,
        "The provider's answer cannot be read",
        "{host} answered with something that is not JSON.",
        "Check the address.",
    ),
    "too_large": Entry(
        400,
        "The provider's answer is too large",
        "{host} sent an answer that is too large[ (more than {limit} bytes)].",
        "Check the address.",
    ),
    "provider_unavailable": Entry(
        400,
        "The provider could not give a token",
        "The provider could not give a token[ (HTTP {status})].",
        "Try again in a moment.",
    ),
    "userinfo_failed": Entry(
        400,
        "The provider did not identify you",
        "The provider did not say who you are[ (HTTP {status})].",
        "Try again in a moment.",
    ),
    # -- ID tokens and keys ---------------------------------------------------------------------------------------
    "jwks_failed": Entry(
        400,
        "The provider's signing keys cannot be read",
        "The provider's signing keys could not be read.",
        "Try again.",
    ),
    "id_token_missing": Entry(
        400, _BAD_ID_TOKEN, "The provider sent no ID token.", "Add openid to the scopes, then sign in again."
    ),
    "id_token_malformed": Entry(400, _BAD_ID_TOKEN, "The provider's ID token cannot be read[: {reason}].", _AGAIN),
    "id_token_algorithm": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token is signed with an algorithm that is not accepted.",
        "Set the client's ID token signature to RS256 or ES256 at the provider.",
    ),
    "id_token_signature": Entry(
        400, _BAD_ID_TOKEN, "The provider's ID token has a signature that matches none of the provider's keys.", _AGAIN
    ),
    "id_token_iss": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token comes from another issuer (iss).",
        "Sign in again; if it happens again, the provider's operator must let metadata and ID tokens name the same "
        "issuer (Keycloak: KC_HOSTNAME).",
    ),
    "id_token_aud": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token is meant for another application (aud).",
        "Check client_id; if the {place} names applications that you trust, add them to trusted_audiences.",
    ),
    "id_token_azp": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token was issued to another application (azp).",
        "Check client_id. If it is right, the provider's operator must let ID tokens name this client in azp.",
    ),
    "id_token_sub": Entry(400, _BAD_ID_TOKEN, "The provider's ID token does not say who signed in (sub).", _AGAIN),
    "id_token_exp": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token has expired (exp)[: {ahead:+.0f} s from this machine's clock].",
        _CHECK_CLOCK,
    ),
    "id_token_iat": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token was not issued just now (iat)[: {ahead:+.0f} s from this machine's clock].",
        _CHECK_CLOCK,
    ),
    "id_token_nbf": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token is not valid yet (nbf)[: {ahead:+.0f} s from this machine's clock].",
        _CHECK_CLOCK,
    ),
    "id_token_nonce": Entry(400, _BAD_ID_TOKEN, "The provider's ID token answers another sign-in (nonce).", _AGAIN),
    "id_token_not_renewed": Entry(
        400,
        "The ID token has expired",
        "The ID token has expired, and the provider sent no new one when the tokens were renewed.",
        'Sign in again: session.login(prompt="login").',
    ),
    "id_token_at_hash": Entry(
        400,
        _BAD_ID_TOKEN,
        "The provider's ID token does not belong to the access token that came with it (at_hash).",
        _AGAIN,
    ),
    "userinfo_sub": Entry(
        400,
        "The provider contradicts itself",
        "The provider names two different users for one sign-in.",
        _AGAIN,
    ),
    "id_token_auth_time": Entry(
        400,
        "The sign-in is too old",
        "The provider did not ask for the sign-in to be made anew, or does not say when it was (auth_time).",
        f"{_AGAIN[:-1]} with prompt='login'; if that does not help, ask the provider's operator about max_age.",
    ),
    "identity_changed": Entry(
        400,
        "The tokens belong to another user",
        "The tokens belong to another user than those before.",
        _AGAIN,
    ),
    # -- tokens ---------------------------------------------------------------------------------------------------
    "login_required": Entry(
        400,
        "Not signed in",
        "There is no signed-in session.",
        "Display the session in a cell and sign in, or call session.login(). Where no user can: run `pywry-auth login` "
        "before, with a token store; or set PYWRY_OAUTH2__ACCESS_TOKEN_FILE.",
    ),
    "invalid_grant": Entry(
        400,
        "The provider no longer accepts this sign-in",
        "The provider no longer accepts this sign-in.",
        _AGAIN,
    ),
    "no_refresh_token": Entry(
        400,
        "This sign-in cannot be renewed",
        "The provider gave no refresh token, so this sign-in cannot be renewed.",
        "Sign in again when the token has expired.",
    ),
    "refresh_failed": Entry(
        500,
        "The token could not be renewed",
        "The token could not be renewed.",
        "Read session.error in the notebook: it says why.",
    ),
    "refresh_busy": Entry(
        400,
        "Another notebook is renewing this sign-in",
        "Another notebook is renewing this sign-in and does not finish.",
        "Try again in a moment; if it happens again, look for a kernel that hangs.",
    ),
    "forked": Entry(
        400,
        "This process was forked",
        "A forked process must not renew the token that its parent uses too.",
        "Read session.access_token before forking.",
    ),
    "token_error": Entry(
        400,
        "The token cannot be used",
        "The token could not be obtained, read or verified.",
        _AGAIN,
    ),
    "token_expired": Entry(
        400,
        "The access token has expired",
        "The access token has expired.",
        "Try again in a moment; if it happens again, sign in again.",
    ),
    "bad_token": Entry(
        400,
        "A token cannot be sent",
        "A token contains characters that are not allowed in tokens.",
        _AGAIN,
    ),
    "origin_not_allowed": Entry(
        400,
        "The token is not meant for this address",
        "The token is not meant for {server}.",
        "Add it to the session's allowed_origins if it is.",
    ),
    "insufficient_scope": Entry(
        400,
        "The token may not do this",
        "The sign-in lacks a scope that {server} needs[: {names}].",
        "Run session.require({call}), then try again.",
    ),
    "scope_not_granted": Entry(
        400,
        "A scope was not granted",
        "The provider did not grant what was asked for[: {names}].",
        "If you left it out there, run session.require({call}) again; else check the client's registration at the "
        "provider.",
    ),
    "step_up_required": Entry(
        400,
        "A newer sign-in is needed",
        "A newer or stronger sign-in is needed by {server}.",
        "Run session.login({call}), then try again.",
    ),
    # -- where the program runs -----------------------------------------------------------------------------------
    "configuration": Entry(
        400,
        "A setting is wrong",
        "A setting is missing, wrong, or contradicts another.",
        "Correct it in the environment or in Jupyter's configuration.",
    ),
    "person_needed": Entry(
        400,
        "A user must sign in",
        "This provider gives tokens only after a user has signed in.",
        "Use session.login(), or the widget.",
    ),
    "no_front_end": Entry(
        400,
        "No user can be asked here",
        "The session is not signed in, and there is no notebook page and no terminal here in which a user could.",
        "Sign in where there is one, and keep the sign-in in a token store (as `pywry-auth login` does); or provide a "
        "token: PYWRY_OAUTH2__ACCESS_TOKEN_FILE and SessionManager.from_settings().",
    ),
    "no_kernel": Entry(
        400,
        "There is no Jupyter server",
        "There is no Jupyter server here to sign in at.",
        "Run this in a notebook, or use run_native().",
    ),
    "no_browser": Entry(
        400,
        "There is no browser",
        "This kernel's machine has no browser.",
        "Use session.login(), or display the session, and sign in there.",
    ),
    "not_started": Entry(
        400,
        "The callback server is not running",
        "The callback server is not running.",
        "Call start() first.",
    ),
    "port_unavailable": Entry(
        400,
        "The callback server cannot listen",
        "The callback server cannot listen[ at {address}][ ({reason})].",
        "Choose another port, or 0 for any that is free.",
    ),
    "wrong_thread": Entry(
        400,
        "The call would wait for itself",
        "This call waits, and it was made on the thread that would do the work.",
        "Use the async method instead.",
    ),
    # -- JupyterHub -----------------------------------------------------------------------------------------------
    "no_hub": Entry(
        400,
        "There is no JupyterHub",
        "This kernel does not belong to a JupyterHub, so there is no hub token.",
        "Use another provider here.",
    ),
    "hub_signs_in": Entry(
        400,
        "The hub has signed you in",
        "The hub has signed you in already.",
        "Read session.access_token.",
    ),
    "hub_refused": Entry(
        502,
        _HUB,
        "The hub did not provide its token[ (HTTP {status})].",
        "Try again in a moment.",
    ),
    "hub_scope_missing": Entry(
        502,
        _HUB,
        "The hub does not let this server read its user's sign-in: the scope {scope} is missing.",
        "Ask the administrator to add it to the roles 'user' and 'server' (c.JupyterHub.load_roles), then restart the "
        "server.",
    ),
    "hub_auth_state_missing": Entry(
        502,
        _HUB,
        "The hub has no token for you.",
        "Sign out of the hub and in again. Its administrator sets c.Authenticator.enable_auth_state = True, "
        "JUPYTERHUB_CRYPT_KEY, and an authenticator that signs users in at a provider.",
    ),
    "hub_token_expired": Entry(
        502,
        _HUB,
        "The hub's token has expired, and the hub has not renewed it yet.",
        "Try again in a moment. If it happens again, sign out of the hub and in again; its administrator sets "
        "c.Authenticator.auth_refresh_age to a few seconds, less than the lifetime of a token.",
    ),
    # -- tokens that are provided from outside --------------------------------------------------------------------
    "token_not_provided": Entry(
        400,
        "The token is not in its place",
        "The token that should be in {place} cannot be read[ ({reason})].",
        "Put it there, and nothing else.",
    ),
    "provided_token_expired": Entry(
        400,
        "The token has expired",
        "The token in {place} has expired.",
        "Put a new one there.",
    ),
    "token_provided": Entry(
        400,
        "There is nothing to sign in at",
        "The token of this session is provided by its settings, so there is nothing to sign in at.",
        "Read session.access_token.",
    ),
    "client_key_unusable": Entry(
        400,
        "The client's key cannot be used",
        "The private key with which this client signs cannot be read.",
        "Check the file that the setting 'client_key_file' names.",
    ),
    # -- the token store ------------------------------------------------------------------------------------------
    "store_unavailable": Entry(
        400,
        "The token store does not answer",
        "The token store cannot be used just now.",
        "Try again in a moment.",
    ),
    "store_missing": Entry(
        400,
        "The token store is missing",
        "The token store is missing, or does not keep what it is given.",
        "Set it up, or choose another token store.",
    ),
    "store_forbidden": Entry(
        400,
        "The token store refuses access",
        "The token store denies access, or other users could change its contents.",
        "Correct the permissions, or the user and password.",
    ),
    "store_key": Entry(
        400,
        "The encryption key does not match",
        "The encryption key is invalid, or is not the one that the tokens were stored with.",
        "Set the right key, or sign in again to replace the stored tokens.",
    ),
    "store_unreadable": Entry(
        400,
        "The stored tokens cannot be read",
        "The stored record of these tokens is damaged.",
        "Sign in again to replace it.",
    ),
    "store_version": Entry(
        400,
        "The stored tokens have a newer format",
        "These tokens were stored by a newer version of pywry-auth-nb.",
        "Upgrade it here as well, or sign in again to replace them.",
    ),
    "store_value": Entry(
        400,
        "The tokens cannot be stored",
        "The tokens' `raw`, or the user's claims, contain something that JSON cannot represent.",
        "Leave it out.",
    ),
    "store_failed": Entry(
        400,
        "The token store failed",
        "The token store failed[ ({reason})].",
        "Correct its class, or use another store.",
    ),
    # -- what a kernel gives to other programs --------------------------------------------------------------------
    "endpoint_key": Entry(
        401,
        "The key is wrong",
        "The kernel's endpoint does not know this key: it is wrong, its time is over, or what was served was closed.",
        "Send the key that stands in the file of session.serve() in the Authorization header.",
    ),
    "endpoint_forbidden": Entry(
        403,
        "Only for programs on this machine",
        "The kernel's endpoint answers no web page, and nothing that reached it by another name.",
        "Ask from a program on this machine, at the address of session.serve().",
    ),
    "endpoint_path": Entry(
        404,
        "Not served",
        "The kernel's endpoint serves nothing at this path for this key.",
        "Ask session.serve() for it.",
    ),
    "handle_ended": Entry(
        401,
        "The handle has ended",
        "The kernel no longer accepts this handle: its time is over, or the session was signed out.",
        "Sign in if necessary, and send the worker a new session.handle().",
    ),
    "handle_elsewhere": Entry(
        400,
        "The handle is on another machine",
        "A handle works only on the machine of its kernel, and this is another one.",
        "Sign in here as well, or let the worker run on the kernel's machine.",
    ),
    "preset_unavailable": Entry(
        400,
        "This cannot be served",
        "What was asked for cannot be served here.",
        "The message says why.",
    ),
    "sts_refused": Entry(
        400,
        "The role was refused",
        "The token service refused to give keys for the role[ ({reason})].",
        "Check the role's trust policy, and the issuer and audience that it names.",
    ),
    "sts_response": Entry(
        400,
        "The token service's answer is not valid",
        "The token service's answer has no keys, or is not valid.",
        "Check the address of the token service.",
    ),
}

#: Codes for a provider that could not be reached: trying again later may help, and says nothing about the sign-in.
NETWORK_ERRORS: frozenset[ErrorCode] = frozenset(
    {"certificate", "connection_refused", "network", "proxy", "unknown_host"}
)


def document() -> str:
    """Return the text of ``docs/error-codes.md``."""
    rows = [
        f"| `{code}` | {entry.status} | {fill(entry.sentence, {})} | {fill(entry.advice, {})} |"
        for code, entry in sorted(TABLE.items())
    ]
    return "\n".join([_HEAD, "| code | HTTP status | what happened | what to do |", "|---|---|---|---|", *rows, ""])


_HEAD = """\
# Error codes

<!-- Generated by `python -m pywry_auth_nb._wire.error_codes > docs/error-codes.md`. Change the table there. -->

Every error of this package is an `AuthenticationError` and has a `code` for programs to compare: it does not change
with the wording. The message of an error may say more than the sentence here. The widget, the pages of a sign-in and
the JSON routes show the same codes; pages and routes answer with the HTTP status.

A notebook shows the message, the code and your own lines of the traceback. `traceback.print_exc()` shows all frames.

What the provider itself says about a failure is in `error.description`: plain text, at most 200 characters, without the
secrets of the request; empty if it says nothing. A notebook, the kernel's log and the widget show it as the provider's
words. No page and no log of the Jupyter server has it.
"""

if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - a command
