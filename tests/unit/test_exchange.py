"""Sessions for another audience, whose tokens are exchanged for those of a sign-in (RFC 8693)."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from pywry_auth_nb import (
    AccessTokenSource,
    AuthFlowManager,
    ConfigurationError,
    FileTokenStore,
    GenericOIDCProvider,
    LoginRequired,
    MemoryTokenStore,
    MicrosoftProvider,
    SessionManager,
    TokenError,
    TokenExchangeError,
    TokenExpiredError,
    TokenStoreError,
)
from pywry_auth_nb._io.loop import call_soon, run
from pywry_auth_nb._session import watcher
from pywry_auth_nb.providers.exchange import Target
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.stores import OwnStore
from tests.support.waiting import soon, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pywry_auth_nb.token_store import Record
    from tests.support.api import Api

    Kernel = Callable[[], SessionManager]

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels look at their stores every tenth of a second; every two seconds is for people."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)


@pytest.fixture
def kernel(idp: Idp, tmp_path: Path) -> Kernel:
    """Make a session as another kernel would have it: with objects of its own, over the same folder."""

    def make() -> SessionManager:
        provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
        return SessionManager(provider, FileTokenStore(tmp_path / "tokens"))

    return make


def person_signs_in(session: SessionManager, idp: Idp, sub: str = "ada") -> None:
    """Sign in as somebody."""
    idp.claims = {"sub": sub}
    idp.answers["/userinfo"] = Answer({"sub": sub})
    sign_in(AuthFlowManager(session.provider, session_manager=session), idp)


def refused(session: SessionManager) -> TokenError | LoginRequired:
    """Why there is no token to read."""
    with pytest.raises((TokenError, LoginRequired)) as caught:
        _ = session.access_token
    return caught.value


def revoked(idp: Idp) -> list[str]:
    """The tokens that the provider was asked to revoke."""
    return [request.form["token"] for request in idp.requests if request.path == "/revoke"]


def keys(session: SessionManager) -> list[str]:
    """Where there are tokens in the store."""
    return asyncio.run(session.token_store.list_keys())


# -- what is asked for ------------------------------------------------------------------------------------------------


def test_a_token_is_exchanged_when_it_is_first_read(signed_in: SessionManager, idp: Idp) -> None:
    """The request is that of RFC 8693 §2.1; the session shows the same user, and reads cost nothing more."""
    api = signed_in.for_audience("api", scopes="read write")

    assert api.access_token != signed_in.access_token
    assert idp.exchanges() == [
        {
            "grant_type": EXCHANGE,
            "subject_token": signed_in.access_token,
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
            "audience": "api",
            "scope": "read write",
            "client_id": CLIENT,
        }
    ]
    assert (api.status, api.scopes, api.user) == ("signed_in", ("read", "write"), signed_in.user)
    assert api.expires_at == pytest.approx(time.time() + 3600, abs=5)
    assert {api.access_token for _ in range(100)} == {api.access_token}
    assert len(idp.exchanges()) == 1


def test_ten_readers_share_one_exchange(signed_in: SessionManager, idp: Idp) -> None:
    """Threads that read at once, through sessions that were asked for several times, cause one request."""
    idp.answers["/token"] = Answer(delay=0.1)

    with ThreadPoolExecutor(10) as pool:
        tokens = {*pool.map(lambda _: signed_in.for_audience("api").access_token, range(10))}

    assert len(tokens) == len(idp.exchanges()) == 1
    assert signed_in.for_audience("api") is signed_in.for_audience("api")
    assert signed_in.for_audience("api") is not signed_in.for_audience("another")


def test_what_the_sign_in_asks_for_is_not_asked_for_again(idp: Idp) -> None:
    """The session's own resource is not that of the exchange; several resources are repeated (RFC 8707 §2)."""
    mine = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, resource="https://mine.example.org")
    session = SessionManager(mine, FileTokenStore())
    person_signs_in(session, idp)

    _ = session.for_audience("api").access_token
    assert "resource" not in idp.exchanges()[-1]
    _ = session.for_audience(resource=["https://a.example.org", "https://b.example.org"]).access_token
    assert idp.last("/token").body.count("resource=https%3A%2F%2F") == 2
    assert "audience" not in idp.exchanges()[-1]


def test_an_id_token_can_be_exchanged(signed_in: SessionManager, idp: Idp) -> None:
    """It is sent with its type."""
    id_token = signed_in.id_token
    idp.issued.add(id_token)

    _ = signed_in.for_audience("api", subject_token="id_token").access_token
    [asked] = idp.exchanges()
    assert asked["subject_token"] == id_token
    assert asked["subject_token_type"].endswith(":id_token")


def test_dialects() -> None:
    """Microsoft's on-behalf-of flow, and the JWT bearer grant of RFC 7523."""
    entra = MicrosoftProvider("client", "CANARY-secret", "contoso.example")
    target = Target("api://them", resource="", scopes=None, grant=entra.exchange_grant, subject_token="access_token")
    assert {name: value for name, value in target.form("at").items() if value} == {
        "grant_type": JWT_BEARER,
        "assertion": "at",
        "requested_token_use": "on_behalf_of",
        "scope": "api://them/.default",
    }
    named = Target("", resource="", scopes="api://them/read", grant="on-behalf-of", subject_token="access_token")
    assert named.form("at")["scope"] == "api://them/read"
    bearer = Target("api", resource="", scopes="read", grant="jwt-bearer", subject_token="id_token")
    assert {name: value for name, value in bearer.form("id").items() if value} == {
        "grant_type": JWT_BEARER,
        "assertion": "id",
        "audience": "api",
        "scope": "read",
    }


def test_another_provider_exchanges(signed_in: SessionManager, idp: Idp) -> None:
    """The token of one provider is an assertion at another one, which has a client of its own."""
    with Idp() as other:
        other.issued.add(signed_in.access_token)
        theirs = GenericOIDCProvider("their-client", "CANARY-secret", other.issuer)
        api = signed_in.for_audience("api", provider=theirs, grant="jwt-bearer")
        token = api.access_token

        [asked] = other.exchanges()
        assert (asked["assertion"], asked["audience"]) == (signed_in.access_token, "api")
        asyncio.run(signed_in.logout())
        assert revoked(other) == [token]
        assert token not in revoked(idp)


def test_a_provided_token_needs_a_provider(idp: Idp) -> None:
    """Who could exchange it is not known, unless it is said."""
    idp.issued.add("CANARY-at-provided")
    session = SessionManager(AccessTokenSource("CANARY-at-provided"))
    with pytest.raises(ConfigurationError) as caught:
        session.for_audience("api")
    assert caught.value.code == "exchange_unavailable"

    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
    assert session.for_audience("api", provider=provider).access_token.startswith("CANARY-at-")
    assert idp.exchanges()[0]["subject_token"] == "CANARY-at-provided"


def test_arguments(signed_in: SessionManager) -> None:
    """What cannot be asked for is said at once."""
    for arguments in (
        {},
        {"audience": 3},
        {"audience": "api", "grant": "password"},
        {"audience": "api", "subject_token": "refresh_token"},
        {"resource": "https://api.example.org", "grant": "on-behalf-of"},
        {"audience": "api", "provider": "google"},
    ):
        with case(arguments), pytest.raises(ConfigurationError):
            signed_in.for_audience(**arguments)  # type: ignore[arg-type]


def test_what_else_an_answer_has_is_left_out(signed_in: SessionManager, idp: Idp) -> None:
    """No refresh token and no ID token of an exchange is kept; without a lifetime, the token is exchanged in 5 min."""
    idp.token_extra = {"refresh_token": "CANARY-rt-x", "id_token": "CANARY-id-x", "expires_in": ...}
    api = signed_in.for_audience("api")

    _ = api.access_token
    assert api.expires_at == pytest.approx(time.time() + 300, abs=5)
    tokens = api._engine.state.tokens
    assert tokens is not None
    assert (tokens.refresh_token, tokens.id_token) == ("exchange another one", None)
    with pytest.raises(TokenError) as caught:
        _ = api.id_token
    assert caught.value.code == "id_token_missing"
    assert api.userinfo() == {}


# -- as long as the sign-in -------------------------------------------------------------------------------------------


def test_an_old_token_is_exchanged_for_a_renewed_one(signed_in: SessionManager, idp: Idp) -> None:
    """If both have expired, the session's is renewed first, once."""
    api = signed_in.for_audience("api")
    old, before = api.access_token, idp.requests_to("/token")
    expire(api)
    expire(signed_in)

    assert old != api.access_token != signed_in.access_token
    assert idp.requests_to("/token") == before + 2
    assert idp.exchanges()[-1]["subject_token"] == signed_in.access_token


def test_before_a_sign_in(session: SessionManager, idp: Idp) -> None:
    """A session for an audience may be made first: it asks for the sign-in, and works as soon as there is one."""
    api = session.for_audience("api")
    error = refused(api)
    assert (type(error), error.code, api.status) == (LoginRequired, "login_required", "signed_out")

    person_signs_in(session, idp)
    assert api.access_token.startswith("CANARY-at-")


def test_a_sign_out_ends_and_revokes_it(signed_in: SessionManager, idp: Idp) -> None:
    """The token is in no session and no store any more, and the provider was asked to revoke it, once."""
    apis = [signed_in.for_audience(name) for name in ("a", "b")]
    tokens = [*(api.access_token for api in apis), signed_in.access_token]

    asyncio.run(signed_in.logout())
    assert [type(refused(api)) for api in apis] == [LoginRequired] * 2
    assert [api.status for api in apis] == ["signed_out"] * 2
    assert sorted(token for token in revoked(idp) if token.startswith("CANARY-at")) == sorted(tokens)
    assert keys(signed_in) == []


def test_a_sign_out_in_another_kernel_ends_it(kernel: Kernel, idp: Idp) -> None:
    """A kernel that has made no session for it cleans the store up; the others hear of it; one revokes the token."""
    one, other = kernel(), kernel()
    person_signs_in(one, idp)
    api = other.for_audience("api")
    token = api.access_token

    asyncio.run(one.logout())
    until(lambda: api.status == "signed_out")
    assert type(refused(api)) is LoginRequired
    assert revoked(idp).count(token) == 1
    assert keys(one) == []

    person_signs_in(other, idp)
    assert api.access_token != token


def test_records_of_earlier_sign_ins_do_not_pile_up(kernel: Kernel, idp: Idp) -> None:
    """What a sign-out leaves in place of tokens is deleted by the next."""
    session = kernel()
    for _ in range(4):
        person_signs_in(session, idp)
        _ = session.for_audience("api").access_token
        asyncio.run(session.logout())

    left = run(session.token_store.list_keys_below(f"{session.store_key}."), 10)
    assert len(left) == 1


def test_another_user_ends_it(kernel: Kernel, idp: Idp) -> None:
    """Bob signs in where Ada was: her token is gone everywhere, and revoked; the next one is exchanged for his."""
    here, there = kernel(), kernel()
    person_signs_in(here, idp)
    mine, theirs = here.for_audience("api"), there.for_audience("api")
    adas = mine.access_token
    assert theirs.access_token == adas

    person_signs_in(here, idp, "bob")
    assert mine.access_token != adas
    assert idp.exchanges()[-1]["subject_token"] == here.access_token
    assert mine.user is not None
    assert mine.user["sub"] == "bob"
    until(lambda: there.status == "reauth_required")
    assert refused(theirs).code == "identity_changed"
    until(lambda: adas in revoked(idp))
    assert kernel().for_audience("api").access_token == mine.access_token


def test_a_new_sign_in_of_the_same_user_exchanges_anew(signed_in: SessionManager, idp: Idp) -> None:
    """It may have other scopes. The old token is not revoked, since the user has not signed out."""
    api = signed_in.for_audience("api")
    old = api.access_token
    person_signs_in(signed_in, idp)

    assert api.access_token != old
    assert old not in revoked(idp)
    until(lambda: len(keys(signed_in)) == 2)


def test_a_token_that_comes_after_the_sign_out(signed_in: SessionManager, idp: Idp) -> None:
    """It is not used, and revoked."""
    api, gate = signed_in.for_audience("api"), threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    read = threading.Thread(target=lambda: refused(api))
    read.start()
    until(idp.exchanges)

    asyncio.run(signed_in.logout())
    before = len(revoked(idp))
    gate.set()
    read.join()
    until(lambda: len(revoked(idp)) == before + 1)
    assert api.status == "signed_out"
    assert keys(signed_in) == []


class HoldingStore(MemoryTokenStore):
    """A store that has read the record of one key, and holds the answer back while its ``gate`` is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.waiting, self.gate = "", 0, threading.Event()

    async def read(self, key: str) -> Record:
        """Read, and answer once the gate is open."""
        record = await super().read(key)
        if key == self.held:
            self.waiting += 1
            await soon(self.gate.is_set, "the gate stayed shut")
        return record

    async def stamp(self, key: str) -> object:
        """Answer at once."""
        return (await super().read(key)).generation


def test_a_record_of_before_that_is_read_late(provider: GenericOIDCProvider, idp: Idp) -> None:
    """A slow store answers with a token when the user has signed out: it is not used."""
    store = HoldingStore()
    session = SessionManager(provider, store)
    person_signs_in(session, idp)
    api = session.for_audience("api")
    _, store.held = api.access_token, api.store_key
    api._engine._records.forget_stamp()
    call_soon(api._engine.record_changed)
    until(lambda: store.waiting)

    signing_out = session.logout()
    until(lambda: api.status == "signed_out")
    store.gate.set()
    asyncio.run(signing_out)
    until(lambda: not api._engine.is_doing("sync"))
    assert type(refused(api)) is LoginRequired


def test_a_later_kernel_uses_the_same_token(kernel: Kernel, idp: Idp) -> None:
    """What one kernel has exchanged, the next one finds in the store; it asks the provider for nothing."""
    first = kernel()
    person_signs_in(first, idp)
    token, before = first.for_audience("api").access_token, idp.requests_to("/token")

    assert kernel().for_audience("api").access_token == token
    assert idp.requests_to("/token") == before
    assert len(keys(first)) == 2


def test_a_sign_in_that_has_ended(signed_in: SessionManager, idp: Idp) -> None:
    """A token that was exchanged before stays good until its end; then the error says what to do."""
    api = signed_in.for_audience("api")
    token = api.access_token
    idp.answers["/token"] = Answer({"error": "invalid_grant"}, status=400)
    with pytest.raises(TokenError):
        asyncio.run(signed_in.refresh())
    assert (signed_in.status, api.access_token) == ("reauth_required", token)

    expire(signed_in)
    expire(api)
    error = refused(api)
    assert (type(error), error.code) == (TokenExpiredError, "invalid_grant")
    assert "Sign in again" in error.message


def test_a_store_of_ones_own(idp: Idp) -> None:
    """A store that keeps nothing but tokens will do."""
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), OwnStore())
    person_signs_in(session, idp)
    api = session.for_audience("api")

    assert api.access_token == session.for_audience("api").access_token
    asyncio.run(session.logout())
    assert type(refused(api)) is LoginRequired
    assert keys(session) == []


def test_a_store_that_cannot_list_is_no_reason_to_stay_signed_in(
    signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sign-out succeeds, and the token is used nowhere any more."""
    api = signed_in.for_audience("api")
    _ = api.access_token

    async def fail(*_: object) -> list[str]:
        raise TokenStoreError

    monkeypatch.setattr(signed_in.token_store, "list_keys_below", fail)
    asyncio.run(signed_in.logout())
    assert type(refused(api)) is LoginRequired


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_refusal_is_an_error_of_its_own(signed_in: SessionManager, idp: Idp) -> None:
    """It has a code and the provider's words; the sign-in is as it was, however often and in what words it is said."""
    for error, code in (
        ("invalid_target", "invalid_target"),
        ("invalid_scope", "invalid_scope"),
        ("unsupported_grant_type", "unsupported_grant_type"),
        ("unauthorized_client", "unauthorized_client"),
        ("invalid_request", "exchange_refused"),
        ("invalid_grant", "exchange_refused"),
        ("policy_says_no", "exchange_refused"),
    ):
        api, kept = signed_in.for_audience(error), signed_in.access_token
        idp.answers["/token"] = Answer({"error": error, "error_description": "not for you"}, status=400)
        for _ in range(3):
            with case(error):
                refusal = refused(api)
                assert (type(refusal), refusal.code) == (TokenExchangeError, code)
                assert "not for you" in refusal.description
                assert api.error is not None
                with pytest.raises(TokenExchangeError):
                    asyncio.run(api.refresh())
        assert (signed_in.status, signed_in.access_token) == ("signed_in", kept)
    assert revoked(idp) == []

    del idp.answers["/token"]
    asyncio.run(api.refresh())
    assert api.access_token.startswith("CANARY-at-")


def test_words_without_secrets(signed_in: SessionManager, idp: Idp) -> None:
    """A provider that quotes the token in its refusal does not bring it into the error."""
    words = f"cannot exchange {signed_in.access_token}"
    idp.answers["/token"] = Answer({"error": "invalid_request", "error_description": words}, status=400)

    error = refused(signed_in.for_audience("api"))
    assert error.description == "invalid_request: cannot exchange …"
    assert "'api'" in str(error) or " api." in str(error)


def test_a_provider_that_does_not_answer(signed_in: SessionManager, idp: Idp) -> None:
    """That passes: the error is that of any read, and the next one tries again."""
    api = signed_in.for_audience("api")
    idp.answers["/token"] = Answer({}, status=503)
    error = refused(api)
    assert (type(error), error.code) == (TokenExpiredError, "provider_unavailable")

    del idp.answers["/token"]
    until(lambda: api._engine.state.backoff.expired_not_before <= time.time())
    assert api.access_token.startswith("CANARY-at-")


def test_signing_out_of_it_alone(signed_in: SessionManager, idp: Idp) -> None:
    """The token is forgotten and not revoked, and the session that it comes from stays signed in."""
    api = signed_in.for_audience("api")
    old = api.access_token

    result = asyncio.run(api.logout())
    assert (result.access_token, result.refresh_token) == ("kept", "none")
    assert "Signing out of the session that it was exchanged from" in str(result)
    assert (type(refused(api)), signed_in.status, revoked(idp)) == (LoginRequired, "signed_in", [])

    api.login()
    assert api.access_token != old


# -- wherever a session is used ---------------------------------------------------------------------------------------


def test_it_is_used_as_a_session(signed_in: SessionManager) -> None:
    """``headers``, ``token_provider`` and ``get_access_token`` have its token."""
    api = signed_in.for_audience("api")
    token = api.access_token

    assert api.headers == {"Authorization": f"Bearer {token}"}
    assert api.token_provider() == asyncio.run(api.get_access_token()) == token


def test_requests_with_it(signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """A refused token is exchanged for another one, and the request repeated; the session's own token is not."""
    audience = signed_in.for_audience("api")
    refused_token, own = audience.access_token, signed_in.access_token
    api.refuse = lambda token: token == refused_token

    assert httpx.get(api.url, auth=audience.auth).status_code == 200
    assert api.tokens() == [refused_token, audience.access_token]
    assert signed_in.access_token == own
    assert len(idp.exchanges()) == 2


def test_the_origins_of_the_session_limit_it(provider: GenericOIDCProvider) -> None:
    """Where the session's token may go is where this one may, unless other origins are named."""
    session = SessionManager(provider, allowed_origins=["https://mine.example.org"])

    assert session.for_audience("api").allowed_origins == ["https://mine.example.org"]
    named = session.for_audience("api", allowed_origins=["https://api.example.org"], renew_on={403})
    assert (named.allowed_origins, named.renew_on) == (["https://api.example.org"], {403})


def test_a_handle_for_an_audience(signed_in: SessionManager, idp: Idp) -> None:
    """A worker gets the exchanged token; the handle outlasts a new sign-in of the same user, and no sign-out."""
    handle = pickle.loads(pickle.dumps(signed_in.handle(audience="api")))  # noqa: S301 - our own
    api = signed_in.for_audience("api")
    assert handle() == api.access_token != signed_in.access_token
    person_signs_in(signed_in, idp)
    assert handle() == api.access_token

    asyncio.run(signed_in.logout())
    with pytest.raises(TokenError) as caught:
        handle()
    assert caught.value.code in {"kernel_gone", "handle_ended"}


def test_a_token_of_a_token(signed_in: SessionManager, idp: Idp) -> None:
    """A session for an audience has audiences of its own; all of them end with the sign-in."""
    near = signed_in.for_audience("near")
    far = near.for_audience("far")
    token = far.access_token
    assert [form["subject_token"] for form in idp.exchanges()] == [signed_in.access_token, near.access_token]

    asyncio.run(signed_in.logout())
    assert (near.status, far.status) == ("signed_out", "signed_out")
    assert token in revoked(idp)
    assert keys(signed_in) == []


def test_it_goes_with_its_session(provider: GenericOIDCProvider, idp: Idp) -> None:
    """A session that is dropped takes its audiences with it, and their work in the background."""
    session = SessionManager(provider, MemoryTokenStore())
    person_signs_in(session, idp)
    api = session.for_audience("api")
    _ = api.access_token
    engines = [weakref.ref(session._engine), weakref.ref(api._engine)]

    del session, api
    until(lambda: gc.collect() >= 0 and not any(engine() for engine in engines))


def test_no_secret_is_shown(signed_in: SessionManager) -> None:
    """Neither the session nor its provider shows a token, or can be pickled."""
    api = signed_in.for_audience("api")
    _ = api.access_token

    shown = repr(api) + repr(api.provider) + repr(api._engine.state) + json.dumps(api.user)
    assert "CANARY" not in shown
    for thing in (api, api.provider):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
