"""`GoogleProvider`: Google accounts."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import TokenError
from ..tokens import secret_or_empty
from . import scopes as scope_lists
from .oidc import GenericOIDCProvider
from .revocation import REVOKED, outcome_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from typing_extensions import Unpack

    from ..tokens import OAuthTokenSet
    from .parameters import OIDCOptions, Value
    from .scopes import Scopes

_BAD_REQUEST = 400
_OAUTH = "https://oauth2.googleapis.com"
_SCOPES = "https://www.googleapis.com/auth/"
_SHORT = ("openid", "email", "profile")  # the scopes that are not addresses


class GoogleProvider(GenericOIDCProvider):
    """Google.

    Args:
        client_id: Client identifier from the Google Cloud console.
        client_secret: The client's secret, which Google requires from web and desktop clients.
        scopes: Scopes to request; ``openid email profile`` when left out.
        options: ``authorize_params``, ``prompt``, ``login_hint``, ``label`` and others, as for :class:`OAuthProvider`;
            and ``trusted_audiences`` and ``check_nonce``, as for :class:`GenericOIDCProvider`.

    Every sign-in requests offline access and consent, since Google issues a refresh token only then; give ``prompt`` or
    ``authorize_params`` for another request, such as ``{"hd": "example.org"}`` for one organization. The scope
    ``offline_access``, which Google refuses, is removed. A scope may be written without its address:
    ``"drive.readonly"`` is ``https://www.googleapis.com/auth/drive.readonly``.
    """

    issuer: ClassVar[str] = "https://accounts.google.com"
    authorize_params: Mapping[str, Value] = {"access_type": "offline", "prompt": "consent"}
    incremental_params = MappingProxyType({"include_granted_scopes": "true"})
    offline_needs_consent = False  # authorize_params has it
    revokes_consent = True

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        scopes: Scopes | None = None,
        **options: Unpack[OIDCOptions],
    ) -> None:
        client_secret = secret_or_empty(client_secret)
        if scopes is not None:
            scopes = [scope for scope in scope_lists.read(scopes) if scope != "offline_access"]
        super().__init__(client_id, client_secret, self.issuer, scopes, **options)
        # the known endpoints, until discovery
        self.authorize_url = "https://accounts.google.com/o/oauth2/v2/auth"
        self.token_url = f"{_OAUTH}/token"
        self.userinfo_url = "https://openidconnect.googleapis.com/v1/userinfo"
        self.device_authorization_url = options.get("device_authorization_url") or f"{_OAUTH}/device/code"
        self.revocation_url = f"{_OAUTH}/revoke"

    def scope_name(self, scope: str) -> str:
        """Return a scope with its address: all but three have one."""
        return scope if scope in _SHORT or ":" in scope else _SCOPES + scope

    def covers(self, granted: Collection[str], scope: str) -> bool:
        """Whether ``scope`` is granted; Google answers with ``userinfo.email`` for ``email``, and so on."""
        name = self.scope_name(scope)
        return name in granted or f"{_SCOPES}userinfo.{name}" in granted

    async def _revoke(self, token: str, kind: str) -> str:  # noqa: ARG002 - Google needs no hint
        """Revoke a token, and with it all other tokens of the same consent; they then count as revoked, too."""
        await self.prepare()
        answer = await self._http.request("POST", self.revocation_url, form={"token": token}, expect_json=False)
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        if answer.status == _BAD_REQUEST and error == "invalid_token":
            return REVOKED
        return outcome_of(answer, public=False)

    def explain(self, body: dict[str, Any]) -> TokenError | None:
        """Return the error for a missing client secret, which Google reports as an invalid request."""
        missing = "client_secret" in str(body.get("error_description"))
        if self.client_secret or body.get("error") != "invalid_request" or not missing:
            return None
        return TokenError(
            "Google requires a client secret, even from desktop clients. Copy it from the client's page in the Google "
            "Cloud console and pass it as client_secret.",
            code="client_secret_missing",
        )

    def _may_issue(self, claims: dict[str, Any]) -> bool:
        return claims.get("iss") in {self.issuer, self.issuer.partition("://")[2]}  # Google documents both

    def _owner(self, tokens: OAuthTokenSet) -> tuple[str, str] | None:
        owner = super()._owner(tokens)
        return owner and (self.issuer, owner[1])  # under either of its names
