"""A kernel of its own that serves its sign-in, writes a handle to a file, and waits to be killed."""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path

import httpx

from pywry_auth_nb import AuthFlowManager, GenericOIDCProvider, SessionManager
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT


def main(issuer: str, token_file: str, handle_file: str) -> None:
    """Sign in, serve, and say where."""
    provider = GenericOIDCProvider(CLIENT, scopes=["openid"], issuer_url=issuer)
    session = SessionManager(provider)
    flow = AuthFlowManager(provider, session_manager=session)

    async def sign_in() -> None:
        request = await flow.begin(REDIRECT_URI)
        async with httpx.AsyncClient() as client:
            await flow.complete((await client.get(request.url)).json())

    asyncio.run(sign_in())
    exits = session.serve(files=[token_file])
    Path(handle_file).write_bytes(pickle.dumps(session.handle()))
    sys.stdout.write(f"{exits.url} {exits.key_file}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
