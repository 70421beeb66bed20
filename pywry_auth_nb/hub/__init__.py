"""For JupyterHub: what its administrator puts into the hub, and what a kernel takes from it.

In ``jupyterhub_config.py``::

    from pywry_auth_nb.hub import user_redirect_hook
    c.JupyterHub.user_redirect_hook = user_redirect_hook

In a notebook, where the hub keeps the person's own sign-in at the provider::

    session = SessionManager(HubTokenSource())
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["HubTokenSource", "user_redirect_hook"]

_MODULE_OF = {"HubTokenSource": "token_source", "user_redirect_hook": "redirect"}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
