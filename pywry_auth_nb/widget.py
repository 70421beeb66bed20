"""`LoginWidget`: the view of a session in a notebook. It shows the status and opens a link; it holds no secret."""

from __future__ import annotations

import html
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets as t

from ._io.loop import submit, when_gone
from ._sign_in import channel, front_end

if TYPE_CHECKING:
    import concurrent.futures

    from ._session.state import SessionState
    from ._sign_in.sign_ins import SignIns
    from .session import SessionManager

_STATIC = Path(__file__).parent / "static"


class LoginWidget(anywidget.AnyWidget):
    """A card that says who is signed in where, with a link to sign in and what else there is to do.

    Synced traits end up in the page, and in the notebook file if widget state is saved. So only the traits below are
    synced; mail address, picture and scopes go to the page in messages, which no file holds.

    Args:
        session: The session to show. Several widgets may show the same one.
    """

    # as text: for a path, anywidget starts a file watcher that keeps every widget alive
    _esm = (_STATIC / "widget.js").read_text(encoding="utf-8")
    _css = (_STATIC / "widget.css").read_text(encoding="utf-8")

    status = t.Unicode("signed_out", read_only=True).tag(sync=True)
    provider = t.Unicode(read_only=True, help="Name of the provider, or its host").tag(sync=True)
    name = t.Unicode(read_only=True, help="Name of the signed-in user; text from the provider").tag(sync=True)
    expires_at = t.Float(None, allow_none=True, read_only=True, help="Epoch seconds").tag(sync=True)
    renews = t.Bool(read_only=True, help="Whether the kernel renews the token").tag(sync=True)
    stuck = t.Bool(read_only=True, help="Whether it cannot be renewed just now; the error says why").tag(sync=True)
    error_code = t.Unicode(read_only=True).tag(sync=True)
    error_text = t.Unicode(read_only=True).tag(sync=True)
    error_detail = t.Unicode(read_only=True, help="The provider's own words; plain text").tag(sync=True)
    asks = t.Unicode(read_only=True, help="What a cell asks of a user who is signed in; plain text").tag(sync=True)
    login_path = t.Unicode(read_only=True, help="Relative to the server's base URL").tag(sync=True)
    account_path = t.Unicode(read_only=True, help="The same, for another account; empty if none can be chosen").tag(
        sync=True
    )

    def __init__(self, session: SessionManager, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._held = session
        self._own: weakref.ref[SessionManager] = weakref.ref(session)
        self._mirroring = threading.Lock()
        self._told: dict[str, Any] = {}
        self._login_path = channel.open_path(self._sign_ins)  # a page can change the trait
        self.set_trait("login_path", self._login_path)
        if session.provider.interactive:
            self.set_trait("account_path", channel.account_path(self._login_path))
        channel.keep_quiet()
        self.on_msg(self._on_message)
        self._sign_ins.greetings.add(self)
        session._engine.notifier.attach(self._mirror)
        submit(session.initialize())
        self._mirror()
        for earlier in list(_widgets):
            earlier._give_way(session)
        _widgets.add(self)

    @property
    def session(self) -> SessionManager:
        """The session that this widget shows: its own, or one of a later run of the same cell once that is gone."""
        return self._own() or self._held

    @property
    def _sign_ins(self) -> SignIns:
        return self.session._sign_ins

    def _give_way(self, newer: SessionManager) -> None:
        """Keep ``newer`` alive instead of the own session, if both are about the same sign-in.

        The page of an earlier run may still show this widget, and widgets are never collected (ipywidgets).
        """
        own = self.session
        same_store = type(own.token_store) is type(newer.token_store)
        if own is not newer and same_store and own.store_key == newer.store_key:
            self._held, self._own = newer, when_gone(own, self._follow)

    def _follow(self) -> None:
        """Show the session of a later run of the cell, since the own one is gone."""
        channel.lead_to(self._sign_ins, self._login_path)
        self._sign_ins.greetings.add(self)
        self.session._engine.notifier.attach(self._mirror)
        self._mirror()

    def _mirror(self) -> None:
        """Copy the session's state to the traits, in one message, then the details. Called from several threads."""
        with self._mirroring:
            with self.hold_sync():
                for name, value in self._to_show().items():
                    self.set_trait(name, value)
            details = self._sign_ins.profile.details()
            if details != self._told:
                self._told = details
                self.send({"details": details})

    def _to_show(self) -> dict[str, Any]:
        session, state = self.session, self.session._engine.state
        stuck = _is_stuck(state)
        error = session.error or (state.backoff.failure if stuck else None)
        return {
            "status": session.status,
            "provider": session.provider.label,
            "name": session.display_name,
            "expires_at": session.expires_at,
            "renews": state.tokens is not None and state.tokens.refresh_token is not None and not state.ended,
            "stuck": stuck,
            "asks": state.asks,
            "error_code": error.code if error else "",
            "error_text": error.message if error else "",
            "error_detail": error.description if error else "",
        }

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Answer a request of a page that reaches neither our server nor the control channel."""
        submit(channel.answer_widget(self._sign_ins, content)).add_done_callback(self._reply)

    def _reply(self, answered: concurrent.futures.Future[dict[str, Any]]) -> None:
        if self.comm is not None:  # else the widget was closed meanwhile
            self.send(answered.result())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add a plain link for front ends that cannot display widgets."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(data or {}), "text/plain": repr(self), "text/html": self._plain_link()}, metadata

    def _plain_link(self) -> str:
        base_url = front_end.server_base_url() if self._login_path else None
        if base_url is None:
            return "<p>To sign in, run this cell in JupyterLab or Notebook 7.</p>"
        return f'<p><a href="{html.escape(base_url + self._login_path)}">Sign in</a></p>'

    def __repr__(self) -> str:
        return f"<LoginWidget {self.status}>"


def _is_stuck(state: SessionState) -> bool:
    """Whether the token cannot be renewed just now. A single failure is not worth a word while the token is good."""
    failure = state.backoff.failure
    return failure is not None and (state.backoff.failures > 1 or state.error is failure)


_widgets: weakref.WeakSet[LoginWidget] = weakref.WeakSet()


def widget_for(session: SessionManager) -> LoginWidget:
    """Return the widget for the display of ``session``, creating it if necessary."""
    widget: LoginWidget | None = session._widget and session._widget()
    if widget is None or widget.comm is None:
        widget = LoginWidget(session)
        session._widget = weakref.ref(widget)
    return widget
