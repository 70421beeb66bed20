"""`StoreWatcher`: looks at a store every two seconds, and listens to it, for all sessions of this process."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol

from .._io import fork
from .._io.loop import call_later, get_loop, ignore_result, jitter
from ..errors import TokenStoreError
from .record_sync import ask_store

if TYPE_CHECKING:
    import asyncio

    from ..token_store import TokenStore

WATCH = 2.0  # seconds at most between two looks


class Subscriber(Protocol):
    """A session that wants to hear of changes of its record."""

    @property
    def store_key(self) -> str:
        """The name of its record."""

    def stamp_seen(self, stamp: object) -> None:
        """Take note of the record's stamp."""

    def record_changed(self) -> None:
        """Take note that the record has changed."""

    def store_failed(self, error: TokenStoreError) -> None:
        """Take note that the store cannot be asked."""


class StoreWatcher:
    """Looks at one store for many sessions. Use it on the background loop; it stops when its last session is gone.

    Args:
        store: The store; it is not kept alive.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = weakref.ref(store)
        self._subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        fork.in_child(self._forget_loop)

    def subscribe(self, session: Subscriber) -> None:
        """Tell ``session`` of changes, as long as it lives."""
        self._subscribers.add(session)
        self._listen_to(self._store())
        if self._timer is None:
            self._look_later()

    def _listen_to(self, store: TokenStore | None) -> None:
        if store is not None and (self._listening is None or self._listening.done()):
            self._listening = ignore_result(get_loop().create_task(store.listen(self._heard)))

    def _heard(self, key: str) -> None:
        for session in list(self._subscribers):
            if session.store_key == key:
                session.record_changed()

    def _look_later(self) -> None:
        self._timer = call_later(WATCH * jitter(0.8, 1.0), self._on_timer)  # kernels need not all look at once

    def _on_timer(self) -> None:
        self._timer = None
        store, sessions = self._store(), list(self._subscribers)
        if store is None or not sessions:
            self._stop_listening()
        else:
            self._listen_to(store)
            self._looking = get_loop().create_task(self._look(store, sessions))

    async def _look(self, store: TokenStore, sessions: list[Subscriber]) -> None:
        """Ask for the stamps of all records at once, and tell each session of its own."""
        try:
            stamps = await ask_store(store.stamps({session.store_key for session in sessions}))
        except TokenStoreError as error:
            for session in sessions:
                session.store_failed(error)
        else:
            for session in sessions:
                session.stamp_seen(stamps[session.store_key])
        finally:
            self._look_later()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()

    def _forget_loop(self) -> None:
        self._timer = self._looking = self._listening = None


def watcher_of(store: TokenStore) -> StoreWatcher:
    """Return the watcher of ``store`` in this process."""
    watcher: StoreWatcher = store.__dict__.setdefault("_watcher", StoreWatcher(store))
    return watcher
