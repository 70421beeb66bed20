"""All checks, in order: the server here or the address from outside; meanwhile the provider and the token store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .._wire.hub_routing import is_on_a_hub
from ..settings import OAuth2Settings
from . import clock, extension, hub_environment, kernel, outside, provider, public, server, store
from .findings import Check, Finding, Report, found
from .http_probe import Probe

if TYPE_CHECKING:
    from collections.abc import Mapping

_GRACE = 2.0  # seconds, for a check that is at its own deadline


def examine(address: str | None, settings: Mapping[str, str], seconds: float, environ: Mapping[str, str]) -> Report:
    """Make all checks, and return what they found; the arguments are those of :func:`pywry_auth_nb.doctor.main`."""
    report, probe = Report(), Probe(seconds)
    background = [BackgroundCheck(*check) for check in _checks_of_settings(settings, environ, probe).items()]
    from_outside = _check_server(report, address, environ, probe)
    for check in background:
        findings = check.result(probe.at_most(seconds) + _GRACE)
        report.findings += [one for one in findings if not (from_outside and one.code == "store_memory")]
    if address is not None and not any(finding.check == "clock" for finding in report.findings):
        report.collect("clock", clock.check_server(address, probe))
    probe.close()
    return report


def _check_server(report: Report, address: str | None, environ: Mapping[str, str], probe: Probe) -> bool:
    """Look at the server here; or from outside, without one here or with the address of a hub.

    Returns:
        Whether that was from outside: kernels there have other settings than this command.
    """
    here = report.collect("server", server.find(environ, probe))
    if address is not None and here is not None and not is_on_a_hub(environ) and outside.find_hub(address, probe):
        here = None
        report.findings.clear()
    if address is not None and here is None:
        report.redirect_uri = report.collect("public", outside.check(address, environ, probe))
        return True
    if here is not None:
        seen = report.collect("extension", extension.check(here))
        if seen is not None:
            report.redirect_uri = report.collect("public", public.check(here, seen, address, environ))
            if seen.hub and not seen.configured and address is None:
                report.outline = hub_environment.outline(environ)
        report.collect("kernel", kernel.check(here, through_server=seen is not None))
    elif not report.findings:
        report.findings.append(found("server", "server_missing"))
    return False


def _checks_of_settings(given: Mapping[str, str], environ: Mapping[str, str], probe: Probe) -> dict[str, Check[None]]:
    """Return the checks of what the settings name, by name."""
    try:
        settings = OAuth2Settings(**given)
    except Exception as error:  # noqa: BLE001 - it runs configuration files; the server must be looked at all the same
        return {"provider": provider.wrong_settings(error)}
    if given:
        settings.client_secret = ""  # now neither a file nor the keyring is read for it
    return {
        "provider": provider.check(settings, probe, as_public=bool(given)),
        "store": store.check(settings, on_hub=is_on_a_hub(environ), probe=probe),
    }


class BackgroundCheck:
    """A check on a thread of its own; one that hangs delays neither the other checks nor the end."""

    def __init__(self, name: str, check: Check[None]) -> None:
        self._name = name
        self._report = Report()
        self._thread = threading.Thread(
            target=self._report.collect, args=(name, check), name=f"pywry-auth-doctor-{name}", daemon=True
        )
        self._thread.start()

    def result(self, seconds: float) -> list[Finding]:
        """Return what was found within so many seconds."""
        self._thread.join(seconds)
        late = [found(self._name, "check_failed.late")] if self._thread.is_alive() else []
        return [*self._report.findings, *late]
