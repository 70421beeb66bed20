"""Tokens for other APIs, exchanged at a certified provider (RFC 8693), by kernels that are real processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from pywry_auth_nb import AuthFlowManager, FileTokenStore, GenericOIDCProvider, SessionManager, TokenExchangeError
from tests.support.aging import expire

from .conftest import REDIRECT_URIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .processes import Provider

pytestmark = pytest.mark.timeout(300)
AUDIENCES = [f"api-{number}" for number in range(5)]
#: A kernel that reads a token for each API, when it is told to.
KERNEL = """
import sys
from pywry_auth_nb import FileTokenStore, GenericOIDCProvider, SessionManager

issuer, folder, *audiences = sys.argv[1:]
session = SessionManager(GenericOIDCProvider("pywry", issuer_url=issuer), FileTokenStore(folder))
print("ready", flush=True)
sys.stdin.readline()
for audience in audiences:
    assert session.for_audience(audience).headers["Authorization"].startswith("Bearer ")
print("done", flush=True)
"""


@pytest.fixture
def session(provider: Provider, tmp_path: Path) -> Iterator[SessionManager]:
    """Ada is signed in."""
    scopes = ["openid", "offline_access"]
    client = GenericOIDCProvider("pywry", issuer_url=provider.issuer, scopes=scopes, prompt="consent")
    session = SessionManager(client, FileTokenStore(tmp_path / "tokens"))
    sign_in(session)
    yield session
    asyncio.run(client.close())


def sign_in(session: SessionManager) -> None:
    """Be the browser and the person: log in, consent, and bring back the answer."""
    flow = AuthFlowManager(session.provider, session_manager=session)
    url = asyncio.run(flow.begin(REDIRECT_URIS[0])).url
    forms = [{"prompt": "login", "login": "ada", "password": "any"}, {"prompt": "consent"}]
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(url)
        while not answer.headers.get("location", "").startswith(REDIRECT_URIS[0]):
            where = answer.next_request
            answer = browser.send(where) if where is not None else browser.post(answer.url, data=forms.pop(0))
    asyncio.run(flow.complete(dict(parse_qsl(urlsplit(answer.headers["location"]).query))))


def test_kernels_share_one_refresh_and_one_exchange_for_each_audience(
    provider: Provider, session: SessionManager, tmp_path: Path
) -> None:
    """Eight kernels find everything expired: one refresh, five exchanges. All of it ends with the sign-out."""
    for audience in AUDIENCES:
        api = session.for_audience(audience)
        _ = api.access_token
        expire(api)
    expire(session)
    before = provider.journal()
    command = [sys.executable, "-c", KERNEL, provider.issuer, str(tmp_path / "tokens"), *AUDIENCES]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": Path(__file__).parents[2]}
    kernels = [subprocess.Popen(command, **pipes) for _ in range(8)]  # type: ignore[call-overload]
    try:
        assert [kernel.stdout.readline() for kernel in kernels] == ["ready\n"] * 8
        for kernel in kernels:
            kernel.stdin.write("go\n")
            kernel.stdin.flush()
        assert [kernel.stdout.readline() for kernel in kernels] == ["done\n"] * 8
    finally:
        for kernel in kernels:
            kernel.communicate()

    asked = [entry for entry in provider.journal()[len(before) :] if entry["path"] == "/token"]
    assert {entry["status"] for entry in asked} == {200}
    assert Counter(entry.get("audience", "") for entry in asked) == Counter(["", *AUDIENCES])

    tokens = [session.for_audience(audience).access_token for audience in AUDIENCES]
    result = asyncio.run(session.logout())
    assert result.complete
    for token in tokens:
        person = httpx.get(f"{provider.issuer}/me", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        assert person.status_code == httpx.codes.UNAUTHORIZED


def test_a_refusal_in_its_own_words(provider: Provider, session: SessionManager) -> None:
    """The provider refuses one API; the sign-in, and the tokens for another, are as they were."""
    provider.control(audiences=["api"])
    token = session.for_audience("api").access_token

    with pytest.raises(TokenExchangeError) as caught:
        _ = session.for_audience("another").access_token
    assert (caught.value.code, caught.value.description) == ("invalid_target", "there is no such API")
    assert session.status == "signed_in"
    assert session.for_audience("api").access_token == token
    assert not provider.requests_to("/token/revocation")
