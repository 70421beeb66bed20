"""What the scenarios know of a product: how to start it, what a person does at it, and what it offers."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
from cryptography.hazmat.primitives import serialization

from pywry_auth_nb import AuthFlowManager, SessionManager
from pywry_auth_nb._io.loop import run
from tests.e2e.processes import Process
from tests.support.idp import new_key
from tests.support.ports import free_port

from .browser import Browser

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from pywry_auth_nb import AuthFlowResult, OAuthProvider

    from .browser import Page

REDIRECT_URI = "http://127.0.0.1:8888/pywry-auth/callback"
SECRET = "CANARY/of+a%client=0123456789"  # with all that a form, a URL and Basic encode


class Product(Process):
    """A real provider on 127.0.0.1, with a public and a confidential client, in a folder of its own.

    Attributes:
        kinds: The kinds of clients that it offers.
        refreshes: Whether it issues refresh tokens.
        declined: The code of the error when they do.
        dead_refresh: What it answers to a refresh token that has ended: the status, and the error or "".
        signed_out: What becomes of refresh and access token at a sign-out, by the kind of client.
    """

    kinds: ClassVar[tuple[str, ...]] = ("public", "confidential")
    refreshes: ClassVar[bool] = True
    declined: ClassVar[str] = "access_denied"
    dead_refresh: ClassVar[tuple[int, str]] = (400, "invalid_grant")
    signed_out: ClassVar[dict[str, tuple[str, str]]]

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "product.log")
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lifetime = 300
        self.key = new_signing_key()

    def restart(self, *, lifetime: int = 300, new_key: bool = False) -> Self:
        """Start anew with the same data; access tokens then last ``lifetime`` seconds."""
        self.stop()
        self.lifetime = lifetime
        self.key = new_signing_key() if new_key else self.key
        return self.start()

    def accepts(self, token: str, session: SessionManager) -> bool:
        """Return whether the UserInfo endpoint accepts an access token."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(session.provider.userinfo_url, headers=headers, timeout=10, trust_env=False).is_success

    def answer_to_refresh(self, session: SessionManager) -> tuple[int, str]:
        """Send a session's refresh token; return the status and the error of the answer."""
        client = {"client_id": session.provider.client_id, "client_secret": session.provider.client_secret}
        form = {"grant_type": "refresh_token", "refresh_token": session._engine.state.tokens.refresh_token, **client}
        answer = httpx.post(session.provider.token_url, data=form, timeout=10, trust_env=False)
        return answer.status_code, answer.json()["error"] if answer.text else ""

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            return httpx.get(self.ready_url, timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    @property
    @abstractmethod
    def ready_url(self) -> str:
        """An address that answers 200 once the product can be used."""

    @abstractmethod
    def client(self, kind: str, **options: Any) -> OAuthProvider:
        """Return a client of a kind, as a user configures it."""

    @abstractmethod
    def log_in(self, browser: Browser, page: Page) -> Page:
        """Do what the product asks until it asks for consent, or has sent the browser back."""

    @abstractmethod
    def consent(self, browser: Browser, page: Page, *, decline: bool) -> Page:
        """Agree, or decline, on the page where the product asks for consent."""

    def forget_consent(self, browser: Browser) -> None:
        """Have the product ask for consent again, if it remembers what a person agreed to."""

    @abstractmethod
    def end_access_token(self, session: SessionManager, browser: Browser) -> None:
        """End a session's access token at the product, and nothing else."""

    @abstractmethod
    def end_sign_in(self, session: SessionManager, browser: Browser) -> None:
        """End a session's refresh token at the product, as users or operators do."""

    def agree_to_sign_out(self, browser: Browser, page: Page) -> bool:
        """Agree on the page where a person signs out; return whether the product then asks for a login."""
        raise NotImplementedError


class Person:
    """A user with a browser, who signs sessions in."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.browser = Browser(REDIRECT_URI)
        self.sessions: list[SessionManager] = []

    def session(
        self, kind: str = "confidential", *, client: OAuthProvider | None = None, **arguments: Any
    ) -> SessionManager:
        """Return a session that is signed out."""
        self.sessions.append(SessionManager(client or self.product.client(kind), **arguments))
        return self.sessions[-1]

    def sign_in(self, session: SessionManager, *, decline: bool = False) -> AuthFlowResult:
        """Sign in at the product, up to the session's tokens."""
        if decline:
            self.product.forget_consent(self.browser)
        flow = AuthFlowManager(session.provider, session_manager=session)
        request = run(flow.begin(REDIRECT_URI), 30)
        return run(flow.complete(self.visit(request.url, decline=decline)), 60)

    def visit(self, url: str, *, decline: bool = False) -> dict[str, str]:
        """Open an authorize URL, and do what the product asks; return the parameters of the answer."""
        page = self.product.log_in(self.browser, self.browser.open(url))
        if page.status:
            page = self.product.consent(self.browser, page, decline=decline)
        return page.answer

    def signed_in(self, kind: str = "confidential", **arguments: Any) -> SessionManager:
        """Return a session that is signed in."""
        session = self.session(kind, **arguments)
        assert self.sign_in(session).success
        return session

    def close(self) -> None:
        """Sign all sessions out, so that none refreshes any more, and close the connections."""
        self.browser.close()
        for session in self.sessions:
            run(session.logout(), 10)
            run(session.provider.close(), 5)


def new_signing_key() -> str:
    """Make a private key, in PEM."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return new_key().private_bytes(*form).decode()
