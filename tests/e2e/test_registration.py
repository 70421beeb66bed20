"""The doctor's question about the redirect URI, at a real provider; no browser is needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pywry_auth_nb import GenericOIDCProvider
from pywry_auth_nb._io.loop import run
from pywry_auth_nb.doctor import registration
from pywry_auth_nb.doctor.http_probe import Probe
from tests.e2e.processes import Provider

if TYPE_CHECKING:
    from pathlib import Path

REGISTERED = "http://127.0.0.1:8888/pywry-auth/callback"


def test_what_is_registered(tmp_path: Path) -> None:
    """A registered redirect URI is fine; another one, and a client ID that is misspelt, are errors."""
    with Provider(tmp_path, redirect_uris=["http://127.0.0.1/pywry-auth/callback"]) as op:
        said = {}
        for client, uri in (("pywry", REGISTERED), ("pywry", f"{REGISTERED}s"), ("pywrry", REGISTERED)):
            provider, probe = GenericOIDCProvider(client, issuer_url=op.issuer), Probe(10)
            run(provider.prepare(), 10)
            said[client, uri] = registration.check(provider, uri, probe).level
            run(provider.close(), 5)
            probe.close()

    assert [*said.values()] == ["ok", "error", "error"]
