"""Pages in a real browser, and the endpoint of `session.serve`: they get nothing, even with its key."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from pywry_auth_nb import GenericOIDCProvider
from tests.conftest import sign_in
from tests.support.api import Api
from tests.support.cases import case
from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from pywry_auth_nb import AuthFlowManager, Exits, SessionManager
    from tests.support.idp import Idp

#: What a page can try; each says what it got.
TRIES = """async ([url, key]) => {
    const headers = {Authorization: `Bearer ${key}`};
    const got = async (options) => {
        try {
            const answer = await fetch(`${url}/token`, options);
            return `${answer.status} ${await answer.text()}`;
        } catch (error) {
            return String(error);
        }
    };
    const element = (name) => new Promise((done) => {
        const made = document.createElement(name);
        made.onload = () => done('loaded');
        made.onerror = () => done('failed');
        made.src = `${url}/token`;
        document.body.append(made);
    });
    return [
        await got({headers}), await got({headers, mode: 'no-cors'}), await got({headers, method: 'POST'}),
        await got({mode: 'no-cors'}), await element('script'), await element('img'),
    ];
}"""


@pytest.fixture
def provider(idp: Idp) -> GenericOIDCProvider:
    """A client of the provider of the unit tests: no page signs in here."""
    return GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)


@pytest.fixture
def exits(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> Iterator[Exits]:
    """What is served of Ada's sign-in."""
    with ThreadPoolExecutor(1) as other:  # this thread's loop is Playwright's
        other.submit(sign_in, flow, idp).result(30)
    with session.serve(environment=False) as exits:
        yield exits


def test_no_page_gets_a_token(exits: Exits, session: SessionManager, page: Page) -> None:
    """Its own origin, another port, another site, and a name of an attacker that leads here (DNS rebinding)."""
    port = urlsplit(exits.url).port
    key = exits.key_file.read_text()
    with Api() as other:
        elsewhere = urlsplit(other.url).port
        places = [
            (f"{exits.url}/token", exits.url, 401),
            (other.url, exits.url, 200),
            (f"http://localhost:{elsewhere}", exits.url, 200),
            (f"http://rebound.localhost:{port}/token", f"http://rebound.localhost:{port}", 403),
        ]
        for place, url, status in places:
            with case(place):
                answer: Any = page.goto(place)
                assert answer.status == status
                said = json.dumps(page.evaluate(TRIES, [url, key]))
                assert "200" not in said
                assert session.access_token not in said + page.content()
