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

_CHUNK = 100  # records that are asked for at once
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
        store: The store; it is not kept alive.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = weakref.ref(store)
        self._sessions: weakref.WeakSet[Subscriber] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None  # also while a look is under way
        self._looking: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        fork.in_child(self._forget_loop)

    def subscribe(self, session: Subscriber) -> None:
        """Tell ``session`` of changes, as long as it lives."""
        self._sessions.add(session)
        if self._timer is None:
            self._look_later()
            self._listen()

    def _look_later(self) -> None:
        self._timer = call_later(WATCH * jitter(0.8, 1.0), self._on_timer)  # kernels need not all look at once

    def _on_timer(self) -> None:
        store, sessions = self._store(), list(self._sessions)
        if store is None or not sessions:
            self._stop()
        else:
            self._looking = get_loop().create_task(self._look(store, sessions))
            self._listen()

    async def _look(self, store: TokenStore, sessions: list[Subscriber]) -> None:
        """Ask for the stamps of all records, and tell each session of its own."""
        try:
            keys = sorted({session.store_key for session in sessions})
            for start in range(0, len(keys), _CHUNK):
                await self._look_at(store, keys[start : start + _CHUNK], sessions)
        finally:
            self._look_later()

    async def _look_at(self, store: TokenStore, keys: list[str], sessions: list[Subscriber]) -> None:
        try:
            stamps = await ask_store(store.stamps(keys))
        except TokenStoreError as error:
            stamps = dict.fromkeys(keys, error)
        for session in sessions:
            if session.store_key not in keys:
                continue
            stamp = stamps.get(session.store_key, session)  # a store may leave one out: read that record, then
            if isinstance(stamp, BaseException):
                session.store_failed(as_store_error(stamp))
            else:
                session.stamp_seen(stamp)

    # -- stores that tell -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Listen to the store, unless that is under way: a store that cannot tell has ended it at once."""
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
        """In a forked child: only the sessions that are used there subscribe again."""
        self._sessions = weakref.WeakSet()
        self._timer = self._looking = self._listening = None


#: By the identity of the store. Weak: a watcher lives as long as the sessions that it serves.
_watchers: weakref.WeakValueDictionary[int, StoreWatcher] = weakref.WeakValueDictionary()


def watcher_of(store: TokenStore) -> StoreWatcher:
    """Return the watcher of ``store`` in this process. The caller keeps it alive."""
    watcher = _watchers.get(id(store))
    if watcher is None:
        watcher = _watchers[id(store)] = StoreWatcher(store)
    return watcher
