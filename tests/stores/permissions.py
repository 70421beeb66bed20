"""A Redis user with the permissions that docs/token-stores.md gives one, and what she does with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import NOTHING

if TYPE_CHECKING:
    from pywry_auth_nb.token_store import RedisTokenStore

DOCS = Path(__file__).parents[2] / "docs" / "token-stores.md"
LINE = next(line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER ada"))
PASSWORD = "CANARY p@ss/w:rd#%"
QUOTED = "CANARY%20p%40ss%2Fw%3Ard%23%25"


def words(line: str = LINE) -> list[str]:
    """Return a documented line as a command with Ada's password."""
    return [word.replace("ADAS-PASSWORD", PASSWORD) for word in line.split()]


def everything(store: RedisTokenStore) -> None:
    """Do all that a store can do."""

    async def go() -> None:
        await store.save("default", OAuthTokenSet("CANARY-at"))
        await store.save("default", OAuthTokenSet("CANARY-at"))
        assert await store.list_keys() == ["default"]
        await store.stamp("default")
        for _ in range(2):
            lease = await store.try_lease("default")
            assert lease is not None
            assert await store.try_lease("default") is None
            await lease.release()
        record = await store.read("default")
        assert await store.swap("default", record, record.signed_out())
        assert await store.load("default") is None
        await store.delete("default")
        assert await store.read("default") == NOTHING

    asyncio.run(go())
