"""Signing out at the provider itself (OIDC RP-Initiated Logout): the user opens its page, which asks for confirmation.

No ID token is sent as a hint: it would be in the address, and so in the browser's history and in the saved notebook.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from .._session.logout import OFFERED
from ..errors import TokenError
from ..providers.revocation import NO_ENDPOINT
from .browser import open_browser
from .front_end import current_kernel, has_front_end

if TYPE_CHECKING:
    from .._session.logout import LogoutResult
    from ..providers import OAuthProvider

_DISCOVERY_DEADLINE = 5.0  # seconds
_BROWSER_DEADLINE = 5.0  # seconds: a browser that takes longer to start counts as started


async def end_session(provider: OAuthProvider, result: LogoutResult) -> LogoutResult:
    """Offer the page at which the user signs out of the provider, and return ``result`` with its address."""
    try:
        url = await asyncio.wait_for(provider.get_end_session_url(), _DISCOVERY_DEADLINE)
    except asyncio.TimeoutError:
        return replace(result, end_session="timeout")
    except TokenError as error:
        return replace(result, end_session=error.code)
    if not url:
        return replace(result, end_session=NO_ENDPOINT)
    await _offer(url, provider.label)
    return replace(result, end_session=OFFERED, end_session_url=url)


async def _offer(url: str, host: str) -> None:
    """Show a link in the notebook; elsewhere open the browser, or print the address."""
    if current_kernel() is not None:
        _show_link(url, host)
    elif not await asyncio.to_thread(open_browser, url, _BROWSER_DEADLINE):
        print(f"To sign out at {host} as well, open this address in a browser:\n\n{url}\n", flush=True)  # noqa: T201


def _show_link(url: str, host: str) -> None:
    """Display a link. Not in a batch run, where there is no user to click it."""
    if not has_front_end():
        return
    from IPython.display import display

    text = f"Sign out at {host} as well"
    link = f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'
    display({"text/html": link, "text/plain": f"{text}: {url}"}, raw=True)  # type: ignore[no-untyped-call]
