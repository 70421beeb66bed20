"""Keyword arguments under a wrong name: an error that has the right one."""

from __future__ import annotations

from difflib import get_close_matches
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def refuse_unknown(owner: Any, names: Iterable[str], **right: str) -> None:
    """Refuse the keywords ``names``, which ``owner``'s constructor does not have.

    Args:
        owner: The object that is being made.
        names: The keywords; without their values, which may be secret.
        right: The right name for each wrong one that people use; for others the most similar one is suggested.

    Raises:
        ConfigurationError: There are any.
    """
    for name in names:
        parameters = signature(type(owner)).parameters.values()
        known = [each.name for each in parameters if each.kind is not Parameter.VAR_KEYWORD]
        likely = [right[name]] if name in right else get_close_matches(name, known, 1)
        hint = f"Use {likely[0]}=." if likely else f"It takes: {', '.join(known)}."
        raise ConfigurationError(f"{type(owner).__name__} has no argument {name!r}. {hint}")
