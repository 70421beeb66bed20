"""Lets PyYAML and ruamel.yaml write a kind of string as the plain string that it is.

They choose how to write a value by its class, and refuse an unknown subclass of ``str``. Neither is imported for this:
they learn the class when the program imports them.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_MODULES = ("yaml.representer", "ruamel.yaml.representer")


def write_as_text(kind: type[str]) -> None:
    """Let YAML libraries write instances of ``kind`` and its subclasses as plain strings, now or once imported."""
    listener = _ImportListener(kind)
    listener.register()
    sys.meta_path.insert(0, listener)


class _ImportListener(MetaPathFinder):
    """Finds no module, so that every import stays as it is: it only notices that YAML libraries have come.

    Both import at least one more module after their representers.
    """

    def __init__(self, kind: type[str]) -> None:
        self._kind = kind
        self._registered: dict[str, object] = {}

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        self.register()

    def register(self) -> None:
        """Register the class with the libraries that are there, once: one that is imported again is new."""
        for name in _MODULES:
            module = sys.modules.get(name)
            base = None if module is None else getattr(module, "SafeRepresenter", None)
            if module is not None and base is not self._registered.get(name) and not _is_loading(module):
                self._registered[name] = base
                _register(module, self._kind)


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


def _register(module: ModuleType, kind: type[str]) -> None:
    for each in list(vars(module).values()):
        if isinstance(each, type) and all(hasattr(each, name) for name in ("represent_str", "add_multi_representer")):
            each.add_multi_representer(kind, _represent)  # type: ignore[attr-defined]


def _represent(dumper: Any, text: str) -> Any:
    return dumper.represent_str(str(text))  # the C emitter refuses a subclass
