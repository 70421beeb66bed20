"""Whatever a user does with the ways to sign in, in whatever order: one session, and never another user's tokens.

Hypothesis makes up what happens; the model is who is signed in, and which sign-ins are open. The three ways run against
a provider over real HTTP: our server's route, loopback with paste, and a device code.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowTimeout,
    GenericOIDCProvider,
    MemoryTokenStore,
    SessionManager,
)
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._sign_in.ways import offer
from pywry_auth_nb.providers import device
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT
from tests.support.machine import Books
from tests.support.waiting import until

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Iterator

WAYS = st.sampled_from(["server", "loopback", "device"])
PEOPLE = st.sampled_from(["ada", "bob"])


@dataclass(eq=False)
class Open:
    """A sign-in that is open, and how its user comes back."""

    way: str
    details: dict[str, Any]
    outcome: concurrent.futures.Future[Any]


class WaysMachine(RuleBasedStateMachine):
    """One session, all ways."""

    books: ClassVar[Books]

    def __init__(self) -> None:
        super().__init__()
        self.books.be_honest()
        self.books.open_anew()
        self.books.device_extra = {"interval": 0.01}
        self.store = MemoryTokenStore()
        self.person: str | None = None
        self.open: dict[str, Open] = {}
        self.closed: list[Open] = []
        self.begin_session()

    def begin_session(self) -> None:
        """Start a kernel."""
        provider = GenericOIDCProvider(CLIENT, issuer_url=self.books.issuer)
        self.session = SessionManager(provider, self.store)
        self.sign_ins = self.session._sign_ins

    def teardown(self) -> None:
        """Leave nothing open."""
        self.cancel()
        run(self.session.provider.close(), 10)

    # -- what can happen ----------------------------------------------------------------------------------------------

    @rule(way=WAYS)
    def start(self, way: str) -> None:
        """The user opens a way, or opens it again: that is the same sign-in."""
        before = self.open.get(way)
        if way == "server" and before is None:
            request = run(self.sign_ins.begin(REDIRECT_URI), 10)
            self.open[way] = Open(way, {"authorize_url": str(request.url)}, request.outcome)
        if way == "server":
            return
        details = run(offer.start(self.sign_ins, way), 10)
        details.pop("expires_in", None)  # what is left of it
        assert before is None or details == before.details
        self.open[way] = before or Open(way, details, self.sign_ins.opened[way].way.outcome)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), person=PEOPLE)
    def approve(self, data: st.DataObject, person: str) -> None:
        """They sign in with one of the ways that are open: the session is theirs, and the others end with it."""
        chosen = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        self.come_back(chosen, person)
        self.succeeds(person)

    @precondition(lambda self: len(self.open) > 1)
    @rule(data=st.data())
    def two_at_once(self, data: st.DataObject) -> None:
        """Two people sign in at once by two ways: one of them has the session, and no other user's token is left."""
        names = data.draw(st.permutations(sorted(self.open)))[:2]
        pair = dict(zip(["ada", "bob"], [self.open[name] for name in names], strict=True))
        threads = [threading.Thread(target=self.try_to_come_back, args=(each, who)) for who, each in pair.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        until(lambda: not self.sign_ins.is_open)
        winner = self.session.user["sub"]
        self.succeeds(winner)
        (loser,) = {"ada", "bob"} - {winner}
        until(lambda: not self.alive_of(loser), f"tokens of {loser} are alive")

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def decline(self, data: st.DataObject) -> None:
        """They decline at the provider: that sign-in ends, the others stay."""
        chosen = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        if chosen.way == "device":
            self.books.decide(chosen.details["user_code"], "access_denied")
        else:
            state = self.books.authorize(chosen.details["authorize_url"])["state"]
            self.deliver(chosen, {"error": "access_denied", "state": state, "iss": self.books.issuer})
        error = chosen.outcome.exception(10)
        assert isinstance(error, AuthFlowCancelled)
        assert error.code == "access_denied"
        self.closed.append(chosen)

    @precondition(lambda self: "device" in self.open)
    @rule()
    def be_too_late(self) -> None:
        """The code expires."""
        chosen = self.open.pop("device")
        self.books.decide(chosen.details["user_code"], "expired_token")
        assert isinstance(chosen.outcome.exception(10), AuthFlowTimeout)
        self.closed.append(chosen)

    @rule(text=st.sampled_from(["", "hello", "?code=1", "?code=1&state=2", "?state=3"]))
    def paste_rubbish(self, text: str) -> None:
        """They paste something else: nothing changes."""
        with pytest.raises(AuthenticationError) as caught:
            run(offer.paste(self.sign_ins, text), 10)
        assert caught.value.code in {"paste_unusable", "not_started"}

    @precondition(lambda self: any(each.way != "device" for each in self.closed))
    @rule(person=PEOPLE)
    def come_back_to_what_has_ended(self, person: str) -> None:
        """An answer to a sign-in that has ended changes nothing."""
        ended = next(each for each in self.closed if each.way != "device" and each.outcome.done())
        before = self.books.requests_to("/token")
        with pytest.raises(AuthenticationError) as caught:
            self.deliver(ended, self.books.consent(ended.details["authorize_url"], person))
        assert caught.value.code in {"already_used", "unknown_flow", "paste_unusable", "not_started"}
        assert "device" in self.open or self.books.requests_to("/token") == before

    @rule()
    def cancel(self) -> None:
        """They cancel: every way ends."""
        self.sign_ins.cancel()
        for each in self.open.values():
            assert isinstance(each.outcome.exception(10), AuthFlowCancelled)
        self.end_all()

    @rule()
    def sign_out(self) -> None:
        """They sign out, which ends every way, too."""
        run(self.sign_ins.sign_out(), 10)
        self.end_all()
        self.person = None

    @rule()
    def restart(self) -> None:
        """The kernel restarts: what was open is gone, and who was signed in still is."""
        self.cancel()
        self.closed.clear()
        self.begin_session()
        assert (run(self.session.initialize(), 10) is None) == (self.person is None)

    # -- what must be true --------------------------------------------------------------------------------------------

    @invariant()
    def the_session_is_who_signed_in(self) -> None:
        """The session belongs to whom the model says; open sign-ins are open."""
        user = self.session.user
        assert (user and user["sub"]) == self.person
        usual = {"signed_in", "refreshing"} if self.person else {"signed_out"}
        assert self.session.status in ({"authorizing"} if self.open else usual)
        assert all(not each.outcome.done() for each in self.open.values())
        assert self.sign_ins.is_open or not self.open
        assert not self.books.complaints

    # -- how ----------------------------------------------------------------------------------------------------------

    def come_back(self, chosen: Open, person: str) -> None:
        """Be the person at the provider, and come back as this way does."""
        if chosen.way == "device":
            self.books.approve(chosen.details["user_code"], person)
            chosen.outcome.exception(10)
        else:
            self.deliver(chosen, self.books.consent(chosen.details["authorize_url"], person))

    def try_to_come_back(self, chosen: Open, person: str) -> None:
        """Do so, although another way may be faster."""
        with contextlib.suppress(AuthenticationError):  # which of the two is faster is open
            self.come_back(chosen, person)

    def deliver(self, chosen: Open, params: dict[str, str]) -> None:
        """Bring the provider's answer to the kernel."""
        if chosen.way == "loopback":
            text = f"{chosen.details['redirect_uri']}?{urlencode(params)}"
            try:
                run(offer.paste(self.sign_ins, text), 10)
            except AuthFlowCancelled:
                if "error" not in params:
                    raise
        else:
            try:
                run(self.sign_ins.complete(params), 10)
            except AuthFlowCancelled:
                if "error" not in params:
                    raise

    def succeeds(self, person: str) -> None:
        """Note who is signed in now; every other way has ended as a success, with this session."""
        for each in self.open.values():
            assert each.outcome.result(10).success
        self.end_all()
        if self.person != person:
            before, self.person = self.person, person
            until(lambda: before is None or not self.alive_of(before))

    def end_all(self) -> None:
        """Note that nothing is open."""
        self.closed += self.open.values()
        self.open.clear()

    def alive_of(self, person: str) -> list[Any]:
        """Return the person's grants that can still be refreshed, other than the session's own."""
        tokens = self.session._engine.state.tokens
        ours = tokens and tokens.refresh_token
        grants = {id(grant): grant for grant in self.books._grants.values()}.values()
        return [grant for grant in grants if grant.person == person and grant.refresh_token not in {"", ours}]


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A provider that keeps books, and wants to be asked a hundred times a second."""
    monkeypatch.setattr(device, "_LEAST", 0.0)
    with Books() as books:
        monkeypatch.setattr(WaysMachine, "books", books, raising=False)
        yield


@pytest.mark.usefixtures("books")
def test_all_ways_end_in_one_session() -> None:
    """R52: two at once, the slower one loses, cancel, time-out, restart: in every order."""
    options = settings(
        max_examples=25,
        stateful_step_count=20,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(WaysMachine, settings=options)
