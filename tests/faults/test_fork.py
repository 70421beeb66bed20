"""A kernel forks (multiprocessing, joblib): its threads are gone in the child, and its locks must stay its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.faults.harness import Kernel, Place, Provider
from tests.support.idp import Answer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., list[Kernel]]


def test_a_child_may_read(place: Place, idp: Provider, start: Start) -> None:
    """R38: a forked child reads the same token, and the parent goes on as before."""
    place.sign_in(left=3600)
    [parent] = start(place, 1)
    token = parent.token()

    assert parent.ask("fork", order="read")["token"] == token

    assert parent.token() == token
    assert idp.asked() == 0


def test_a_child_may_renew_what_is_in_a_shared_store(place: Place, idp: Provider, start: Start) -> None:
    """R38: the child's refresh is one request like any other kernel's, and the parent adopts its token."""
    place.sign_in(left=3600)
    [parent] = start(place, 1)
    parent.token()

    token = parent.ask("fork", order="refresh")["token"]

    parent.reads(token)
    assert idp.asked() == 1
    assert place.lives()


def test_a_child_must_not_renew_what_only_memory_has(idp: Provider, start: Start) -> None:
    """R38: it could not tell its parent, whose refresh token would be spent."""
    [parent] = start(Place(idp, kind="memory"), 1)
    parent.ask("sign_in", **idp.tokens())

    answer = parent.ask("fork", order="refresh")

    assert (answer["error"], answer["code"]) == ("TokenRefreshError", "forked")
    assert parent.ask("fork", order="read")["token"] == parent.token()
    assert idp.asked() == 0


def test_children_that_are_born_while_a_lock_is_held(place: Place, idp: Provider, start: Start) -> None:
    """R38: twenty children read and end during their parent's refresh; none of them hangs, or frees its lock."""
    place.sign_in(left=3600)
    parent, other = start(place, 2)
    old = parent.token()
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    parent.ask("start", order="refresh")
    until(lambda: idp.asked() == 1)

    other.tell("refresh")

    answers = [parent.ask("fork", order="read") for _ in range(20)]
    gate.set()

    assert {answer.get("token") for answer in answers} == {old}
    assert parent.ask("finish")["token"] == other.answer()["token"] != old
    assert idp.asked() == 1
    assert place.lives()
