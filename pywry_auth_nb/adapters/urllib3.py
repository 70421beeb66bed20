"""urllib3: a pool manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..auth.with_urllib3 import pool_manager
from .needs import need, shown

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_urllib3_pool(session: SessionManager | TokenHandle, **options: Any) -> Any:
    """Return a ``urllib3.PoolManager`` that adds the token to its requests, by the rules of ``session.auth``.

    Args:
        session: The session whose token to send.
        options: Arguments of ``urllib3.PoolManager``.

    Raises:
        ConfigurationError: ``urllib3`` is not installed.
    """
    urllib3 = need("urllib3", "urllib3")
    return pool_manager(urllib3, session.auth.attempt, shown("urllib3 pool", session), **options)
