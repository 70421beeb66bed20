"""A kernel is killed, at each step of a refresh; the next kernel goes on by itself."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import SHORT, Kernel, Place, Provider
from tests.support.idp import Answer
from tests.support.waiting import patience, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., list[Kernel]]

FREE = {"file": 2.0, "keyring": 4.0, "redis": SHORT["token_store.redis.LEASE"] + 3.0}  # seconds until a lock must be


@pytest.mark.parametrize("point", ["locked", "looked", "saved"])
def test_killed_while_the_refresh_token_is_good(place: Place, idp: Provider, start: Start, point: str) -> None:
    """R02, R03: before the request, or after saving what it brought, a kernel's death costs at most its lock's term."""
    kill(place, start, point)

    [successor] = start(place, 1, changes=SHORT)
    answer = successor.ask("read")

    assert "token" in answer, answer
    assert answer["done"] - answer["begun"] < FREE[place.store["kind"]] * patience()
    assert idp.asked() == 1
    assert answer["told"] == 0
    assert place.lives()


@pytest.mark.parametrize("point", ["in flight", "answered", "saving"])
def test_killed_with_the_only_copy_of_the_new_token(place: Place, idp: Provider, start: Start, point: str) -> None:
    """R02, H215: the sign-in is lost: one request finds out, each kernel reports it once, later ones know it."""
    kill(place, start, point)
    assert idp.asked() == 1
    assert place.load() is not None

    [successor] = start(place, 1, changes=SHORT)
    answer = successor.ask("read")
    assert (answer["error"], answer["code"]) == ("TokenExpiredError", "invalid_grant")
    assert answer["done"] - answer["begun"] < FREE[place.store["kind"]] * patience()
    until(lambda: successor.ask("look")["told"] == 1)
    assert successor.ask("look")["status"] == "reauth_required"
    assert successor.ask("read")["code"] == "invalid_grant"
    until(lambda: place.load().refresh_token is None)  # what it found out is in the store

    [next_one] = start(place, 1, changes=SHORT)
    assert next_one.ask("read")["code"] == "invalid_grant"
    assert next_one.ask("look")["status"] == "reauth_required"
    until(lambda: next_one.ask("look")["told"] == 1)
    assert successor.ask("look")["told"] == 1
    assert idp.asked() == 2


def test_killed_before_the_provider_heard_of_it(place: Place, idp: Provider, start: Start) -> None:
    """R02: a request that never arrived has spent nothing, and the next kernel makes it anew."""
    place.sign_in()
    idp.answers["/token"] = lost = Answer({"error": "temporarily_unavailable"}, status=503, times=1)
    idp.delay = 0.3
    [victim] = start(place, 1, changes=SHORT)
    victim.tell("read")
    until(lambda: idp.asked() == 1)
    victim.kill()
    idp.delay = 0.0
    until(lambda: lost.times == 0)

    [successor] = start(place, 1, changes=SHORT)

    assert successor.token()
    assert place.lives()


def test_what_a_killed_writer_left_is_cleared(on_file: Place, start: Start) -> None:
    """A file without its name, which has tokens in it, does not stay."""
    kill(on_file, start, "saving")
    assert len(temporary_files(on_file)) == 1

    [successor] = start(on_file, 1)
    successor.ask("read")

    assert temporary_files(on_file) == []


def kill(place: Place, start: Start, point: str) -> None:
    """Let a kernel renew a token, and kill it on the way."""
    idp, spent = place.idp, place.sign_in()
    if point == "in flight":
        gate = threading.Event()
        idp.answers["/token"] = Answer(gate=gate)
        [victim] = start(place, 1, changes=SHORT)
        victim.tell("read")
        until(lambda: spent not in idp.alive())
        victim.kill()
        idp.answers.clear()
        gate.set()
    else:
        [victim] = start(place, 1, changes=SHORT, trap=(point, signal.SIGKILL))
        victim.tell("read")
        victim.dies()


def temporary_files(place: Place) -> list[Any]:
    """Return the files that have no name of a record yet."""
    return [file for file in place.folder.iterdir() if file.name.startswith(".")]
