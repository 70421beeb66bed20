"""A hub that signs its users in at the provider and keeps what it gets: where `HubTokenSource` has tokens from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.sign_in import sign_in

from .hub import Hub

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

    from tests.e2e.processes import Provider

CONFIG = Path(__file__).with_name("auth_state_config.py")


class AuthStateHub(Hub):
    """A hub that signs people in at the provider.

    Args:
        directory: An empty folder for all of it.
        provider: Where people sign in.
        grant: Whether servers may read their user's auth state.
        options: As of a :class:`Hub`.
    """

    def __init__(self, directory: Path, provider: Provider, *, grant: bool, **options: Any) -> None:
        env = {"HUB_CLIENT_SECRET": provider.CLIENT_SECRET, "HUB_TEST_GRANT": "1" if grant else ""}
        super().__init__(directory, provider=provider, env=env, **options)

    def command(self) -> list[str]:
        """Return the command line."""
        return [*super().command()[:-1], str(CONFIG)]

    def let_in(self, browser: Browser, user: str) -> BrowserContext:
        """Return a browser whose user has signed in to the hub, and so at the provider."""
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{self.url}hub/oauth_login?next=/hub/home")
        sign_in(page, user)
        page.wait_for_url("**/hub/home")
        page.close()
        return context
