"""A hub to try things out, on this machine: two users without passwords, named servers, processes as servers.

The first part is for pywry-auth-nb. A hub of your own can use it as it is.
"""

import os
import shlex
import sys
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub puts it here
here = Path(__file__).parent
home = Path(os.environ.get("HUB_HOME", "hub-home")).absolute()
sys.path.insert(0, str(here))

# -- pywry-auth-nb ----------------------------------------------------------------------------------------------------

# The hub routes the provider's answers to the server that began the sign-in, and keeps codes out of its log.
from pywry_auth_nb.hub import user_redirect_hook  # noqa: E402

c.JupyterHub.user_redirect_hook = user_redirect_hook

# Which provider: `SessionManager.from_settings()` in every notebook of every user.
c.Spawner.environment = {
    "PYWRY_OAUTH2__PROVIDER": "oidc",
    "PYWRY_OAUTH2__CLIENT_ID": os.environ.get("HUB_CLIENT_ID", "notebook"),
    "PYWRY_OAUTH2__ISSUER_URL": os.environ.get("HUB_ISSUER", ""),
}

# Where tokens are kept: in a Redis that all nodes of the hub reach, where every user has a Redis user and a key.
if "HUB_REDIS" in os.environ:
    from redis_for_each import RedisForEach

    c.Spawner.pre_spawn_hook = RedisForEach(os.environ["HUB_REDIS"], os.environ["HUB_REDIS_SECRET"])

# -- a hub for trying things out --------------------------------------------------------------------------------------

c.JupyterHub.bind_url = os.environ.get("HUB_URL", "http://127.0.0.1:8000/")
c.JupyterHub.public_url = os.environ.get("HUB_PUBLIC_URL", "")  # for the servers, and for `pywry-auth doctor`
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ.get('HUB_PORT', '8081')}"
c.JupyterHub.db_url = f"sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{home}/cookie-secret"
c.JupyterHub.authenticator_class = "dummy"  # accepts any password
c.Authenticator.allowed_users = {"alice", "bob"}
c.JupyterHub.allow_named_servers = True

c.JupyterHub.spawner_class = "simple"  # a server is a process of this account
c.SimpleLocalProcessSpawner.home_dir_template = f"{home}/home/{{username}}"
c.Spawner.default_url = "/lab"
c.Spawner.args = ["--ServerApp.allow_root=True"] if os.geteuid() == 0 else []

c.ConfigurableHTTPProxy.command = shlex.split(os.environ.get("HUB_PROXY", "configurable-http-proxy"))
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ.get('HUB_PROXY_PORT', '8001')}"
c.ConfigurableHTTPProxy.pid_file = f"{home}/proxy.pid"
