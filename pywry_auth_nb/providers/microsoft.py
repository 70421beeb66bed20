"""`MicrosoftProvider`: Microsoft Entra ID and personal Microsoft accounts, with an issuer for each tenant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ConfigurationError, TokenError
from ..tokens import secret_or_empty
from .oidc import GenericOIDCProvider

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from typing_extensions import Unpack

    from .._wire.error_codes import ErrorCode
    from .parameters import OIDCOptions
    from .scopes import Scopes

_PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"  # the tenant of all personal accounts
_MANY = frozenset({"common", "organizations"})  # names that stand for many tenants
_TEMPLATE = "{tenantid}"
_RESERVED = ("openid", "email", "profile", "offline_access")
_GRAPH = "https://graph.microsoft.com/"  # the API of scopes without an address
_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_NUMBER = re.compile(r"AADSTS([0-9]{3,10})\b")

_AS_PUBLIC = (
    "In the app's registration, under Authentication, add the redirect URI as 'Mobile and desktop applications' and "
    "set 'Allow public client flows' to Yes"
)
#: Error code and message for Microsoft's error numbers.
_EXPLAINED: Mapping[int, tuple[ErrorCode, str]] = {
    9002327: (
        "registered_as_spa",
        f"The redirect URI is registered for a single-page application. {_AS_PUBLIC}; or make it 'Web' with a secret.",
    ),
    7000218: (
        "client_secret_missing",
        f"Microsoft requires a secret from this client. {_AS_PUBLIC}; or pass client_secret.",
    ),
    700025: ("client_secret_unwanted", "This client is registered as public. Leave client_secret out."),
    7000215: ("invalid_client", "client_secret is wrong. Pass the secret's value, which is shown once, not its ID."),
    7000222: ("invalid_client", "client_secret has expired. Make a new one in the app's registration."),
    700016: ("unauthorized_client", "Microsoft does not know this client there. Check client_id and tenant_id."),
    50011: ("redirect_uri_mismatch", "The redirect URI is not registered. Add it to the app, character by character."),
    500113: ("redirect_uri_mismatch", "The app has no redirect URI. Add one in its registration."),
    50194: ("tenant_mismatch", "The app is registered for one tenant. Pass that tenant's ID as tenant_id."),
    9002346: ("tenant_mismatch", "The app is registered for personal accounts. Pass tenant_id='consumers'."),
}


class MicrosoftProvider(GenericOIDCProvider):
    """Microsoft Entra ID (formerly Azure AD) and personal Microsoft accounts.

    Args:
        client_id: Application (client) ID.
        client_secret: The client's secret, if it is registered as a web application.
        tenant_id: Who may sign in: a tenant's GUID or one of its domains, ``"organizations"`` (any tenant),
            ``"consumers"`` (personal accounts), or ``"common"`` (both).
        scopes: Scopes to request; ``openid email profile offline_access`` when left out. With ``"common"`` and
            ``"organizations"`` keep ``profile``: without it Microsoft may not name the user's tenant.
        options: ``prompt``, ``login_hint``, ``label``, ``authorize_params`` (such as ``domain_hint``) and others, as
            for :class:`OAuthProvider`; and ``trusted_audiences`` and ``check_nonce``, as for
            :class:`GenericOIDCProvider`.

    Microsoft has no revocation endpoint. With several tenants, ``iss`` *and* ``sub`` identify a user, never ``sub``
    alone.

    Raises:
        ConfigurationError: ``tenant_id`` is not a valid tenant.
    """

    #: Override it for national clouds, such as ``https://login.microsoftonline.us``.
    authority: ClassVar[str] = "https://login.microsoftonline.com"

    exchange_grant = "on-behalf-of"
    offline_needs_consent = False  # Microsoft asks for consent when it is needed
    error_names: ClassVar[Mapping[str, ErrorCode]] = {
        "interaction_required": "invalid_grant",  # a policy requires the user to sign in again
        "login_required": "invalid_grant",
        "consent_required": "invalid_grant",
        "authorization_declined": "access_denied",  # of a device code, as the next
        "bad_verification_code": "invalid_grant",
    }

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        tenant_id: str = "common",
        scopes: Scopes | None = None,
        **options: Unpack[OIDCOptions],
    ) -> None:
        client_secret = secret_or_empty(client_secret)
        self.tenant_id = tenant_id.lower() if isinstance(tenant_id, str) else ""
        if not _TENANT.fullmatch(self.tenant_id):
            raise ConfigurationError(
                "tenant_id must be a tenant's GUID or domain, or one of common, organizations and consumers."
            )
        scopes = ["openid", "email", "profile", "offline_access"] if scopes is None else scopes
        super().__init__(client_id, client_secret, self._issuer_of(self.tenant_id), scopes, **options)
        # the known endpoints, until discovery
        self.authorize_url = f"{self.authority}/{self.tenant_id}/oauth2/v2.0/authorize"
        self.token_url = f"{self.authority}/{self.tenant_id}/oauth2/v2.0/token"
        given = options.get("device_authorization_url")
        self.device_authorization_url = given or f"{self.authority}/{self.tenant_id}/oauth2/v2.0/devicecode"
        self.userinfo_url = "https://graph.microsoft.com/oidc/userinfo"

    def covers(self, granted: Collection[str], scope: str) -> bool:
        """Whether ``scope`` is granted: in any case of letters, and for Microsoft Graph with its address or without.

        Microsoft does not always name the scopes of OpenID Connect, and never ``.default``, which stands for all that
        the application is registered for at one API.
        """
        name, names = _bare(scope), [*map(_bare, granted)]
        if name in _RESERVED or name in names:
            return True
        api = name.removesuffix(".default")
        return api != name and any(each.startswith(api) for each in names)

    def _issuer_of(self, tenant: str) -> str:
        return f"{self.authority}/{tenant}/v2.0"

    def _tenant_in(self, issuer: Any) -> str | None:
        """Return the GUID in an issuer's URL; None if it is not an issuer of Microsoft."""
        start, end = self._issuer_of(_TEMPLATE).split(_TEMPLATE)
        if not isinstance(issuer, str) or not issuer.startswith(start) or not issuer.endswith(end):
            return None
        guid = issuer[len(start) : -len(end)]
        return guid if _GUID.fullmatch(guid) else None

    def _is_own_metadata(self, issuer: Any) -> bool:
        """Whether metadata is that of ``tenant_id``: a template for several tenants, else the tenant's GUID."""
        if self.tenant_id in _MANY:
            return bool(issuer == self._issuer_of(_TEMPLATE))
        if self.tenant_id == "consumers":
            return self._tenant_in(issuer) == _PERSONAL
        guid = self._tenant_in(issuer)
        return guid is not None and (guid == self.tenant_id or not _GUID.fullmatch(self.tenant_id))

    def _issuer_advice(self, metadata: dict[str, Any]) -> str:  # noqa: ARG002 - the issuer follows from tenant_id
        return "Check tenant_id."

    def _admits(self, tenant: str | None) -> bool:
        """Whether users of ``tenant`` may sign in."""
        if tenant is None or (self.tenant_id == "organizations" and tenant == _PERSONAL):
            return False
        return self.tenant_id in _MANY or tenant == self._tenant_in(self.metadata.get("issuer"))

    def _may_answer(self, issuer: str) -> bool:
        return self._admits(self._tenant_in(issuer))

    def _may_issue(self, claims: dict[str, Any]) -> bool:
        """Whether ``iss`` is the issuer of the tenant ``tid``, and its users may sign in."""
        tenant = self._tenant_in(claims.get("iss"))
        said = claims.get("tid", None if self.tenant_id in _MANY else tenant)
        return said == tenant and self._admits(tenant)

    def _may_sign(self, key: dict[str, Any], claims: dict[str, Any]) -> bool:
        """Whether a key belongs to the token's issuer: Microsoft's keys name their issuer."""
        if "issuer" not in key:
            return True
        owner, tenant = key["issuer"], self._tenant_in(claims.get("iss"))
        return isinstance(owner, str) and owner.replace(_TEMPLATE, tenant or "") == claims.get("iss")

    def explain(self, body: dict[str, Any]) -> TokenError | None:
        """Return the error for Microsoft's error number; the rest of its text is ignored."""
        known = next((_EXPLAINED[number] for number in _numbers(body) if number in _EXPLAINED), None)
        return TokenError(known[1], code=known[0]) if known else None


def _bare(scope: str) -> str:
    return scope.lower().removeprefix(_GRAPH)


def _numbers(body: dict[str, Any]) -> list[int]:
    """Return the numbers of an error: its ``error_codes``, or the one at the start of its description."""
    codes = body.get("error_codes")
    if isinstance(codes, list):
        return [code for code in codes if isinstance(code, int)]
    found = _NUMBER.match(str(body.get("error_description")))
    return [int(found[1])] if found else []
