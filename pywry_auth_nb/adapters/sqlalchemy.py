"""SQLAlchemy: a password for each new connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handle import TokenHandle
    from ..session import SessionManager


def as_sqlalchemy_listener(
    session: SessionManager | TokenHandle, parameter: str = "password"
) -> Callable[[Any, Any, Any, dict[str, Any]], None]:
    """Return a listener: ``event.listen(engine, "do_connect", …)``. Each new connection has a token that is valid now.

    Args:
        session: The session whose token to send.
        parameter: The driver's parameter that takes it.
    """

    def do_connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:  # noqa: ARG001
        parameters[parameter] = str(session.access_token)

    return do_connect
