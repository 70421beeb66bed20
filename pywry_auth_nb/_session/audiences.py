"""`Audiences`: the sessions whose tokens are exchanged for those of one session, and their records in its store.

Each has a record for each sign-in of the session, whose key names both. So tokens that were exchanged in one sign-in
are never found in another, whichever kernel hears of it first.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import TYPE_CHECKING, Protocol

from .._io.loop import get_loop
from ..errors import TokenStoreError
from ..providers.exchange import end_tokens, not_yet_exchanged
from ..token_store import NOTHING, Record
from .owner import StateOwner
from .record_sync import ask_store

if TYPE_CHECKING:
    from ..providers import OAuthProvider
    from ..token_store import TokenStore

log = logging.getLogger("pywry_auth_nb")

_OWN, _OTHER = "own", "other"  # who exchanges: the provider of the session, or another one


class Member(StateOwner, Protocol):
    """The engine of a session for another audience."""

    @property
    def store_key(self) -> str: ...

    def begin_anew(self, key: str, record: Record, *, local_only: bool) -> None:
        """Leave the tokens behind, and use the record at ``key``, which begins as ``record``."""


class Audiences:
    """Keeps sessions for other audiences in step with the session that their tokens come from.

    Args:
        owner: The engine of that session.
        store: Its store.
        key: What its record is called in every sign-in.
    """

    def __init__(self, owner: StateOwner, store: TokenStore, key: str) -> None:
        self._owner = owner
        self._store = store
        self._start = f"{key}."
        self._members: weakref.WeakKeyDictionary[Member, str] = weakref.WeakKeyDictionary()
        self._exchangers: dict[str, OAuthProvider | None] = {}  # of tokens that were left behind, by the key

    def key_of(self, name: str, provider: OAuthProvider) -> str:
        """Return what the records of a session are called whose tokens ``provider`` exchanges."""
        return f"{self._start}{_OWN if provider is self._owner.provider.exchanger else _OTHER}-{name}"

    def add(self, member: Member) -> None:
        """Keep a session in step from now on, as long as it exists. From any thread."""
        get_loop().call_soon_threadsafe(self._add, member)

    def _add(self, member: Member) -> None:
        self._members[member] = member.store_key
        self._lead(member, member.store_key)

    def follow(self) -> None:
        """Lead all of them to the sign-in of now. On the background loop."""
        members = list(self._members.items())
        self._exchangers = {member.store_key: member.provider.exchanger for member, _ in members}
        for member, key in members:
            self._lead(member, key)

    def _lead(self, member: Member, key: str) -> None:
        """Begin a session anew with the sign-in of now: every kernel begins with the same record."""
        state = self._owner.state
        begun = Record(state.origin, state.origin, not_yet_exchanged(), state.user) if state.origin else NOTHING
        member.begin_anew(f"{key}.{state.origin}", begun, local_only=state.local_only)

    # -- what earlier sign-ins left in the store --------------------------------------------------------------------

    def leave_behind(self, *, revoke: bool) -> None:
        """Begin to do as :meth:`end` does. On the background loop."""
        self._owner.one("leave exchanged tokens behind", lambda: self.end(revoke=revoke))

    async def end(self, *, revoke: bool) -> None:
        """Delete what was exchanged in earlier sign-ins from the store; also revoke it if ``revoke``.

        A sign-out takes the place of tokens, so that no kernel that is behind puts them back. The next call deletes it.
        """
        exchangers, self._exchangers = self._exchangers, {}
        now = f".{self._owner.state.origin}"
        try:
            keys = await ask_store(self._store.list_keys_below(self._start))
        except TokenStoreError as error:
            log.warning("exchanged tokens could not be deleted (%s)", error.code)
            return
        old = [key for key in keys if not key.endswith(now)]
        await asyncio.gather(*(self._end(key, exchangers.get(key), revoke=revoke) for key in old))

    async def _end(self, key: str, exchanger: OAuthProvider | None, *, revoke: bool) -> None:
        found = NOTHING

        def sign_out(there: Record) -> Record | None:
            nonlocal found
            found = there
            return None if there.tokens is None else there.signed_out()

        try:
            await ask_store(self._store.update(key, sign_out))
            if found.tokens is None and found.problem is None:
                await ask_store(self._store.delete(key))
        except TokenStoreError as error:
            log.warning("exchanged tokens could not be deleted (%s)", error.code)
        if exchanger is None and f"{_OTHER}-" not in key.removeprefix(self._start):
            exchanger = self._owner.provider.exchanger  # of a kernel that has ended
        if revoke and found.tokens is not None and exchanger is not None:
            await end_tokens(found.tokens, exchanger)
