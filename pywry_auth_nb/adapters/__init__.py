"""Credentials for other libraries, backed by a session. Each needs an optional package, and is imported when used.

:mod:`.mlflow` and :mod:`.keyring` have no name here: entry points name them, and those libraries find them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .azure import as_azure_credential
    from .databricks import as_databricks_credentials
    from .flight import as_flight_middleware
    from .fsspec import as_fsspec_client
    from .google import as_google_credentials
    from .grpc import as_grpc_credentials
    from .iceberg import as_iceberg_auth
    from .kafka import as_aiokafka_provider, as_kafka_callback
    from .kubernetes import as_kubernetes_hook
    from .sqlalchemy import as_sqlalchemy_listener
    from .trino import as_trino_auth
    from .urllib3 import as_urllib3_pool

__all__ = [
    "as_aiokafka_provider",
    "as_azure_credential",
    "as_databricks_credentials",
    "as_flight_middleware",
    "as_fsspec_client",
    "as_google_credentials",
    "as_grpc_credentials",
    "as_iceberg_auth",
    "as_kafka_callback",
    "as_kubernetes_hook",
    "as_sqlalchemy_listener",
    "as_trino_auth",
    "as_urllib3_pool",
]

_MODULE_OF = {name: name.split("_")[1] for name in __all__} | {"as_aiokafka_provider": "kafka"}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
