"""`Profile`: what the widget shows about the user and the sign-in beside its traits.

It goes to the page in messages and not as traits, so that a notebook saved with widget state holds no mail address, no
picture and no scopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .avatar import Avatar

if TYPE_CHECKING:
    from .sign_ins import SignIns

_MAX_EMAIL = 100
_PLACES = {
    "MemoryTokenStore": "this kernel's memory",
    "FileTokenStore": "files",
    "KeyringTokenStore": "the system's keyring",
    "RedisTokenStore": "Redis",
}
_RENEWABLE = "To let a sign-in renew by itself, add the scope offline_access."


class Profile:
    """Tells the widget about the user and the sign-in. It holds no secret.

    Args:
        sign_ins: The sign-ins of the session.
    """

    def __init__(self, sign_ins: SignIns) -> None:
        self._sign_ins = sign_ins
        self._avatar = Avatar(sign_ins.engine)

    def details(self) -> dict[str, Any]:
        """Return what to show, as JSON: text from the provider is plain text. From any thread."""
        state, store = self._sign_ins.engine.state, self._sign_ins.engine.store
        return {
            "email": _email(state.user or {}),
            "avatar": self._avatar.data_uri,
            "scopes": list(state.scopes),
            "store": _PLACES.get(type(store).__name__, type(store).__name__),
            "advice": _RENEWABLE if _lacks_offline_access(state.scopes) else "",
            "elsewhere": state.elsewhere,
            "redirect_uri": self._sign_ins.open_redirect_uri,
        }


def _lacks_offline_access(scopes: tuple[str, ...]) -> bool:
    return "openid" in scopes and "offline_access" not in scopes


def _email(user: dict[str, Any]) -> str:
    email = user.get("email")
    if not isinstance(email, str):
        return ""
    return "".join(char for char in email if char.isprintable())[:_MAX_EMAIL]
