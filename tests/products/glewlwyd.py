"""Glewlwyd, from Debian's package: its server with a database of its own, set up through its administrators' API."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import jwt
from cryptography.hazmat.primitives import serialization

from pywry_auth_nb import GenericOIDCProvider
from tests.e2e.processes import HarnessError

from .product import REDIRECT_URI, SECRET, Product

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

    from .browser import Browser, Page

TABLES = Path("/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz")
ADMIN = {"username": "admin", "password": "password"}  # as the package creates it
USER = {"username": "ada", "password": "lovelace-1815"}
SCOPES = ["openid", "profile"]
# As in the package's own configuration, whose external URL ends in a slash, so that the metadata have two in a row.
CONFIGURATION = """
port = {port}
bind_address = "127.0.0.1"
external_url = "{url}/"
login_url = "login.html"
api_prefix = "api"
static_files_path = "/usr/share/glewlwyd/webapp/"
log_mode = "console"
log_level = "INFO"
cookie_secure = 0
admin_scope = "g_admin"
profile_scope = "g_profile"
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
hash_algorithm = "SHA512"
database = {{ type = "sqlite3"; path = "{folder}/glewlwyd.db" }};
"""


class Glewlwyd(Product):
    """A server with the OpenID Connect plugin. Its pages are scripts, which call the same API as we do here."""

    dead_refresh: ClassVar[tuple[int, str]] = (400, "")  # no body, and no content type
    signed_out: ClassVar[dict[str, tuple[str, str]]] = {
        "public": ("public_client", "public_client"),
        "confidential": ("revoked", "revoked"),
    }

    def command(self) -> list[str]:
        """Return the command line."""
        glewlwyd = shutil.which("glewlwyd")
        if glewlwyd is None or not TABLES.exists():
            raise HarnessError("Glewlwyd is not installed: `make products`, or `apt-get install glewlwyd`")
        return [glewlwyd, f"--config-file={self.folder / 'glewlwyd.conf'}"]

    def start(self) -> Glewlwyd:
        """Create the database, if there is none, start, and set the plugin up."""
        (self.folder / "glewlwyd.conf").write_text(
            CONFIGURATION.format(port=self.port, url=self.url, folder=self.folder)
        )
        database = self.folder / "glewlwyd.db"
        is_new = not database.exists()
        if is_new:
            with closing(sqlite3.connect(database)) as connection:
                connection.executescript(gzip.decompress(TABLES.read_bytes()).decode())
        super().start()
        with httpx.Client(base_url=f"{self.url}/api", trust_env=False, timeout=30) as admin:
            admin.post("/auth/", json=ADMIN).raise_for_status()
            if is_new:
                self._fill(admin)
            admin.put("/mod/plugin/oidc", json=self._plugin()).raise_for_status()
            admin.put("/mod/plugin/oidc/reset").raise_for_status()
        return self

    def _fill(self, admin: httpx.Client) -> None:
        """Create the plugin, a scope, a user and two clients."""
        admin.post("/mod/plugin/", json=self._plugin()).raise_for_status()
        scope = {"name": "profile", "display_name": "Profile", "password_required": False, "scheme": {}}
        admin.post("/scope/", json=scope).raise_for_status()
        user = {**USER, "name": "Ada", "enabled": True, "scope": [*SCOPES, "g_profile"]}
        admin.post("/user/", json=user).raise_for_status()
        for kind in self.kinds:
            admin.post("/client/", json=self._client(kind)).raise_for_status()

    def _client(self, kind: str) -> dict[str, Any]:
        confidential = kind == "confidential"
        return {
            "client_id": kind,
            "name": kind,
            "enabled": True,
            "confidential": confidential,
            "client_secret": SECRET if confidential else "",
            "token_endpoint_auth_method": ["client_secret_basic", "client_secret_post"] if confidential else ["none"],
            "authorization_type": ["code", "refresh_token"],
            "redirect_uri": [REDIRECT_URI],
            "scope": [],
        }

    def _plugin(self) -> dict[str, Any]:
        """Return the settings of the plugin: what its form has by default, but for what a code flow needs not."""
        private = serialization.load_pem_private_key(self.key.encode(), None)
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private)) | {"alg": "RS256", "use": "sig"}
        key["kid"] = key["n"][:8]
        others = ("token", "id-token", "none", "password", "client", "device")
        return {
            "module": "oidc",
            "name": "oidc",
            "display_name": "OpenID Connect",
            "parameters": {
                **{f"auth-type-{other}-enabled": False for other in others},
                "auth-type-code-enabled": True,
                "auth-type-refresh-enabled": True,
                "iss": f"{self.url}/api/oidc",
                "jwt-type": "rsa",
                "jwt-key-size": "256",
                "jwks-private": json.dumps({"keys": [key]}),
                "default-kid": key["kid"],
                "jwks-show": True,
                "access-token-duration": self.lifetime,
                "refresh-token-duration": 1209600,
                "refresh-token-rolling": True,
                "refresh-token-one-use": "always",
                "code-duration": 600,
                "allow-non-oidc": False,
                "pkce-allowed": True,
                "pkce-method-plain-allowed": False,
                "introspection-revocation-allowed": True,
                "introspection-revocation-auth-scope": [],
                "introspection-revocation-allow-target-client": True,
                "session-management-allowed": True,
                "session-cookie-name": "GLEWLWYD2_OIDC_SID",
                "session-cookie-expiration": 2419200,
                "subject-type": "public",
                "name-claim": "mandatory",
                "scope": [],
                "claims": [],
                "additional-parameters": [],
            },
        }

    @property
    def ready_url(self) -> str:
        """The address of what its pages ask first."""
        return f"{self.url}/config"

    def client(self, kind: str, **options: Any) -> GenericOIDCProvider:
        """Return a client."""
        secret = SECRET if kind == "confidential" else ""
        return GenericOIDCProvider(kind, secret, issuer_url=f"{self.url}/api/oidc", scopes=SCOPES, **options)

    def log_in(self, browser: Browser, page: Page) -> Page:
        """Log in, as the script of its login page does."""
        if page.status and "client_id" in page.url.params:
            browser.ask("POST", f"{self.url}/api/auth/", json=USER).raise_for_status()
        return page

    def consent(self, browser: Browser, page: Page, *, decline: bool) -> Page:
        """Grant the scopes, or none, as the script of its login page does, and go on."""
        client_id, back = page.url.params["client_id"], page.url.params["callback_url"]
        grant = {"scope": "" if decline else " ".join(SCOPES)}
        browser.ask("PUT", f"{self.url}/api/auth/grant/{client_id}", json=grant).raise_for_status()
        return browser.open(f"{back}&g_continue")

    def end_access_token(self, session: SessionManager, browser: Browser) -> None:
        """Revoke it."""
        self._revoke(session.access_token, "access_token")

    def end_sign_in(self, session: SessionManager, browser: Browser) -> None:
        """Delete all refresh tokens, as on the page of the user's profile."""
        for token in browser.ask("GET", f"{self.url}/api/oidc/token").json():
            if token["enabled"]:
                browser.ask("DELETE", f"{self.url}/api/oidc/token/{token['token_hash']}").raise_for_status()

    def agree_to_sign_out(self, browser: Browser, page: Page) -> bool:
        """Sign out, as the script of its page does."""
        browser.ask("DELETE", f"{self.url}/api/auth/").raise_for_status()
        return browser.ask("GET", f"{self.url}/api/oidc/token").status_code == httpx.codes.UNAUTHORIZED

    def _revoke(self, token: str, kind: str) -> None:
        form = {"token": token, "token_type_hint": kind, "client_id": "confidential", "client_secret": SECRET}
        httpx.post(f"{self.url}/api/oidc/revoke", data=form, trust_env=False).raise_for_status()
