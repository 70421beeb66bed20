"""Kafka with SASL/OAUTHBEARER (RFC 7628): confluent-kafka and aiokafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .needs import need, shown, token_and_expiry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handle import TokenHandle
    from ..session import SessionManager


def as_kafka_callback(session: SessionManager | TokenHandle) -> Callable[[str], tuple[str, float]]:
    """Return the ``oauth_cb`` of confluent-kafka, which calls it again before the token ends."""

    def oauth_cb(config: str) -> tuple[str, float]:  # noqa: ARG001 - sasl.oauthbearer.config, which is for others
        token, expiry = token_and_expiry(session)
        return str(token), float(expiry)

    return oauth_cb


def as_aiokafka_provider(session: SessionManager | TokenHandle) -> Any:
    """Return the ``sasl_oauth_token_provider`` of aiokafka, which asks it for each connection.

    Raises:
        ConfigurationError: ``aiokafka`` is not installed.
    """
    base = need("aiokafka.abc", "aiokafka").AbstractTokenProvider

    class SessionTokenProvider(base):  # type: ignore[misc,valid-type]
        """Returns the session's token."""

        async def token(self) -> str:
            """Return a valid token."""
            return str(await session.get_access_token())

        def __repr__(self) -> str:
            return shown("Kafka token provider", session)

    return SessionTokenProvider()
