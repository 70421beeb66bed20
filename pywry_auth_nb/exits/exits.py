"""`Exits`: what `session.serve` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from typing_extensions import Self

    from .folder import FreshFile
    from .keeper import FileKeeper
    from .presets import Place, Plan


class Exits:
    """What is served of a session to other programs on this machine, until it is closed.

    It ends with :meth:`close` or its ``with`` block, with a sign-out, and with its session or kernel; or when
    ``session.serve`` is called again, which takes its place at the same address and with the same key.
    """

    def __init__(
        self,
        place: Place,
        plan: Plan,
        files: Mapping[Path, FreshFile],
        keeper: FileKeeper,
        close: Callable[[Exits], None],
    ) -> None:
        self.open = True
        self.kept = files
        self.keeper = keeper
        self._place = place
        self._plan = plan
        self._close = close

    @property
    def url(self) -> str:
        """The address of the endpoint: ``/token``, ``/headers`` and ``/id-token``, and what the presets add."""
        return self._place.url

    @property
    def key_file(self) -> Path:
        """The file with the key of the endpoint, for the ``Authorization`` header. Only this account may read it."""
        return self._place.key_file

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which programs find what is served. None of them is secret."""
        return dict(self._plan.environment)

    @property
    def files(self) -> list[Path]:
        """The files with tokens."""
        return [*self.kept]

    @property
    def script(self) -> Path:
        """A script for a terminal, which sets the variables there: ``. FILE``."""
        return self._place.folder / "env.sh"

    def close(self) -> None:
        """Stop serving: close the endpoint, remove the files, and put the environment back."""
        self._close(self)

    def withdraw(self, *, keep: Mapping[Path, FreshFile] | None = None) -> None:
        """Put the environment back, and remove the files but those to ``keep``. From any thread."""
        self.open = False
        self.keeper.stop()
        environment.take_back(self)
        for path, file in self.kept.items():
            if path not in (keep or {}):
                file.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if not self.open:
            return "<Exits, closed>"
        served = ", ".join([*self._plan.names, *map(str, self.kept)]) or "tokens"
        return f"<Exits at {self.url}: {served}; in a terminal: . {self.script}>"
