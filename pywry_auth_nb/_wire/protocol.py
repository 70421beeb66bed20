"""The protocol between server and kernel. Their environments and versions may differ, so both check it."""

from __future__ import annotations

#: Version of the messages below, incremented with every incompatible change. A mismatch is an error page.
PROTOCOL = 1

#: Seconds that a sign-in may take: enough for a second factor.
LIFETIME = 600.0

#: Requests on the control channel, each answered by ``…_accepted`` and then ``…_reply``. Their contents in brackets.
BEGIN = "pywry_auth_begin"  # [flow, redirect_uri, server] -> [authorize_url, state], or [name] if no user is needed
COMPLETE = "pywry_auth_complete"  # [params] -> [name]
CANCEL = "pywry_auth_cancel"  # [flow] -> []
LOGOUT = "pywry_auth_logout"  # [flow] -> []
STATUS = "pywry_auth_status"  # [flow] -> [authenticated, and if so: user_id, roles, expires_at]
USERINFO = "pywry_auth_userinfo"  # [flow] -> [user_id, roles, user_info]
REFRESH = "pywry_auth_refresh"  # [flow] -> [expires_in, token_type]
