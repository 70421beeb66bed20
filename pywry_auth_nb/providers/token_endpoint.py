"""`TokenEndpoint`: a client's requests for tokens, and how it authenticates in them (RFC 6749 §2.3.1 and §3.2)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .._io.http import DEADLINE
from .._io.loop import in_thread
from ..errors import TokenError
from ..tokens import parse_token_response
from . import client_auth as authentication
from . import parameters
from .description import plain_text, secrets_in_answer, secrets_in_form, words_in
from .device import GRANT_TYPE as DEVICE
from .device import POLL_ERRORS
from .discovery import texts
from .refusals import is_passing, refusal, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._io.answers import Answer
    from .._io.http import HttpClient
    from .._wire.error_codes import ErrorCode
    from ..tokens import OAuthTokenSet, Secret
    from .client_auth import ClientCredential
    from .parameters import ClientAuth, Parameters, Value

_KEY_DEADLINE = 5.0  # seconds: the file may be on a network
_SLOW_KEY = "The client's key could not be read within 5 s. Check the file system that it is on."
#: Seconds that the token endpoint may take for a code, while a person waits at the callback.
EXCHANGE_DEADLINE = 45.0
#: Seconds that it may take for anything else, since the store's lease is held for a refresh.
REFRESH_DEADLINE = 30.0


def code_form(code: str, redirect_uri: str, pkce_verifier: str | None) -> dict[str, str]:
    """Return the form that exchanges an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    return {**form, "code_verifier": pkce_verifier} if pkce_verifier else form


def refresh_form(refresh_token: str) -> dict[str, str]:
    """Return the form that requests a refresh (RFC 6749 §6)."""
    return {"grant_type": "refresh_token", "refresh_token": refresh_token}


class Registration(Protocol):
    """A client as it is registered at a provider; its attributes are described at :class:`OAuthProvider`."""

    client_id: str
    client_secret: Secret
    client_auth: ClientAuth
    client_key: ClientCredential | None
    token_url: str
    token_params: Mapping[str, Value]
    default_auth: ClassVar[str]
    form_answers: ClassVar[bool]
    error_names: ClassVar[Mapping[str, ErrorCode]]

    def explain(self, body: dict[str, Any]) -> TokenError | None:
        """Return a more specific error for a refusal of the token endpoint, or None."""


class TokenEndpoint:
    """Sends a client's requests, and remembers how it authenticates if that had to be tried.

    Args:
        http: The HTTP client.
        client: The client, which is read at each request: discovery and the user may change it.
        listed_methods: Returns the authentication methods that the metadata list for an endpoint.
    """

    def __init__(self, http: HttpClient, client: Registration, listed_methods: Callable[[str], Any]) -> None:
        self._http = http
        self._client = client
        self._listed_methods = listed_methods
        self._working = ""  # the method that worked after another was refused

    async def grant(self, form: Parameters, *, requested_scope: str) -> OAuthTokenSet:
        """Send a token request, and return the tokens of the response.

        An empty value of ``form`` takes that of the client's ``token_params`` away.

        Raises:
            TokenError: The request failed, or there are no tokens in the response.
        """
        renewing = form.get("grant_type") == "refresh_token"
        sent = parameters.given({**self._client.token_params, **form})
        by_user = form.get("grant_type") == "authorization_code"
        deadline = EXCHANGE_DEADLINE if by_user else REFRESH_DEADLINE
        answer = await self.request("token", self._client.token_url, sent, deadline=deadline)
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.ok and body and not body.get("error"):
            return parse_token_response(
                body, requested_scope=requested_scope, sent_at=answer.sent_at, ahead=answer.ahead, renewing=renewing
            )
        raise self._failure(answer, sent)

    async def ask(self, url: str, form: Parameters) -> dict[str, Any]:
        """POST to an endpoint where this client authenticates as at the token endpoint (RFC 8628 §3.1).

        Returns:
            The JSON object of a successful response.

        Raises:
            TokenError: The request failed, or was refused.
        """
        answer = await self.request("token", url, form, deadline=EXCHANGE_DEADLINE)
        if answer.ok and isinstance(answer.body, dict) and answer.body and not answer.body.get("error"):
            return answer.body
        raise self._failure(answer, form)

    def _failure(self, answer: Answer, sent: Parameters) -> TokenError:
        """Return the error for a response without what was asked for, with the provider's own words."""
        body = answer.body if isinstance(answer.body, dict) else {}
        failure = self._refusal(answer, body, str(sent.get("grant_type", "")))
        secrets = {*secrets_in_form(sent), *secrets_in_answer(answer.body), *self._credentials()}
        failure.description = plain_text(words_in(body) or answer.text, secrets)
        return failure

    def _refusal(self, answer: Answer, body: dict[str, Any], grant_type: str) -> TokenError:
        error = body.get("error") or None
        name = self._client.error_names.get(str(error), error)
        if grant_type == DEVICE and name in POLL_ERRORS:  # whatever its status: Google's is 428
            return TokenError(code=name, retry_after=answer.retry_after)
        if is_passing(answer, error):
            return unavailable(answer)
        return self._client.explain(body) or refusal(answer, name, refreshing=grant_type == "refresh_token")

    async def request(
        self, endpoint: str, url: str, form: Parameters, *, deadline: float = DEADLINE, expect_json: bool = True
    ) -> Answer:
        """POST as this client; if it is refused, once more with the other method, which is kept if tokens come so.

        A code or refresh token is not used up by the first try: a provider authenticates the client before it looks at
        either (RFC 6749 §3.2.1, §4.1.3, §6).

        Args:
            endpoint: ``"token"`` or ``"revocation"``.
            url: Its URL.
            form: The request.
            deadline: Seconds that both tries may take together.
            expect_json: Whether a successful response that is not JSON is an error.

        Raises:
            TokenError: One of the HTTP client's; or code ``client_auth_unsupported``.
        """
        until, method = time.monotonic() + deadline, self.auth_method(endpoint)
        answer = await self._post(url, form, method, deadline=deadline, expect_json=expect_json)
        other = self._other_method(method, endpoint) if authentication.is_client_refused(answer) else ""
        if not other:
            return answer
        left = until - time.monotonic()
        second = await self._post(url, form, other, deadline=left, expect_json=expect_json)
        if authentication.is_client_refused(second):
            return answer
        if endpoint == "token":
            self._working = other
        return second

    async def _post(self, url: str, form: Parameters, method: str, *, deadline: float, expect_json: bool) -> Answer:
        """POST a form as this client: with its secret in the header or the body, or only its ID (RFC 6749 §2.3.1)."""
        client, headers = self._client, {}
        if method == authentication.BASIC:
            headers["Authorization"] = authentication.basic(client.client_id, client.client_secret)
        else:
            form = {**form, "client_id": client.client_id, **await self._proof(method, url)}
        return await self._http.request(
            "POST",
            url,
            form=form,
            headers=headers,
            expect_json=expect_json,
            form_answer=client.form_answers,
            deadline=deadline,
        )

    async def _proof(self, method: str, url: str) -> dict[str, str]:
        """Return the parameters that prove who the client is (RFC 6749 §2.3.1, RFC 7523 §2.2)."""
        client = self._client
        if method == authentication.PRIVATE_KEY and client.client_key is not None:
            making = in_thread(client.client_key.assertion, client.client_id, url)  # it reads a file
            try:
                assertion = await asyncio.wait_for(making, _KEY_DEADLINE)
            except asyncio.TimeoutError:
                raise TokenError(_SLOW_KEY, code="client_key_unusable") from None
            return {"client_assertion_type": authentication.ASSERTION_TYPE, "client_assertion": assertion}
        return {"client_secret": client.client_secret} if method == authentication.POST else {}

    def auth_method(self, endpoint: str) -> str:
        """Return how the client authenticates at the ``"token"`` or the ``"revocation"`` endpoint (OIDC Core §9).

        Raises:
            TokenError: Code ``client_auth_unsupported``.
        """
        client, listed = self._client, self._listed_methods(endpoint)
        if client.client_key is not None:
            return authentication.PRIVATE_KEY
        if client.client_auth:
            return authentication.METHODS[client.client_auth]
        if not client.client_secret:
            return authentication.NONE
        if self._working in texts(listed):
            return self._working
        default = self._working or client.default_auth
        return authentication.preferred(listed, client.client_id, client.client_secret, default=default)

    def _other_method(self, method: str, endpoint: str) -> str:
        """Return the method to try after an endpoint has refused ``method``; empty if there is none.

        A provider may take at each endpoint what it lists for the token endpoint alone.
        """
        offered = [*texts(self._listed_methods(endpoint)), *texts(self._listed_methods("token"))]
        return "" if self._client.client_auth else authentication.alternative(method, offered)

    def _credentials(self) -> tuple[str, str]:
        """Return the client's secret as it is sent, in the body or in a header."""
        client = self._client
        basic = authentication.basic(client.client_id, client.client_secret)
        return client.client_secret, basic.removeprefix("Basic ")
