"""`GoogleProvider`: Google accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .._io.loop import on_loop
from ..errors import TokenError
from ..tokens import Secret
from .oidc import GenericOIDCProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

_BAD_REQUEST = 400


class GoogleProvider(GenericOIDCProvider):
    """Google.

    Args:
        client_id: Client identifier from the Google Cloud console.
        client_secret: The client's secret, which Google requires from web and desktop clients.
        scopes: Scopes to request; ``openid email profile`` when left out.

    Every sign-in requests offline access and consent, since Google issues a refresh token only then. The scope
    ``offline_access``, which Google refuses, is removed.
    """

    issuer: ClassVar[str] = "https://accounts.google.com"
    authorize_params: ClassVar[Mapping[str, str]] = {"access_type": "offline", "prompt": "consent"}
    offline_needs_consent = False  # authorize_params has it
    revokes_consent = True

    def __init__(self, client_id: str, client_secret: str = "", scopes: list[str] | None = None) -> None:
        client_secret = Secret(client_secret)
        if scopes is not None:
            scopes = [scope for scope in scopes if scope != "offline_access"]
        super().__init__(client_id, client_secret, self.issuer, scopes)
        # the known endpoints, until discovery
        self.authorize_url = "https://accounts.google.com/o/oauth2/v2/auth"
        self.token_url = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
        self.userinfo_url = "https://openidconnect.googleapis.com/v1/userinfo"
        self.revocation_url = "https://oauth2.googleapis.com/revoke"

    @on_loop
    async def revoke_token(self, token: str, token_type_hint: str = "access_token") -> bool:  # noqa: ARG002, S107
        """Revoke a token, and with it all other tokens of the same consent.

        Args:
            token: The token to revoke.
            token_type_hint: Ignored by Google.

        Returns:
            Whether it is revoked now; True if it was before.
        """
        await self.prepare()
        answer = await self._http.request("POST", self.revocation_url, form={"token": token}, expect_json=False)
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        return answer.ok or (answer.status == _BAD_REQUEST and error == "invalid_token")

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
