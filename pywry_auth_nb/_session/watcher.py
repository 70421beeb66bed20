"""`StoreWatcher`: polls a store every two seconds, and listens to it, for all sessions of this process."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol

from .._io import fork
from .._io.loop import call_later, get_loop, ignore_result, jitter
from ..errors import TokenStoreError
from .record_sync import as_store_error, ask_store

if TYPE_CHECKING:
    import asyncio

    from ..token_store import TokenStore

_CHUNK = 100  # records per request
WATCH = 2.0  # maximum seconds between two polls


class Subscriber(Protocol):
    """A session to notify of changes of its record."""

    @property
    def store_key(self) -> str:
        """The key of its record."""

    def stamp_seen(self, stamp: object) -> None:
        """Handle the current stamp of the record."""

    def record_changed(self) -> None:
        """Handle a change of the record."""

    def store_failed(self, error: TokenStoreError) -> None:
        """Handle a failure of the store."""


class StoreWatcher:
    """Watches one store for many sessions, which keep it alive. Use it on the background loop.

    Args:
        store: The store; held weakly.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = weakref.ref(store)
        self._sessions: weakref.WeakSet[Subscriber] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None  # kept during a poll, too
        self._polling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        fork.in_child(self._forget_loop)

    def subscribe(self, session: Subscriber) -> None:
        """Notify ``session`` of changes, as long as it exists."""
        self._sessions.add(session)
        if self._timer is None:
            self._poll_later()
            self._listen()

    def _poll_later(self) -> None:
        self._timer = call_later(WATCH * jitter(0.8, 1.0), self._on_timer)  # so that kernels do not poll at once

    def _on_timer(self) -> None:
        store, sessions = self._store(), list(self._sessions)
        if store is None or not sessions:
            self._stop()
        else:
            self._polling = get_loop().create_task(self._poll(store, sessions))
            self._listen()

    async def _poll(self, store: TokenStore, sessions: list[Subscriber]) -> None:
        """Request the stamps of all records, and pass each session its own."""
        try:
            keys = sorted({session.store_key for session in sessions})
            for start in range(0, len(keys), _CHUNK):
                await self._poll_keys(store, keys[start : start + _CHUNK], sessions)
        finally:
            self._poll_later()

    async def _poll_keys(self, store: TokenStore, keys: list[str], sessions: list[Subscriber]) -> None:
        try:
            stamps = await ask_store(store.stamps(keys))
        except TokenStoreError as error:
            stamps = dict.fromkeys(keys, error)
        for session in sessions:
            if session.store_key not in keys:
                continue
            stamp = stamps.get(session.store_key, session)  # if the store omits it, read the record
            if isinstance(stamp, BaseException):
                session.store_failed(as_store_error(stamp))
            else:
                session.stamp_seen(stamp)

    # -- listening -------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Listen to the store, unless a task does already. For a store without notifications the task just ends."""
        store = self._store()
        if store is not None and (self._listening is None or self._listening.done()):
            self._listening = ignore_result(get_loop().create_task(self._listen_to(store)))

    async def _listen_to(self, store: TokenStore) -> None:
        await store.listen_for_changes(self._on_change)

    def _on_change(self, key: str) -> None:
        for session in list(self._sessions):
            if session.store_key == key:
                session.record_changed()

    def _stop(self) -> None:
        self._timer = None
        if self._listening is not None:
            self._listening.cancel()

    def _forget_loop(self) -> None:
        """Drop sessions and tasks in a forked child, where sessions subscribe again when they are used."""
        self._sessions = weakref.WeakSet()
        self._timer = self._polling = self._listening = None


#: By the ID of the store. Weak: a watcher exists as long as the sessions that it serves.
_watchers: weakref.WeakValueDictionary[int, StoreWatcher] = weakref.WeakValueDictionary()


def watcher_of(store: TokenStore) -> StoreWatcher:
    """Return the watcher of ``store`` in this process. The caller keeps it alive."""
    watcher = _watchers.get(id(store))
    if watcher is None:
        watcher = _watchers[id(store)] = StoreWatcher(store)
    return watcher
