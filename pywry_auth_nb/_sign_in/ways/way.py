"""`Way`: what every way to sign in has; and `OneRequest`, which holds the sign-in that a way has opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from ...errors import AuthenticationError
from ..authorization import AuthorizationRequest, DeviceRequest

if TYPE_CHECKING:
    import concurrent.futures

    from ..authorization import AuthFlowResult
    from ..sign_ins import SignIns

Request = TypeVar("Request", AuthorizationRequest, DeviceRequest)
WayName = Literal["server", "loopback", "device"]


class Way(Protocol):
    """One way to sign in the user of one session; used once.

    Attributes:
        name: The value of ``session.login(via=…)``.
    """

    name: ClassVar[WayName]

    async def why_not(self) -> str:
        """Return why it cannot be had here, in a sentence; empty if it can. On the background loop."""

    async def begin(self, lifetime: float, **params: Any) -> None:
        """Open the sign-in. On the background loop.

        Args:
            lifetime: Seconds within which the user must sign in.
            params: ``prompt``, ``login_hint``, ``acr_values`` and ``max_age``, as for :meth:`SignIns.begin`.

        Raises:
            AuthenticationError: It cannot be opened; the code says why.
        """

    @property
    def details(self) -> dict[str, Any]:
        """What to show to the user who signs in, once it is open."""

    @property
    def outcome(self) -> concurrent.futures.Future[AuthFlowResult]:
        """Done when the sign-in has ended."""

    def end(self, error: BaseException, *, quietly: bool = False) -> None:
        """End it with ``error`` if it is still open, and free what it holds. From any thread.

        Args:
            error: Why.
            quietly: As for :meth:`SignIns.abandon`.
        """


class OneRequest(Generic[Request]):
    """A way that opens one sign-in.

    Args:
        sign_ins: The session's sign-ins.
    """

    def __init__(self, sign_ins: SignIns) -> None:
        self._sign_ins = sign_ins
        self._request: Request | None = None

    @property
    def request(self) -> Request:
        """The open sign-in."""
        if self._request is None:
            raise AuthenticationError(code="not_started")
        return self._request

    @property
    def outcome(self) -> concurrent.futures.Future[AuthFlowResult]:
        """Done when the sign-in has ended."""
        return self.request.outcome

    def end(self, error: BaseException, *, quietly: bool = False) -> None:
        """End the sign-in with ``error`` if it is still open. From any thread."""
        if self._request is not None:
            self._sign_ins.abandon(self._request.state, error, quietly=quietly)
