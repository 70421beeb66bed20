"""Run a Jupyter application until standard input ends: a killed test run leaves no server behind.

``python jupyter_main.py gateway|lab|nbclassic|notebook|voila [argument …]``
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading

APPLICATIONS = {
    "gateway": ("kernel_gateway.gatewayapp", "launch_instance"),
    "lab": ("jupyterlab.labapp", "main"),
    "nbclassic": ("nbclassic.notebookapp", "main"),
    "notebook": ("notebook.app", "main"),
    "voila": ("voila.app", "main"),
}


def stop_with_parent() -> None:
    """Wait for the end of standard input, then stop the server as SIGTERM would."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Hand over to the application that the first argument names."""
    module, launch = APPLICATIONS[sys.argv.pop(1)]
    threading.Thread(target=stop_with_parent, daemon=True).start()
    getattr(importlib.import_module(module), launch)()


if __name__ == "__main__":
    main()
