"""What every token store promises, checked on each of them with the real component behind it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import Record

if TYPE_CHECKING:
    from pywry_auth_nb import TokenStore

#: Keys that break naive code that builds a path, a pattern, an attribute or a header of them.
KEYS = [
    "default",
    "",
    "ada@example.org",
    "../../etc/passwd",
    "a/b\\c",
    "a*?[b]",
    "x:oauth:tokens:y",
    "Ünï\n\0\ud800",
    "k" * 500,
]


async def test_what_was_saved_is_loaded(store: TokenStore, tokens: OAuthTokenSet) -> None:
    """Every field comes back, and the tokens still hide themselves."""
    await store.save("default", tokens)

    loaded = await store.load("default")

    assert loaded == tokens
    assert loaded is not None
    assert "CANARY" not in repr(loaded) + repr(loaded.access_token) + repr(store)


@pytest.mark.parametrize("expires_in", [None, 3600, 3600.5])
async def test_small_tokens(store: TokenStore, expires_in: float | None) -> None:
    """Tokens with nothing but an access token, with any kind of lifetime (A15: fractions of seconds)."""
    tokens = OAuthTokenSet("CANARY-at", expires_in=expires_in)

    await store.save("default", tokens)

    assert await store.load("default") == tokens


async def test_nothing_there(store: TokenStore) -> None:
    """Reading or deleting a key that was never used raises no error."""
    assert await store.load("nobody") is None
    assert not await store.exists("nobody")
    await store.delete("nobody")
    assert await store.list_keys() == []


async def test_saving_replaces(store: TokenStore, tokens: OAuthTokenSet) -> None:
    """The last save counts, whether the tokens became longer or shorter."""
    short = OAuthTokenSet("CANARY-short")
    for latest in (short, tokens, replace(tokens, refresh_token="CANARY-other"), short, tokens):
        await store.save("default", latest)
        assert await store.load("default") == latest

    assert await store.list_keys() == ["default"]


async def test_deleting_forgets(store: TokenStore, tokens: OAuthTokenSet) -> None:
    """A deleted key is gone, and the others are not."""
    await store.save("one", tokens)
    await store.save("two", tokens)

    await store.delete("one")

    assert await store.load("one") is None
    assert not await store.exists("one")
    assert await store.exists("two")
    assert await store.list_keys() == ["two"]


async def test_keys_are_any_strings(store: TokenStore) -> None:
    """Each key has a record of its own and is listed as it was given."""
    for number, key in enumerate(KEYS):
        await store.save(key, OAuthTokenSet(f"CANARY-{number}"))

    found = [await store.load(key) for key in KEYS]

    assert [tokens and str(tokens.access_token) for tokens in found] == [
        f"CANARY-{number}" for number in range(len(KEYS))
    ]
    assert sorted(await store.list_keys()) == sorted(KEYS)
    for key in KEYS:
        await store.delete(key)
    assert await store.list_keys() == []


async def test_keys_below_a_start(store: TokenStore, tokens: OAuthTokenSet) -> None:
    """The keys that begin so are found, also where no tokens are left, if the store keeps that."""
    for key in ("one", "one.a", "one.b*", "one*.c", "two.one.d"):
        await store.save(key, tokens)
    await store.update("one.a", Record.signed_out)

    assert sorted(await store.list_keys_below("one.")) == ["one.a", "one.b*"][not store.keeps_sign_outs :]


def test_from_several_event_loops(store: TokenStore, tokens: OAuthTokenSet) -> None:
    """A10: A store works under several asyncio.run calls, each of which has its own loop."""
    asyncio.run(store.save("default", tokens))

    assert asyncio.run(store.load("default")) == tokens


def test_from_several_threads(store: TokenStore) -> None:
    """Threads that save, load and list at once neither fail nor see half a record."""
    problems: list[BaseException] = []

    async def work(number: int) -> None:
        for step in range(3):
            size = 200 if step % 2 else 2000
            await store.save("shared", OAuthTokenSet("CANARY" + str(number) * size))
            seen = await store.load("shared")
            assert seen is not None
            assert len(set(seen.access_token.removeprefix("CANARY"))) == 1
            assert "shared" in await store.list_keys()

    def run(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            problems.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
