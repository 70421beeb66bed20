"""Arrow Flight: a middleware of its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..tokens import bearer
from .needs import need, shown

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_flight_middleware(session: SessionManager | TokenHandle) -> Any:
    """Return a ``ClientMiddlewareFactory``: ``FlightClient("grpc+tls://…", middleware=[…])``.

    Flight does not tell a middleware where a call goes, so the address is yours to choose well: over TLS.

    Raises:
        ConfigurationError: ``pyarrow`` is not installed.
    """
    flight = need("pyarrow.flight", "flight")

    class Authorization(flight.ClientMiddleware):  # type: ignore[misc,name-defined]
        """Adds the token to one call."""

        def sending_headers(self) -> dict[str, str]:
            """Return the headers of the call."""
            return {"authorization": bearer(session.access_token)}

    class AuthorizationFactory(flight.ClientMiddlewareFactory):  # type: ignore[misc,name-defined]
        """Adds the token to each call."""

        def start_call(self, info: Any) -> Authorization:  # noqa: ARG002 - every call needs it
            """Return the middleware of a call."""
            return Authorization()

        def __repr__(self) -> str:
            return shown("Flight middleware", session)

    return AuthorizationFactory()
