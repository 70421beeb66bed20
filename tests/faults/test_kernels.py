"""What one kernel does, another sees: signing out, signing in, and a refresh in between."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.faults.worker import hashed
from tests.support.idp import Answer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.harness import Kernel, Place, Provider

    Start = Callable[..., list[Kernel]]


def test_a_sign_out_is_seen_by_all(place: Place, idp: Provider, start: Start) -> None:
    """R14: a kernel that reads sees it at once, an idle one within five seconds; no token is left."""
    place.sign_in(left=3600)
    here, reads, idles = start(place, 3)
    for kernel in (here, reads, idles):
        kernel.token()

    outcome = here.ask("logout")

    assert (outcome["refresh_token"], outcome["store"]) == ("revoked", "deleted")
    reads.is_out()
    idles.becomes("signed_out")
    assert place.load() is None
    assert idp.alive() == []
    assert idp.asked() == 0


def test_a_refresh_that_was_under_way_does_not_undo_a_sign_out(place: Place, idp: Provider, start: Start) -> None:
    """A sign-out while another kernel waits for new tokens: they are revoked, and all kernels are signed out."""
    place.sign_in(left=3600)
    renews, leaves = start(place, 2)
    assert renews.token() == leaves.token()
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    renews.tell("refresh")
    until(lambda: idp.asked() == 1)

    leaves.ask("logout")
    gate.set()
    assert "token" not in renews.answer()

    renews.is_out()
    leaves.is_out()
    until(lambda: idp.alive() == [], what="the late tokens were not revoked")
    assert place.load() is None
    [next_one] = start(place, 1)
    assert next_one.ask("read")["error"] == "LoginRequired"


def test_a_new_sign_in_reaches_the_others(place: Place, idp: Provider, start: Start) -> None:
    """Kernels that are signed out follow within five seconds, and at once on a read; so they do a sign-in anew."""
    here, reads, idles = start(place, 3)
    assert reads.ask("read")["error"] == "LoginRequired"
    for _ in range(2):
        tokens = idp.tokens()
        here.ask("sign_in", **tokens)
        reads.reads(hashed(tokens["access_token"]))
        assert reads.ask("look")["user"] == "ada"

    until(lambda: idles.ask("look")["user"] == "ada")
    assert idp.asked() == 0


def test_another_user_elsewhere_ends_the_sign_in(place: Place, idp: Provider, start: Start) -> None:
    """R53: a kernel that is signed in does not become another user; one that is signed out takes what is there."""
    here, elsewhere = start(place, 2)
    here.ask("sign_in", **idp.tokens())
    here.token()
    idp.claims["sub"] = "grace"
    tokens = idp.tokens()
    elsewhere.ask("sign_in", **tokens)

    until(lambda: here.ask("read").get("error") == "LoginRequired")
    start(place, 1)[0].reads(hashed(tokens["access_token"]))
    assert idp.asked() == 0


def test_a_record_that_was_lost_is_put_back(on_redis: Place, idp: Provider, start: Start) -> None:
    """R24: Redis forgets everything: the kernels go on, and bring back what they have, without asking the provider."""
    on_redis.sign_in(left=3600)
    one, other = start(on_redis, 2)
    token = one.token()
    other.token()

    on_redis.with_store(lambda store: store.delete(on_redis.key))
    assert one.token() == token

    until(lambda: on_redis.load() is not None)
    assert other.token() == token
    assert on_redis.lives()
    assert idp.asked() == 0


def test_a_record_of_yesterday_is_replaced_by_todays(place: Place, idp: Provider, start: Start) -> None:
    """A restored backup has a spent refresh token: kernels with later tokens replace it and never send it."""
    place.sign_in(left=3600)
    yesterday = place.raw()
    one, other = start(place, 2)
    token = one.ask("refresh")["token"]
    other.reads(token)

    place.lay(yesterday)

    assert [one.token(), other.token()] == [token, token]
    until(place.lives)
    new = other.ask("refresh")["token"]
    one.reads(new)
    assert idp.asked() == 2
    assert place.lives()
