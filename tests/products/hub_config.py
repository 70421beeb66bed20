"""A JupyterHub whose users sign in at it for a service: with nothing but what that takes."""

import json
import os

given = json.loads(os.environ["PRODUCT_OPTIONS"])
c = get_config()  # noqa: F821 - JupyterHub puts it here
c.JupyterHub.bind_url = given["url"]
c.JupyterHub.hub_bind_url = given["hub_url"]
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie-secret"
c.JupyterHub.authenticator_class = "dummy"  # accepts any password
c.Authenticator.allowed_users = {"ada"}
c.JupyterHub.oauth_token_expires_in = given["lifetime"]
c.ConfigurableHTTPProxy.command = given["proxy"]
c.ConfigurableHTTPProxy.api_url = given["proxy_url"]
c.ConfigurableHTTPProxy.pid_file = "proxy.pid"
c.JupyterHub.services = [
    {
        "name": "notebook",
        "api_token": given["secret"],  # of a service, this is also its client secret
        "oauth_client_id": "service-notebook",
        "oauth_redirect_uri": given["redirect_uri"],
        "oauth_client_allowed_scopes": ["read:users:name!user", "read:users:groups!user"],
    },
    {"name": "operator", "api_token": given["operator"]},
]
c.JupyterHub.load_roles = [
    {"name": "operator", "services": ["operator"], "scopes": ["read:users", "tokens"]},
    {"name": "user", "scopes": ["self", "access:services!service=notebook"]},
]
