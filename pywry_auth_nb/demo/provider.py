"""An OpenID provider on loopback for the demo: nanoidp, with PKCE required, token rotation and one-click personas."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ID = "notebook"
_PEOPLE = {
    "Ada": {"password": "ada", "email": "ada@example.org"},
    "Grace": {"password": "grace", "email": "grace@example.org"},
}


@contextmanager
def running_provider(redirect_uris: list[str]) -> Iterator[str]:
    """Serve the provider on a thread, and yield its issuer. It stops at the end of the block.

    Args:
        redirect_uris: The redirect URIs registered for the client :data:`CLIENT_ID`.

    Raises:
        ModuleNotFoundError: nanoidp is not installed: ``pip install 'pywry-auth-nb[demo]'``.
    """
    from nanoidp.app import create_app
    from werkzeug.serving import make_server

    with TemporaryDirectory(prefix="pywry-auth-provider-") as folder:
        server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True)  # bound now, for the issuer
        issuer = f"http://127.0.0.1:{server.server_port}"
        _write_settings(Path(folder), issuer, server.server_port, redirect_uris)
        for name in ("nanoidp", "werkzeug"):
            logging.getLogger(name).setLevel(logging.WARNING)
        server.app = create_app(folder, strict_config=True)
        thread = threading.Thread(target=server.serve_forever, name="demo-provider", daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)


def _write_settings(folder: Path, issuer: str, port: int, redirect_uris: list[str]) -> None:
    client = {
        "client_id": CLIENT_ID,
        "client_secret": "",
        "token_endpoint_auth_method": "none",
        "redirect_uris": redirect_uris,
    }
    settings: dict[str, Any] = {
        "config_version": 1,
        "server": {"host": "127.0.0.1", "port": port},
        "oauth": {
            "issuer": issuer,
            "audience": "demo",
            "require_pkce": True,
            "refresh_token_rotation": True,
            "token_expiry_minutes": 2,  # so that one sees a token being renewed
            "clients": [client],
        },
        "jwt": {"keys_dir": str(folder / "keys")},
        "login": {"mode": "persona"},
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))  # JSON is YAML
    (folder / "users.yaml").write_text(json.dumps({"config_version": 1, "users": _PEOPLE}))
