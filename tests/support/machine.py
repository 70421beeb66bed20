"""What the state machine of sign-ins plays with: a provider that keeps books, a clock that can be moved, a kernel."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pywry_auth_nb import AuthenticationError, AuthFlowManager, FileTokenStore, SessionManager
from tests.support.idp import Idp, Request

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from pywry_auth_nb import GenericOIDCProvider
    from pywry_auth_nb.flow import AuthorizationRequest
    from pywry_auth_nb.token_store import Lease, TokenStore
    from pywry_auth_nb.token_store.lease import LocalLease

REDIRECT_URI = "http://127.0.0.1:8888/pywry-auth/callback"

_real_time = time.time


class Clock:
    """The wall clock, as on a laptop that sleeps now and then: timers do not see the jumps."""

    def __init__(self) -> None:
        self._slept = 0.0

    def time(self) -> float:
        """Epoch seconds."""
        return _real_time() + self._slept

    def time_ns(self) -> int:
        """Epoch nanoseconds."""
        return int(self.time() * 1e9)

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self._slept += seconds


@dataclass(eq=False, repr=False)
class Grant:
    """What the provider gave for one sign-in.

    Attributes:
        person: Who signed in.
        refresh_token: The valid one; empty when there is none.
        access_tokens: All of them, oldest first.
        end: When the newest access token ends.
        refused: A refresh was refused, so a kernel knows that it cannot be refreshed.
        ended: The user signed out, or in anew, so no kernel may use this grant any more.
    """

    person: str
    refresh_token: str = ""
    access_tokens: list[str] = field(default_factory=list)
    end: float = 0.0
    refused: bool = False
    ended: bool = False

    def __repr__(self) -> str:
        return f"<Grant of {self.person}>"


class Books(Idp):
    """A provider that rotates refresh tokens, ends a sign-in whose token is used twice, and writes everything down.

    ``complaints`` are what must never happen.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.open_anew()
        super().__init__()

    def open_anew(self) -> None:
        """Begin with empty books."""
        self.complaints: list[str] = []
        self.ends: dict[str, float] = {}  # of every access token
        self.revoked: set[str] = set()
        self._grants: dict[str, Grant] = {}  # by code, and by every token that was ever given
        self._people: dict[str, str] = {}  # by code
        self._times: Counter[str] = Counter()  # how often a code or a refresh token came

    def consent(self, url: str, person: str) -> dict[str, str]:
        """Be ``person`` at an authorize URL; return the callback's parameters."""
        params = self.authorize(url)
        self._people[params["code"]] = person
        return params

    def approve(self, user_code: str, person: str) -> None:
        """Be ``person``, who enters a device's code."""
        self._people[user_code] = person
        self.decide(user_code)

    def grant_of(self, value: str) -> Grant | None:
        """Return what was given for a code, or what a token belongs to."""
        return self._grants.get(value)

    def is_good(self, code: str) -> bool:
        """Whether a code is still to be redeemed."""
        return code in self._codes

    def _token(self, request: Request) -> tuple[int, Any]:
        with self._guard:
            if request.form.get("grant_type") == "refresh_token":
                return self._renew(request.form["refresh_token"])
            if "device_code" in request.form:
                return self._give_device(request.form["device_code"])
            return self._redeem(request)

    def _redeem(self, request: Request) -> tuple[int, Any]:
        code = request.form.get("code", "")
        self._note(code, "a code came twice")
        grant = Grant(self._people.get(code, "nobody"))
        self.claims = {"sub": grant.person}
        status, body = super()._token(request)
        if status == 200:
            self._grants[code] = grant
            self._write_down(grant, body)
        return status, body

    def _give_device(self, code: str) -> tuple[int, Any]:
        grant = Grant(self._people.get(self._devices.get(code, {}).get("user_code", ""), "nobody"))
        self.claims = {"sub": grant.person}
        status, body = self._redeem_device(code)
        if status == 200:
            self._grants[code] = grant
            self._write_down(grant, body)
        return status, body

    def _renew(self, token: str) -> tuple[int, Any]:
        self._note(token, "a refresh token came twice")
        grant = self._grants.get(token)
        if grant is None:
            self.complaints.append("an unknown refresh token came")
            return 400, {"error": "invalid_grant"}
        if grant.ended:
            self.complaints.append("a refresh token of an ended sign-in came")
        if grant.refresh_token != token:
            grant.refresh_token, grant.refused = "", True  # used twice, or withdrawn
            return 400, {"error": "invalid_grant"}
        self.claims = {"sub": grant.person}
        body = self._tokens(None)
        self._write_down(grant, body)
        return 200, body

    def _note(self, value: str, complaint: str) -> None:
        self._times[value] += 1
        if self._times[value] > 1:
            self.complaints.append(complaint)

    def _write_down(self, grant: Grant, body: dict[str, Any]) -> None:
        access, grant.refresh_token = body["access_token"], body["refresh_token"]
        grant.end = self.ends[access] = time.time() + body["expires_in"]
        grant.access_tokens.append(access)
        self._grants[access] = self._grants[grant.refresh_token] = grant

    def _revoke(self, request: Request) -> tuple[int, Any]:
        with self._guard:
            token = request.form.get("token", "")
            grant = self._grants.get(token)
            if grant is not None and grant.refresh_token == token:
                grant.refresh_token = ""
            self.revoked.add(token)
        return 200, None

    def _userinfo(self, request: Request) -> tuple[int, Any]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        grant = self._grants.get(token)
        if grant is None or token in self.revoked or self.ends[token] <= time.time():
            return 401, {"error": "invalid_token"}
        return 200, {"sub": grant.person, "name": grant.person.title()}


class Drive:
    """A folder on a network drive: everything that is asked of it may take its time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.delay = 0.0

    async def wait(self) -> None:
        """Wait for it."""
        await asyncio.sleep(self.delay)


class RemoteFileStore(FileTokenStore):
    """The file store of one kernel on a drive: what it reads may be old when it comes, as on any network."""

    def __init__(self, drive: Drive) -> None:
        super().__init__(drive.folder)
        self._drive = drive

    async def _read(self, key: str) -> bytes | None:
        found = await super()._read(key)
        await self._drive.wait()
        return found

    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        await self._drive.wait()
        return await super()._try_lease(key, local_lease)

    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:
        await self._drive.wait()
        return await super()._swap(key, old, new, lifetime)


class SignIn:
    """One sign-in that was begun, in one kernel."""

    def __init__(self, kernel: Kernel, request: AuthorizationRequest) -> None:
        self.kernel = kernel
        self.url = request.url
        self.state = request.state
        self.outcome: concurrent.futures.Future[Any] = request.outcome


class Kernel:
    """A kernel with a session of its own.

    Attributes:
        open: The sign-ins that should still be waiting there.
        person: Who was signed in there last, as far as was seen; None after a sign-out there.
    """

    def __init__(self, provider: GenericOIDCProvider, store: TokenStore, key: str) -> None:
        self.session = SessionManager(provider, store, key)
        self.flow = AuthFlowManager(provider, session_manager=self.session)
        self.open: list[SignIn] = []
        self.person: str | None = None

    def knows_another_than(self, grant: Grant | None) -> bool:
        """Whether it may not follow a sign-in, because it is another person's."""
        heard = self.session._engine.state.person  # perhaps unseen
        self.person = self.person or (heard and heard.subject)
        return grant is not None and self.person not in {None, grant.person}

    def shows(self) -> str | None:
        """Return who is signed in here, as this kernel knows it; None without tokens."""
        state = self.session._engine.state
        return state.user["sub"] if state.tokens and state.user else None

    def die(self) -> None:
        """Drop the session and the flow."""
        del self.session, self.flow
        self.open.clear()

    def begin(self, lifetime: float | None = None) -> SignIn:
        """Begin a sign-in."""
        sign_in = SignIn(self, finish(self.flow.begin(REDIRECT_URI, lifetime=lifetime)))
        self.open.append(sign_in)
        return sign_in

    def complete(self, params: Mapping[str, str]) -> Any:
        """Bring the callback's parameters back."""
        return finish(self.flow.complete(params))


def finish(work: Coroutine[Any, Any, Any], seconds: float = 10.0) -> Any:
    """Await ``work`` in a loop of its own; that it takes long is a failure."""
    return asyncio.run(asyncio.wait_for(work, seconds))


def attempt(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, or raises if it is an error of ours."""
    try:
        return work()
    except AuthenticationError as error:
        return error
