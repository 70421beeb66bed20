"""The example's hub, with what the tests want of it: open to their API token, and as talkative as it can be."""

import json
import logging
import os
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub puts it here
load_subconfig(str(Path(__file__).parents[3] / "examples" / "jupyterhub" / "jupyterhub_config.py"))  # noqa: F821

c.JupyterHub.log_level = "DEBUG"
c.JupyterHub.load_roles = [
    {"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers", "access:servers"]}
]
c.JupyterHub.services = [{"name": "tests", "api_token": os.environ["HUB_TEST_TOKEN"]}]
c.Spawner.args = [
    *c.Spawner.args,
    "--Application.log_level=DEBUG",
    "--LabApp.expose_app_in_browser=True",
    "--PywryAuth.max_logins_per_minute=0",
]
for name, traits in json.loads(os.environ["HUB_TEST_CONFIG"]).items():
    for trait, value in traits.items():
        getattr(c, name)[trait] = getattr(c, name)[trait] + value if trait == "args" else value

if c.JupyterHub.user_redirect_hook is None:  # a hub that has never heard of our module
    for name in ("tornado.access", "tornado.application", "JupyterHub"):
        logging.getLogger(name).filters.clear()
