"""`FileKeeper`: files whose tokens are always fresh."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from .._io.loop import get_loop, ignore_result, in_thread
from ..errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .folder import Folder, FreshFile
    from .holder import Holder, TokenKind

_NAP = 30.0  # seconds: timers stop while the machine is suspended
_PAUSE = 2.0  # seconds after a failure


class FileKeeper:
    """Rewrites files when their token changes, and has it renewed before it ends. Use it on the background loop.

    Where there is no token, there is no file, until there is one again.

    Args:
        holder: Reads the tokens.
        folder: The folder of this kernel.
        files: The files, and which token is in each.
    """

    def __init__(self, holder: Holder, folder: Folder, files: Mapping[FreshFile, TokenKind]) -> None:
        self._holder = holder
        self._folder = folder
        self._files = files
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the files, and keep them fresh from now on.

        Raises:
            AuthenticationError: There is no token.
            OSError: A file cannot be written.
        """
        until = await self._write()
        if self._files:
            self._task = ignore_result(get_loop().create_task(self._keep(until)))

    def look(self) -> None:
        """Look at the tokens soon: they may have changed. From any thread."""
        get_loop().call_soon_threadsafe(self._changed.set)

    def stop(self) -> None:
        """Stop. From any thread."""
        if self._task is not None:
            get_loop().call_soon_threadsafe(self._task.cancel)

    async def _keep(self, until: float) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(max(until - time.time(), 0.0), _NAP))
            self._changed.clear()
            try:
                until = await self._write()
            except (AuthenticationError, OSError):
                until = time.time() + _PAUSE

    async def _write(self) -> float:
        """Write the tokens; return the epoch seconds until which they need not be read again."""
        until, failure = time.time() + _NAP, None
        for kind in dict.fromkeys(self._files.values()):
            files = [file for file, wanted in self._files.items() if wanted == kind]
            try:
                token = await self._holder.read(kind)
            except AuthenticationError as error:
                await in_thread(_clear, files)
                failure = error
            else:
                await in_thread(self._write_one, files, token)
                until = min(until, self._holder.fresh_until(kind))
        if failure is not None:
            raise failure
        now = time.time()
        return until if until > now else now + _PAUSE  # it is due, and cannot be renewed just now

    def _write_one(self, files: list[FreshFile], token: str) -> None:
        changed = [file for file in files if file.write(token)]
        if changed:
            self._folder.list_files({each.path: each.text for each in self._files})


def _clear(files: list[FreshFile]) -> None:
    for file in files:
        file.clear()
