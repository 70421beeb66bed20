"""Clients of the providers on loopback, and what every test does with them first: sign in up to the tokens."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from pywry_auth_nb import GenericOIDCProvider, OAuthTokenSet, PKCEChallenge
from pywry_auth_nb.providers import GitHubProvider, GoogleProvider, MicrosoftProvider, OAuthProvider
from tests.support.idp import CLIENT, Idp
from tests.support.lookalikes import SECRET, GitHubLookalike, GoogleLookalike, MicrosoftLookalike

if TYPE_CHECKING:
    from pywry_auth_nb._io.answers import Answer
    from pywry_auth_nb._io.http import HttpClient

REDIRECT_URI = "http://127.0.0.1:8888/pywry-auth/callback"
NONCE = "nonce-of-this-sign-in"


@functools.singledispatch
def client_of(op: Idp, client_id: str = CLIENT, **options: Any) -> OAuthProvider:
    """Make a client of a provider, as a user configures one."""
    return GenericOIDCProvider(client_id, **({"issuer_url": op.issuer} | options))


@client_of.register
def _(op: GoogleLookalike, client_secret: str = SECRET, **options: Any) -> OAuthProvider:
    class Provider(GoogleProvider):
        issuer = op.issuer

    return Provider(CLIENT, client_secret, **options)


@client_of.register
def _(op: MicrosoftLookalike, tenant_id: str = "common", client_secret: str = "", **options: Any) -> OAuthProvider:
    class NationalCloud(MicrosoftProvider):
        authority = op.issuer

    return NationalCloud(CLIENT, client_secret, tenant_id, **options)


@client_of.register
def _(op: GitHubLookalike, client_id: str = CLIENT, client_secret: str = SECRET, **options: Any) -> OAuthProvider:
    class EnterpriseServer(GitHubProvider):
        web_url = op.issuer
        api_url = f"{op.issuer}/api/v3"

    return EnterpriseServer(client_id, client_secret, **options)


def exchange(rp: OAuthProvider, op: Idp, redirect_uri: str = REDIRECT_URI, nonce: str = NONCE) -> OAuthTokenSet:
    """Sign in up to the tokens."""
    pkce = PKCEChallenge.generate()

    async def go() -> OAuthTokenSet:
        await rp.prepare()
        url = rp.build_authorize_url(redirect_uri, "state", pkce, {"nonce": nonce})
        return await rp.exchange_code(op.authorize(url)["code"], redirect_uri, pkce.verifier, nonce)

    return asyncio.run(go())


async def once(client: HttpClient, url: str, **options: Any) -> Answer:
    """GET ``url`` with a client that is then closed: one that is only dropped may warn during a later test."""
    try:
        return await client.request("GET", url, **options)
    finally:
        await client.close()
