"""Kubernetes: a hook of its client's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..session import SessionManager


def as_kubernetes_hook(
    session: SessionManager,
    token: Literal["id_token", "access_token"] = "id_token",  # noqa: S107 - the name of one
) -> Callable[[Any], None]:
    """Return the ``refresh_api_key_hook`` of ``kubernetes.client.Configuration``.

    A cluster with OpenID Connect takes the ID token. The client calls the hook for each request, once a key is there:
    call ``hook(configuration)`` yourself first.

    Args:
        session: The session whose token to send.
        token: Which of its tokens.
    """

    def refresh_api_key_hook(configuration: Any) -> None:
        session.auth.check(configuration.host)
        configuration.api_key_prefix["authorization"] = "Bearer"
        configuration.api_key["authorization"] = str(getattr(session, token))

    return refresh_api_key_hook
