"""Adapters whose library says where a request goes keep to the session's rules, and say what is wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import AuthenticationError
from pywry_auth_nb.adapters import as_databricks_credentials, as_grpc_credentials, as_kubernetes_hook
from tests.clients.newest import Newest

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("signed_out", [True, False])
def test_grpc_says_why_there_is_no_token(
    session: SessionManager, request: pytest.FixtureRequest, *, signed_out: bool
) -> None:
    """A call without a sign-in, or to an origin that is not allowed, ends with the session's own words."""
    import grpc

    from tests.clients.brokers import grpc_server

    if not signed_out:
        request.getfixturevalue("signed_in").allowed_origins = ["https://api.example.org"]
    with Newest(session) as server, grpc_server(server) as (address, authority):
        tls = grpc.ssl_channel_credentials(authority)
        credentials = grpc.composite_channel_credentials(tls, as_grpc_credentials(session))
        with grpc.secure_channel(address, credentials) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/a/b")(b"", timeout=30)

    assert ("no signed-in session" if signed_out else "allowed_origins") in caught.value.details()
    assert server.taken == []


def test_kubernetes_keeps_to_allowed_origins(signed_in: SessionManager) -> None:
    """Before a request is made."""
    from kubernetes.client import Configuration

    signed_in.allowed_origins = ["https://api.example.org"]
    configuration = Configuration(host="https://k8s.example.org")
    with pytest.raises(AuthenticationError, match="allowed_origins"):
        as_kubernetes_hook(signed_in)(configuration)
    assert configuration.api_key == {}


def test_databricks_keeps_to_allowed_origins(signed_in: SessionManager) -> None:
    """The SDK asks the strategy for headers once, with the host that they are for."""
    signed_in.allowed_origins = ["https://api.example.org"]
    with pytest.raises(AuthenticationError, match="allowed_origins"):
        as_databricks_credentials(signed_in)(SimpleNamespace(host="https://dbc.example.org"))
