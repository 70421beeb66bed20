"""Run JupyterLab or Notebook 7 until standard input ends: a killed test run leaves no server behind.

``python jupyter_main.py lab|notebook --ServerApp.port=…``
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading

APPLICATIONS = {"lab": "jupyterlab.labapp", "notebook": "notebook.app"}


def stop_with_parent() -> None:
    """Wait for the end of standard input, then stop the server as SIGTERM would."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Hand over to the application that the first argument names."""
    kind = sys.argv.pop(1)
    threading.Thread(target=stop_with_parent, daemon=True).start()
    importlib.import_module(APPLICATIONS[kind]).main()


if __name__ == "__main__":
    main()
