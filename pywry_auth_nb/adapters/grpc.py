"""gRPC: call credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import AuthenticationError
from ..tokens import bearer
from .needs import need

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_grpc_credentials(session: SessionManager | TokenHandle) -> Any:
    """Return ``grpc.CallCredentials``, for ``grpc.composite_channel_credentials(grpc.ssl_channel_credentials(), …)``.

    gRPC sends them over TLS alone. Where there is no token, the call ends with a ``grpc.RpcError`` that says why.

    Raises:
        ConfigurationError: ``grpcio`` is not installed.
    """
    grpc = need("grpc", "grpc")

    class Authorization(grpc.AuthMetadataPlugin):  # type: ignore[misc,name-defined]
        """Adds the token to each call."""

        def __call__(self, context: Any, callback: Any) -> None:
            """Give gRPC the metadata of a call, or the reason why there are none."""
            try:
                session.auth.check(context.service_url)
                metadata, failure = (("authorization", bearer(session.access_token)),), None
            except AuthenticationError as error:
                metadata, failure = None, error
            callback(metadata, failure)

    return grpc.metadata_call_credentials(Authorization(), name="pywry-auth")
