"""What runs in a JupyterHub: where the provider's answer is led to, and what stays out of the hub's log."""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from jupyterhub import orm
from jupyterhub.user import User
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from pywry_auth_nb._wire.hub_routing import state_for
from pywry_auth_nb._wire.log_filter import hide_answer
from pywry_auth_nb.hub import user_redirect_hook
from tests.support.cases import case
from tests.unit.test_packaging import HEAVY, loaded_by

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t" * 43
CALLBACK = "pywry-auth/callback"


@pytest.fixture
def user() -> Iterator[User]:
    """A hub's own user, with a default server that runs and a named one that does not."""
    engine = create_engine("sqlite://")
    orm.Base.metadata.create_all(engine)
    db = Session(engine)
    row = orm.User(name="al ice")
    db.add(row)
    db.add_all(orm.Spawner(name=name, user=row) for name in ("", "second"))
    db.commit()
    hub_user = User(row, settings={"base_url": "/lab/"}, db=db)
    runs(hub_user, "")
    yield hub_user
    db.close()
    engine.dispose()


def runs(user: User, name: str, *, ready: bool = True) -> None:
    """Have a server run, or be about to."""
    user.spawners[name] = SimpleNamespace(ready=ready)


def lead(user: User, state: str, path: str = CALLBACK, **more: str) -> str | None:
    """Where the hook leads the browser of ``user``."""
    query = f"code=a%20b&state={quote(state)}" + "".join(f"&{name}={value}" for name, value in more.items())
    return user_redirect_hook(path, SimpleNamespace(query=query), user, "/lab/")  # type: ignore[arg-type]


def test_to_the_default_server(user: User) -> None:
    """A state without a name leads to the default server, with the query as it came."""
    assert lead(user, TOKEN, iss="x") == f"/lab/user/al%20ice/{CALLBACK}?code=a%20b&state={TOKEN}&iss=x"


def test_to_a_named_server(user: User) -> None:
    """A state with a name leads to that server."""
    runs(user, "second")
    state = state_for(TOKEN, "second")

    assert lead(user, state) == f"/lab/user/al%20ice/second/{CALLBACK}?code=a%20b&state={state}"


@pytest.mark.parametrize("ready", [None, False], ids=["stopped", "starting"])
def test_to_a_server_that_does_not_run(user: User, ready: bool | None) -> None:
    """It is started, and what waits there is a page that says so: nothing of the answer goes along."""
    if ready is not None:
        runs(user, "second", ready=ready)
    url = urlsplit(lead(user, state_for(TOKEN, "second")) or "")

    assert url.path == "/lab/hub/spawn/al%20ice/second"
    assert parse_qs(url.query) == {"next": ["/lab/user/al%20ice/second/pywry-auth/stopped"]}


@pytest.mark.parametrize("name", ["third", "../bob", "..", "bob/", "%2e%2e", ""])
def test_to_a_server_that_is_not_there(user: User, name: str) -> None:
    """A forged server name starts no server, and does not lead to another user's."""
    del user.spawners[""]
    url = urlsplit(lead(user, f"{TOKEN}.{urlsafe_b64encode(name.encode()).decode()}") or "")

    assert url.path == "/lab/hub/spawn/al%20ice"
    assert parse_qs(url.query) == {"next": ["/lab/user/al%20ice/pywry-auth/stopped"]}
    assert not user.spawners


OTHERS = ["tree", "", "pywry-auth/login", "pywry-auth/callback/", "pywry-auth/callback/x", "x/pywry-auth/callback"]


def test_other_addresses(user: User) -> None:
    """Whatever is not ours is left to JupyterHub."""
    for path in OTHERS:
        with case(path):
            assert lead(user, TOKEN, path) is None


def test_without_a_state(user: User) -> None:
    """An answer without a state goes to the default server, which refuses it."""
    request: Any = SimpleNamespace(query="code=c")

    assert user_redirect_hook(CALLBACK, request, user, "/lab/") == f"/lab/user/al%20ice/{CALLBACK}?code=c"


LINES = [
    "302 GET /hub/user-redirect/{callback}?state=STATE&code=CODE -> /hub/login?next={once} (@::1) 1.20ms",
    "Uncaught exception GET /hub/user-redirect/{callback}?state=STATE&code=CODE&iss=x (::1)",
    "200 GET /hub/login?next={once} (@127.0.0.1) 9.93ms",
    "302 POST /hub/login?_xsrf=[secret]&next={once} -> /hub/user-redirect/{callback}?code=CODE",
    "403 POST /hub/login?next={once}&x=y (@::1) Login form invalid or expired. Try again.",
    "302 GET /hub/spawn/alice?next=%2Fhub%2Flogin%3Fnext%3D{twice} (alice@127.0.0.1) 1ms",
    '  "Referer": "http://hub/hub/login?next={once}",',
    "%s 100%% next={once}",
]


def test_the_log() -> None:
    """However deep an address is inside others, the answer is taken out of the line, and the rest stays."""
    for line in LINES:
        with case(line):
            answer = f"/hub/user-redirect/{CALLBACK}?state=STATE&code=CODE&iss=https%3A%2F%2Fidp"
            once = quote(answer, safe="")
            whole = line.format(callback=CALLBACK, once=once, twice=quote(once, safe=""))
            record = logging.LogRecord("tornado.access", logging.INFO, "", 0, whole.replace("%", "%%"), (), None)
            record.msg, record.args = "%s", (whole,)

            assert hide_answer(record)
            said = record.getMessage()
            assert "CODE" not in said
            assert "STATE" not in said
            assert "[secret]" in said
            assert said.split("[secret]")[0] == whole[: len(said.split("[secret]")[0])]


def test_other_lines_stay_as_they_are() -> None:
    """A line that is not about us is not changed, whatever it is made of."""
    for message, arguments in (("100%% of %s", ("it",)), ("%d", (7,)), ("plain %", ()), ("%d users", ("x",)), (7, ())):
        record = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
        record.msg, record.args = message, arguments  # type: ignore[assignment]

        assert hide_answer(record)
        assert (record.msg, record.args) == (message, arguments)


def test_every_logger_of_a_hub() -> None:
    """Whatever a hub writes down goes through the filter."""
    for name in ("tornado.access", "tornado.application", "tornado.general", "JupyterHub"):
        assert hide_answer in logging.getLogger(name).filters


LIGHT = ("_version", "_wire", "_wire.hub_routing", "_wire.log_filter", "hub")


def test_it_is_light() -> None:
    """The hub loads no package because of us."""
    modules, _ = loaded_by("from pywry_auth_nb.hub import user_redirect_hook")
    ours = {name for name in modules if name.startswith("pywry_auth_nb")}

    assert ours == {"pywry_auth_nb", *(f"pywry_auth_nb.{name}" for name in LIGHT)}
    assert modules & (HEAVY | {"tornado", "jupyter_server", "jupyterhub"}) == set()
