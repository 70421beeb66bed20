"""Hooks for forked children, which must drop their parent's threads, loop, locks and sockets."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: The parent's open objects. Never closed or collected in the child: that would unregister the parent's sockets.
_inherited: list[Any] = []
_hooks: list[Callable[[], Callable[[], object] | None]] = []


def in_child(hook: Callable[[], object]) -> None:
    """Call ``hook`` in every child that is forked from now on, in order of registration.

    Args:
        hook: A function; or a bound method, which is called as long as its object exists. It runs before any other
            code of the child, so it must only assign: no locks, nothing closed, nothing started.
    """
    _hooks.append(weakref.WeakMethod(hook) if hasattr(hook, "__self__") else _strongly(hook))
    if len(_hooks) % _SWEEP == 0:
        for reference in [reference for reference in _hooks if reference() is None]:
            _hooks.remove(reference)  # in place: other threads append


_SWEEP = 64  # registrations after which those of dead objects are removed


def leave_alone(thing: Any) -> None:
    """Keep an object with sockets of the parent alive until this process ends. Call it in a hook."""
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
