"""WebKitGTK's own small browser, on a screen that is not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.processes import HarnessError, Process, poll
from tests.support.ports import free_port

from .batch import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from selenium.webdriver.remote.webelement import WebElement
    from typing_extensions import Self

_PATIENCE = 60.0  # seconds of an idle machine


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
        from selenium import webdriver  # only `make places` installs it, and every run of the tests reads this module

        driver, found = shutil.which("WebKitWebDriver"), sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
        if driver is None or not found:
            raise HarnessError("run `make places`, or install webkit2gtk-driver")
        self._screen.start()
        options = webdriver.WebKitGTKOptions()
        options.binary_location = str(found[-1])
        options.add_argument("--automation")
        env = {**environment(self._folder), "DISPLAY": self._screen.display, "GDK_BACKEND": "x11"}
        service = webdriver.WebKitGTKService(driver, env=env)
        try:
            self.driver = webdriver.WebKitGTK(options=options, service=service)
        except BaseException:
            self._screen.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.driver.quit()
        self._screen.stop()

    def wait(self, check: Callable[[], Any], what: str) -> Any:
        """Wait until ``check`` returns something."""
        return poll(check, _PATIENCE, lambda: f"{what}\n{self.driver.find_element('tag name', 'body').text[-3000:]}")

    def find(self, selector: str) -> WebElement:
        """Wait for an element that is shown, and return it."""

        def shown() -> WebElement | None:
            found = [
                element for element in self.driver.find_elements("css selector", selector) if element.is_displayed()
            ]
            return found[0] if found else None

        element: WebElement = self.wait(shown, f"no {selector}")
        return element

    def fill_in(self, **values: str) -> None:
        """Fill in the fields of a form by their names, and submit it."""
        for name, value in values.items():
            self.find(f"input[name={name}]").send_keys(value)
        self.find("button[type=submit]").click()
