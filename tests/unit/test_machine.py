"""R52: whatever people, kernels, a clock and a provider do to a sign-in, in whatever order, P1 to P5 hold.

Three kernels, here sessions with stores of their own, share one sign-in. Hypothesis makes up what happens, and a model
of a few lines says what must be true then. A kernel looks at the store now and then, so most of the time most of them
know nothing yet of what another one did: that is where the races are.

A failure prints the steps, and a line ``@reproduce_failure(…)`` to put above the class of that machine.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowTimeout,
    GenericOIDCProvider,
    LoginRequired,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenError,
    TokenExpiredError,
    TokenRefreshError,
)
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._session import watcher
from pywry_auth_nb.flow import AuthFlowState
from pywry_auth_nb.token_store import NOTHING, Record, make_encryption_key
from pywry_auth_nb.token_store.codec import Codec
from tests.support.idp import CLIENT, Answer
from tests.support.machine import Books, Clock, Drive, Grant, Kernel, RemoteFileStore, SignIn, attempt, finish
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pywry_auth_nb.token_store import TokenStore

    Answered = tuple[SignIn, dict[str, str]]

WORDS = {"signed_out", "authorizing", "signed_in", "refreshing", "reauth_required"}
WHY_NOT = {"identity_changed", "login_required", "provider_unavailable", "invalid_grant", "no_refresh_token"}
MOST_OPEN = 8  # sign-ins at once in one kernel
DOWN, EVE = Answer({}, status=503), Answer({"sub": "eve"})
TROUBLE = {
    "is down": dict.fromkeys(["/token", "/userinfo", "/revoke"], DOWN),
    "gives no tokens": {"/token": DOWN},
    "says nothing of people": {"/userinfo": DOWN},
    "names somebody else": {"/userinfo": EVE},
}
A_WHILE, ALMOST, PAST = 600, -30, 60  # seconds: from now, and from the end of the newest access token

log = logging.getLogger("tests.machine")

kernels = st.integers(0, 2)
people = st.sampled_from(["ada", "bob"])
delays = st.sampled_from([0.0, 0.01, 0.03])  # seconds
deeds = st.tuples(kernels, st.sampled_from(["read", "refresh", "logout", "sign in"]))


def step(**arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a rule that is also logged: Hypothesis does not show the steps of a failure that does not come again."""

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def logged(self: Machine, *args: Any, **kwargs: Any) -> Any:
            log.info("example %s: %s %s", self.examples, function.__name__, [*args, *kwargs.values()])
            return function(self, *args, **kwargs)

        return rule(**arguments)(logged)

    return decorate


class Machine(RuleBasedStateMachine):
    """What can happen, and what must be true then.

    The model is ``grant``, what the kernels are signed in with, or None; and the ``open`` sign-ins of each kernel.
    No rule's choices depend on it: Hypothesis must find the same ones when it tries again, however races end.
    """

    home: ClassVar[Path]
    books: ClassVar[Books]
    clock: ClassVar[Clock]
    provider: ClassVar[GenericOIDCProvider]
    examples: ClassVar[int] = 0

    answers = Bundle("answers")

    def __init__(self) -> None:
        super().__init__()
        Machine.examples += 1
        self.books.be_honest()
        self.books.open_anew()
        self.drive = Drive(self.home / str(self.examples))
        self.grant: Grant | None = None
        self.kernels: list[Kernel] = []
        self.presses: list[SignIn] = []

    @initialize(number=kernels, person=people)
    def start(self, number: int, person: str) -> None:
        """Three kernels start, and a user signs in."""
        self.kernels = [self.new_kernel() for _ in range(3)]
        self.sign_in(number, person)

    def new_kernel(self) -> Kernel:
        """Start a kernel. Each example has a key of its own, so that nothing of an earlier one can get in its way."""
        return Kernel(self.provider, self.store(), f"machine {self.examples}")

    def store(self) -> TokenStore:
        """Return the store of one kernel."""
        raise NotImplementedError

    def stored(self) -> Iterator[bytes]:
        """Return what lies in the store, where that can be seen from outside."""
        return iter(())

    # -- signing in ---------------------------------------------------------------------------------------------------

    @step(target=answers, number=kernels, person=people)
    def begin(self, number: int, person: str) -> Answered:
        """A user presses the button and signs in at the provider; their browser is not back yet."""
        sign_in = self.press(self.kernels[number])
        seen = sign_in.kernel.session.status
        assert seen == "authorizing" or self.grant, "it may just have heard of a sign-in"
        return sign_in, self.books.consent(sign_in.url, person)

    @step(answer=answers, how=st.sampled_from(["well", "declined", "with another code"]))
    def come_back(self, answer: Answered, how: str) -> None:
        """The browser is back, perhaps again, perhaps when another sign-in was faster."""
        sign_in, params = answer
        if how == "declined":
            params = {"state": sign_in.state, "error": "access_denied", "iss": self.books.issuer}
        elif how == "with another code":
            params = {**params, "code": f"CANARY-{len(self.books.requests)}"}
        self.deliver(sign_in, params)

    @step(answer=answers, number=kernels, state=st.sampled_from([None, "", "made up"]))
    def come_back_elsewhere(self, answer: Answered, number: int, state: str | None) -> None:
        """An answer comes to a kernel that did not ask, or has a state of no sign-in."""
        kernel, (sign_in, params) = self.kernels[number], answer
        if state is not None:
            self.refuse(kernel, {**params, "state": state}, {"unknown_flow"})
        elif kernel is not sign_in.kernel:
            self.refuse(kernel, params, {"unknown_flow"})

    @step(number=kernels, person=people)
    def sign_in(self, number: int, person: str) -> None:
        """They press the button and sign in."""
        sign_in = self.press(self.kernels[number])
        self.deliver(sign_in, self.books.consent(sign_in.url, person))

    @step(number=kernels, how=st.sampled_from(["cancel", "too late"]))
    def give_up(self, number: int, how: str) -> None:
        """They press cancel; or the button, and come back too late."""
        kernel = self.kernels[number]
        if how == "cancel":
            self.cancel(kernel)
        else:
            self.come_too_late(kernel)

    def cancel(self, kernel: Kernel) -> None:
        """Press cancel: every sign-in of this kernel ends."""
        kernel.flow.cancel()
        for sign_in in kernel.open:
            assert isinstance(sign_in.outcome.exception(5), AuthFlowCancelled)
        kernel.open.clear()

    def come_too_late(self, kernel: Kernel) -> None:
        """Begin a sign-in with a short deadline, and come back after that."""
        sign_in = attempt(lambda: self.press(kernel, lifetime=0.02))
        if isinstance(sign_in, SignIn):  # else it ended before the button could be pressed
            assert isinstance(sign_in.outcome.exception(5), AuthFlowTimeout)
            kernel.open.remove(sign_in)
            self.deliver(sign_in, self.books.consent(sign_in.url, "ada"))
        else:
            assert isinstance(sign_in, AuthFlowTimeout)
            kernel.open = kernel.open[1 - MOST_OPEN :]

    def press(self, kernel: Kernel, lifetime: float | None = None) -> SignIn:
        """Begin a sign-in; where too many are open, the oldest gives way."""
        sign_in = kernel.begin(lifetime)
        self.presses.append(sign_in)
        if len(kernel.open) > MOST_OPEN:
            assert isinstance(kernel.open.pop(0).outcome.exception(0), AuthFlowCancelled)
        return sign_in

    def deliver(self, sign_in: SignIn, params: dict[str, str]) -> None:
        """Bring an answer to the kernel that asked, and see that it counts once, and for what it is."""
        kernel, spoiled = sign_in.kernel, self.is_spoiled(params)
        if kernel not in self.kernels:
            self.refuse(self.kernels[0], params, {"unknown_flow"})
        elif sign_in not in kernel.open:
            self.refuse(kernel, params, {"already_used", "unknown_flow"})
        elif spoiled:
            self.fail(sign_in, params)
        else:
            assert kernel.complete(params).success
            self.begins(kernel, self.granted(params))

    def is_spoiled(self, params: dict[str, str]) -> bool:
        """Whether this answer can sign no user in now."""
        wrong = "/token" in self.books.answers or self.books.answers.get("/userinfo") is EVE
        return wrong or not self.books.is_good(params.get("code", ""))

    def refuse(self, kernel: Kernel, params: dict[str, str], codes: set[str]) -> None:
        """See that an answer is refused, and that nothing has changed."""
        before, state = self.books.requests_to("/token"), kernel.flow.flow_state
        with pytest.raises(AuthenticationError) as caught:
            kernel.complete(params)
        assert caught.value.code in codes
        assert self.books.requests_to("/token") == before
        assert kernel.flow.flow_state == state

    def fail(self, sign_in: SignIn, params: dict[str, str]) -> None:
        """See that a sign-in fails, and what becomes of its tokens."""
        shown = [sign_in.kernel.shows()]
        with pytest.raises(AuthenticationError) as caught:
            sign_in.kernel.complete(params)
        shown.append(sign_in.kernel.shows())
        if "error" in params:
            assert (type(caught.value), caught.value.code) == (AuthFlowCancelled, "access_denied")
        else:
            assert isinstance(caught.value, TokenError)
        sign_in.kernel.open.remove(sign_in)
        self.is_discarded(self.books.grant_of(params.get("code", "")), shown)

    def is_discarded(self, grant: Grant | None, shown: list[str | None]) -> None:
        """See that nothing is left at the provider of tokens that were not used.

        But those of the user who was signed in there, before and after (``shown``), stay as they are: to revoke them
        might end that sign-in as well.
        """
        if grant is None or grant.person not in shown:
            self.is_dead(grant)
        elif shown == [grant.person] * 2:  # else the kernel has heard of another sign-in meanwhile
            assert grant.refresh_token
            assert self.books.revoked.isdisjoint(grant.access_tokens)

    def granted(self, params: dict[str, str]) -> Grant:
        """Return what the provider gave for an answer."""
        grant = self.books.grant_of(params["code"])
        assert grant is not None
        return grant

    def begins(self, kernel: Kernel, grant: Grant) -> None:
        """Note a sign-in; the kernel where it happened knows it at once."""
        before, self.grant = self.grant, grant
        if before is not None:
            before.ended = True
            if before.person != grant.person:
                self.is_dead(before)
        kernel.open.clear()
        kernel.person = grant.person
        assert self.look(kernel) is grant
        assert kernel.session.user["sub"] == grant.person
        assert kernel.session.status in {"signed_in", "refreshing"}

    # -- being signed in ----------------------------------------------------------------------------------------------

    @step(number=kernels)
    def read(self, number: int) -> None:
        """A cell reads the token, and gets one that is good, or the right error."""
        self.settle(self.kernels[number])

    @step(deed=st.sampled_from(["read", "refresh"]), delay=delays)
    def all_kernels(self, deed: str, delay: float) -> None:
        """Cells in all kernels want a token at once."""
        self.signed_in_grant()
        with self.slow(delay):
            self.at_once([self.prepare(kernel, deed, "") for kernel in self.kernels])
        self.everybody_settles()

    @step(number=kernels)
    def refresh(self, number: int) -> None:
        """A cell asks for a new token; an older one is right only when another kernel has just got it."""
        kernel, renewable = self.kernels[number], self.is_renewable
        known = list(self.grant.access_tokens) if self.grant else []
        got = attempt(lambda: finish(kernel.session.refresh()))
        if isinstance(got, AuthenticationError):
            away = self.grant is None or kernel.knows_another_than(self.grant)
            assert type(got) is (LoginRequired if away else TokenRefreshError)
            assert got.code in WHY_NOT
            assert away or not renewable
        else:
            assert self.books.grant_of(got.access_token) is self.grant
            assert renewable or got.access_token == known[-1]
        self.settle(kernel)

    @step(seconds=st.sampled_from([A_WHILE, ALMOST, PAST]))
    def time_passes(self, seconds: int) -> None:
        """The access token grows older, gets near its end, or expires."""
        left = 0.0 if seconds == A_WHILE else self.signed_in_grant().end - time.time()
        self.clock.sleep(max(left + seconds, 0.0))

    @step(number=kernels)
    def restart(self, number: int) -> None:
        """A kernel is restarted: sign-ins that were open there are gone, and who was signed in still is."""
        self.kernels[number].die()
        self.kernels[number] = self.new_kernel()

    @step(number=kernels, leaves=st.booleans())
    def logout(self, number: int, leaves: bool) -> None:
        """A user signs out, and may shut down at once: this kernel is signed out, and soon all are.

        But not where another person has signed in since, in another kernel.
        """
        kernel = self.kernels[number]
        result = finish(kernel.session.logout())
        kernel.open.clear()
        assert result.store == "deleted"
        if kernel.knows_another_than(self.grant):
            assert self.hear_and_look(kernel) is LoginRequired
            assert kernel.session.status == "signed_out"
            return
        kernel.person = None
        if leaves:
            self.restart(number)
        assert self.look(self.kernels[number]) is LoginRequired
        assert self.kernels[number].session.status == "signed_out"
        self.ends([self.grant] if self.grant else [])

    def ends(self, grants: list[Grant]) -> None:
        """Note a sign-out: of these grants nothing is left, in store, kernels or provider."""
        self.grant = None
        for grant in grants:
            grant.ended = True
            self.is_dead(grant)
        assert not any(b"CANARY" in content for content in self.stored())

    def is_dead(self, grant: Grant | None) -> None:
        """See that what the provider gave was given back, if it takes anything back now."""
        if grant is not None and "/revoke" not in self.books.answers:
            until(lambda: not grant.refresh_token and grant.access_tokens[-1] in self.books.revoked)

    # -- the provider -------------------------------------------------------------------------------------------------

    @step(what=st.sampled_from(sorted(TROUBLE)))
    def trouble(self, what: str) -> None:
        """The provider is in trouble, or well again."""
        if self.books.answers:
            self.be_well()
        else:
            self.books.answers = dict(TROUBLE[what])

    def be_well(self) -> None:
        """End all trouble, and wait for longer than any pause between two tries."""
        if self.books.answers:
            self.books.answers = {}
            self.clock.sleep(120)

    @step()
    def withdraw(self) -> None:
        """The provider silently stops renewing this sign-in."""
        self.signed_in_grant().refresh_token = ""

    def signed_in_grant(self) -> Grant:
        """Sign in if no user is signed in, and return the grant."""
        if self.grant is None:
            self.be_well()
            self.sign_in(0, "ada")
        assert self.grant is not None
        return self.grant

    # -- at once --------------------------------------------------------------------------------------------------

    @step(first=deeds, second=deeds, delay=delays, person=people)
    def race(self, first: tuple[int, str], second: tuple[int, str], delay: float, person: str) -> None:
        """Two things happen at once, in two kernels or in one, while the provider and the store may be slow."""
        self.be_well()
        leavers = [self.kernels[number] for number, deed in (first, second) if deed == "logout"]
        stays = any(kernel.knows_another_than(self.grant) for kernel in leavers)
        if stays and self.is_over():
            return  # afterwards no kernel has a token, and what each says depends on whom it knew
        jobs = [self.prepare(self.kernels[number], deed, person) for number, deed in (first, second)]
        with self.slow(delay):
            found = self.at_once(jobs)
        for number, deed in (first, second):
            if deed in {"logout", "sign in"}:
                self.kernels[number].person = None  # it depends on which was later
        for kernel in self.kernels:
            kernel.open = [sign_in for sign_in in kernel.open if not sign_in.outcome.done()]
        granted = [grant for grant in found if isinstance(grant, Grant)]
        self.decide({first[1], second[1]}, granted, [self.grant] if stays else [])

    @contextmanager
    def slow(self, delay: float) -> Iterator[None]:
        """Let the provider say late what it has done, and the store, too."""
        honest = self.books.answers
        self.books.answers, self.drive.delay = {"/token": Answer(delay=delay)} | honest, delay
        yield
        self.books.answers, self.drive.delay = honest, 0.0

    def at_once(self, jobs: list[Callable[[], object]]) -> list[object]:
        """Do all of it at once."""
        with ThreadPoolExecutor(len(jobs)) as pool:
            return [future.result(20) for future in [pool.submit(job) for job in jobs]]

    def prepare(self, kernel: Kernel, deed: str, person: str) -> Callable[[], object]:
        """Return something to be done while something else is done."""
        if deed == "read":
            return lambda: self.look(kernel) and None
        if deed == "refresh":
            return lambda: self.try_to_refresh(kernel)
        if deed == "logout":
            return lambda: finish(kernel.session.logout())
        params = self.books.consent(self.press(kernel).url, person)
        return lambda: self.try_to_sign_in(kernel, params)

    def try_to_refresh(self, kernel: Kernel) -> None:
        """Refresh, whatever comes of it that has a name."""
        got = attempt(lambda: finish(kernel.session.refresh()))
        assert not isinstance(got, AuthenticationError) or got.code in WHY_NOT

    def try_to_sign_in(self, kernel: Kernel, params: dict[str, str]) -> Grant | None:
        """Finish a sign-in that may be overtaken; then its tokens are not used."""
        shown = [kernel.shows()]
        got = attempt(lambda: kernel.complete(params))
        if not isinstance(got, AuthenticationError):
            return self.granted(params)
        assert got.code in {"flow_cancelled", "already_used"}
        self.is_discarded(self.books.grant_of(params["code"]), [*shown, kernel.shows()])
        return None

    def decide(self, deeds: set[str], granted: list[Grant], left: list[Grant | None]) -> None:
        """See that all kernels agree on one outcome of a race, and that it is a possible one.

        That is a sign-in of the race, one that another person's sign-out has ``left`` alone, or none after a sign-out.
        """
        if deeds & {"logout", "sign in"}:
            before, seen = self.grant, self.agreed()
            assert seen in [*granted, *left] or (seen is None and "logout" in deeds)
            for grant in {before, *granted} - {seen, None}:
                grant.ended = True
            if seen is None:
                self.ends(granted or [grant for grant in [before] if grant])
            self.grant = seen
        self.everybody_settles()

    def agreed(self) -> Grant | None:
        """Wait until all kernels say the same, and return it."""
        looks: list[object] = []

        def agree() -> bool:
            looks[:] = [self.hear_and_look(kernel) for kernel in self.kernels]
            grants = {look for look in looks if isinstance(look, Grant)}
            follow = [look for look, kernel in zip(looks, self.kernels, strict=True) if self.follows(kernel, grants)]
            return len(set(follow)) == 1

        until(agree)
        assert all(look is LoginRequired or isinstance(look, Grant) for look in looks)
        return next((look for look in looks if isinstance(look, Grant)), None)

    def follows(self, kernel: Kernel, grants: set[Grant]) -> bool:
        """Whether a kernel shows what others are signed in with: not if that is another person's sign-in."""
        return not any(kernel.knows_another_than(grant) for grant in grants)

    # -- what must be true --------------------------------------------------------------------------------------------

    def look(self, kernel: Kernel) -> object:
        """Read the token: return whose it is, or the error; P1: it is good now, nothing else is raised, and soon."""
        started = time.monotonic()
        got = attempt(lambda: kernel.session.access_token)
        assert time.monotonic() - started < 10
        if isinstance(got, AuthenticationError):
            log.info("kernel %s has %s", self.kernels.index(kernel), got.code)
            assert type(got) in {LoginRequired, TokenExpiredError}
            assert got.code in WHY_NOT
            return type(got)
        found = self.books.grant_of(got)
        log.info("kernel %s has %s", self.kernels.index(kernel), found)
        assert self.books.ends[got] > time.time()
        return found

    def hear_and_look(self, kernel: Kernel) -> object:
        """Do what the store's watcher does within two seconds, and read the token."""
        run(kernel.session._engine._sync.now(), 10)
        found = self.look(kernel)
        assert not (isinstance(found, Grant) and kernel.knows_another_than(found)), "it became another person"
        return found

    @property
    def is_renewable(self) -> bool:
        """Whether the provider would give a new token."""
        return self.grant is not None and bool(self.grant.refresh_token) and "/token" not in self.books.answers

    def expected(self, kernel: Kernel) -> set[object]:
        """Return what a read may come to, once a kernel has heard of everything."""
        if self.grant is None or kernel.knows_another_than(self.grant):
            return {LoginRequired}
        left = self.grant.end - time.time()
        if self.is_renewable or left > 5:
            return {self.grant}
        return {self.grant, TokenExpiredError} if left > 0 else {TokenExpiredError}

    def is_over(self) -> bool:
        """Whether no kernel can have a token of this sign-in any more."""
        return self.grant is not None and not self.grant.refresh_token and self.grant.end - time.time() < 10

    def words(self, kernel: Kernel) -> set[str]:
        """Return which statuses are right, once a kernel has heard of everything."""
        begun = {"authorizing"} if kernel.open else set()
        if self.grant is None:
            return begun | {"signed_out"}
        if kernel.knows_another_than(self.grant):
            return begun | {"signed_out", "reauth_required"}
        if self.grant.refused:
            return begun | {"reauth_required"}
        return begun | {"signed_in", "refreshing"}

    def settle(self, kernel: Kernel) -> None:
        """P2, P4: within five seconds a kernel has heard of everything."""
        until(lambda: self.hear_and_look(kernel) in self.expected(kernel))
        until(lambda: kernel.session.status in self.words(kernel))
        away = kernel.knows_another_than(self.grant)
        user = (kernel.session.user or {}).get("sub")
        assert user in ({None, kernel.person} if away else {self.grant and self.grant.person})

    def everybody_settles(self) -> None:
        """All of them have."""
        for kernel in self.kernels:
            self.settle(kernel)

    @invariant()
    def all_is_well(self) -> None:
        """What must be true after every step."""
        self.nothing_was_used_twice()
        self.every_wait_has_an_end()
        self.nothing_shows_a_secret()

    def nothing_was_used_twice(self) -> None:
        """P2: each refresh token, and each code, was sent once; and none of a sign-in that had ended."""
        assert self.books.complaints == []

    def every_wait_has_an_end(self) -> None:
        """P5: a call that waits for a sign-in ends with it, and no status says that it is still open."""
        for sign_in in self.presses:
            if sign_in.kernel in self.kernels:
                assert sign_in.outcome.done() == (sign_in not in sign_in.kernel.open)
        for kernel in self.kernels:
            assert kernel.session.status in (WORDS if kernel.open else WORDS - {"authorizing"})
            assert (kernel.flow.flow_state is AuthFlowState.IN_PROGRESS) == bool(kernel.open)

    def nothing_shows_a_secret(self) -> None:
        """Neither what a person sees of a kernel, nor what a traceback with local variables would show of it."""
        for kernel in self.kernels:
            error = kernel.session.error
            assert error is None or isinstance(error, AuthenticationError)
            shown = [repr(thing) for thing in (kernel.session, kernel.flow, vars(kernel.session), vars(kernel.flow))]
            assert "CANARY" not in "".join(shown) + str(error)

    def teardown(self) -> None:
        """At last the provider works, all kernels agree and sign out: nothing is left."""
        failed = sys.exc_info()[0] is not None
        self.be_well()
        if failed:  # no kernel may be left that refreshes in the next example
            for kernel in self.kernels:
                attempt(lambda kernel=kernel: finish(kernel.session.logout()))  # type: ignore[misc]
        elif self.kernels:
            self.everybody_settles()
            for number in range(3):
                self.logout(number, leaves=False)
            self.everybody_settles()
            self.nothing_was_used_twice()


class FileMachine(Machine):
    """Every kernel has a store of its own, on the same folder."""

    def store(self) -> TokenStore:
        """Return the store of one kernel."""
        return RemoteFileStore(self.drive)

    def stored(self) -> Iterator[bytes]:
        """Return all files."""
        return (file.read_bytes() for file in self.drive.folder.rglob("*") if file.is_file())


class Silent(MemoryTokenStore):
    """A store that tells of no change: a kernel hears of others when the machine says so."""

    async def listen_for_changes(self, changed: Callable[[str], object]) -> None:
        """Do not."""


class MemoryMachine(Machine):
    """All sessions of one kernel have one store."""

    def __init__(self) -> None:
        super().__init__()
        self._store = Silent()

    def store(self) -> TokenStore:
        """Return the one store."""
        return self._store


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder, a clock and a provider; examples have them one after another."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "time_ns", clock.time_ns)
    monkeypatch.setattr(watcher, "WATCH", 3600.0)  # a kernel hears of others when the machine says so
    with Books() as books:
        provider = GenericOIDCProvider(CLIENT, issuer_url=books.issuer)
        for name, thing in {"home": tmp_path, "clock": clock, "books": books, "provider": provider}.items():
            monkeypatch.setattr(Machine, name, thing, raising=False)
        yield
        finish(provider.close())


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("machine", "examples"), [(FileMachine, 60), (MemoryMachine, 30)])
def test_a_sign_in_survives_whatever_happens(machine: type[Machine], examples: int) -> None:
    """R52: P1 to P5 hold in every order of everything that can happen."""
    options = settings(
        max_examples=examples,
        stateful_step_count=30,
        database=None,
        deadline=None,  # a step may wait for five seconds
        print_blob=True,
        phases=[Phase.explicit, Phase.generate],  # to make a failure short takes minutes; the log has its steps
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # steps go over real HTTP, and wait for files
    )
    run_state_machine_as_test(machine, settings=options)


# -- records ----------------------------------------------------------------------------------------------------------

QUICK = settings(database=None, deadline=None, max_examples=100)
DEEDS = st.sampled_from(["in", "out", "renew", "end"])
MOMENTS = st.integers(0, 2**52 * 1000)  # nanoseconds of a wall clock that may be set to anything
CODECS = [Codec(), Codec(make_encryption_key())]


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Records of one session key, each made of the one before, whatever the clock said."""
    records = [NOTHING]
    for deed, moment in draw(st.lists(st.tuples(DEEDS, MOMENTS), min_size=1, max_size=8)):
        with mock.patch.object(time, "time_ns", return_value=moment):
            records.append(after(records[-1], deed, OAuthTokenSet(f"CANARY-{len(records)}", refresh_token="CANARY-rt")))
    return records[1:]


def after(record: Record, deed: str, tokens: OAuthTokenSet) -> Record:
    """Return the record that an event makes of ``record``."""
    if deed == "out":
        return record.signed_out()
    if deed == "in" or record.tokens is None or record.ended:
        return record.signed_in(tokens, {"sub": "ada"})
    return record.as_ended() if deed == "end" else record.renewed(tokens)


@QUICK
@given(histories())
def test_records_are_in_order(history: list[Record]) -> None:
    """Each record is later than all before it, whatever the clock says; a refresh stays with its sign-in."""
    for before, record in pairwise([NOTHING, *history]):
        begins = record.sign_in == record.generation
        assert record.generation > before.generation
        assert begins or record.sign_in == before.sign_in
        assert record.tokens is not None or (record.user is None and not record.ended)
        assert not record.ended or record.tokens.refresh_token is None
        assert "CANARY" not in repr(record)


@QUICK
@given(histories(), st.sampled_from(CODECS))
def test_records_come_back_as_they_were(history: list[Record], codec: Codec) -> None:
    """What was packed is what is unpacked, also of a sign-out; and that has no secret in it."""
    for record in history:
        packed = codec.encode(record, "name")
        assert codec.decode(packed, "name") == record
        assert record.tokens is not None or b"CANARY" not in packed


@QUICK
@given(histories().flatmap(lambda history: st.tuples(st.just(history), st.lists(st.sampled_from([NOTHING, *history])))))
def test_a_session_shows_the_latest_of_what_it_saw(seen: tuple[list[Record], list[Record]]) -> None:
    """Whatever comes back, or is lost, in whatever order: the latest counts, and the store has it in the end."""
    history, found = seen
    store = MemoryTokenStore()
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url="https://login.example.org"), store)
    for record in [*found, history[-1], *found]:
        store._records[session.store_key] = record
        run(session._engine._sync.now(), 5)

    latest = history[-1]
    assert session._engine.state.tokens == latest.tokens
    assert session._engine.state.ended == latest.ended
    assert finish(store.load(session.store_key)) == latest.tokens
