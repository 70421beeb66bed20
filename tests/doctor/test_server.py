"""Which Jupyter server is looked at, and whether our extension is in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import __version__
from pywry_auth_nb._wire.protocol import PROTOCOL
from tests.doctor.conftest import Watched
from tests.doctor.wire import Wire
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.doctor.conftest import Visit

    Doctor = Callable[..., Visit]

HUB = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JUPYTERHUB_API_TOKEN": "CANARY"}


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A server that says what it is told to."""
    with Wire() as wire:
        wire.answers["/user/ada/api/me"] = (200, {}, {})
        yield wire


def check_of(wire: Wire, **changes: Any) -> tuple[int, dict[str, str], Any]:
    """What the extension in that server answers."""
    honest = {
        "version": __version__,
        "protocol": PROTOCOL,
        "redirect_uri": f"{wire.url}hub/user-redirect/pywry-auth/callback",
        "configured": False,
        "base_url": "/user/ada/",
        "hub": True,
        "trust_xheaders": False,
    }
    return 200, {}, honest | changes


def visit(doctor: Doctor, wire: Wire) -> Visit:
    """Look at that server from its terminal."""
    return doctor("--json", JUPYTERHUB_SERVICE_URL=f"{wire.url}user/ada/", **HUB)


def record(folder: Path, name: str, **content: Any) -> Path:
    """Write down a running server, as Jupyter does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"jpserver-{name}.json"
    path.write_text(json.dumps({"pid": os.getpid(), "token": "CANARY", "hostname": "localhost", **content}))
    return path


def test_a_server_of_a_hub(doctor: Doctor, on_hub: Watched) -> None:
    """In a hub user's terminal the hub's variables name the server, which says that it listens everywhere.

    Its address in browsers is not told, and so the redirect URI is not known.
    """
    said = doctor("--json", **on_hub.here_on_hub)

    assert said.status == 0
    assert said.levels["server_found"] == said.levels["extension"] == "ok"
    assert said.levels["public_address_unknown"] == "warning"
    assert said.report["redirect_uri"] is None


def test_a_server_of_a_hub_that_moved(doctor: Doctor, on_hub: Watched) -> None:
    """Where the hub knows another port than the server took, the server's own record names it."""
    moved = {"JUPYTERHUB_SERVICE_URL": f"http://:{free_port()}/user/ada/"}

    assert doctor("--json", **on_hub.here_on_hub | moved).levels["server_found"] == "ok"


def test_a_hubs_token_goes_to_one_server(doctor: Doctor, on_hub: Watched) -> None:
    """Where the hub's own address answers, no record of an older server is asked: its port may be another program's."""
    with Wire() as other:
        record(on_hub.runtime, "older", url=f"{other.url.rstrip('/')}/user/ada/")
        said = doctor("--json", **on_hub.here_on_hub)

    assert said.levels["server_found"] == "ok"
    assert other.heard == []


def test_the_server_of_this_terminal(doctor: Doctor, plain: Watched, tmp_path: Path) -> None:
    """Of several servers, a terminal or kernel knows its own, and nothing need be said of the others."""
    (found,) = plain.runtime.glob("jpserver-*.json")
    content = json.loads(found.read_text())
    old = record(tmp_path / "home", "1", **content)
    os.utime(old, (1, 1))
    with Wire() as other:
        other.answers["/api/me"] = (200, {}, {})
        record(tmp_path / "home", "2", url=other.url)
        said = doctor("--json", JPY_PARENT_PID=str(content["pid"]))

    assert f"{plain.port}" in said.finding("server_found")["message"]
    assert "several_servers" not in said.levels


def test_several_servers(doctor: Doctor, tmp_path: Path) -> None:
    """Of several servers that answer, the one that was started last is looked at, and a note names the others."""
    with Wire() as first, Wire() as second:
        for number, wire in enumerate((first, second)):
            wire.answers["/api/me"] = (200, {}, {})
            os.utime(record(tmp_path / "home", str(number), url=wire.url), (number, number))
        record(tmp_path / "home", "gone", url=f"http://127.0.0.1:{free_port()}/")
        said = doctor("--json")

    assert second.host in said.finding("server_found")["message"]
    assert first.host in said.finding("several_servers")["message"]


def test_records_of_no_server(doctor: Doctor, tmp_path: Path) -> None:
    """A record that is damaged, or of a process that is gone, or of a socket, is passed over."""
    record(tmp_path / "home", "damaged").write_text("{")
    record(tmp_path / "home", "gone", url="http://localhost:1/", pid=2**22 + 1)
    record(tmp_path / "home", "socket", url="http+unix://%2Ftmp%2FCANARY/")
    (tmp_path / "home" / "jpserver-list.json").write_text("[]")

    assert doctor("--json").levels["server_missing"] == "warning"


def test_a_server_that_wants_a_password(doctor: Doctor, plain: Watched, tmp_path: Path) -> None:
    """A server that does not take our token is named, and how to be let in."""
    record(tmp_path / "home", "1", url=plain.url, token="")
    said = doctor("--json")

    assert said.levels["server_login"] == "warning"
    assert "JUPYTER_TOKEN" in said.finding("server_login")["advice"]


def test_a_server_with_a_token_from_the_environment(doctor: Doctor, plain: Watched, tmp_path: Path) -> None:
    """A token that stands in the environment lets us in where the record has none."""
    record(tmp_path / "home", "1", url=plain.url, token="")

    assert doctor("--json", JUPYTER_TOKEN=plain.token).levels["server_found"] == "ok"


def test_a_server_that_listens_on_plain_http_elsewhere(doctor: Doctor, tmp_path: Path) -> None:
    """No token is sent over plain http to another address, and that is why nothing was seen."""
    record(tmp_path / "home", "1", url="http://192.0.2.1:8888/")

    assert doctor("--json").levels["server_insecure"] == "warning"


def test_the_extension_is_missing(doctor: Doctor, tmp_path: Path) -> None:
    """A server without the extension is an error, with what to install where; the kernel is looked at all the same."""
    config = {"ServerApp": {"jpserver_extensions": {"pywry_auth_nb": False}}}
    with Watched(tmp_path / "without", config=config) as server:
        server.set_kernel()
        said = doctor("--json", **server.here)

    assert said.status == 1
    assert said.levels["extension_missing"] == "error"
    assert "jupyter server extension list" in said.finding("extension_missing")["advice"]
    assert said.levels["kernel_package"] == "ok"


def test_another_version(doctor: Doctor, wire: Wire) -> None:
    """Another version is a warning, another protocol an error; an answer that makes no sense is not shown."""
    answers: list[tuple[dict[str, Any], str, str]] = [
        ({"version": "9.9.9"}, "extension_version", "warning"),
        ({"version": "9.9.9", "protocol": 99}, "extension_protocol", "error"),
        ({"version": "<CANARY>"}, "extension_missing", "error"),
        ({"redirect_uri": "javascript:CANARY"}, "extension_missing", "error"),
        ({"base_url": None}, "extension_missing", "error"),
    ]
    for changes, code, level in answers:
        wire.answers["/user/ada/pywry-auth/check"] = check_of(wire, **changes)
        said = visit(doctor, wire)

        assert said.levels[code] == level
        assert said.report["ok"] is (level == "warning")


def test_a_token_of_another_user(doctor: Doctor, wire: Wire) -> None:
    """A server of another owner says so, which does not mean that the extension is missing."""
    wire.answers["/user/ada/pywry-auth/check"] = (403, {}, {"error": "forbidden", "message": "CANARY"})

    assert visit(doctor, wire).levels["server_login"] == "warning"
