"""What a forked child must forget: the threads, the loop, the locks and the sockets are its parent's."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a parent has open. Never closed nor collected here: that would take the parent's sockets out of its loop.
_inherited: list[Any] = []
_hooks: list[Callable[[], Callable[[], object] | None]] = []


def in_child(hook: Callable[[], object]) -> None:
    """Call ``hook`` in every child that is forked from now on, in the order of the calls here.

    Args:
        hook: A function; or a bound method, which is called as long as its object lives. It runs before anything else
            in the child does, so it only assigns: it takes no lock, closes nothing and starts nothing.
    """
    _hooks.append(weakref.WeakMethod(hook) if hasattr(hook, "__self__") else _strongly(hook))
    if len(_hooks) % _SWEEP == 0:
        _hooks[:] = [reference for reference in _hooks if reference() is not None]


_SWEEP = 64  # registrations after which those of objects that are gone are dropped


def leave_alone(thing: Any) -> None:
    """Keep what has sockets of the parent for as long as this process lives. Call it in a hook."""
    _inherited.append(thing)


def _strongly(hook: Callable[[], object]) -> Callable[[], Any]:
    return lambda: hook


def _run() -> None:
    for reference in _hooks:
        hook = reference()
        if hook is not None:
            hook()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run)
