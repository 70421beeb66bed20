"""Two people, two accounts, and one store of each kind: no sign-in is lost, and none is mixed up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import GenericOIDCProvider, LoginRequired, SessionManager
from pywry_auth_nb._session import watcher
from tests.support.idp import CLIENT
from tests.support.people import sign_in_as
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stores.conftest import Place
    from tests.support.idp import Idp

    Kernel = Callable[..., SessionManager]


@pytest.fixture
def session(place: Place, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SessionManager]]:
    """Makes sessions as other kernels would have them. None of them is left when the stores are closed."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    made: weakref.WeakSet[SessionManager] = weakref.WeakSet()

    def make(session_key: str = "default") -> SessionManager:
        session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), place.store(), session_key)
        made.add(session)
        return session

    yield make
    until(lambda: gc.collect() >= 0 and not made)


def test_two_people_on_one_store(session: Kernel, idp: Idp) -> None:
    """R53: the second sign-in ends the first one, with its code; each kernel that starts later is the second's."""
    adas, bobs = session(), session()
    sign_in_as("ada", adas, idp)
    until(lambda: bobs.display_name == "Ada")
    sign_in_as("bob", bobs, idp)

    until(lambda: adas.status == "reauth_required")
    assert adas.error is not None
    assert adas.error.code == "identity_changed"
    with pytest.raises(LoginRequired) as caught:
        _ = adas.access_token
    assert caught.value.code == "identity_changed"
    later = session()
    until(lambda: later.display_name == "Bob")
    assert later.access_token == bobs.access_token
    asyncio.run(adas.logout())
    assert bobs.status == "signed_in"
    assert session().access_token == bobs.access_token


def test_two_accounts_in_one_store(session: Kernel, place: Place, idp: Idp) -> None:
    """R53: a session key is all that it takes, also for kernels that start later and for signing out."""
    sign_in_as("ada", session("work"), idp)
    sign_in_as("bob", session("home"), idp)
    work, home = session("work"), session("home")
    until(lambda: (work.display_name, home.display_name) == ("Ada", "Bob"))
    asyncio.run(home.logout())

    assert work.access_token
    assert asyncio.run(place.store().list_keys()) == [work.store_key]


def test_a_set_up_cell_that_is_run_ten_times(session: Kernel, idp: Idp) -> None:
    """R54: each run finds the sign-in of the one before, and asks the provider nothing."""
    current = session()
    sign_in_as("ada", current, idp)
    token, asked = current.access_token, len(idp.requests)
    for _ in range(10):
        current = session()
        assert current.access_token == token

    assert [request.path for request in idp.requests[asked:] if request.path in {"/token", "/revoke"}] == []
