"""``pywry-auth login`` and ``pywry-auth logout``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from ..errors import TokenStoreError
from .exits import DONE, FAILED, say
from .sessions import add_options, open_session

if TYPE_CHECKING:
    from ..flow import AuthFlowManager
    from ..session import LogoutResult, SessionManager

_LOGIN = """\
Sign in with a browser on this machine or elsewhere, and keep the tokens in the
configured token store, where notebooks, scripts and batch jobs with the same
settings find them. If tokens come without a user (a token from the environment, client
credentials, a hub), check that they do.
"""
_MOMENTS = (1.0, 86400.0)  # seconds


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    login = commands.add_parser("login", help="sign in", description=_LOGIN)
    add_options(login)
    login.add_argument(
        "--no-browser",
        action="store_true",
        help="print the address; take the one at which a browser elsewhere ends",
    )
    login.add_argument("--device", action="store_true", help="print a code to enter in a browser anywhere (RFC 8628)")
    login.add_argument("--port", type=int, default=0, help="port of the redirect URI (default: a free one)")
    login.add_argument("--host", default="127.0.0.1", help="its host: %(default)s, ::1 or localhost")
    login.add_argument("--prompt", default="", help="what the provider must ask: login, consent, select_account")
    login.add_argument("--login-hint", default="", metavar="USER", help="the user who is expected")
    login.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="time limit (default: the setting, 120)")
    login.set_defaults(run=_login)
    logout = commands.add_parser("logout", help="sign out: delete the tokens, and revoke them at the provider")
    add_options(logout)
    logout.add_argument("--everywhere", action="store_true", help="open the provider's page for signing out, too")
    logout.set_defaults(run=_logout)


def _login(options: argparse.Namespace) -> int:
    from ..flow import AuthFlowManager

    session, settings = open_session(options)
    timeout = options.timeout or settings.auth_timeout_seconds
    with contextlib.redirect_stdout(sys.stderr):  # an address is printed where there is no browser
        if session.provider.interactive and options.device:
            session.login(timeout, via="device", prompt=options.prompt or "login", login_hint=options.login_hint)
        elif session.provider.interactive:
            flow = AuthFlowManager(session.provider, session_manager=session, auth_timeout=timeout)
            _with_browser(flow, options)
        else:
            session.login(timeout)
    if isinstance(session.error, TokenStoreError):
        raise session.error
    name = f" as {session.display_name}" if session.display_name else ""
    say(f"Signed in{name} at {session.provider.label}.")
    return DONE


def _with_browser(flow: AuthFlowManager, options: argparse.Namespace) -> None:
    flow.run_native(
        port=options.port,
        host=options.host,
        browser=not options.no_browser,
        prompt=options.prompt,
        login_hint=options.login_hint,
    )


def _logout(options: argparse.Namespace) -> int:
    session, _ = open_session(options)
    with contextlib.redirect_stdout(sys.stderr):
        result = asyncio.run(_signed_out(session, everywhere=options.everywhere))
    say(str(result))
    return DONE if result.store == "deleted" else FAILED


async def _signed_out(session: SessionManager, *, everywhere: bool) -> LogoutResult:
    return await session.logout(everywhere=everywhere)


def _seconds(text: str) -> float:
    least, most = _MOMENTS
    with contextlib.suppress(ValueError):
        if least <= (seconds := float(text)) <= most:
            return seconds
    raise argparse.ArgumentTypeError(f"must be between {least:.0f} and {most:.0f}")
