"""A hub to try things out, on this machine: two users without passwords, named servers, processes as servers.

What pywry-auth-nb needs is in the first part. All of it can go into a hub of your own.
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

# The provider's answers go to the server that asked, also to a named one, and codes stay out of the hub's log.
from pywry_auth_nb.hub import user_redirect_hook  # noqa: E402

c.JupyterHub.user_redirect_hook = user_redirect_hook

# Which provider: `SessionManager.from_settings()` in every notebook of every user.
c.Spawner.environment = {
    "PYWRY_OAUTH2__PROVIDER": "oidc",
    "PYWRY_OAUTH2__CLIENT_ID": os.environ.get("HUB_CLIENT_ID", "notebook"),
    "PYWRY_OAUTH2__ISSUER_URL": os.environ.get("HUB_ISSUER", ""),
}

# Where tokens are kept: in a Redis that all nodes of the hub reach, where everybody has a user and a key of their own.
if "HUB_REDIS" in os.environ:
    from redis_for_each import RedisForEach

    c.Spawner.pre_spawn_hook = RedisForEach(os.environ["HUB_REDIS"], os.environ["HUB_REDIS_SECRET"])

# -- a hub for trying things out --------------------------------------------------------------------------------------

c.JupyterHub.bind_url = os.environ.get("HUB_URL", "http://127.0.0.1:8000/")
c.JupyterHub.public_url = os.environ.get("HUB_PUBLIC_URL", "")  # so that servers know it, and the doctor with them
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ.get('HUB_PORT', '8081')}"
c.JupyterHub.db_url = f"sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{home}/cookie-secret"
c.JupyterHub.authenticator_class = "dummy"  # anybody is who they say
c.Authenticator.allowed_users = {"alice", "bob"}
c.JupyterHub.allow_named_servers = True

c.JupyterHub.spawner_class = "simple"  # a server is a process of this very account
c.SimpleLocalProcessSpawner.home_dir_template = f"{home}/home/{{username}}"
c.Spawner.default_url = "/lab"
c.Spawner.args = ["--ServerApp.allow_root=True"] if os.geteuid() == 0 else []

c.ConfigurableHTTPProxy.command = shlex.split(os.environ.get("HUB_PROXY", "configurable-http-proxy"))
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ.get('HUB_PROXY_PORT', '8001')}"
c.ConfigurableHTTPProxy.pid_file = f"{home}/proxy.pid"
