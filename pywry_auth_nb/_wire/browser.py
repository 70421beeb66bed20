"""What a browser says about a request: whether a person opens a page, or something else fetches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Headers(Protocol):
        """The headers of a request, as tornado and the standard library have them."""

        def get(self, name: str, default: str, /) -> str: ...


_PURPOSES = ("Sec-Purpose", "Purpose", "X-Moz")  # of a prefetch, in today's browsers and in older ones


def is_prefetch(headers: Headers) -> bool:
    """Whether a browser fetches a page that the person may never open."""
    return any("prefetch" in headers.get(name, "").lower() for name in _PURPOSES)


def opens_page(headers: Headers) -> bool:
    """Whether a person opens a page: no prefetch, frame, image or ``fetch()`` (Fetch Metadata Request Headers §2.1).

    Browsers that do not say what a request is for are believed.
    """
    return not is_prefetch(headers) and headers.get("Sec-Fetch-Dest", "document") == "document"
