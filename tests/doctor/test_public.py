"""The public address: what proxies lose, and what that does to the redirect URI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.doctor.conftest import Watched
from tests.doctor.wire import Wire
from tests.stores.servers import certificate
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.doctor.conftest import Visit
    from tests.doctor.wire import Proxy

    Doctor = Callable[..., Visit]
    Before = Callable[[Watched], Proxy]

TO_HUB = "hub/user-redirect/pywry-auth/callback"


def test_this_machine_alone(doctor: Doctor, plain: Watched) -> None:
    """Without a public address the redirect URI is that of this machine, whose port may change."""
    said = doctor("--json", **plain.here)

    assert said.report["redirect_uri"] == f"{plain.url}pywry-auth/callback"
    assert "port_retries=0" in said.finding("port_in_uri")["advice"]
    assert f"http://localhost:{plain.port}/a/b/pywry-auth/callback" in said.finding("port_in_uri")["advice"]
    assert said.levels["only_this_machine"] == "note"


def test_an_honest_proxy(doctor: Doctor, plain: Watched, behind_tls: Before) -> None:
    """Behind a proxy that passes on what it should, the redirect URI is that of the proxy, whatever page was copied."""
    proxy = behind_tls(plain)
    for page in ("", "a/b/", "a/b/lab/tree/x.ipynb?token=CANARY"):
        said = doctor(proxy.url + page, "--json", **plain.here)

        assert said.levels["redirect_uri"] == "ok"
        assert said.report["redirect_uri"] == f"{proxy.url}a/b/pywry-auth/callback"
        assert said.status == 0


def test_the_scheme_is_lost(doctor: Doctor, plain: Watched, behind_tls: Before) -> None:
    """A proxy that does not say https makes the server work out an http address."""
    proxy = behind_tls(plain)
    proxy.forwarded = ""
    said = doctor(proxy.url, "--json", **plain.here)

    assert (said.status, said.levels["proxy_scheme"]) == (1, "error")
    assert said.report["redirect_uri"] == f"{proxy.url}a/b/pywry-auth/callback"
    assert "X-Forwarded-Proto" in said.finding("proxy_scheme")["advice"]
    assert "which this server believes" in said.finding("proxy_scheme")["advice"]
    assert "c.PywryAuth.redirect_uri" in said.finding("proxy_scheme")["advice"]


def test_the_host_is_lost(doctor: Doctor, plain: Watched, behind_tls: Before) -> None:
    """A proxy that sends its own idea of Host makes the server work out an address inside."""
    proxy = behind_tls(plain)
    proxy.host_header = f"127.0.0.1:{plain.port}"  # as nginx does by itself
    said = doctor(proxy.url, "--json", **plain.here)

    assert (said.status, said.levels["proxy_host"]) == (1, "error")
    assert "Host header" in said.finding("proxy_host")["advice"]
    assert "proxy_scheme" not in said.levels


def test_the_path_is_changed(doctor: Doctor, plain: Watched, behind_tls: Before) -> None:
    """A proxy that takes away a part of the path makes the server work out another one."""
    proxy = behind_tls(plain)
    proxy.cut = "/outside"
    said = doctor(f"{proxy.url}outside/a/b/lab", "--json", **plain.here)

    assert (said.status, said.levels["proxy_base_url"]) == (1, "error")
    assert said.report["redirect_uri"] == f"{proxy.url}outside/a/b/pywry-auth/callback"


def test_headers_that_are_not_believed(doctor: Doctor, tmp_path: Path, behind_tls: Before) -> None:
    """A server that does not believe its proxy is told to, by name."""
    with Watched(tmp_path / "unbelieving") as server:
        server.set_kernel()
        said = doctor(behind_tls(server).url, "--json", **server.here)

    assert (said.status, said.levels["proxy_scheme"]) == (1, "error")
    assert "c.ServerApp.trust_xheaders = True" in said.finding("proxy_scheme")["advice"]


def test_another_path_altogether(doctor: Doctor, plain: Watched, behind_tls: Before) -> None:
    """An address that does not lead to this server is an error."""
    proxy = behind_tls(plain)
    said = doctor(f"{proxy.url}elsewhere/lab", "--json", **plain.here)

    assert (said.status, said.levels["proxy_base_url"]) == (1, "error")


def test_a_sign_in_before_it(doctor: Doctor, plain: Watched, behind_tls: Before) -> None:
    """A proxy with a login page of its own lets no command in: a warning, and nothing of where it leads."""
    proxy = behind_tls(plain)
    proxy.login = True
    said = doctor(proxy.url, "--json", **plain.here)

    assert (said.status, said.levels["public_login"]) == (0, "warning")
    assert "sso.example.org" not in said.out


def test_a_public_address_out_of_reach(doctor: Doctor, plain: Watched) -> None:
    """An address that only browsers reach is a warning, and its redirect URI is known all the same."""
    address = f"https://127.0.0.1:{free_port()}/"
    said = doctor(address, "--json", **plain.here)

    assert (said.status, said.levels["public_unreachable"]) == (0, "warning")
    assert said.report["redirect_uri"] == f"{address}a/b/pywry-auth/callback"


def test_plain_http(doctor: Doctor, plain: Watched) -> None:
    """Plain http to another machine is an error, no token is sent there, and nothing is recommended to register."""
    said = doctor("http://jupyter.example.org/a/b/", "--json", **plain.here)

    assert (said.status, said.levels["insecure_redirect_uri"]) == (1, "error")
    assert said.report["redirect_uri"] is None


# -- on a hub ---------------------------------------------------------------------------------------------------


def test_the_address_a_hub_tells(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """A hub that knows its public address tells its servers, and the user need not give it."""
    proxy = behind_tls(on_hub)
    told = {"JUPYTERHUB_PUBLIC_URL": f"{proxy.url}user/ada/"}
    said = doctor("--json", **on_hub.here_on_hub | told)

    assert said.levels["redirect_uri"] == "ok"
    assert said.report["redirect_uri"] == proxy.url + TO_HUB


def test_the_address_of_a_hub(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """The hub's address will do in place of the server's: the redirect URI is one for all users."""
    proxy = behind_tls(on_hub)
    said = doctor(f"{proxy.url}hub/home", "--json", **on_hub.here_on_hub)

    assert said.levels["redirect_uri"] == "ok"
    assert said.report["redirect_uri"] == proxy.url + TO_HUB


def test_a_hub_behind_a_proxy_that_loses_the_scheme(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """On a hub, too, a lost scheme is an error."""
    proxy = behind_tls(on_hub)
    proxy.forwarded = ""
    said = doctor(proxy.url, "--json", **on_hub.here_on_hub)

    assert (said.status, said.levels["proxy_scheme"]) == (1, "error")
    assert "c.JupyterHub.public_url" in said.finding("proxy_scheme")["advice"]


def test_a_hub_with_subdomains(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """The hub's own host, where users have subdomains, is where the redirect URI is."""
    proxy = behind_tls(on_hub)
    told = {"JUPYTERHUB_HOST": "https://hub.example.org", "JUPYTERHUB_PUBLIC_URL": f"{proxy.url}user/ada/"}
    said = [doctor(*given, "--json", **on_hub.here_on_hub | told) for given in ([], [proxy.url])]

    assert [one.report["redirect_uri"] for one in said] == [f"https://hub.example.org/{TO_HUB}"] * 2
    assert "other_address" not in said[1].levels
    assert proxy.heard_of(on_hub.token)


@pytest.mark.parametrize("given", ["https://hub.example.org/", "https://ada.hub.example.org/user/ada/"])
def test_a_hub_that_tells_its_own_host_alone(doctor: Doctor, on_hub: Watched, given: str) -> None:
    """A hub before JupyterHub 5 does not tell a user's subdomain: the redirect URI is known all the same."""
    said = doctor(given, "--json", **on_hub.here_on_hub, JUPYTERHUB_HOST="https://hub.example.org")

    assert said.report["redirect_uri"] == f"https://hub.example.org/{TO_HUB}"
    assert "other_address" not in said.levels


def test_a_hub_that_tells_nothing(doctor: Doctor, on_hub: Watched) -> None:
    """The first lines say how to see the redirect URI, and show what is known of it; for programs it is null."""
    environ = on_hub.here_on_hub | {"JUPYTERHUB_BASE_URL": "/base/"}
    lines, report = doctor(**environ).out.splitlines(), doctor("--json", **environ).report

    give = "give the address of the hub to see it: pywry-auth doctor https://HUB/base/"
    assert lines[0] == f"Redirect URI to register: {give}"
    assert lines[2] == f"  https://HUB/base/{TO_HUB}"
    assert report["redirect_uri"] is None


# -- where tokens go --------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(tmp_path: Path, clean: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server elsewhere that does what it can to be told a token."""
    certificate(tmp_path)
    clean.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with Wire(tmp_path) as stranger:
        for path in ("/user/ada/pywry-auth/check", "/a/b/pywry-auth/check"):
            stranger.answers[path] = (403, {}, {"error": "jupyter_login"})
        yield stranger


def test_an_address_that_the_hub_does_not_have(doctor: Doctor, on_hub: Watched, stranger: Wire) -> None:
    """Where the hub tells its address, another one is an error, and hears nothing; the redirect URI is the hub's."""
    hub = f"https://127.0.0.1:{free_port()}"
    addresses = {
        "JUPYTERHUB_PUBLIC_URL": f"{hub}/user/ada/",
        "JUPYTERHUB_PUBLIC_HUB_URL": f"{hub}/hub/",
        "JUPYTERHUB_HOST": hub,
    }
    for name, address in addresses.items():
        told = dict.fromkeys(addresses, "") | {name: address}
        said = doctor(stranger.url, "--json", **on_hub.here_on_hub | told)

        assert (said.status, said.levels["other_address"]) == (1, "error")
        assert said.report["redirect_uri"] == f"{hub}/{TO_HUB}"
        assert "proxy_host" not in said.levels
        assert stranger.url.rstrip("/") in said.finding("other_address")["message"]
    assert not stranger.heard_of("CANARY")


def test_an_address_of_the_hub_that_cannot_be_read(doctor: Doctor, on_hub: Watched, stranger: Wire) -> None:
    """A hub whose addresses cannot be read has told something all the same: no other address is taken for its own."""
    for name in ("JUPYTERHUB_PUBLIC_URL", "JUPYTERHUB_PUBLIC_HUB_URL"):
        told = {name: "https://h\u00fcb.example.org/"}
        said = doctor(stranger.url, "--json", **on_hub.here_on_hub | told)

        assert (said.status, said.levels["other_address"]) == (1, "error")
    assert not stranger.heard_of("CANARY")


def test_one_address_of_the_hub_that_can_be_read(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """Of what the hub tells, one good address is enough to know it by."""
    proxy = behind_tls(on_hub)
    told = {"JUPYTERHUB_PUBLIC_URL": f"{proxy.url}user/{{user}}/", "JUPYTERHUB_PUBLIC_HUB_URL": f"{proxy.url}hub/"}
    said = doctor(proxy.url, "--json", **on_hub.here_on_hub | told)

    assert "other_address" not in said.levels
    assert said.report["redirect_uri"] == proxy.url + TO_HUB


def test_the_address_of_another_user(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """With the address of another user's server, a warning says that it was not looked at."""
    proxy = behind_tls(on_hub)
    said = doctor(f"{proxy.url}user/bob/lab", "--json", **on_hub.here_on_hub)

    assert said.levels["other_users_server"] == "warning"
    assert "/user/ada/" in said.finding("other_users_server")["message"]
    assert "other_users_server" not in doctor(f"{proxy.url}user/ada/second/", "--json", **on_hub.here_on_hub).levels


def test_an_alias_of_the_hub(doctor: Doctor, on_hub: Watched, behind_tls: Before) -> None:
    """That an alias leads to the same server does not make it the hub's address; the hub's own is looked at."""
    alias, proxy = behind_tls(on_hub), behind_tls(on_hub)
    told = {"JUPYTERHUB_PUBLIC_URL": f"{proxy.url}user/ada/", "JUPYTERHUB_PUBLIC_HUB_URL": f"{proxy.url}hub/"}
    said = doctor(f"{alias.url}user/ada/lab", "--json", **on_hub.here_on_hub | told)

    assert {code for code, level in said.levels.items() if level == "error"} == {"other_address"}
    assert said.report["redirect_uri"] == proxy.url + TO_HUB
    assert not alias.heard_of("CANARY")


ANSWERS_OF_STRANGERS: list[tuple[Any, str]] = [
    ((404, {}, {"error": "jupyter"}), "proxy_base_url"),
    ((403, {}, {"error": "CANARY"}), "public_login"),
    ((403, {}, "jupyter_login"), "public_login"),
    ((401, {}, {"error": "jupyter_login"}), "public_login"),
    ((302, {"Location": "https://sso.example.org/"}, {"error": "jupyter_login"}), "public_login"),
    ((200, {}, {"error": "jupyter_login"}), "public_login"),
]


@pytest.mark.parametrize("kind", ["plain", "on_hub"])
def test_a_host_that_does_not_answer_as_we_do(
    doctor: Doctor, request: pytest.FixtureRequest, stranger: Wire, kind: str
) -> None:
    """Where the hub tells no address, a host gets a token only if it answers as the extension answers a stranger."""
    server: Watched = request.getfixturevalue(kind)
    server.set_kernel(language="R")  # faster
    for answer, code in ANSWERS_OF_STRANGERS:
        stranger.answers = dict.fromkeys(stranger.answers, answer)
        stranger.heard.clear()
        said = doctor(stranger.url, "--json", **server.here_on_hub if kind == "on_hub" else server.here)

        assert code in said.levels
        assert stranger.heard
        assert not stranger.heard_of("CANARY")


# -- configured -------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Watched]:
    """Return a server, not started, with this redirect URI in its configuration."""

    def make(uri: str) -> Watched:
        config = {"PywryAuth": {"redirect_uri": uri}}
        server = Watched(tmp_path / "configured", config=config)
        server.set_kernel()
        return server

    return make


def test_a_configured_address(doctor: Doctor, configured: Callable[[str], Watched], behind_tls: Before) -> None:
    """What an administrator wrote down counts, whatever a proxy loses; where it is wrong, it says how."""
    with configured("https://jupyter.example.org/pywry-auth/callback") as server:
        proxy = behind_tls(server)
        alone = doctor("--json", **server.here)
        elsewhere = doctor(proxy.url, "--json", **server.here)
        unreachable = doctor("https://jupyter.example.org/", "--json", **server.here)

    assert alone.report["redirect_uri"] == "https://jupyter.example.org/pywry-auth/callback"
    assert (alone.status, alone.levels["public_address_unknown"]) == (0, "note")
    assert (elsewhere.status, elsewhere.levels["configured_host"]) == (1, "error")
    assert (unreachable.status, unreachable.levels["public_unreachable"]) == (0, "warning")


def test_a_configured_address_that_ends_elsewhere(
    doctor: Doctor, configured: Callable[[str], Watched], behind_tls: Before
) -> None:
    """A configured address that does not end at the callback is an error."""
    port = free_port()
    with configured(f"https://127.0.0.1:{port}/callback") as server:
        proxy = behind_tls(server)
        said = [doctor(*address, "--json", **server.here) for address in ([proxy.url], [])]

    assert [(one.status, one.levels["configured_path"]) for one in said] == [(1, "error")] * 2
