"""`Attempt`: one request of any HTTP client with a session's token, and what its answer means.

This is the only place that decides: where the token may go, whether an answer refuses or demands something, and that a
request is repeated once. What speaks a client's protocol carries these decisions out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._io.challenges import demand_in
from .._io.loop import run
from ..errors import AuthenticationError, ConfigurationError
from ..tokens import bearer
from .destinations import Destinations, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..session import SessionManager

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_DEMANDS = (_UNAUTHORIZED, _FORBIDDEN)
_REFUSALS = range(400, 600)
_RENEWAL_DEADLINE = 45.0  # seconds


class Rules(NamedTuple):
    """The rules of one :class:`SessionAuth`.

    Attributes:
        destinations: Where the token may go.
        renew_on: The status codes by which an API refuses an expired token.
    """

    destinations: Destinations
    renew_on: frozenset[int]

    @classmethod
    def of(cls, allowed_origins: Collection[str] | None, renew_on: Collection[int]) -> Rules:
        """Read the arguments.

        Raises:
            ConfigurationError: One of them is not what it must be.
        """
        return cls(Destinations(allowed_origins), _statuses(renew_on) | {_UNAUTHORIZED})


class Answer(NamedTuple):
    """An answer to a request.

    Attributes:
        status: Its status code.
        challenge: Its ``WWW-Authenticate``.
        url: What it answers, after redirects.
        carried: The ``Authorization`` of the request that it answers; a redirect to another origin loses it.
        redirected: Whether the request was redirected.
        rewind: Makes the body ready to be sent again, and returns whether that is possible.
        close: Closes the answer, if an error takes its place; httpx does that by itself.
    """

    status: int
    challenge: str
    url: str
    carried: str | None
    redirected: bool
    rewind: Callable[[], bool]
    close: Callable[[], object] = lambda: None


class Attempt:
    """One request, and at most one repetition with a renewed token.

    Args:
        session: The session whose token is sent.
        rules: What is allowed, and what counts as a refusal.
        url: Where the request goes.
        proxied: Whether the client says that it goes through a proxy.

    Raises:
        AuthenticationError: The token may not be sent there.
    """

    def __init__(self, session: SessionManager, rules: Rules, url: str, *, proxied: bool = False) -> None:
        rules.destinations.check(url, proxied=proxied)
        self._session = session
        self._rules = rules
        self._token = ""
        self._repeated = False

    def begin(self) -> str:
        """Return the header's value for the request (RFC 6750 §2.1), with a valid token.

        Raises:
            AuthenticationError: What ``session.access_token`` raises.
        """
        self._token = self._session.access_token
        return bearer(self._token)

    async def begin_async(self) -> str:
        """Do the same without blocking the caller's event loop."""
        self._token = await self._session.get_access_token()
        return bearer(self._token)

    def again(self, answer: Answer) -> str | None:
        """Return the header's value with which to repeat the request; None if ``answer`` is for the caller.

        Raises:
            InsufficientScopeError: The API needs scopes that the token lacks.
            StepUpRequired: The API needs a newer or stronger sign-in.
        """
        if not self._is_refused(answer):
            return None
        return self._repeat(answer, renew(self._session, self._token) if answer.carried else self._token)

    async def again_async(self, answer: Answer) -> str | None:
        """Do the same without blocking the caller's event loop."""
        if not self._is_refused(answer):
            return None
        return self._repeat(answer, await renew_async(self._session, self._token) if answer.carried else self._token)

    def _is_refused(self, answer: Answer) -> bool:
        """Whether another token may help: not after a redirect, which may have led elsewhere, or a second time."""
        self._raise_demand(answer)
        return answer.status in self._rules.renew_on and not answer.redirected and not self._repeated

    def _repeat(self, answer: Answer, token: str | None) -> str | None:
        if token is None or not answer.rewind():
            return None
        self._token, self._repeated = token, True
        return bearer(token)

    def _raise_demand(self, answer: Answer) -> None:
        """Raise what an answer demands, if its request carried the token."""
        if answer.status not in _DEMANDS or not answer.challenge or answer.carried != bearer(self._token):
            return
        origin = origin_of(answer.url)
        demand = demand_in(answer.challenge, origin.host) if self._rules.destinations.may_include(origin) else None
        if demand is not None:
            answer.close()
            raise demand


def renew(session: SessionManager, refused: str) -> str | None:
    """Return a new token in place of one that a server refused, or None if there is none."""
    try:
        return run(renew_async(session, refused), _RENEWAL_DEADLINE)
    except AuthenticationError:  # it took too long
        return None


async def renew_async(session: SessionManager, refused: str) -> str | None:
    """Do the same without blocking the caller's event loop."""
    try:
        return await session._engine.refresh_rejected(refused)
    except AuthenticationError:
        return None  # the caller gets the server's answer


def _statuses(codes: Any) -> frozenset[int]:
    """Return status codes as people write them.

    Raises:
        ConfigurationError: They are something else.
    """
    try:
        statuses = frozenset(codes)
    except TypeError:
        statuses = frozenset({None})
    if not all(isinstance(status, int) and status in _REFUSALS for status in statuses):
        raise ConfigurationError("renew_on must be a set of status codes such as {403, 419}.")
    return statuses
