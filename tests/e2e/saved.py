"""What a front end keeps of sign-ins in files: no token, no code, no address, no picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .card import Card
    from .processes import Provider

#: Settings of JupyterLab and Notebook 7, which leave widgets out of what they save unless told.
WITH_WIDGET_STATE = {"@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True}}


def sign_in_in_other_ways(card: Card, save: Callable[[], object]) -> dict[str, str]:
    """Sign in with a device code and with a pasted address, and save while each is shown, and after it.

    Returns:
        What the page showed that no file may hold, by what it is.
    """
    shown = {"QR code": card.by_device(save), "avatar": card.picture()}
    save()
    card.sign_out()
    shown["pasted address"] = card.by_paste(save)
    save()
    return shown


def kept_in(folder: Path, provider: Provider, **shown: str) -> list[str]:
    """Return which file below ``folder`` holds a secret of the provider, or what was ``shown``: "n.ipynb: code"."""
    words = {"authorize URL": [f"{provider.issuer}/auth?"], **provider.secrets()}
    words |= {what: [value] for what, value in shown.items()}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        f"{path.relative_to(folder)}: {what}"
        for path, content in ((path, path.read_bytes()) for path in files)
        for what, values in words.items()
        if any(word.encode() in content for word in values)
    ]
