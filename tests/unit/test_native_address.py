"""The redirect URI of `run_native` and of the callback server: as the provider has it registered."""

from __future__ import annotations

import socket
import threading
import time
import webbrowser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    AuthFlowTimeout,
    ConfigurationError,
    OAuthCallbackServer,
)
from pywry_auth_nb._io import loopback_server
from tests.support.cases import case
from tests.support.idp import Answer, Idp
from tests.support.ports import free_port
from tests.support.waiting import until

from .test_native import Window, impatient, is_free, visit

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = {"code": "CANARY-code", "state": "CANARY-state"}


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


def reaches(address: str, port: int) -> bool:
    """Whether a program listens there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, port)) == 0


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        pytest.param("[::1]", "[::1]", marks=IPV6),
        pytest.param("::1", "[::1]", marks=IPV6),
    ],
)
def test_run_native_at_a_registered_address(flow: AuthFlowManager, idp: Idp, host: str, shown: str) -> None:
    """H234: ``host`` and ``port`` are those of the redirect URI, at the authorize and at the token endpoint."""
    port = free_port()
    for _ in range(2):  # the port can be used again at once
        window = Window(idp)

        assert flow.run_native(window.show, port=port, host=host).success
        assert window.redirect_uri == f"http://{shown}:{port}/callback"
        assert idp.last("/token").form["redirect_uri"] == window.redirect_uri
        assert window.read()[0] == 200


def test_authenticate_at_a_registered_address(flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal, ``authenticate`` passes both on."""
    window, port = Window(idp), free_port()
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(window.show(url, {})))

    assert flow.authenticate(None, port=port, host="localhost").success
    assert window.redirect_uri == f"http://localhost:{port}/callback"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_said_at_once(flow: AuthFlowManager, idp: Idp, host: str) -> None:
    """The error names the port; no provider is asked, which may hang, and no window opens."""
    idp.answers["/.well-known/openid-configuration"] = Answer(gate=threading.Event())
    window, began = Window(idp), time.monotonic()
    with OAuthCallbackServer() as other:
        port = urlsplit(other.redirect_uri).port
        with pytest.raises(ConfigurationError, match=f"port {port}") as caught:
            flow.run_native(window.show, port=port or 0, host=host)

    assert caught.value.code == "port_unavailable"
    assert time.monotonic() - began < 4
    assert (idp.requests, window.url, flow.session.status) == ([], "", "signed_out")


def test_only_this_machine_can_be_the_host(flow: AuthFlowManager, idp: Idp) -> None:
    """RFC 8252 §8.3: other addresses are refused, and other names, which may resolve to anything."""
    for host in ("0.0.0.0", "[::]", "login.localhost.example", "192.168.0.1", "", "[]"):  # noqa: S104
        with case(host), pytest.raises(ConfigurationError):
            flow.run_native(Window(idp).show, host=host)


def nothing(*_: object) -> str:
    """A window whose user does nothing."""
    return "label"


def test_the_time_out_names_the_redirect_uri(flow: AuthFlowManager) -> None:
    """A provider shows an unknown redirect URI to the user alone: so the error says which one to register."""
    port = free_port()
    with pytest.raises(AuthFlowTimeout, match=rf"http://127\.0\.0\.1:{port}/callback") as caught:
        impatient(flow, 0.2).run_native(nothing, port=port)

    assert (caught.value.code, caught.value.timeout) == ("flow_timeout", 0.2)


def test_the_time_out_names_it_while_discovery_hangs(flow: AuthFlowManager, idp: Idp) -> None:
    """The wait has a deadline even then, and the same error."""
    idp.answers["/.well-known/openid-configuration"] = Answer(gate=threading.Event())
    began = time.monotonic()
    with pytest.raises(AuthFlowTimeout, match=r"/callback"):
        impatient(flow, 0.3).run_native(nothing)

    assert time.monotonic() - began < 4


def test_what_is_printed_names_the_redirect_uri(
    flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the user opens the address by hand, the redirect URI stands beside it."""
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    printed: list[str] = []

    def read() -> None:
        until(lambda: printed.append(capfd.readouterr().out) or "".join(printed).strip())  # type: ignore[func-returns-value]
        Window(idp).show("".join(printed).split()[-1], {})

    threading.Thread(target=read, daemon=True).start()
    flow.run_native()
    text = "".join(printed)

    assert f"{dict(parse_qsl(urlsplit(text.split()[-1]).query))['redirect_uri']}," in text


# -- the callback server -------------------------------------------------------------------------------------------


@IPV6
def test_localhost_is_both_addresses() -> None:
    """A browser may take either for ``localhost``: both listen, either answer counts, and both stop."""
    port = free_port()
    for address in ("127.0.0.1", "[::1]"):
        with OAuthCallbackServer("localhost", port) as server:
            assert server.redirect_uri == f"http://localhost:{port}/callback"
            assert visit(f"http://{address}:{port}/callback", ANSWER, Host=f"localhost:{port}")[0] == 200
            assert server.wait_for_callback(0) is not None
        assert not any(reaches(each, port) for each in ("127.0.0.1", "::1"))


@IPV6
def test_any_free_port_of_localhost() -> None:
    """Without a port, both addresses have the same one."""
    with OAuthCallbackServer("localhost") as server:
        port = urlsplit(server.redirect_uri).port or 0

        assert all(reaches(address, port) for address in ("127.0.0.1", "::1"))


@IPV6
def test_half_of_localhost_is_not_enough() -> None:
    """A program that has the port at ::1 would get the answer: the port counts as in use, and none stays open."""
    port = free_port()
    with (
        OAuthCallbackServer("::1", port),
        pytest.raises(ConfigurationError, match=f"localhost, port {port}") as caught,
    ):
        OAuthCallbackServer("localhost", port).start()

    assert caught.value.code == "port_unavailable"
    assert is_free(f"http://127.0.0.1:{port}/")


def test_localhost_on_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the one address serves."""
    monkeypatch.setattr(loopback_server, "_ADDRESSES", {"localhost": ("127.0.0.1", "2001:db8::1")})
    with OAuthCallbackServer("localhost") as server:
        port = urlsplit(server.redirect_uri).port

        assert visit(f"http://127.0.0.1:{port}/callback", ANSWER, Host=f"localhost:{port}")[0] == 200


@IPV6
@pytest.mark.parametrize("broken", [0, 1])
def test_one_that_cannot_stop_does_not_keep_the_other_open(monkeypatch: pytest.MonkeyPatch, broken: int) -> None:
    """A Ctrl-C while one of the two is stopped leaves neither port busy."""
    port = free_port()
    server = OAuthCallbackServer("localhost", port)
    server.start()
    victim = server._servers[broken]
    stop: Callable[[], Any] = victim.stop

    def interrupted() -> None:
        stop()
        raise KeyboardInterrupt

    monkeypatch.setattr(victim, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.stop()

    assert not any(reaches(address, port) for address in ("127.0.0.1", "::1"))


def test_a_sign_in_at_localhost_takes_no_other_host_name(flow: AuthFlowManager, idp: Idp) -> None:
    """T20: DNS rebinding is refused at a name, too."""
    seen: list[int] = []

    def rebind(redirect_uri: str) -> None:
        seen.append(visit(redirect_uri, idp.authorize(window.url), Host="evil.example")[0])

    window = Window(idp, rebind)

    assert flow.run_native(window.show, host="localhost").success
    assert seen == [400]
