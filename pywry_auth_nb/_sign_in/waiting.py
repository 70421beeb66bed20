"""`Waiting`: a cell or a program that waits for a sign-in, and how it leads the user there.

In a notebook it shows the widget, and waits two seconds for its greeting. Whatever happens then, the widget goes on
working: a page that greets later still signs the user in.
"""

from __future__ import annotations

import contextlib
import html
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from .._io import terminal_prompt
from .._io.loop import on_background, result_of, run, submit, wait_for_one
from ..errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, ConfigurationError, LoginRequired
from ..tokens import Secret
from . import channel, front_end, kernel_prompt
from .browser import has_window_browser, open_browser
from .prompting import HIDDEN, PASTE, keep_asking, take_address, take_nothing
from .ways.device import Device
from .ways.loopback import Loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .prompting import Ask
    from .sign_ins import SignIns

_WAYS = ("server", "loopback", "device")
_GREETING = 2.0  # seconds within which a drawn widget sends its greeting
_LATER = 3.0  # more of them where a way is chosen: a page that asks its server first greets a little later
_MOMENT = 1.0  # seconds by which the background may exceed its own deadline
_PATIENCE = 30.0  # seconds that the provider may take to begin a sign-in
_NO_SERVER = "This is not a Jupyter kernel, so there is no Jupyter server to sign in at."
_NOT_HERE = (
    "{place} cannot wait for a sign-in. Let the session be the last line of a cell and sign in there, or call "
    'session.login(via="loopback").'
)
_OPEN = """\
To sign in at {label}, open this address in a browser{opened}:

{url}

The provider sends the browser to {redirect_uri}, which must be registered there.
"""
_OPENED = " (a window should have opened)"
_ENTER = "If the browser says that you are signed in, just press Enter. "
_CODE = """\
To sign in at {label}, open {verification_uri} in a browser on any machine and enter this code:

    {user_code}
"""


def check_way(via: str) -> None:
    """Check that a way has this name, or that there is none.

    Raises:
        ConfigurationError: There is no such way.
    """
    if via and via not in _WAYS:
        raise ConfigurationError(f"via must be one of {', '.join(map(repr, _WAYS))}, or left out.")


class Waiting:
    """A wait for a sign-in; used once.

    Args:
        sign_ins: The session's sign-ins.
        timeout: Maximum wait in seconds.
        after: The sign-in that does not count, since the user must sign in again.
        asks: What the widget says then.

    Raises:
        AuthenticationError: Code ``wrong_thread``: this is the background thread.
    """

    def __init__(self, sign_ins: SignIns, timeout: float, *, after: int | None, asks: str) -> None:
        if on_background():
            raise AuthenticationError(code="wrong_thread")
        self._sign_ins = sign_ins
        self._until = time.monotonic() + timeout
        self._signed_in = submit(sign_ins.engine.wait_signed_in(timeout, after=after, asks=asks))

    def lead(self, show: Callable[[], object], via: str, *, in_notebook: bool) -> None:
        """Lead the user to a sign-in, and return when there is one.

        Args:
            show: Displays the session's widget.
            via: The way to sign in; empty for the first that works here.
            in_notebook: Whether this is a kernel, whose front end may draw the widget.

        Raises:
            LoginRequired: No way works here (``no_front_end``), or the chosen one does not (``way_unavailable``).
            AuthenticationError: As for :meth:`SessionManager.login`.
        """
        try:
            if in_notebook:
                self._in_notebook(show, via)
            elif via == "server":
                raise LoginRequired(_NO_SERVER, code="way_unavailable")
            elif not via and (place := front_end.unable_place()):
                raise LoginRequired(_NOT_HERE.format(place=place), code="no_front_end")
            else:
                self._by_prompt(via, terminal_prompt.ask if terminal_prompt.has_terminal() else None)
        finally:
            self._signed_in.cancel()

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _result(self) -> None:
        result_of(self._signed_in, self._left() + _MOMENT)

    # -- in a notebook ------------------------------------------------------------------------------------------------

    def _in_notebook(self, show: Callable[[], object], via: str) -> None:
        """Show the widget and wait for its greeting; without one, take a way that needs no widget."""
        greeting = self._sign_ins.greetings.next()
        shown = show()
        with _plain_link(self._sign_ins):
            patience = _GREETING if via in {"", "server"} else _GREETING + _LATER
            wait_for_one([self._signed_in, greeting], min(patience, self._left()))
            if greeting.done() and via in {"loopback", "device"}:
                self._sign_ins.greetings.tell({"open": via})
            is_late = via in {"", "server"} and front_end.has_front_end() and front_end.server_base_url() is not None
            if self._signed_in.done() or greeting.done() or is_late or not self._left():
                self._result()
                return
            takes_input = kernel_prompt.has_input()
            if not takes_input and via in {"", "server"}:
                _remove(shown)
                raise LoginRequired(code="no_front_end")
            self._by_prompt(via, kernel_prompt.ask if takes_input else None, greeting.done)

    # -- without a widget ---------------------------------------------------------------------------------------------

    def _by_prompt(self, via: str, ask: Ask | None, greeted: Callable[[], bool] = lambda: False) -> None:
        """Sign in by loopback or with a code, and ask the user with ``ask``, if that is possible here."""
        if ask is None and not (via == "device" or (via == "loopback" and has_window_browser())):
            raise LoginRequired(code="no_front_end")
        way: Device | Loopback = Device(self._sign_ins) if via == "device" else Loopback(self._sign_ins)
        if why := run(way.why_not(), _PATIENCE):
            raise LoginRequired(why, code="way_unavailable")
        run(way.begin(self._left()), min(_PATIENCE, self._left()) + _MOMENT)
        try:
            over = lambda: self._signed_in.done() or greeted()  # noqa: E731 - looked at while the user types
            if isinstance(way, Device):
                self._show_code(way, ask, over)
            else:
                self._ask_for_address(way, ask, over)
            self._result()
        except AuthFlowTimeout as error:
            if error.code != "flow_timeout":  # the code's own time was over
                raise
            raise AuthFlowTimeout(None, error.timeout, redirect_uri=way.details.get("redirect_uri")) from None
        finally:
            way.end(AuthFlowCancelled())

    def _show_code(self, way: Device, ask: Ask | None, over: Callable[[], bool]) -> None:
        """Show what to enter, and where; in a kernel as a prompt, since a notebook saves what is printed."""
        text = Secret(_CODE.format(label=self._sign_ins.provider.label, **way.details))
        if ask is kernel_prompt.ask:
            self._ask(ask, f"{text}\nPress Enter when you have done so. ", over, take_nothing)
        else:
            print(text, flush=True)  # noqa: T201 - the user reads it

    def _ask_for_address(self, way: Loopback, ask: Ask | None, over: Callable[[], bool]) -> None:
        """Open a browser on this machine, if there is one, and ask for the address at which it ends."""
        opened = has_window_browser() and open_browser(way.request.url, self._left())
        label, uri = self._sign_ins.provider.label, way.redirect_uri
        text = _OPEN.format(label=label, opened=_OPENED if opened else "", url=way.request.url, redirect_uri=uri)
        text = Secret(text + PASTE.format(more=_ENTER if ask is kernel_prompt.ask else HIDDEN))
        if ask is not None:
            self._ask(ask, text, over, partial(take_address, way))

    def _ask(self, ask: Ask, prompt: str, over: Callable[[], bool], take: Callable[[str], str | None]) -> None:
        try:
            keep_asking(ask, prompt, over, self._until, take)
        except EOFError:
            if ask is kernel_prompt.ask:  # a front end that says that it takes input, and has none
                raise LoginRequired(code="no_front_end") from None
            raise AuthFlowCancelled from None


# -- what is displayed -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _plain_link(sign_ins: SignIns) -> Iterator[None]:
    """Display a link for a page that cannot draw the widget, such as one that was reloaded, as long as a cell waits."""
    base_url, handle = front_end.server_base_url() if front_end.current_kernel() else None, None
    if base_url is not None and front_end.has_front_end():
        handle = _display(html.escape(base_url + channel.open_path(sign_ins)))
    try:
        yield
    finally:
        _remove(handle)


def _display(href: str) -> Any:
    from IPython.display import display

    link = f'<a href="{href}" target="_blank" rel="noopener">Open the provider\'s page</a>'
    data = {"text/html": f"<small>Is there nothing to click above? {link}</small>", "text/plain": ""}
    return display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]


def _remove(handle: Any) -> None:
    """Make what was displayed empty."""
    if hasattr(handle, "update"):
        handle.update({"text/html": "", "text/plain": ""}, raw=True)
