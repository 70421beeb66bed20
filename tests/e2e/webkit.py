"""WebKitGTK's own small browser, on a screen that is not there, and a notebook in it."""

from __future__ import annotations

import json
import logging
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException

from tests.support.ports import free_port

from .driver import Notebook
from .processes import HarnessError, Process, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from selenium.webdriver.remote.webelement import WebElement
    from typing_extensions import Self

    from .processes import JupyterServer

_PATIENCE = 30.0  # seconds of an idle machine


class Screen(Process):
    """An X server that draws into memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "screen.log")
        self.display = f":{free_port()}"

    def command(self) -> list[str]:
        """Return the command line."""
        return ["Xvfb", self.display, "-screen", "0", "1280x900x24", "-nolisten", "tcp"]

    def is_ready(self) -> bool:
        """Return whether programs can draw on it."""
        return Path(f"/tmp/.X11-unix/X{self.display[1:]}").exists()  # noqa: S108 - where X servers listen


class WebKit:
    """MiniBrowser on a screen; a context manager that ends both.

    Args:
        folder: An empty folder for all of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._screen = Screen(folder)

    def __enter__(self) -> Self:
        driver, found = shutil.which("WebKitWebDriver"), sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
        if driver is None or not found or shutil.which("Xvfb") is None:
            raise HarnessError("the browser tests need WebKitGTK: install webkit2gtk-driver and xvfb")
        for name in ("selenium", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)  # else each failure has all pictures in it
        self._screen.start()
        options = webdriver.WebKitGTKOptions()
        options.binary_location = str(found[-1])
        options.add_argument("--automation")
        drawn = {"DISPLAY": self._screen.display, "GDK_BACKEND": "x11"}
        env = {**self._screen.env(), "HOME": str(self._folder), **drawn}
        try:
            self.driver = webdriver.WebKitGTK(options=options, service=webdriver.WebKitGTKService(driver, env=env))
        except BaseException:
            self._screen.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.driver.quit()
        self._screen.stop()

    def wait(self, check: Callable[[], Any], what: str) -> Any:
        """Wait until ``check`` returns something; an element that was drawn anew meanwhile is looked for again."""

        def attempt() -> Any:
            with suppress(WebDriverException):
                return check()
            return None

        return poll(attempt, _PATIENCE, lambda: f"{what}\n{self.driver.find_element('tag name', 'body').text[-3000:]}")

    def find(self, selector: str, within: WebElement | None = None) -> WebElement:
        """Wait for an element that is shown, and return it."""

        def shown() -> WebElement | None:
            found = (within or self.driver).find_elements("css selector", selector)
            return next((element for element in found if element.is_displayed()), None)

        element: WebElement = self.wait(shown, f"no {selector}")
        return element

    @contextmanager
    def window_after(self, action: Callable[[], object]) -> Iterator[None]:
        """Do ``action``, and be in the window that it opens; then in the one of before again."""
        before, known = self.driver.current_window_handle, {*self.driver.window_handles}
        action()
        opened = self.wait(lambda: {*self.driver.window_handles} - known, "no window opened")
        self.driver.switch_to.window(opened.pop())
        yield
        self.driver.switch_to.window(before)


class WebKitNotebook(Notebook):
    """A notebook that is open in WebKit."""

    errors = WebDriverException

    def __init__(self, browser: WebKit, server: JupyterServer, cells: Sequence[str]) -> None:
        super().__init__(server, cells)
        self._browser = browser

    def widget(self, index: int) -> WebElement:
        """Wait for the widget below a cell, and return it."""
        cell = self._browser.driver.find_elements("css selector", ".jp-Notebook .jp-Cell")[index]
        return self._browser.find(".pywry-auth-root", cell)

    def _go(self) -> None:
        self._browser.driver.get(f"{self.url}?token={self.server.token}")

    def _call(self, script: str, index: int | None) -> Any:
        return self._browser.driver.execute_script(f"return ({script})({json.dumps(index)});")

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)
