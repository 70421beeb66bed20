"""django-oauth-toolkit, on a Django site of its own."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pywry_auth_nb import GenericOIDCProvider

from .django_site import PASSWORD, USER
from .product import REDIRECT_URI, SECRET, Product

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

    from .browser import Browser, Page


class DjangoToolkit(Product):
    """The site of ``django_site.py``.

    Its metadata name no revocation endpoint, so clients are told of it; with ``revocation_url=""`` they are not.
    """

    signed_out: ClassVar[dict[str, tuple[str, str]]] = {
        "public": ("revoked", "revoked"),
        "confidential": ("revoked", "revoked"),
    }

    def command(self) -> list[str]:
        """Return the command line."""
        options = {"port": self.port, "redirect_uri": REDIRECT_URI, "secret": SECRET, "key": self.key}
        site = Path(__file__).with_name("django_site.py")
        return [sys.executable, str(site), json.dumps(options | {"lifetime": self.lifetime})]

    @property
    def ready_url(self) -> str:
        """The address of its metadata."""
        return f"{self.url}/o/.well-known/openid-configuration"

    def client(self, kind: str, **options: Any) -> GenericOIDCProvider:
        """Return a client, with what its metadata do not say."""
        options = {"revocation_url": f"{self.url}/o/revoke_token/", "scopes": ["openid", "profile"]} | options
        secret = SECRET if kind == "confidential" else ""
        return GenericOIDCProvider(kind, secret, issuer_url=f"{self.url}/o", **options)

    def log_in(self, browser: Browser, page: Page) -> Page:
        """Fill in Django's login form, if it is shown."""
        form = page.form("username", "password")
        if form is None:
            return page
        return browser.submit(page, form, {"username": USER, "password": PASSWORD})

    def consent(self, browser: Browser, page: Page, *, decline: bool) -> Page:
        """Press "Authorize", or "Cancel"."""
        form = page.form("allow")
        assert form is not None, page.text
        return browser.submit(page, form, {}, button="" if decline else "allow")

    def end_access_token(self, session: SessionManager, browser: Browser) -> None:
        """Have it end earlier than it was told: its refresh token would end with it if it were revoked."""
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database, database:
            sql = "UPDATE oauth2_provider_accesstoken SET expires = '2020-01-01' WHERE token = ?"
            assert database.execute(sql, [session.access_token]).rowcount == 1

    def end_sign_in(self, session: SessionManager, browser: Browser) -> None:
        """Revoke everything on the page of the user's tokens."""
        while link := re.search(r'href="(/o/authorized_tokens/\d+/delete/)"', self._tokens(browser)):
            page = browser.open(f"{self.url}{link[1]}")
            form = page.form("csrfmiddlewaretoken")
            assert form is not None
            browser.submit(page, form, {})

    def agree_to_sign_out(self, browser: Browser, page: Page) -> bool:
        """Press "Logout"."""
        form = page.form("allow")
        assert form is not None, page.text
        browser.submit(page, form, {}, button="allow")
        return "password" in self._tokens(browser)

    def _tokens(self, browser: Browser) -> str:
        return browser.open(f"{self.url}/o/authorized_tokens/").text
