"""MLflow: ``MLFLOW_TRACKING_AUTH=pywry-auth`` has it use the sign-in. An entry point names this; nothing imports it."""

from __future__ import annotations

import functools
from typing import Any


class MlflowAuthProvider:
    """A ``RequestAuthProvider`` of MLflow, for the session that the settings describe."""

    def get_name(self) -> str:
        """Return the value of ``MLFLOW_TRACKING_AUTH`` that selects it."""
        return "pywry-auth"

    def get_auth(self) -> Any:
        """Return an ``auth`` of requests; MLflow asks for each request."""
        return session_of_settings().auth


@functools.cache
def session_of_settings() -> Any:
    """Return the session that the settings describe, which shares its sign-in with those of this kernel."""
    from ..session import SessionManager

    return SessionManager.from_settings()
