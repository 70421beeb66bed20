"""All checks, in order: the server here or the address from outside; meanwhile the provider and the token store."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._wire.hub_routing import is_on_a_hub
from ..settings import OAuth2Settings
from . import clock, extension, hub_environment, kernel, network, outside, provider, public, registration, server, store
from .addresses import without_page
from .findings import Check, Finding, Report, found
from .http_probe import Probe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..providers.base import OAuthProvider
    from ..token_store import TokenStore

_GRACE = 2.0  # seconds, for a check that is at its own deadline


@dataclass(frozen=True, repr=False)
class Place:
    """Which server is looked at.

    Attributes:
        address: The public address of the server or the hub, as ``addresses.read_address`` returns it; or None.
        token: The token that was given with the address; may be empty.
        environ: The environment variables.
    """

    address: str | None
    token: str
    environ: Mapping[str, str]


def examine(place: Place, settings: Mapping[str, str], seconds: float) -> Report:
    """Make all checks of a server and of what the settings name, and return what they found.

    Args:
        place: Which server.
        settings: As for :func:`pywry_auth_nb.doctor.main`.
        seconds: How long all of it may take.
    """
    probe = Probe(seconds)
    return _examine(place, _checks_of_settings(settings, place.environ, probe), probe, seconds)


def examine_objects(place: Place, provider_: OAuthProvider, store_: TokenStore | None, seconds: float) -> Report:
    """Make all checks of a server, and of a provider and a store that stand in the notebook."""
    probe, on_hub = Probe(seconds), is_on_a_hub(place.environ)
    checks: dict[str, Check[Any]] = {
        "network": network.check(provider_, probe),
        "provider": provider.check_provider(provider_, probe),
    }
    if store_ is not None:
        backend = str(getattr(store_, "kind", "memory"))
        checks["store"] = store.check_store(store_, backend, on_hub=on_hub, probe=probe)
    return _examine(place, checks, probe, seconds)


def _examine(place: Place, checks: Mapping[str, Check[Any]], probe: Probe, seconds: float) -> Report:
    report = Report()
    background = [BackgroundCheck(*check) for check in checks.items()]
    from_outside = _check_server(report, place, probe)
    for check in background:
        findings = check.result(probe.at_most(seconds) + _GRACE)
        report.findings += [one for one in findings if not (from_outside and one.code == "store_memory")]
    for check in background:
        if check.name == "provider" and check.value is not None:
            report.collect("provider", _check_registration(check.value, report.redirect_uri, probe))
    if place.address is not None and not any(finding.check == "clock" for finding in report.findings):
        report.collect("clock", clock.check_server(place.address, probe))
    probe.close()
    return report


def _check_registration(ready: OAuthProvider, redirect_uri: str | None, probe: Probe) -> Check[None]:
    if redirect_uri is None:
        yield found("provider", "registration_unknown.no_uri")
    else:
        yield registration.check(ready, redirect_uri, probe)


def _check_server(report: Report, place: Place, probe: Probe) -> bool:
    """Look at the server here; or from outside, without one here or with the address of a hub.

    Returns:
        Whether that was from outside: kernels there have other settings than this command.
    """
    address, environ = place.address, place.environ
    here = None
    if address is not None and place.token:
        here = report.collect("server", server.let_in(without_page(address), place.token, probe))
    if here is None:
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


def _checks_of_settings(given: Mapping[str, str], environ: Mapping[str, str], probe: Probe) -> dict[str, Check[Any]]:
    """Return the checks of what the settings name, by name."""
    try:
        settings = OAuth2Settings(**given)
    except Exception as error:  # noqa: BLE001 - it runs configuration files; the server must be looked at all the same
        return {"provider": provider.wrong_settings(error)}
    if given:
        settings.client_secret = ""  # now neither a file nor the keyring is read for it
    return {
        "network": network.check(settings, probe),
        "provider": provider.check(settings, probe, as_public=bool(given)),
        "store": store.check(settings, on_hub=is_on_a_hub(environ), probe=probe),
    }


class BackgroundCheck:
    """A check on a thread of its own; one that hangs delays neither the other checks nor the end.

    Attributes:
        name: The check's name.
        value: What the check returned, once it has.
    """

    def __init__(self, name: str, check: Check[Any]) -> None:
        self.name = name
        self.value: Any = None
        self._check = check
        self._report = Report()
        self._thread = threading.Thread(target=self._collect, name=f"pywry-auth-doctor-{name}", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        self.value = self._report.collect(self.name, self._check)

    def result(self, seconds: float) -> list[Finding]:
        """Return what was found within so many seconds."""
        self._thread.join(seconds)
        late = [found(self.name, "check_failed.late")] if self._thread.is_alive() else []
        return [*self._report.findings, *late]
