"""A hub, or a server, as an administrator sees it from anywhere. The hub here is a stand-in on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.doctor.wire import Wire
from tests.stores.servers import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.doctor.conftest import Visit, Watched

    Doctor = Callable[..., Visit]

CALLBACK = "/base/hub/user-redirect/pywry-auth/callback"


@pytest.fixture
def hub(tmp_path: Path, clean: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A hub behind TLS, at /base/."""
    certificate(tmp_path)
    clean.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with Wire(tmp_path) as hub:
        hub.answers["/base/hub/api"] = (200, {}, {"version": "5.2.1"})
        lead(hub, "/base/hub/login?next=elsewhere")
        yield hub


def lead(hub: Wire, where: str) -> None:
    """Let the hub send those who are not signed in there."""
    hub.answers[CALLBACK] = (302, {"Location": where}, {})


def test_a_hub_from_outside(doctor: Doctor, hub: Wire) -> None:
    """A hub's address, or that of a page there, is enough for the redirect URI; a note says how to see the rest."""
    for page in ("base/", "base/hub/home", "base/hub/spawn?x=CANARY"):
        said = doctor(hub.url + page, "--json")

        assert said.status == 0
        assert said.report["redirect_uri"] == hub.url.rstrip("/") + CALLBACK
        assert said.levels["hub_found"] == said.levels["hub_login"] == "ok"
        assert "terminal" in said.finding("user_server_unseen")["advice"]
        assert "store_memory" not in said.levels


def test_a_hub_that_lives_where_pages_do(doctor: Doctor, hub: Wire) -> None:
    """A hub may live at /lab/, which is also what JupyterLab's pages are called."""
    hub.answers["/lab/hub/api"] = (200, {}, {"version": "5.2.1"})
    hub.answers["/lab/hub/user-redirect/pywry-auth/callback"] = (302, {"Location": "/lab/hub/login"}, {})
    said = doctor(f"{hub.url}lab/", "--json")

    assert said.report["redirect_uri"] == f"{hub.url}lab/hub/user-redirect/pywry-auth/callback"
    assert said.levels["hub_login"] == "ok"


def test_a_hub_that_leads_to_http(doctor: Doctor, hub: Wire) -> None:
    """A hub that leads from https to http does not know that it is behind TLS."""
    lead(hub, f"http://{hub.host}/base/hub/login")
    said = doctor(f"{hub.url}base/", "--json")

    assert (said.status, said.levels["proxy_scheme"]) == (1, "error")
    assert "X-Forwarded-Proto" in said.finding("proxy_scheme")["advice"]


def test_a_hub_that_leads_elsewhere(doctor: Doctor, hub: Wire) -> None:
    """A sign-in before the hub may be meant so, and nothing of where it leads is shown."""
    lead(hub, "https://sso.example.org/login")
    said = doctor(f"{hub.url}base/", "--json")

    assert (said.status, said.levels["hub_login_elsewhere"]) == (0, "warning")
    assert "sso.example.org" not in said.out


def test_a_hub_that_leads_nowhere(doctor: Doctor, hub: Wire) -> None:
    """Where the redirect URI does not work at the hub, no sign-in can come back."""
    for status in (200, 404, 502):
        hub.answers[CALLBACK] = (status, {}, {"message": "CANARY"})
        said = doctor(f"{hub.url}base/", "--json")

        assert (said.status, said.levels["hub_redirect"]) == (1, "error")


def test_a_hub_and_a_server_of_ones_own(doctor: Doctor, hub: Wire, plain: Watched) -> None:
    """With a hub's address it is the hub that is looked at, though a server of one's own runs here."""
    said = doctor(f"{hub.url}base/", "--json", **plain.here)

    assert said.levels["hub_found"] == "ok"
    assert "server_found" not in said.levels
    assert plain.kernels() == []


def test_a_users_server_on_a_hub(doctor: Doctor, hub: Wire) -> None:
    """A user's server answers no request without a token; the hub's redirect URI is known all the same."""
    hub.answers["/base/user/ada/pywry-auth/check"] = (403, {}, {"error": "jupyter_login", "message": "CANARY"})
    said = doctor(f"{hub.url}base/user/ada/lab", "--json")

    assert said.report["redirect_uri"] == hub.url.rstrip("/") + CALLBACK
    assert said.levels["token_needed"] == "note"


def test_a_server_from_outside(doctor: Doctor, plain: Watched) -> None:
    """A server that takes the token from the environment says which redirect URI it works out."""
    said = doctor(plain.url, "--json", JUPYTER_TOKEN=plain.token)

    assert said.report["redirect_uri"] == f"{plain.url}pywry-auth/callback"
    assert said.levels["extension"] == said.levels["redirect_uri"] == "ok"
    assert said.levels["user_server_unseen"] == "note"


def test_a_server_from_outside_without_a_token(doctor: Doctor, plain: Watched) -> None:
    """Without a token a note says what to set; the redirect URI is what it should be there."""
    said = doctor(plain.url, "--json")

    assert (said.status, said.levels["extension_answers"]) == (1, "ok"), "what could not be seen is not called fine"
    assert said.levels["token_needed"] == "note"
    assert "JUPYTER_TOKEN" in said.finding("token_needed")["advice"]
    assert said.report["redirect_uri"] == f"{plain.url}pywry-auth/callback"


TOKENS = {"JUPYTER_TOKEN": "CANARY-of-jupyter", "JUPYTERHUB_API_TOKEN": "CANARY-of-hub"}


ANSWERS_OF_STRANGERS: list[tuple[Any, str, str]] = [
    ((403, {}, {"error": "CANARY"}), "login_before_server", "note"),
    ((401, {}, {"error": "jupyter_login"}), "extension_answers", "ok"),
    ((302, {"Location": "https://sso.example.org/"}, {}), "login_before_server", "note"),
    ((404, {}, {}), "extension_missing", "error"),
    ((200, {}, {"version": "<CANARY>"}), "extension_missing", "error"),
]


def test_a_strangers_host(doctor: Doctor, hub: Wire) -> None:
    """No token goes to a host that does not answer as the extension answers a stranger, whatever is set here."""
    for answer, code, level in ANSWERS_OF_STRANGERS:
        hub.answers["/x/pywry-auth/check"] = answer
        said = doctor(f"{hub.url}x/", "--json", **TOKENS)

        assert said.levels[code] == level
    assert not hub.heard_of("CANARY")


def test_a_token_that_was_set_for_this(doctor: Doctor, hub: Wire) -> None:
    """A host that answers as the extension does gets the token that was set for it, and never the hub's."""
    hub.answers["/x/pywry-auth/check"] = (403, {}, {"error": "jupyter_login"})
    said = doctor(f"{hub.url}x/", "--json", **TOKENS)

    assert said.levels["token_needed"] == "note"
    assert hub.heard_of("token CANARY-of-jupyter")
    assert not hub.heard_of("CANARY-of-hub")


def test_nothing_but_a_login(doctor: Doctor, hub: Wire) -> None:
    """Where a login page is all that could be seen, nothing was looked at."""
    hub.answers["/x/pywry-auth/check"] = (302, {"Location": "https://sso.example.org/"}, {})
    said = doctor(f"{hub.url}x/")

    assert said.status == 1
    assert said.out.splitlines()[-1].startswith("Nothing could be looked at.")


def test_the_clock_of_a_hub(doctor: Doctor, hub: Wire) -> None:
    """For want of a provider the clock is compared with the hub's."""
    assert doctor(f"{hub.url}base/", "--json").levels["clock"] == "ok"
