"""`TokenHandle`: a session, as a worker on the same machine sees it. It can be pickled, and holds no token."""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

from ._io.loop import in_thread
from .errors import AuthenticationError, ConfigurationError, TokenError, TokenExpiredError, without_traceback
from .exits.link import HOST, NONCE_HEADER, PROOF_HEADER, TOKEN_PATH, fingerprint, proof, this_machine
from .tokens import AccessToken, Secret, bearer

if TYPE_CHECKING:
    from typing_extensions import Self

    from .auth import SessionAuth

_DEADLINE = 45.0  # seconds: the kernel may have to renew the token first
_MAX_ANSWER = 256 * 1024  # bytes
_OK, _UNAUTHORIZED = 200, 401


@dataclass(frozen=True, repr=False)
class TokenHandle:
    """Asks the kernel of a session for its access token, each time one is needed.

    ``session.handle()`` makes it. It can be pickled and sent to workers on the same machine: multiprocessing, joblib,
    dask, Ray, Spark. Calling it returns a token that is valid now, and :attr:`auth` sends it, as those of a session do.
    It holds the address of the kernel and a key for that alone, which whoever reads the pickle may use, too.

    Every method raises:

    - :class:`TokenError` with code ``kernel_gone`` if the kernel has ended, ``handle_ended`` if the key is no longer
      good, and the kernel's own code if it has no token now, such as ``invalid_grant``;
    - :class:`ConfigurationError` with code ``handle_elsewhere`` on another machine.
    """

    port: int
    key: str
    machine: str = field(default_factory=this_machine)
    allowed_origins: tuple[str, ...] | None = None
    renew_on: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", Secret(self.key))  # the dataclass is frozen

    def __call__(self) -> AccessToken:
        """Return an access token that is valid now."""
        __tracebackhide__ = True
        return AccessToken(self._ask()["token"])

    @property
    def access_token(self) -> AccessToken:
        """The same."""
        __tracebackhide__ = True
        return self()

    @property
    def expires_at(self) -> float | None:
        """When the access token expires, in epoch seconds, or None."""
        __tracebackhide__ = True
        expires_at: float | None = self._ask()["expires_at"]
        return expires_at

    async def get_access_token(self) -> AccessToken:
        """Return an access token without blocking the caller's event loop."""
        __tracebackhide__ = True
        return AccessToken((await in_thread(self._ask))["token"])

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header with a valid token. Read it again for every request."""
        __tracebackhide__ = True
        return {"Authorization": bearer(self())}

    @property
    def auth(self) -> SessionAuth:
        """Credentials for HTTP clients, as ``session.auth`` is; they can be pickled as well."""
        from .auth import SessionAuth

        session: Any = self  # what it needs of one
        return SessionAuth(session, self.allowed_origins, self.renew_on)

    def handle(self) -> Self:
        """Return itself: what takes a session takes a handle."""
        return self

    @property
    def _engine(self) -> Self:
        """What :class:`SessionAuth` asks for another token."""
        return self

    async def refresh_rejected(self, token: str) -> AccessToken | None:
        """Return another token in place of one that an API rejected, or None."""
        renewed = (await in_thread(self._ask, fingerprint(token)))["token"]  # another program may listen there by now
        return None if renewed is None else AccessToken(renewed)

    def _ask(self, refused: str | None = None) -> dict[str, Any]:
        """Ask the kernel, and raise without frames: they have keys and tokens as local variables."""
        __tracebackhide__ = True
        if self.machine != this_machine():  # another program may listen there
            raise ConfigurationError(code="handle_elsewhere")
        try:
            return self._exchange(refused)
        except AuthenticationError as error:
            failure = without_traceback(error)
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            failure = TokenError(code="kernel_gone")
        raise failure

    def _exchange(self, refused: str | None) -> dict[str, Any]:
        nonce = secrets.token_urlsafe(16)
        headers = {"Authorization": bearer(self.key), NONCE_HEADER: nonce}
        connection = HTTPConnection(HOST, self.port, timeout=_DEADLINE)  # knows no proxies
        try:
            connection.request("GET" if refused is None else "POST", TOKEN_PATH, body=refused, headers=headers)
            response = connection.getresponse()
            body = response.read(_MAX_ANSWER)
        finally:
            connection.close()
        if response.status == _UNAUTHORIZED:
            raise TokenError(code="handle_ended")
        if not hmac.compare_digest(response.headers.get(PROOF_HEADER, ""), proof(self.key, nonce, body)):
            raise TokenError(code="kernel_gone")  # another program has taken its port
        answer: dict[str, Any] = json.loads(body)
        if response.status != _OK:
            raise TokenExpiredError(str(answer["message"]), code=answer["error"])
        return answer

    def __repr__(self) -> str:
        return f"<TokenHandle of the kernel at {HOST}:{self.port}>"
