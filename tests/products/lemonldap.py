"""LemonLDAP::NG, from Debian's ``liblemonldap-ng-portal-perl``: its portal, served by Plack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cryptography.hazmat.primitives import serialization

from pywry_auth_nb import GenericOIDCProvider
from tests.e2e.processes import HarnessError

from .product import REDIRECT_URI, SECRET, Product

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

    from .browser import Browser, Page

DEFAULTS = Path("/var/lib/lemonldap-ng/conf/lmConf-1.json")  # what the package installs
# Its own captcha would need ImageMagick, although no page shows one.
PORTAL = """
package NoCaptcha; sub new { return bless {}, shift }
BEGIN { $INC{'NoCaptcha.pm'} = 1 }
package main;
use Lemonldap::NG::Portal::Main;
Lemonldap::NG::Portal::Main->run({});
"""
# What all processes of the portal share, and the templates' place.
INI = """
[all]
logLevel = warn
[configuration]
type = File
dirName = {folder}/conf
[portal]
staticPrefix = /static
templateDir = /usr/share/lemonldap-ng/portal/templates
languages = en
"""


class LemonLDAP(Product):
    """A portal with its demonstration users, and no revocation endpoint.

    A third client, ``shared``, is as new clients are: its ID tokens are signed with its secret.
    """

    declined: ClassVar[str] = "consent_required"
    dead_refresh: ClassVar[tuple[int, str]] = (400, "invalid_request")
    signed_out: ClassVar[dict[str, tuple[str, str]]] = {
        "public": ("no_endpoint", "no_endpoint"),
        "confidential": ("no_endpoint", "no_endpoint"),
    }

    def command(self) -> list[str]:
        """Return the command line."""
        plackup = shutil.which("plackup")
        if plackup is None or not DEFAULTS.exists():
            raise HarnessError("LemonLDAP::NG is not installed: `make products`, or `apt-get install lemonldap-ng`")
        return [plackup, "--host", "127.0.0.1", "--port", str(self.port), str(self.folder / "portal.psgi")]

    def env(self) -> dict[str, str]:
        """Return an environment that names this portal's configuration."""
        return {**super().env(), "LLNG_DEFAULTCONFFILE": str(self.folder / "lemonldap-ng.ini")}

    def start(self) -> LemonLDAP:
        """Write the configuration, and start."""
        for name in ("conf", "sessions/lock", "psessions/lock", "cache", "notifications"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "cache")
        (self.folder / "portal.psgi").write_text(PORTAL)
        (self.folder / "lemonldap-ng.ini").write_text(INI.format(folder=self.folder))
        (self.folder / "conf" / "lmConf-1.json").write_text(json.dumps(self._configuration()))
        return super().start()

    def is_ready(self) -> bool:
        """Return whether it answers; it says in its log alone what it misses."""
        if "Initialization failed" in self.log_text():
            raise HarnessError(self.log_text())
        return super().is_ready()

    def _configuration(self) -> dict[str, Any]:
        folder = str(self.folder)
        text = DEFAULTS.read_text().replace("/var/lib/lemonldap-ng", folder)
        private = serialization.load_pem_private_key(self.key.encode(), None)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        ours = {
            "portal": f"{self.url}/",
            "domain": "127.0.0.1",
            "captcha": "NoCaptcha",
            "registerDB": "Null",  # accounts that people create would need packages to send mail
            "portalDisplayResetPassword": 0,  # as forgotten passwords do
            "issuerDBOpenIDConnectActivation": 1,
            "oidcServiceAllowAuthorizationCodeFlow": 1,
            "oidcServicePrivateKeySig": self.key,
            "oidcServicePublicKeySig": public.decode(),
            "oidcServiceKeyIdSig": "",
            "oidcServiceAccessTokenExpiration": self.lifetime,
            "oidcRPMetaDataOptions": {name: self._client(name) for name in ("public", "confidential", "shared")},
            "oidcRPMetaDataExportedVars": {
                name: {"name": "cn", "email": "mail"} for name in ("public", "confidential", "shared")
            },
        }
        return json.loads(text) | ours

    def _client(self, name: str) -> dict[str, Any]:
        options = {
            "ClientID": name,
            "ClientSecret": SECRET,
            "Public": int(name == "public"),
            "RequirePKCE": 1,
            "RedirectUris": REDIRECT_URI,
            "RefreshToken": 1,
            "IDTokenSignAlg": "HS512" if name == "shared" else "RS256",
        }
        return {f"oidcRPMetaDataOptions{option}": value for option, value in options.items()}

    @property
    def ready_url(self) -> str:
        """The address of its metadata."""
        return f"{self.url}/.well-known/openid-configuration"

    def client(self, kind: str, **options: Any) -> GenericOIDCProvider:
        """Return a client."""
        secret = SECRET if kind != "public" else ""
        return GenericOIDCProvider(kind, secret, issuer_url=f"{self.url}/", **options)

    def log_in(self, browser: Browser, page: Page) -> Page:
        """Fill in the portal's login form, if it is shown."""
        form = page.form("user", "password")
        if form is None:
            return page
        return browser.submit(page, form, {"user": "dwho", "password": "dwho"})

    def consent(self, browser: Browser, page: Page, *, decline: bool) -> Page:
        """Press "Accept" or "Refuse", whose scripts fill in a hidden field."""
        form = page.form("confirm")
        assert form is not None, page.text
        return browser.submit(page, form, {"confirm": "-1" if decline else "1"})

    def forget_consent(self, browser: Browser) -> None:
        """Delete what it keeps between a person's sessions."""
        for file in (self.folder / "psessions").iterdir():
            if file.is_file():
                file.unlink()

    def end_access_token(self, session: SessionManager, browser: Browser) -> None:
        """Delete its file, as the manager's list of sessions does."""
        (self.folder / "sessions" / session.access_token).unlink()

    def end_sign_in(self, session: SessionManager, browser: Browser) -> None:
        """Log out at the portal, and clean up as its cron job does: with the person's session go the refresh tokens."""
        browser.open(f"{self.url}/?logout=1")
        tokens = session._engine.state.tokens
        (self.folder / "sessions" / tokens.refresh_token).unlink()

    def agree_to_sign_out(self, browser: Browser, page: Page) -> bool:
        """Press "Accept"."""
        self.consent(browser, page, decline=False)
        return browser.open(self.url).form("user", "password") is not None
