"""`Waiting`: a cell or a program that waits for a sign-in, and how it leads the user there.

In a notebook it shows the widget, and waits two seconds for its greeting. Whatever happens then, the widget goes on
working: a page that greets later still signs the user in.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from .._io import terminal_prompt
from .._io.loop import on_background, result_of, run, submit, wait_for_one
from ..errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, ConfigurationError, LoginRequired
from ..tokens import Secret
from . import channel, front_end, kernel_prompt, outputs
from .browser import has_window_browser, open_browser
from .prompting import HIDDEN, PASTE, keep_asking, take_address, take_nothing
from .ways.device import Device
from .ways.loopback import Loopback
from .ways.offer import open_way

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .greetings import Page
    from .prompting import Ask
    from .sign_ins import SignIns
    from .ways.way import Way

_PANELS = ("loopback", "device")  # ways for which the widget has a panel, and which do without the widget
_WAYS = ("server", *_PANELS)
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

{authorize_url}

The provider sends the browser to {redirect_uri}, which must be registered there.
"""
_OPENED = " (a window should have opened)"
_ENTER = "If the browser says that you are signed in, just press Enter. "
_CODE = """\
To sign in at {label}, open {verification_uri} in a browser on any machine and enter this code:

    {user_code}
"""
_PRESS = "Press Enter when you have done so. "


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
        greeting, widget = self._sign_ins.greetings.next(), show()
        base_url, is_chosen = front_end.page_base_url(), via in _PANELS
        link = None if base_url is None else outputs.plain_link(base_url + channel.open_path(self._sign_ins))
        with outputs.shown(link):
            patience = _GREETING + _LATER if is_chosen else _GREETING
            wait_for_one([self._signed_in, greeting], min(patience, self._left()))
            is_late = base_url is not None and not is_chosen
            if self._signed_in.done() or greeting.done() or is_late or not self._left():
                self._by_widget(via, greeting)
                return
            ask = kernel_prompt.ask if kernel_prompt.has_input() else None
            if ask is None and not is_chosen:
                outputs.remove(widget)
                raise LoginRequired(code="no_front_end")
            self._by_prompt(via, ask, greeting)

    def _by_widget(self, via: str, greeting: Future[Page]) -> None:
        """Wait for what the user does with the widget, which opens its panel for the way that was chosen."""
        if via in _PANELS and greeting.done() and not self._signed_in.done():
            self._sign_ins.greetings.tell({"open": via})
        self._result()

    # -- without a widget ---------------------------------------------------------------------------------------------

    def _by_prompt(self, via: str, ask: Ask | None, greeting: Future[Page] | None = None) -> None:
        """Sign in by loopback or with a code, and ask the user with ``ask``, if that is possible here.

        In a notebook, a widget that greets meanwhile ends the prompt, and goes on with the same sign-in.
        """
        if ask is None and not (via == "device" or (via == "loopback" and has_window_browser())):
            raise LoginRequired(code="no_front_end")
        name = "device" if via == "device" else "loopback"
        opening = open_way(self._sign_ins, name, lifetime=self._left())
        way = run(opening, min(_PATIENCE, self._left()) + _MOMENT).way
        try:
            details = way.details
            self._tell(way, details, ask, greeting)
            self._by_widget(via, greeting or Future())
        except AuthFlowTimeout as error:
            if error.code != "flow_timeout":  # the code's own time was over
                raise
            raise AuthFlowTimeout(None, error.timeout, redirect_uri=details.get("redirect_uri")) from None
        finally:
            way.end(AuthFlowCancelled())

    def _tell(self, way: Way, details: dict[str, Any], ask: Ask | None, greeting: Future[Page] | None) -> None:
        """Tell the user what to do, and ask for the address at which the browser ended.

        A page saves outputs, and the text of a prompt that was answered: there it is an output that goes when it is
        over. Of a code it asks nothing: JupyterLab runs no cell before a prompt has been answered.
        """
        is_console = ask is kernel_prompt.ask and front_end.is_console()
        ends: list[Future[Any]] = [self._signed_in, *([] if greeting is None else [greeting])]
        text, question = self._words(way, details, HIDDEN if greeting is None else _ENTER)
        if greeting is not None and not is_console:
            with outputs.shown({"text/plain": text}):
                self._ask(way, None if isinstance(way, Device) else ask, question, ends)
                wait_for_one(ends, self._left())
        elif isinstance(way, Device) and not is_console:
            print(text, flush=True)  # noqa: T201 - the user reads it
        else:
            self._ask(way, ask, Secret(f"{text}\n{question}"), ends)

    def _words(self, way: Way, details: dict[str, Any], more: str) -> tuple[str, str]:
        """Return what the user must do, and the question that follows. If this machine has a browser, it is opened."""
        label = self._sign_ins.provider.label
        if isinstance(way, Device):
            return Secret(_CODE.format(label=label, **details)), _PRESS
        opened = has_window_browser() and open_browser(details["authorize_url"], self._left())
        text = _OPEN.format(label=label, opened=_OPENED if opened else "", **details)
        return Secret(text), PASTE.format(more=more)

    def _ask(self, way: Way, ask: Ask | None, prompt: str, ends: Collection[Future[Any]]) -> None:
        """Ask until one of ``ends`` is done, if there is a prompt."""
        take = partial(take_address, way) if isinstance(way, Loopback) else take_nothing
        try:
            if ask is not None:
                keep_asking(ask, prompt, lambda: any(end.done() for end in ends), self._until, take)
        except EOFError:
            if ask is kernel_prompt.ask:  # a front end that says that it takes input, and has none
                raise LoginRequired(code="no_front_end") from None
            raise AuthFlowCancelled from None
