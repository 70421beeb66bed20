"""How the tests of every store ask it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import OAuthTokenSet, TokenStoreError
from tests.support.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from pywry_auth_nb import SessionManager, TokenStore


def loaded(store: TokenStore, key: str = "default") -> str | None:
    """Return the access token that is kept under ``key``."""
    tokens = asyncio.run(store.load(key))
    return tokens and str(tokens.access_token)


def save(store: TokenStore, text: str = "-at", key: str = "default", **fields: Any) -> None:
    """Keep an access token of which ``text`` is the end."""
    asyncio.run(store.save(key, OAuthTokenSet(f"CANARY{text}", **fields)))


def answer(store: TokenStore, key: str = "default") -> str | None:
    """Return the access token that is kept under ``key``, or the code of the error."""
    try:
        return loaded(store, key)
    except TokenStoreError as error:
        return error.code


def said(program: subprocess.Popen[str]) -> str:
    """Return what a program said, once it has ended well."""
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0, err
    return out.strip()


def forget(sessions: list[SessionManager]) -> None:
    """Empty the list, which must be all that holds those sessions, and see that nothing of them goes on."""
    left = [weakref.ref(session) for session in sessions]
    sessions.clear()
    until(lambda: gc.collect() >= 0 and not any(session() for session in left), "a session stays")


def refused(action: Callable[..., object], *arguments: object) -> TokenStoreError:
    """Return the error of ``action``."""
    with pytest.raises(TokenStoreError) as caught:
        action(*arguments)
    assert "CANARY" not in str(caught.value)
    return caught.value


def refused_cleanly(action: Callable[..., object], *arguments: object) -> TokenStoreError:
    """Return the error of ``action``, which carries nothing of redis-py's along."""
    error = refused(action, *arguments)
    assert error.__cause__ is error.__context__ is None
    return error
