"""Each client keeps working while the session renews its token, at a server that takes only the newest one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import tests.clients.http
import tests.clients.libraries  # noqa: F401 - they fill the table
from tests.clients.client import CLIENTS, Client
from tests.clients.newest import Newest
from tests.conftest import sign_in

if TYPE_CHECKING:
    from pywry_auth_nb import AuthFlowManager, SessionManager
    from tests.support.idp import Idp

ROTATIONS = 3


@pytest.fixture
def short_lived(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> SessionManager:
    """A session whose tokens end before any client would keep one for long; the test ends them even earlier."""
    idp.lifetime = 240
    sign_in(flow, idp)
    return session


def params() -> list[object]:
    """The clients, each under its name."""
    return [pytest.param(each, id=each.name, marks=[] if each.light else [pytest.mark.clients]) for each in CLIENTS]


@pytest.mark.parametrize("client", params())
def test_a_client_follows_a_rotation(client: Client, short_lived: SessionManager, results: dict[str, str]) -> None:
    """One client that stays open sends requests over three rotations; each carries the newest token."""
    with Newest(short_lived) as server, client.opener(short_lived, server) as ask:
        ask()
        for _ in range(ROTATIONS):
            client.rotate(short_lived)
            with suppress(*([Exception] if not client.follows else [])):
                ask()

    if client.follows:
        assert server.refused == 0
        assert len(set(server.taken)) == ROTATIONS + 1
    else:
        assert server.refused >= ROTATIONS
    results[client.name] = "yes" if client.follows else "**no**"
