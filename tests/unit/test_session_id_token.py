"""`session.id_token`: valid now, checked, cheap to read; or an error that says why there is none."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    GenericOIDCProvider,
    LoginRequired,
    RefreshTokenSource,
    SessionManager,
    TokenError,
    TokenExpiredError,
)
from pywry_auth_nb._io.loop import get_loop
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.idp import CLIENT, Answer
from tests.support.waiting import soon, until, within
from tests.unit.test_leaks import WAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.idp import Idp


@contextmanager
def held_loop() -> Iterator[None]:
    """The background loop does nothing else meanwhile."""
    held, over = threading.Event(), threading.Event()
    get_loop().call_soon_threadsafe(lambda: (held.set(), over.wait(30)))
    assert held.wait(10)
    yield
    over.set()


def old(*, left: int) -> dict[str, Any]:
    """Claims of an ID token that was issued five minutes ago and has ``left`` seconds left."""
    now = int(time.time())
    return {"iat": now - 300, "exp": now + left}


def claims_of(token: str) -> dict[str, Any]:
    """Read a token as another program does."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def signed_in_with(idp: Idp, flow: AuthFlowManager, *, left: int) -> str:
    """Sign in with an ID token that has ``left`` seconds left; what comes later is new. Return it."""
    idp.claims = old(left=left)
    sign_in(flow, idp)
    idp.claims = {}
    tokens = flow.session._engine.state.tokens
    assert tokens is not None
    return str(tokens.id_token)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_it_is_the_providers(signed_in: SessionManager, idp: Idp) -> None:
    """A read returns the ID token of the sign-in, without a request, as text whose repr hides it."""
    before = len(idp.requests)
    token = signed_in.id_token

    assert claims_of(token)["sub"] == "ada"
    assert len(idp.requests) == before
    assert json.loads(json.dumps(token)) == f"{token}"
    assert {"eyJ" in show(token) for show in WAYS.values()} == {False}
    assert repr(token) == "<IDToken ***>"
    assert asyncio.run(signed_in.get_id_token()) == token


def test_a_second_read_needs_no_loop(signed_in: SessionManager) -> None:
    """It is a look at a tuple and at the clock, as that of the access token is."""
    token = signed_in.id_token

    with held_loop(), within(1):
        assert [signed_in.id_token for _ in range(1000)] == [token] * 1000
        assert asyncio.run(signed_in.get_id_token()) == token


def test_it_changes_with_the_tokens(signed_in: SessionManager) -> None:
    """After a renewal and after a sign-out, no earlier one is returned."""
    first = signed_in.id_token
    asyncio.run(signed_in.refresh())
    assert signed_in.id_token != first

    asyncio.run(signed_in.logout())
    with pytest.raises(LoginRequired):
        _ = signed_in.id_token


# -- renewing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [20, -10], ids=["about to end", "ended"])
def test_it_is_renewed_before_it_ends(session: SessionManager, flow: AuthFlowManager, idp: Idp, left: int) -> None:
    """One refresh brings another one, although the access token is good."""
    first = signed_in_with(idp, flow, left=left)
    with ThreadPoolExecutor(8) as pool:
        read = set(pool.map(lambda _: session.id_token, range(8)))

    assert len(read) == 1
    assert first not in read
    assert idp.requests_to("/token") == 2
    assert claims_of(read.pop())["exp"] > time.time() + 200


def test_kernels_that_share_a_sign_in_renew_it_once(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The other one takes over what the first has stored."""
    signed_in_with(idp, flow, left=-10)
    other = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), session.token_store)
    assert other.access_token
    with ThreadPoolExecutor(2) as pool:
        read = {*pool.map(lambda each: each.id_token, [session, other])}

    assert len(read) == 1
    assert idp.requests_to("/token") == 2


def test_a_provider_that_sends_no_new_one(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """OIDC Core §12.2 lets it: the old one is returned while it lasts, and no read causes another refresh."""
    first = signed_in_with(idp, flow, left=20)
    idp.token_extra["id_token"] = ...

    assert {session.id_token for _ in range(5)} == {first}
    assert idp.requests_to("/token") == 2


def test_one_that_ended_and_is_not_renewed(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The error says so; the access token is good, and no read causes another refresh."""
    signed_in_with(idp, flow, left=-10)
    idp.token_extra["id_token"] = ...
    for _ in range(5):
        with pytest.raises(TokenExpiredError, match="sent no new one") as caught:
            _ = session.id_token
        assert caught.value.code == "id_token_not_renewed"

    assert idp.requests_to("/token") == 2
    assert session.access_token
    assert session.status == "signed_in"


BAD_CLAIMS = [{"aud": "another"}, {"exp": int(time.time()) - 1000}, {"at_hash": "wrong"}, {"azp": "another"}]


def test_one_that_is_not_as_it_should_be_is_not_taken(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """What comes with a refresh is checked as at a sign-in: the one of before stays until it ends."""
    for claims in BAD_CLAIMS:
        with case(claims):
            first = signed_in_with(idp, flow, left=20)
            idp.claims = claims
            assert session.id_token == first

            signed_in_with(idp, flow, left=-10)
            idp.claims = claims
            with pytest.raises(TokenExpiredError) as caught:
                _ = session.id_token
            assert caught.value.code == "id_token_not_renewed"


def test_a_slow_provider_does_not_hold_up_a_reader(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """While the old one is good, a read waits for three seconds at most; for one that ended, as long as any read."""
    first = signed_in_with(idp, flow, left=20)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    with within(6):
        assert session.id_token == first
    gate.set()
    until(lambda: session.status == "signed_in")

    assert session.id_token != first


def test_a_read_has_a_deadline(
    session: SessionManager, flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel is held up no longer than by the access token."""
    signed_in_with(idp, flow, left=-10)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    monkeypatch.setattr("pywry_auth_nb.session._READ_DEADLINE", 0.2)
    with within(5), pytest.raises(TokenExpiredError) as caught:
        _ = session.id_token
    gate.set()

    assert caught.value.code == "timeout"


def test_an_async_read_does_not_block(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The notebook's own loop goes on meanwhile."""
    first = signed_in_with(idp, flow, left=-10)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)

    async def cell() -> str:
        reading = asyncio.create_task(session.get_id_token())
        await soon(lambda: idp.requests_to("/token") == 2)
        gate.set()
        return await reading

    assert asyncio.run(cell()) != first


# -- why there is none ------------------------------------------------------------------------------------------------


def test_signed_out(session: SessionManager) -> None:
    """Before a sign-in there is none."""
    with pytest.raises(LoginRequired):
        _ = session.id_token


def test_a_refresh_that_fails(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The reason is that of the refresh; reads in between cause no storm."""
    signed_in_with(idp, flow, left=-10)
    idp.answers["/token"] = Answer({"error": "temporarily_unavailable"}, 503)
    codes = set()
    for _ in range(20):
        with pytest.raises(TokenExpiredError) as caught:
            _ = session.id_token
        codes.add(caught.value.code)

    assert codes == {"provider_unavailable"}
    assert idp.requests_to("/token") < 6


def test_a_sign_in_that_has_ended(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The error says to sign in again, and so does the session."""
    signed_in_with(idp, flow, left=-10)
    idp.refresh_tokens.clear()
    with pytest.raises(TokenExpiredError) as caught:
        _ = session.id_token

    assert caught.value.code == "invalid_grant"
    assert session.status == "reauth_required"


def test_nothing_to_renew_it_with(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Without a refresh token only a new sign-in helps."""
    idp.token_extra["refresh_token"] = ...
    signed_in_with(idp, flow, left=-10)
    with pytest.raises(TokenExpiredError, match="no refresh token") as caught:
        _ = session.id_token

    assert caught.value.code == "no_refresh_token"
    assert idp.requests_to("/token") == 1


def test_a_provider_that_gives_none(idp: Idp) -> None:
    """The message says why, and nothing is refreshed for it."""
    urls = {"authorize_url": f"{idp.issuer}/authorize", "token_url": f"{idp.issuer}/token"}
    optional: Any = {"issuer_url": idp.issuer, "require_id_token_validation": False}
    for options, why in ((urls, "Set issuer_url"), (optional, "Add openid to the scopes")):
        with case(why):
            idp.be_honest()
            idp.token_extra["id_token"] = ...
            session = SessionManager(GenericOIDCProvider(CLIENT, **options))
            sign_in(AuthFlowManager(session.provider, session_manager=session), idp)
            with pytest.raises(TokenError, match=why) as caught:
                _ = session.id_token
            assert caught.value.code == "id_token_missing"
            assert idp.requests_to("/token") == 1


def test_one_that_was_not_checked_when_it_came(idp: Idp) -> None:
    """Where a sign-in needs no valid one, it is checked when it is read; then it is as good as any."""
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, require_id_token_validation=False)
    session = SessionManager(provider)
    flow = AuthFlowManager(provider, session_manager=session)
    sign_in(flow, idp)
    assert claims_of(session.id_token)["sub"] == "ada"

    idp.claims = {"iss": "https://evil.example"}
    sign_in(flow, idp)
    with pytest.raises(TokenError) as caught:
        _ = session.id_token
    assert caught.value.code == "id_token_iss"


def test_a_provided_refresh_token_brings_one(idp: Idp) -> None:
    """It is redeemed by the first read, also if that is of the ID token."""
    idp.refresh_tokens["CANARY-rt-provided"] = True
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
    session = SessionManager(RefreshTokenSource(provider, "CANARY-rt-provided"))

    assert claims_of(session.id_token)["sub"] == "ada"
    assert idp.requests_to("/token") == 1


# -- a callable that returns a token ----------------------------------------------------------------------------------


def test_a_token_provider_returns_a_token_that_is_valid_now(signed_in: SessionManager, idp: Idp) -> None:
    """Clients that call for a token get a fresh one each time; what they show of the callable is no token."""
    provide = signed_in.token_provider
    first = provide()
    expire(signed_in)

    assert isinstance(first, str)
    assert first != provide() == signed_in.access_token
    assert idp.requests_to("/token") == 2
    assert "CANARY" not in repr(provide) + repr(first)


def test_a_token_provider_raises_what_a_read_does(session: SessionManager) -> None:
    """A client gets the session's error."""
    with pytest.raises(LoginRequired):
        session.token_provider()
