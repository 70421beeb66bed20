"""`LoginWidget`: the view of a session in a notebook. It shows the status and opens a link; it holds no secret."""

from __future__ import annotations

import html
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets as t

from ._io.loop import submit
from ._sign_in import channel, front_end

if TYPE_CHECKING:
    from .session import SessionManager

_STATIC = Path(__file__).parent / "static"


class LoginWidget(anywidget.AnyWidget):
    """A sign-in button that becomes "Signed in as …".

    Synced traits end up in the page, and in the notebook file if widget state is saved. So only the traits below are
    synced.

    Args:
        session: The session to show. Several widgets may show the same one.
    """

    # as text: for a path, anywidget starts a file watcher that keeps every widget alive
    _esm = (_STATIC / "widget.js").read_text(encoding="utf-8")
    _css = (_STATIC / "widget.css").read_text(encoding="utf-8")

    status = t.Unicode("signed_out", read_only=True).tag(sync=True)
    provider = t.Unicode(read_only=True, help="Host at which the user signs in").tag(sync=True)
    name = t.Unicode(read_only=True, help="Name of the signed-in user; text from the provider").tag(sync=True)
    expires_at = t.Float(None, allow_none=True, read_only=True, help="Epoch seconds").tag(sync=True)
    error_code = t.Unicode(read_only=True).tag(sync=True)
    error_text = t.Unicode(read_only=True).tag(sync=True)
    login_path = t.Unicode(read_only=True, help="Relative to the server's base URL").tag(sync=True)

    def __init__(self, session: SessionManager, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session = session
        self._sign_ins = session._sign_ins
        self._mirroring = threading.Lock()
        self.set_trait("login_path", channel.open_path(self._sign_ins))
        self.on_msg(self._on_message)
        session._engine.notifier.attach(self._mirror)
        submit(session.initialize())
        self._mirror()

    def _mirror(self) -> None:
        """Copy the session's state to the traits, in one message. Called from several threads."""
        with self._mirroring, self.hold_sync():
            for name, value in self._to_show().items():
                self.set_trait(name, value)

    def _to_show(self) -> dict[str, Any]:
        session, error = self.session, self.session.error
        return {
            "status": session.status,
            "provider": session.provider.label,
            "name": session.display_name,
            "expires_at": session.expires_at,
            "error_code": error.code if error else "",
            "error_text": error.message if error else "",
        }

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Handle a click that could not go through the server (a front end without the extension)."""
        action = content.get("action") if isinstance(content, dict) else None
        if action == "cancel":
            self._sign_ins.cancel()
        elif action == "logout":
            submit(self._sign_ins.sign_out())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add a plain link for front ends that cannot display widgets."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(data or {}), "text/plain": repr(self), "text/html": self._plain_link()}, metadata

    def _plain_link(self) -> str:
        base_url = front_end.server_base_url() if self.login_path else None
        if base_url is None:
            return "<p>To sign in, run this cell in JupyterLab or Notebook 7.</p>"
        return f'<p><a href="{html.escape(base_url + self.login_path)}">Sign in</a></p>'

    def __repr__(self) -> str:
        return f"<LoginWidget {self.status}>"


def widget_for(session: SessionManager) -> LoginWidget:
    """Return the widget for the display of ``session``, creating it if necessary."""
    widget: LoginWidget | None = session._widget and session._widget()
    if widget is None or widget.comm is None:
        widget = LoginWidget(session)
        session._widget = weakref.ref(widget)
    return widget
