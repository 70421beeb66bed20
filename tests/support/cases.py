"""Many inputs in one test: a loop whose failure names the input, as an id of ``parametrize`` would."""

from __future__ import annotations

import reprlib

import pytest

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 120


class case:  # noqa: N801 - reads as the statement it stands in: ``for url in BAD_URLS: with case(url): …``
    """Names the inputs of one round of a loop in whatever fails there; the original failure stays its cause."""

    def __init__(self, *inputs: object) -> None:
        self._inputs = inputs

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        __tracebackhide__ = True
        if not isinstance(error, (Exception, pytest.fail.Exception)):
            return
        shown = ", ".join(map(_short.repr, self._inputs))
        raise AssertionError(f"case {shown}: {error}") from error
