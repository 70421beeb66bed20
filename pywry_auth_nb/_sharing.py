"""What keeps a session in step with its store, and so with every other kernel that shares the sign-in.

The session shows one :class:`~pywry_auth_nb.token_store.Record`, and records are in order: only a later one may take
its place. So it does not matter in which order a slow store, another kernel and a person with two notebooks are heard.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import math
import os
import time
import weakref
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ._io.loop import get_loop, is_running, jitter, without_traceback
from ._state import SessionState
from .errors import TokenError, TokenStoreError
from .token_store import NOTHING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .providers import OAuthProvider
    from .token_store import Lease, Record, TokenStore

T = TypeVar("T")

log = logging.getLogger("pywry_auth_nb")

STORE_DEADLINE = 10.0  # seconds
WATCH = 2.0  # seconds between two looks at the store
GRACE = 3.0  # seconds in which nobody renews after a store has lost something, or was away: see `_not_yet`
_RETRY = 1.0  # seconds between two tries to store what could not be stored; less than GRACE, which waits for it
FRESH = 0.005  # seconds for which a look at the store is good enough for a reader: other kernels take longer to act
PATIENCE = 0.5  # seconds that a reader waits for a look at the store
_MAX_PREDECESSORS = 16


class SharedState(SessionState):
    """The part of a session that looks at its store and writes to it. All of it runs on the background loop."""

    provider: OAuthProvider
    token_store: TokenStore
    session_key: str

    def __init__(self) -> None:
        super().__init__()
        self._held: Record = NOTHING  # what this session shows
        self._epoch = 0  # counts sign-ins and sign-outs, here or elsewhere: a refresh that was begun before one is void
        self._commands = 0  # counts sign-ins and sign-outs here: only the latest counts
        self._predecessors: deque[str] = deque(maxlen=_MAX_PREDECESSORS)  # earlier access tokens of this sign-in
        self._unsaved = False  # the store could not take what this session shows
        self._alone = False  # nobody else can know of this sign-in: it was never stored
        self._kept_lease: Lease | None = None  # while a refresh is unsaved: others must not renew what it renewed
        self._loaded = False
        self._private = False  # nobody else has this store
        self._away = False  # the store failed when it was last asked
        self._not_yet = -math.inf  # monotonic seconds before which nobody renews, so that others can put things right
        self._stamp: object = self  # of the record that was last read; nothing is equal to this one
        self._looking: asyncio.Task[None] | None = None
        self._freeing: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[TokenStoreError | None] | None = None
        self._looked_at = -math.inf  # monotonic seconds
        self._watch: asyncio.TimerHandle | None = None

    @property
    def store_key(self) -> str:
        """Under which name the tokens rest in the store.

        The session's key alone would not do: whoever shares a store, the tokens of one provider, client or person must
        never be taken for those of another.
        """
        return f"{self.session_key} {self.provider.identity} {current_user()}"

    # -- looking ------------------------------------------------------------------------------------------------------

    def _begin_watching(self) -> None:
        """Look at the store now and every two seconds, as long as this session lives. From any thread."""
        tick = weakref.WeakMethod(self._tick)
        get_loop().call_soon_threadsafe(lambda: (call := tick()) and call())

    def _tick(self) -> None:
        again = weakref.WeakMethod(self._tick)
        pause = _RETRY if self._unsaved else WATCH
        later = pause * jitter(0.8, 1.0)  # kernels need not all look at once
        self._watch = get_loop().call_later(later, lambda: (call := again()) and call())
        if self._unsaved and not self._renewing_alone():
            self._saving = asyncio.ensure_future(self._save())
        else:
            self._look_soon()

    def _look_soon(self) -> asyncio.Task[None]:
        if self._looking is None or not is_running(self._looking):
            self._looking = asyncio.ensure_future(self._look())
        return self._looking

    async def _glance(self) -> None:
        """See what others did, if nobody looked just now; do not wait long for a store that is slow."""
        if time.monotonic() < self._looked_at + FRESH:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._look_soon()), PATIENCE)
        except asyncio.TimeoutError:
            self._looked_at = time.monotonic() + WATCH  # the next readers need not wait for it, too

    async def _look(self) -> None:
        """Read the record if it has changed."""
        try:
            stamp = await self._ask(self.token_store.stamp(self.store_key))
            if stamp != self._stamp or self._away:
                found = await self._read()
                self._stamp = stamp  # asked for before: a change in between is seen the next time
                await self._reconcile(found)
        except TokenStoreError as error:
            self._stamp = self
            self._looked_at = time.monotonic() + WATCH
            self._show_store_error(error)
            return
        self._looked_at = math.inf if self._private else time.monotonic()
        self._loaded = True
        if isinstance(self._snap.error, TokenStoreError) and not self._unsaved:
            self._publish(error=None)  # it works again

    def _show_store_error(self, error: TokenStoreError) -> None:
        """Tell the person who cannot be signed in for it; a session goes on with what it has."""
        shown = self._snap.error
        if self._held.tokens is None and not (isinstance(shown, TokenStoreError) and shown.code == error.code):
            self._publish(error=without_traceback(error))

    async def _load(self) -> None:
        """Read the store, if this has not been done."""
        if not self._loaded:
            await asyncio.shield(self._look_soon())

    async def _ask(self, question: Awaitable[T]) -> T:
        """Await an answer of the store, and remember when there was none.

        Raises:
            TokenStoreError: Whatever went wrong; of a stranger only the type, its text may hold anything.
        """
        try:
            return await asyncio.wait_for(question, STORE_DEADLINE)
        except TokenStoreError as failure:
            error = failure
        except asyncio.TimeoutError:
            error = TokenStoreError("The token store does not answer in time. Try again in a moment.")
        except Exception as failure:  # noqa: BLE001 - stores are anybody's
            error = TokenStoreError(
                f"The token store failed ({type(failure).__name__}). Correct its class, or use another store.",
                code="store_failed",
            )
        if not self._away:
            log.warning("the token store failed (%s)", error.code)
        self._away = True
        raise without_traceback(error)

    async def _read(self) -> Record:
        """Read the record; a store that was away has it from now on, perhaps an old one."""
        record = await self._ask(self.token_store.read(self.store_key))
        if self._away:
            self._away = False
            if not self._unsaved:  # else ours are the newest
                self._wait_for_others()
            self._store_is_back()
        return record

    def _wait_for_others(self) -> None:
        """Renew nothing for a while: somebody may have newer tokens than the store, and is about to put them there."""
        self._not_yet = time.monotonic() + GRACE

    # -- what was found -----------------------------------------------------------------------------------------------

    async def _reconcile(self, found: Record) -> None:
        """Take over what the store has, if it is later; put back what the store has lost."""
        held = self._held
        if found.problem is not None and (found.problem.code != "store_unreadable" or held.tokens is None):
            raise found.problem  # of a newer version, or another key: whoever wrote it knows better
        if found.tokens == held.tokens and found.ended == held.ended and found.problem is None:
            if found.generation > held.generation:
                self._held = replace(held, generation=found.generation, sign_in=found.sign_in)
            self._saved()
        elif found.generation >= held.generation:  # equal: two renewed at once, and the store's are the ones to share
            self._saved()
            self._take_over(found)
        elif held.tokens is not None and found is NOTHING and not (self.token_store.keeps_sign_outs or self._unsaved):
            self._take_over(held.signed_out())  # here, nothing means that somebody signed out
        else:
            if not self._unsaved:
                self._wait_for_others()
            await self._save()

    def _take_over(self, record: Record) -> None:
        """Show what somebody else did, or what was stored by an earlier kernel."""
        try:
            user = record.user or (record.tokens and self.provider.claims(record.tokens)) or None
        except TokenError as error:  # what is damaged is as good as nothing
            log.warning("%s: the stored session cannot be read (%s)", self.provider.label, error.code)
            return
        another = record.sign_in != self._held.sign_in
        if another:
            self._begin_epoch()
        elif self._snap.tokens is not None:
            self._predecessors.append(self._snap.tokens.access_token)
        told = self._snap.ended or not record.ended
        authorizing = self._snap.authorizing and not (another and record.tokens)
        self._show(record, user=user, authorizing=authorizing, error=None)
        if not told:
            self._tell_ended()

    def _show(self, record: Record, **changes: Any) -> None:
        """Make ``record`` what this session shows."""
        self._held = replace(record, version=None)  # which may have the tokens in plain text, for all to see
        changes = {"user": record.user, "ended": record.ended, "refreshing": False, **changes}
        self._publish(tokens=record.tokens, **changes)
        self._shown()

    def _begin_epoch(self) -> None:
        """Note that somebody signed in or out: what was begun before, and tokens of before, are void from now on."""
        self._epoch += 1
        self._predecessors.clear()

    def _shown(self) -> None:
        """Plan what is to be done about the tokens that are shown now."""
        raise NotImplementedError

    def _tell_ended(self) -> None:
        """Tell the person that only a new sign-in helps."""
        raise NotImplementedError

    def _store_is_back(self) -> None:
        """Try again what failed only because the store did."""
        raise NotImplementedError

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self, change: Callable[[Record], Record | None]) -> Record:
        """Put ``change`` of what is stored in its place; see :meth:`TokenStore.update`."""
        try:
            return await self._ask(self.token_store.update(self.store_key, change))
        finally:
            self._stamp = self  # a store that goes back to what it had before this must not look unchanged

    async def _save(self) -> TokenStoreError | None:
        """Bring what this session shows into the store, unless something later is there; return what went wrong."""
        mine = self._held
        try:
            kept = await self._write(lambda there: mine if there.generation < mine.generation else None)
        except TokenStoreError as error:
            self._unsaved = True
            return error
        if kept is not mine:
            await self._reconcile(kept)
        elif mine is self._held:
            self._saved()
        return None

    def _saved(self) -> None:
        """Note that the store has what this session shows, or something later."""
        lease, self._kept_lease = self._kept_lease, None
        if lease is not None:
            self._freeing = asyncio.ensure_future(free(lease))
        was, self._unsaved, self._alone = self._unsaved, False, False
        if was and isinstance(self._snap.error, TokenStoreError):
            self._publish(error=None)

    def _renewing_alone(self) -> bool:
        """Whether a refresh that needs no lock is under way: its tokens must not be in the store before it is over."""
        return False


async def free(lease: Lease) -> None:
    """Release a lease; if that fails it ends with its term, or with this process."""
    try:
        await asyncio.wait_for(lease.release(), STORE_DEADLINE)
    except Exception as error:  # noqa: BLE001 - stores are anybody's
        log.warning("a lock of the token store could not be released (%s)", type(error).__name__)


def current_user() -> str:
    """Return who runs this kernel: on a hub its user, since there the account may be the same for all."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, in a container
        return str(os.getuid()) if hasattr(os, "getuid") else ""
