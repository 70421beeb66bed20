"""Outputs of a waiting cell that go when it has waited: a notebook that is saved afterwards has none of them."""

from __future__ import annotations

import contextlib
import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTHING = {"text/html": "", "text/plain": ""}


@contextlib.contextmanager
def shown(data: Mapping[str, str] | None) -> Iterator[None]:
    """Display ``data``, by media type, for the time being; None for nothing."""
    from IPython.display import display

    handle = data and display(dict(data), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        remove(handle)


def remove(handle: Any) -> None:
    """Make what was displayed empty; ``handle`` may be anything else."""
    if hasattr(handle, "update"):
        handle.update(_NOTHING, raw=True)


def plain_link(href: str) -> dict[str, str]:
    """Return a link for a page that cannot draw the widget, such as one that was reloaded."""
    link = f'<a href="{html.escape(href)}" target="_blank" rel="noopener">Open the provider\'s page</a>'
    return {"text/html": f"<small>Is there nothing to click above? {link}</small>", "text/plain": ""}
