"""The command line: ``pywry-auth demo``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(prog="pywry-auth", description="Sign in from a notebook.")
    parser.add_argument("--version", action="version", version=f"pywry-auth-nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="JupyterLab with the quickstart notebook and a provider to sign in at")
    demo.add_argument("--port", type=int, default=0, help="JupyterLab's port (default: a free one)")
    demo.add_argument("--no-browser", action="store_true", help="only print the address")
    options = parser.parse_args(argv)

    from . import demo as demo_module

    return demo_module.main(options.port, browser=not options.no_browser)
