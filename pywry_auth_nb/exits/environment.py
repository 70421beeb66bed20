"""Variables that are set in this process for a while, by several who may want the same one."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from .._io import fork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_lock = threading.Lock()
_layers: list[tuple[object, dict[str, str]]] = []  # the last one counts
_before: dict[str, str | None] = {}


def _start_over() -> None:
    """Leave the variables as they are in a forked child: they lead to its parent."""
    global _lock  # noqa: PLW0603 - one per process is the point
    _lock = threading.Lock()
    _layers.clear()
    _before.clear()


fork.in_child(_start_over)


def put(owner: object, variables: Mapping[str, str]) -> None:
    """Set variables for ``owner``, in place of its earlier ones."""
    _change(owner, dict(variables))


def take_back(owner: object) -> None:
    """Give the variables of ``owner`` the values of before, but for those that were changed since."""
    _change(owner, {})


@contextlib.contextmanager
def set_aside(owner: object) -> Iterator[None]:
    """Give the variables of ``owner`` the values of before while something looks at the environment."""
    with _lock:
        shown, others = _shown(), _shown(without=owner)
        ours = [name for name in shown if shown[name] != others.get(name) and os.environ.get(name) == shown[name]]
        for name in ours:
            _set(name, others[name] if name in others else _before[name])
        try:
            yield
        finally:
            for name in ours:
                _set(name, shown[name])


def _change(owner: object, variables: dict[str, str]) -> None:
    with _lock:
        shown = _shown()
        _layers[:] = [layer for layer in _layers if layer[0] is not owner]
        if variables:
            _layers.append((owner, variables))
        after = _shown()
        for name in shown.keys() | after.keys():
            is_ours = name in shown and os.environ.get(name) == shown[name]
            if not is_ours and name in variables:
                _before[name] = os.environ.get(name)
            if is_ours or name in variables:
                _set(name, after[name] if name in after else _before.pop(name))


def _shown(without: object = None) -> dict[str, str]:
    layers = [variables for owner, variables in _layers if owner is not without]
    return {name: value for variables in layers for name, value in variables.items()}


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
