"""The demo: JupyterLab with the quickstart notebook, and a real OpenID provider to sign in at, all on this machine."""

from .run import main

__all__ = ["main"]
