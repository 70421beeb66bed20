"""`Gate`: what lets the tokens of one session out of the kernel: an endpoint, its keys, files and variables.

It is made when a session is asked for it. It ends with a sign-out, with its session or with the kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

from .._io import fork
from .._io.http import HttpClient
from .._io.loop import get_loop, ignore_result, in_thread, on_background, run, when_gone
from ..errors import AuthenticationError, ConfigurationError
from .endpoint import Endpoint, Grant
from .environment import put, set_aside
from .exits import Exits
from .folder import Folder, FreshFile, absolute, usable_path
from .holder import Holder
from .keeper import FileKeeper
from .presets import ID, Place, add_files, plan_for
from .routes import AWS, routes_of, token_routes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from .._session.engine import SessionEngine
    from .holder import TokenKind
    from .presets import Audience, Plan, Role

_START_DEADLINE = 60.0  # seconds: a token may have to be renewed first
_STOP_DEADLINE = 3.0


class Gate:
    """Gives the tokens of the person who is signed in now to other programs of this machine.

    Args:
        session: The session; held weakly.
        engine: Its engine.
    """

    def __init__(self, session: object, engine: SessionEngine) -> None:
        self.closed = False
        self._holder = Holder(engine)
        self._endpoint = Endpoint()
        self._http = HttpClient()
        self._lock = threading.Lock()  # one call of serve() at a time
        self._removing = threading.Lock()
        self._folder: Folder | None = None
        self._own = Grant({})  # the key in the folder; what it is good for is replaced by each call of serve()
        self._lasting = Grant(token_routes(self._holder))  # the key of all handles without a time
        self._served: Exits | None = None
        self._session = when_gone(session, self.close)
        engine.notifier.attach(self._on_change)
        fork.in_child(self._forget)
        _open.add(self)

    def serve(
        self,
        *,
        aws: Role | None,
        google: Audience | None,
        anthropic: bool,
        databricks: bool,
        files: Collection[Any] | Mapping[Any, TokenKind],
        set_environment: bool,
    ) -> Exits:
        """Serve what was asked for, in place of what was served before.

        Raises:
            ConfigurationError: Code ``preset_unavailable``: a preset cannot work here.
            LoginRequired: The session is signed out.
            TokenError: There is no token now.
        """
        with self._lock, self._closing_if_unused(), _explaining():
            former = self._served
            before = {} if former is None else former.kept
            place = run(self._open_place(), _START_DEADLINE)
            with set_aside(former):  # its own variables are in no preset's way
                plan = plan_for(place, aws=aws, google=google, anthropic=anthropic, databricks=databricks)
            add_files(plan, files, lambda path: absolute(path) if absolute(path) in before else usable_path(path))
            exits = run(self._begin(place, plan, before), _START_DEADLINE)
            if former is not None:
                former.withdraw(keep=exits.kept)
            if set_environment:
                put(exits, exits.environment)
            self._served = exits
        if self.closed or self._holder.gone:  # meanwhile
            self.close()
        return exits

    @contextlib.contextmanager
    def _closing_if_unused(self) -> Iterator[None]:
        """Close what was opened for nothing, if there is no key that it is good for."""
        try:
            yield
        finally:
            if self._served is None and not self._endpoint.grants:
                self.close()

    async def _open_place(self) -> Place:
        await self._holder.read("access_token")
        await self._endpoint.start()
        if self._folder is None:
            self._folder = await in_thread(Folder)
            self._folder.write("key", self._own.key)
        return Place(self._endpoint.url, self._own.key, self._folder.path)

    async def _begin(self, place: Place, plan: Plan, before: Mapping[Path, FreshFile]) -> Exits:
        assert self._folder is not None  # noqa: S101 - made by _open_place
        if plan.needs_id_token:
            await self._need_id_token()
        kept = {path: before.get(path) or FreshFile(path) for path in plan.files}
        keeper = FileKeeper(self._holder, self._folder, {file: plan.files[path] for path, file in kept.items()})
        exits = Exits(place, plan, kept, keeper, self._close_exits)
        routes = routes_of(plan, self._holder, self._http)
        try:
            await keeper.start()
            if plan.role is not None:
                await routes[AWS](b"")  # a role that is refused says so now
            for name, content in plan.settings.items():
                self._folder.write(name, json.dumps(content))
            self._folder.write(exits.script.name, "".join(_exports(plan.environment)))
        except BaseException:
            exits.withdraw(keep=before)
            raise
        self._endpoint.admit(Grant(routes, name=self._own.name, secret=self._own.secret))
        return exits

    async def _need_id_token(self) -> None:
        try:
            await self._holder.read(ID)
        except AuthenticationError as error:
            raise ConfigurationError(f"This needs an ID token. {error.message}", code="preset_unavailable") from None

    def grant(self, seconds: float | None) -> tuple[int, str]:
        """Return the port, and a new key that is good for access tokens, for so many seconds or as long as this lasts.

        Raises:
            LoginRequired: The session is signed out.
            TokenError: There is no token now.
        """
        return run(self._grant(seconds), _START_DEADLINE)

    async def _grant(self, seconds: float | None) -> tuple[int, str]:
        await self._holder.read("access_token")
        await self._endpoint.start()
        grant = self._lasting if seconds is None else Grant(self._lasting.routes, time.time() + seconds)
        self._endpoint.admit(grant)
        return self._endpoint.port, grant.key

    # -- ending -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give out nothing any more: close the endpoint, remove the files and put the environment back."""
        self.closed = True
        self._endpoint.closed = True  # now: the loop may be busy
        self.withdraw()
        _open.discard(self)  # not before: at exit they are waited for
        stopping = self._endpoint.stop()
        if on_background():
            ignore_result(get_loop().create_task(stopping))
            return
        with contextlib.suppress(AuthenticationError):
            run(stopping, _STOP_DEADLINE)

    def _close_exits(self, exits: Exits) -> None:
        if exits is not self._served:
            return
        with self._closing_if_unused():
            self._endpoint.grants.pop(self._own.name, None)
            self._own = Grant({})  # the key that was closed opens nothing again
            self.withdraw()

    def withdraw(self) -> None:
        """Remove all files of this kernel, and put the environment back."""
        with self._removing:
            served, self._served = self._served, None
            folder, self._folder = self._folder, None
            if served is not None:
                served.withdraw()
            if folder is not None:
                folder.remove()

    def _on_change(self) -> None:
        served = self._served
        if self._holder.gone and not self.closed:
            self.close()
        elif served is not None:
            served.keeper.look()

    def _forget(self) -> None:
        """Own nothing in a forked child, which must not remove its parent's files."""
        self.closed = True
        fork.leave_alone((self._folder, self._served))
        self._served = self._folder = None
        self._lock, self._removing = threading.Lock(), threading.Lock()
        _open.discard(self)


_open: set[Gate] = set()


@atexit.register
def _withdraw_all() -> None:
    """Remove all files when the program ends; the endpoints end with it."""
    for gate in list(_open):
        gate.withdraw()


@contextlib.contextmanager
def _explaining() -> Iterator[None]:
    """Say which file, folder or port could not be had."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        message = f"This cannot be served: {error.strerror or type(error).__name__}{where}."
        failure = ConfigurationError(message, code="preset_unavailable")
    else:
        return
    raise failure


def _exports(variables: Mapping[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(value)}\n"
