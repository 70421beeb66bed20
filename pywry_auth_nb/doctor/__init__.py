"""``pywry-auth doctor``: would a sign-in work here, which redirect URI does the provider need, and what is to be done?

::

    findings.ini   everything that can be found: code, level, sentence, advice
    findings       one finding;  all of them, as text or JSON
    examination    the checks, in order, with a deadline for all of them:
      server         which Jupyter server this is about
      extension      is our extension in it
      public         the server at its public address: what proxies lose
      outside        a hub, or a server, without a server here
      kernel         a kernel of the server, and its control channel
      provider       discovery, PKCE, the client
      registration   the redirect URI at the provider
      clock          this machine's clock
      store          the token store
    http_probe     HTTP;  addresses, URLs;  hub_environment, what a hub tells of its address
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..providers import OAuthProvider
    from ..session import SessionManager
    from .findings import Report

#: Seconds that the whole command may take, unless told otherwise.
SECONDS = 60.0
_INTERRUPTED = 130


def main(address: str | None, *, as_json: bool, settings: Mapping[str, str], seconds: float, token: str = "") -> int:
    """Make all checks, print what was found, and return the exit status.

    Args:
        address: The public address of the server or the hub, as ``addresses.read_address`` returns it; or None.
        as_json: Whether to print one JSON object, and nothing else.
        settings: Settings of the provider that win over those of the environment. With any of these the client is
            tried as one without a secret: the configured one belongs to another client, or provider.
        seconds: How long all of it may take.
        token: The token that stood in the address, as Jupyter prints it.

    Returns:
        0 if a sign-in would work, as far as can be seen from here; 1 if it would fail, if a check that was begun could
        not be made, or if there was nothing to look at; 130 when interrupted.
    """
    try:
        with _interruption() as interruption:
            from .examination import Place, examine

            report = examine(Place(address, token, os.environ), settings, seconds)
    except KeyboardInterrupt:
        return _INTERRUPTED
    if interruption.happened:
        return _INTERRUPTED
    print(report.as_json() if as_json else report.as_text())
    return 0 if report.ok else 1


class _Doctor(ModuleType):
    """This module: ``doctor()`` in a notebook does what the command does, and looks at the notebook's own provider."""

    def __call__(self, what: SessionManager | OAuthProvider | None = None, *, seconds: float = SECONDS) -> Report:
        """Make all checks, and return a report, which a cell shows as its last line.

        Args:
            what: The session or the provider to look at; the one that was made last in this notebook when left out, or
                what the settings name if there is none.
            seconds: How long all of it may take.
        """
        from ..session import SessionManager
        from .examination import Place, examine, examine_objects

        place, subject = Place(None, "", os.environ), _in_notebook() if what is None else what
        if subject is None:
            return examine(place, {}, seconds)
        if isinstance(subject, SessionManager):
            return examine_objects(place, subject.provider, subject.token_store, seconds)
        return examine_objects(place, subject, None, seconds)


def _in_notebook() -> SessionManager | OAuthProvider | None:
    """Return the session that the notebook named last; for want of one, the provider."""
    from .._io.cells import shell
    from ..providers import OAuthProvider
    from ..session import SessionManager

    values = [*getattr(shell(), "user_ns", {}).values()][::-1]
    kinds: tuple[type[Any], ...] = (SessionManager, OAuthProvider)
    return next((value for kind in kinds for value in values if isinstance(value, kind)), None)


sys.modules[__name__].__class__ = _Doctor


class _Interruption:
    """A signal handler that raises KeyboardInterrupt, and remembers it where a module, while imported, swallows it."""

    happened = False

    def __call__(self, *_: object) -> None:
        self.happened = True
        raise KeyboardInterrupt


@contextmanager
def _interruption() -> Iterator[_Interruption]:
    """Let a closed terminal, or a polite end, clean up as Ctrl-C does: a kernel may be running for us."""
    interruption = _Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, interruption) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
