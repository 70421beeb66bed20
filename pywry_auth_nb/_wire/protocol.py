"""What server and kernel agree on. They may run in different environments and versions, so both sides check it."""

from __future__ import annotations

#: Raised with every incompatible change of the messages below; a mismatch is a readable page, never a guess.
PROTOCOL = 1

#: Seconds that a sign-in may take, for a person with a second factor and a slow phone.
LIFETIME = 600.0

#: Requests on the control channel, each answered by ``…_reply`` after an ``…_accepted``. Content in brackets.
BEGIN = "pywry_auth_begin"  # [flow, redirect_uri, server] -> [authorize_url, state], or [name]: nobody to ask
COMPLETE = "pywry_auth_complete"  # [params] -> [name]
CANCEL = "pywry_auth_cancel"  # [flow] -> []
LOGOUT = "pywry_auth_logout"  # [flow] -> []
STATUS = "pywry_auth_status"  # [flow] -> [authenticated, and if so: user_id, roles, expires_at]
USERINFO = "pywry_auth_userinfo"  # [flow] -> [user_id, roles, user_info]
REFRESH = "pywry_auth_refresh"  # [flow] -> [expires_in, token_type]
