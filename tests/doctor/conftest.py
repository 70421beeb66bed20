"""`pywry-auth doctor` as people run it, and a Jupyter server for it to look at."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb._io.tls import VARIABLES
from pywry_auth_nb.cli import main
from pywry_auth_nb.token_store import reset_token_store
from tests.doctor.wire import Proxy
from tests.e2e.processes import JupyterServer
from tests.stores.servers import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BASE_URL = "/user/ada/"


@dataclass
class Visit:
    """How the command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object, and nothing beside it."""
        report: dict[str, Any] = json.loads(self.out)
        return report

    @property
    def levels(self) -> dict[str, str]:
        """The level of each finding by its code."""
        return {finding["code"]: finding["level"] for finding in self.report["findings"]}

    def finding(self, code: str) -> dict[str, str]:
        """The one finding of a code."""
        (found,) = [finding for finding in self.report["findings"] if finding["code"] == code]
        return found


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without anything of Jupyter's, a hub's, a company's network or ours, and a home of its own."""
    for name in os.environ:
        if name.startswith(("JUPYTER", "JPY_", "PYWRY_")) or name in VARIABLES or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return monkeypatch


@pytest.fixture
def doctor(clean: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Visit]]:
    """Run the command, with more of an environment; nothing that begins with ``CANARY`` may be in what it says."""

    def visit(*arguments: str, **environ: str) -> Visit:
        for name, value in environ.items():
            clean.setenv(name, value)
        reset_token_store()
        capfd.readouterr()
        status = main(["doctor", *arguments])
        said = Visit(status, *capfd.readouterr())
        assert "CANARY" not in said.out + said.err
        return said

    yield visit
    reset_token_store()


class Watched(JupyterServer):
    """A server whose token is a canary, and whose default kernel is what a test says."""

    def __init__(self, folder: Path, **options: Any) -> None:
        config = {"MultiKernelManager": {"default_kernel_name": "tested"}, **options.pop("config", {})}
        super().__init__("lab", folder, config=config, **options)
        self.token = "CANARY" + self.token
        self.kernel_file = folder / "home" / "data" / "kernels" / "tested" / "kernel.json"
        self.runtime = folder / "home" / "runtime"

    @property
    def here(self) -> dict[str, str]:
        """What a terminal of this server knows."""
        return {"JUPYTER_RUNTIME_DIR": str(self.runtime)}

    @property
    def here_on_hub(self) -> dict[str, str]:
        """What a terminal of this server knows where a hub started it."""
        return self.here | {
            "JUPYTERHUB_SERVICE_PREFIX": self.base_url,
            "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{self.port}{self.base_url}",
            "JUPYTERHUB_API_TOKEN": self.token,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_PUBLIC_URL": "",
            "JUPYTERHUB_PUBLIC_HUB_URL": "",
        }

    def set_kernel(self, before: str = "pass", language: str = "python") -> None:
        """Let the default kernel be one that first does something."""
        code = f"{before}\nfrom ipykernel.kernelapp import launch_new_instance\nlaunch_new_instance()"
        argv = [sys.executable, "-c", code, "-f", "{connection_file}"]
        self.kernel_file.parent.mkdir(parents=True, exist_ok=True)
        self.kernel_file.write_text(json.dumps({"argv": argv, "display_name": "Tested", "language": language}))

    def kernels(self) -> list[Any]:
        """The kernels that run there."""
        kernels: list[Any] = self.api("GET", "api/kernels").json()
        return kernels


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A Jupyter server of one person, which believes its proxy."""
    config = {"ServerApp": {"trust_xheaders": True}}
    with Watched(tmp_path_factory.mktemp("plain"), base_url="/a/b/", config=config) as server:
        yield server


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A Jupyter server that takes itself for one of a hub's."""
    env = {"JUPYTERHUB_SERVICE_PREFIX": BASE_URL}
    with Watched(tmp_path_factory.mktemp("hub"), base_url=BASE_URL, env=env) as server:
        yield server


@pytest.fixture
def plain(plain_server: Watched) -> Watched:
    """The server of one person, with an honest kernel."""
    plain_server.set_kernel()
    return plain_server


@pytest.fixture
def on_hub(hub_server: Watched) -> Watched:
    """The server of a hub, with an honest kernel."""
    hub_server.set_kernel()
    return hub_server


@pytest.fixture
def behind_tls(tmp_path: Path, clean: pytest.MonkeyPatch) -> Iterator[Callable[[Watched], Proxy]]:
    """Put a proxy that ends TLS before a server; its certificate is known here."""
    certificate(tmp_path)
    clean.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(Proxy(server.port, tmp_path))
