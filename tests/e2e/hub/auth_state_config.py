"""A hub that signs its users in at the provider, keeps what it gets, and renews it."""

import os
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub puts it here
load_subconfig(str(Path(__file__).with_name("hub_config.py")))  # noqa: F821

issuer = os.environ["HUB_ISSUER"]
c.JupyterHub.authenticator_class = "generic-oauth"
c.Authenticator.allow_all = True
c.Authenticator.allowed_users = set()
c.Authenticator.enable_auth_state = True
c.Authenticator.auth_refresh_age = 1
c.CryptKeeper.keys = [os.urandom(32)]
c.GenericOAuthenticator.client_id = "pywry-conf"
c.GenericOAuthenticator.client_secret = os.environ["HUB_CLIENT_SECRET"]
c.GenericOAuthenticator.basic_auth = True
c.GenericOAuthenticator.authorize_url = f"{issuer}/auth"
c.GenericOAuthenticator.token_url = f"{issuer}/token"
c.GenericOAuthenticator.userdata_url = f"{issuer}/me"
c.GenericOAuthenticator.oauth_callback_url = f"{os.environ['HUB_URL']}hub/oauth_callback"
c.GenericOAuthenticator.scope = ["openid", "profile", "email", "offline_access"]
c.GenericOAuthenticator.extra_authorize_params = {"prompt": "consent"}
c.GenericOAuthenticator.username_claim = "sub"

if os.environ.get("HUB_TEST_GRANT"):
    scope = "admin:auth_state!user"
    c.JupyterHub.load_roles = [
        *c.JupyterHub.load_roles,
        {"name": "user", "scopes": ["self", scope]},
        {"name": "server", "scopes": ["users:activity!user", "access:servers!server", scope]},
    ]
