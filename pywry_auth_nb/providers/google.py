"""`GoogleProvider`: Google accounts, with a refresh token every time."""

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
        client_secret: Its secret: Google wants it from web clients, and from desktop clients too.
        scopes: What to ask for; ``openid email profile`` when left out.

    Every sign-in asks for offline access and for consent, since Google gives a refresh token only then. The scope
    ``offline_access``, which Google refuses, is left out.
    """

    issuer: ClassVar[str] = "https://accounts.google.com"
    authorize_params: ClassVar[Mapping[str, str]] = {"access_type": "offline", "prompt": "consent"}
    offline_needs_consent = False  # said above
    revokes_consent = True

    def __init__(self, client_id: str, client_secret: str = "", scopes: list[str] | None = None) -> None:
        client_secret = Secret(client_secret)
        if scopes is not None:
            scopes = [scope for scope in scopes if scope != "offline_access"]
        super().__init__(client_id, client_secret, self.issuer, scopes)
        # known beforehand; discovery may correct them
        self.authorize_url = "https://accounts.google.com/o/oauth2/v2/auth"
        self.token_url = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
        self.userinfo_url = "https://openidconnect.googleapis.com/v1/userinfo"
        self.revocation_url = "https://oauth2.googleapis.com/revoke"

    @on_loop
    async def revoke_token(self, token: str, token_type_hint: str = "access_token") -> bool:  # noqa: ARG002, S107
        """End a token, and with it every other token of the same consent.

        Args:
            token: The token to end.
            token_type_hint: Not needed by Google.

        Returns:
            Whether it is dead now; True also when it was already.
        """
        await self.prepare()
        answer = await self._http.request("POST", self.revocation_url, form={"token": token}, expect_json=False)
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        return answer.ok or (answer.status == _BAD_REQUEST and error == "invalid_token")

    def explain(self, body: dict[str, Any]) -> TokenError | None:
        """Say what is missing when Google wants a secret: it calls that just an invalid request."""
        missing = "client_secret" in str(body.get("error_description"))
        if self.client_secret or body.get("error") != "invalid_request" or not missing:
            return None
        return TokenError(
            "Google wants a client secret, also from desktop clients. Copy it from the client's page in the Google "
            "Cloud console and pass it as client_secret.",
            code="client_secret_missing",
        )

    def _may_issue(self, claims: dict[str, Any]) -> bool:
        return claims.get("iss") in {self.issuer, self.issuer.partition("://")[2]}  # Google documents both
