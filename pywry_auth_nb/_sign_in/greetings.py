"""What pages have said of themselves: a drawn widget sends one message, so that a waiting cell knows of it."""

from __future__ import annotations

import concurrent.futures
import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Page:
    """A page that shows the widget.

    Attributes:
        server: Whether it reaches a Jupyter server with our extension.
        control: Whether it reaches the kernel's control channel.
    """

    server: bool
    control: bool

    @classmethod
    def of(cls, said: Any) -> Page:
        """Return the page that describes itself with ``said``, which may be anything."""
        said = said if isinstance(said, dict) else {}
        return cls(server=said.get("server") is True, control=said.get("control") is True)


class Greetings:
    """The pages that have shown the widgets of one session.

    Attributes:
        latest: The page that was heard last; None before the first.
    """

    def __init__(self) -> None:
        self._widgets: weakref.WeakSet[Any] = weakref.WeakSet()
        self.latest: Page | None = None
        self._next: concurrent.futures.Future[Page] = concurrent.futures.Future()

    def next(self) -> concurrent.futures.Future[Page]:
        """Return a future of the next page. From any thread."""
        return self._next

    def add(self, widget: Any) -> None:
        """Note a widget of the session, by which its pages can be told something."""
        self._widgets.add(widget)

    def tell(self, message: dict[str, str]) -> None:
        """Send a custom message to all pages that show the session's widgets."""
        for widget in list(self._widgets):
            if widget.comm is not None:
                widget.send(message)

    def hear(self, page: Page) -> None:
        """Note a page. On the background loop."""
        self.latest = page
        heard, self._next = self._next, concurrent.futures.Future()
        heard.set_result(page)
