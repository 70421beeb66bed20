"""The protocol between server and kernel. Their environments and versions may differ, so both check it."""

from __future__ import annotations

#: Version of the messages below, incremented with every incompatible change. A mismatch is an error page.
PROTOCOL = 1

#: Seconds that a sign-in may take: enough for a second factor.
LIFETIME = 600.0

#: Bytes of the query that brings the provider's answer. An authorization code may be nearly as long (Azure AD B2C).
MAX_QUERY = 8192

#: The ``prompt`` of a login link that asks for another account (OIDC Core §3.1.2.1).
OTHER_ACCOUNT = "select_account"

#: Requests on the control channel, each answered by ``…_accepted`` and then ``…_reply``. Their contents in brackets.
#: Older versions neither send nor look at what has a question mark.
BEGIN = "pywry_auth_begin"  # [flow, redirect_uri, server, prompt?] -> [authorize_url, state], or [name] without a user
COMPLETE = "pywry_auth_complete"  # [params] -> [name, provider?]; a failure may name the provider as well
CANCEL = "pywry_auth_cancel"  # [flow] -> []
LOGOUT = "pywry_auth_logout"  # [flow] -> []
STATUS = "pywry_auth_status"  # [flow] -> [authenticated, and if so: user_id, roles, expires_at]
USERINFO = "pywry_auth_userinfo"  # [flow] -> [user_id, roles, user_info]
REFRESH = "pywry_auth_refresh"  # [flow] -> [expires_in, token_type]
#: Requests of the page itself, over the control channel or as a widget message ({request: "hello", id, …}).
HELLO = "pywry_auth_hello"  # [flow, front_end: {server, control}] -> [ways: [{name, why}]]
START = "pywry_auth_start"  # [flow, way, prompt?] -> [id, panel], and what the user needs, see the details of each way
PASTE = "pywry_auth_paste"  # [flow, text] -> []
DETAILS = "pywry_auth_details"  # [flow] -> [details], for the widget: what is not saved with a notebook
