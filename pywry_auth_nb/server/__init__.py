"""The jupyter-server extension: an HTTP interface to the kernel. It stores no secrets and no sign-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.log_filter import keep_answers_out_of
from .handlers import handlers
from .rate import LoginRate
from .redirect_uri import PywryAuth

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["PywryAuth"]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Add the routes to a starting server."""
    keep_answers_out_of(
        app.log.name, "JupyterHubSingleUser", "tornado.access", "tornado.application", "tornado.general"
    )
    config = PywryAuth(parent=app)
    app.web_app.settings["pywry_auth"] = config
    app.web_app.settings["pywry_auth_logins"] = LoginRate(config.max_logins_per_minute)
    app.web_app.add_handlers(".*$", handlers(app.base_url))  # type: ignore[no-untyped-call]
    app.log.info("pywry_auth_nb answers sign-ins under %spywry-auth/", app.base_url)
