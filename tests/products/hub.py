"""JupyterHub as the provider of one of its services."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from pywry_auth_nb import GenericOIDCProvider
from tests.e2e.hub.hub import proxy_command
from tests.support.ports import free_port

from .product import REDIRECT_URI, SECRET, Product

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

    from .browser import Browser, Page


class Hub(Product):
    """The hub of ``hub_config.py``: no metadata, no ID tokens, no refresh tokens, and no public clients."""

    kinds: ClassVar[tuple[str, ...]] = ("confidential",)
    refreshes: ClassVar[bool] = False
    signed_out: ClassVar[dict[str, tuple[str, str]]] = {"confidential": ("none", "no_endpoint")}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._operator = secrets.token_hex()
        self._ports = free_port(), free_port()

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).with_name("hub_config.py"))]

    def env(self) -> dict[str, str]:
        """Return the environment, with all that differs from hub to hub."""
        hub_port, proxy_port = self._ports
        options = {
            "url": self.url,
            "hub_url": f"http://127.0.0.1:{hub_port}",
            "proxy_url": f"http://127.0.0.1:{proxy_port}",
            "proxy": proxy_command(),
            "lifetime": self.lifetime,
            "secret": SECRET,
            "redirect_uri": REDIRECT_URI,
            "operator": self._operator,
        }
        return {**super().env(), "HOME": str(self.folder), "PRODUCT_OPTIONS": json.dumps(options)}

    def stop(self) -> None:
        """End the hub, and its proxy, which has a process group of its own."""
        super().stop()
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "proxy.pid").read_text()), signal.SIGKILL)

    @property
    def ready_url(self) -> str:
        """The address of its API."""
        return f"{self.url}/hub/api"

    def client(self, kind: str, **options: Any) -> GenericOIDCProvider:
        """Return the service's client: it takes the secret in the body only, and knows its own scopes only."""
        endpoints = {
            "authorize_url": f"{self.url}/hub/api/oauth2/authorize",
            "token_url": f"{self.url}/hub/api/oauth2/token",
            "userinfo_url": f"{self.url}/hub/api/user",
        }
        options = {"client_auth": "post", "scopes": ["read:users:name!user"]} | endpoints | options
        return GenericOIDCProvider("service-notebook", SECRET if kind == "confidential" else "", **options)

    def log_in(self, browser: Browser, page: Page) -> Page:
        """Fill in the hub's login form, if it is shown."""
        form = page.form("username", "password")
        if form is None:
            return page
        return browser.submit(page, form, {"username": "ada", "password": "any"})

    def consent(self, browser: Browser, page: Page, *, decline: bool) -> Page:
        """Press "Authorize": the page has no other button."""
        assert not decline
        form = page.form("scopes")
        assert form is not None, page.text
        return browser.submit(page, form, {})

    def end_access_token(self, session: SessionManager, browser: Browser) -> None:
        """Have the operator delete the user's tokens."""
        for token in self._ask("GET", "users/ada/tokens").json()["api_tokens"]:
            self._ask("DELETE", f"users/ada/tokens/{token['id']}")  # with it go others of the same browser

    def end_sign_in(self, session: SessionManager, browser: Browser) -> None:
        """Do the same: there is no refresh token."""
        self.end_access_token(session, browser)

    def _ask(self, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"token {self._operator}"}
        return httpx.request(method, f"{self.url}/hub/api/{path}", headers=headers, timeout=20, trust_env=False)
