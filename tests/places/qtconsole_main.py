"""Run qtconsole until standard input ends: it types each line that comes there, and writes what it shows to a file.

``python qtconsole_main.py FILE``
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

from qtconsole.qtconsoleapp import JupyterQtConsoleApp
from qtpy import QtCore, QtTest, QtWidgets


def main() -> None:
    """Start qtconsole, and look five times a second for a line to type."""
    shows, lines = Path(sys.argv.pop(1)), queue.Queue[str]()
    threading.Thread(target=read, args=(lines,), daemon=True).start()
    app = JupyterQtConsoleApp()
    app.initialize()
    widget = app.widget

    def look() -> None:
        part = shows.with_suffix(".part")
        part.write_text(widget._control.toPlainText(), encoding="utf-8")
        part.replace(shows)
        if not lines.empty() and (widget._reading or not widget._executing):
            send(widget, lines.get())

    timer = QtCore.QTimer()
    timer.timeout.connect(look)
    timer.start(200)
    app.start()


def send(widget: Any, line: str) -> None:
    """Paste a line and press Enter, at the prompt that is there: the next cell's, or one that asks for input."""
    QtWidgets.QApplication.clipboard().setText(line)
    widget.paste()
    QtTest.QTest.keyClick(widget._control, QtCore.Qt.Key.Key_Return)


def read(lines: queue.Queue[str]) -> None:
    """Take lines from standard input; at its end, end the program."""
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    os._exit(0)


if __name__ == "__main__":
    main()
