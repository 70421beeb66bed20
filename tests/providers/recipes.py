"""The recipe of a provider: the cell of its page, and the same as settings of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.documents.pages import ROOT, take_apart

if TYPE_CHECKING:
    from tests.support.quirks import Quirks

PAGES = ROOT / "docs" / "providers"
#: Where the settings of a page have the client's secret.
SECRET_FILE = "/etc/pywry-auth/client-secret"


def text_of(quirks: Quirks) -> str:
    """Return the page of a provider."""
    return (PAGES / quirks.page).read_text(encoding="utf-8")


def cell_of(quirks: Quirks) -> str:
    """Return the cell that signs in at a provider: the first of its page with the provider's address."""
    return _block(quirks, "python")


def settings_of(quirks: Quirks) -> dict[str, str]:
    """Return the same as environment variables."""
    lines = _block(quirks, "dotenv").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _block(quirks: Quirks, language: str) -> str:
    """Return the first block in a language that has the provider's address."""
    address = quirks.issuer or quirks.endpoints["token_endpoint"]
    blocks, _ = take_apart(quirks.page, text_of(quirks))
    ends = {f"{address}{end}" for end in ('"', "\n")}
    return next(
        block.text for block in blocks if block.language == language and any(end in f"{block.text}\n" for end in ends)
    )
