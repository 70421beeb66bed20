"""The browser of this machine."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
import webbrowser

log = logging.getLogger("pywry_auth_nb")

_DEADLINE = 5.0  # seconds: a browser that takes longer to start counts as started


def has_window_browser() -> bool:
    """Whether this machine has a browser with windows: one in the terminal would take the place of a prompt."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return bool(os.environ.get("BROWSER")) or type(browser) is not webbrowser.GenericBrowser


def open_browser(url: str, patience: float = _DEADLINE) -> bool:
    """Open the default browser, and return whether there is one. On a thread, since a text browser blocks."""
    opened: concurrent.futures.Future[bool] = concurrent.futures.Future()

    def work() -> None:
        try:
            opened.set_result(webbrowser.open(url))
        except Exception as error:  # noqa: BLE001 - webbrowser.Error, or an error of the system
            log.warning("the browser could not be opened (%s)", type(error).__name__)
            opened.set_result(False)

    threading.Thread(target=work, name="pywry-auth-browser", daemon=True).start()
    try:
        return opened.result(min(max(0.0, patience), _DEADLINE))
    except concurrent.futures.TimeoutError:
        return True
