"""The route that ``pywry-auth doctor`` asks: what a sign-in that came this way would use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pywry_auth_nb import __version__
from pywry_auth_nb._wire.protocol import PROTOCOL

from .conftest import Browser, body_of, with_settings

if TYPE_CHECKING:
    import pytest

CHECK = "pywry-auth/check"


async def test_a_plain_server(browser: Browser, jp_base_url: str) -> None:
    """It says which redirect URI it works out, and from what."""
    response = await browser.open(CHECK, headers={"Host": "127.0.0.1:8888"})

    assert response.headers["Cache-Control"] == "no-store"
    assert body_of(response) == {
        "version": __version__,
        "protocol": PROTOCOL,
        "redirect_uri": f"http://127.0.0.1:8888{jp_base_url}pywry-auth/callback",
        "configured": False,
        "base_url": jp_base_url,
        "hub": False,
        "trust_xheaders": False,
    }


@with_settings(trust_xheaders=True)
async def test_behind_a_proxy(browser: Browser) -> None:
    """A proxy that is believed changes the scheme."""
    said = body_of(await browser.open(CHECK, headers={"X-Forwarded-Proto": "https"}))

    assert said["trust_xheaders"] is True
    assert said["redirect_uri"].startswith("https://")


async def test_on_a_hub(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hub it is the hub's address."""
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/second/")
    said = body_of(await browser.open(CHECK))

    assert said["hub"] is True
    assert said["redirect_uri"].endswith("/hub/user-redirect/pywry-auth/callback")


async def test_another_site_may_not_ask(browser: Browser) -> None:
    """A page of another site learns nothing of this server."""
    response = await browser.open(CHECK, headers={"Sec-Fetch-Site": "cross-site"})

    assert (response.code, body_of(response)["error"]) == (403, "cross_site")
