"""How the tests of every store ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import TokenStore


def loaded(store: TokenStore, key: str = "default") -> str | None:
    """Return the access token that is kept under ``key``."""
    tokens = asyncio.run(store.load(key))
    return tokens and str(tokens.access_token)


def refused(action: Callable[[], object]) -> TokenStoreError:
    """Return the error of ``action``."""
    with pytest.raises(TokenStoreError) as caught:
        action()
    assert "CANARY" not in str(caught.value)
    return caught.value
