"""``pywry-auth doctor``: would a sign-in work here, which redirect URI does the provider need, and what is to be done?

::

    findings     what was found, and how it is told
    addresses    addresses that people give and servers answer
    asking       HTTP, with a deadline for the whole command
    servers      which Jupyter server this is about
    extension    is our extension in it
    public       the server at its public address: proxies;  told, what a hub says of that
    hub          the same from outside, without a server here
    kernels      a kernel of it, and the control channel
    provider     discovery, PKCE, the client;  clock
    store        the token store
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from .findings import Finding, Report
    from .http_probe import Asker

#: Seconds that the whole command may take, unless told otherwise.
SECONDS = 60.0
_GRACE = 2.0  # seconds, for what is at its own deadline
_INTERRUPTED = 130


def main(address: str | None, *, as_json: bool, settings: Mapping[str, str], seconds: float) -> int:
    """Look at everything, print what was found, and return the exit status.

    Args:
        address: The public address of the server or the hub, as ``addresses.read_address`` returns it; or None.
        as_json: Whether to print one JSON object, and nothing else.
        settings: Settings of the provider that win over those of the environment. With any of these the client is
            tried as one without a secret: the configured one belongs to another client, or provider.
        seconds: How long all of it may take.

    Returns:
        0 if a sign-in would work, as far as can be seen from here; 1 if it would fail, if a check that was begun could
        not be made, or if there was nothing to look at; 130 when interrupted.
    """
    try:
        with _signals_as_interrupt():
            report = examine(address, settings, seconds, os.environ)
    except KeyboardInterrupt:
        return _INTERRUPTED
    print(report.as_json() if as_json else report.as_text())
    return 0 if report.ok else 1


def examine(address: str | None, settings: Mapping[str, str], seconds: float, environ: Mapping[str, str]) -> Report:
    """Look at everything; the provider and the store meanwhile, on threads of their own."""
    from .findings import Report
    from .http_probe import Asker

    report, asker = Report(), Asker(seconds)
    others = [_Meanwhile(name, check) for name, check in _of_settings(settings, environ, asker).items()]
    outside = _look_at_server(report, address, environ, asker)
    for other in others:
        found = other.result(asker.at_most(seconds) + _GRACE)
        report.findings += [finding for finding in found if not (outside and finding.code == "store_memory")]
    if address is not None and not any(finding.check == "clock" for finding in report.findings):
        from . import clock

        report.collect("clock", clock.check_server(address, asker))
    asker.close()
    return report


def _look_at_server(report: Report, address: str | None, environ: Mapping[str, str], asker: Asker) -> bool:
    """Look at the server here; or from outside, where there is none, or it is no part of the hub that was named.

    Returns:
        Whether that was from outside, where no kernel has its settings.
    """
    from .._wire.hub_routing import is_on_a_hub
    from . import extension, hub, hub_environment, kernels, public, servers

    server = report.collect("server", servers.find(environ, asker))
    if address is not None and server is not None and not is_on_a_hub(environ) and hub.find(address, asker):
        server = None
        report.findings.clear()
    if address is not None and server is None:
        report.redirect_uri = report.collect("public", hub.check(address, environ, asker))
        return True
    if server is not None:
        found = report.collect("extension", extension.check(server, asker))
        if found is not None:
            report.redirect_uri = report.collect("public", public.check(server, found, address, environ, asker))
            if found.hub and not found.configured and address is None:
                report.outline = hub_environment.outline(environ)
        report.collect("kernel", kernels.check(server, found, asker))
    elif not report.findings:
        report.findings.append(servers.missing())
    return False


def _of_settings(
    given: Mapping[str, str], environ: Mapping[str, str], asker: Asker
) -> dict[str, Generator[Finding, None, None]]:
    """Return the checks of what the settings name, by name."""
    from .._wire.hub_routing import is_on_a_hub
    from ..settings import OAuth2Settings
    from . import provider, store

    try:
        settings = OAuth2Settings(**given)
    except Exception as error:  # noqa: BLE001 - it runs configuration files; the server must be looked at all the same
        return {"provider": provider.wrong_settings(error)}
    if given:
        settings.client_secret = ""  # now neither a file nor the keyring is read for it
    return {
        "provider": provider.check(settings, asker, as_public=bool(given)),
        "store": store.check(settings, on_hub=is_on_a_hub(environ), asker=asker),
    }


class _Meanwhile:
    """A check that is made while others are; one that hangs holds up neither them nor the end."""

    def __init__(self, check: str, findings: Generator[Finding, None, object]) -> None:
        from .findings import Report

        self._check = check
        self._report = Report()
        work = partial(self._report.collect, check, findings)
        self._thread = threading.Thread(target=work, name=f"pywry-auth-doctor-{check}", daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> list[Finding]:
        """Return what was found within so many seconds."""
        from .findings import Finding

        self._thread.join(seconds)
        late = Finding(
            self._check,
            "warning",
            "check_failed",
            f"Looking at this took too long: {self._check}.",
            "Give it more time: pywry-auth doctor --timeout 120",
        )
        return [*self._report.findings, *([late] if self._thread.is_alive() else [])]


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Let a closed terminal, or a polite end, clean up as Ctrl-C does: a kernel may be running for us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
