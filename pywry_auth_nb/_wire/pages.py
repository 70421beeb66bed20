"""The HTML pages of the sign-in window.

The Jupyter server and the callback server show the same pages.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from .error_codes import explain

if TYPE_CHECKING:
    from .error_codes import ErrorCode

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:18vh auto 0;padding:0 1.5rem}
h1{font-size:1.4rem;font-weight:600;overflow-wrap:anywhere}
p{margin:.5rem 0}
code{opacity:.7}
""".strip()
#: Removes code and state from the address, and closes the window after a success, if the browser allows it.
_SCRIPT = """
history.replaceState(null,"",location.pathname);
if(document.body.dataset.close)setTimeout(()=>window.close(),1200);
""".strip()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Page:
    """A page for one outcome of a sign-in.

    Attributes:
        status: The HTTP status.
        title: The heading.
        text: What happened and what to do; ``{place}`` stands for where the user came from.
        closes: Whether the window closes itself, if the browser allows it.
        code: The error code, shown for reports; empty for a success.
    """

    status: int
    title: str
    text: str
    closes: bool = False
    code: str = ""

    def html(self, place: str = "notebook") -> str:
        """Return the HTML for a user who came from ``place``."""
        return _TEMPLATE.format(
            style=_STYLE,
            script=_SCRIPT,
            title=escape(self.title),
            text=escape(self.text.format(place=place)),
            code=f"<p><code>{escape(self.code)}</code></p>" if self.code else "",
            close=' data-close="1"' if self.closes else "",
        )


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
</head>
<body{close}>
<main>
<div role="status">
<h1>{title}</h1>
<p>{text}</p>
{code}
</div>
</main>
<script>{script}</script>
</body>
</html>
"""


_LOOK = "The {place} shows whether you are signed in. You can close this tab."
_DONE = "You can close this tab and go on in the {place}."
_BACK = "You can close this tab and go back to the {place}."


def signed_in(name: str) -> Page:
    """Return the page for a successful sign-in."""
    return Page(200, f"Signed in as {name}" if name else "Signed in", _DONE, closes=True)


#: Pages of the callback server: before an answer, and after one that is yet to be validated.
WAITING = Page(200, "Waiting for a sign-in", "Sign in at the provider, in the window that has opened for it.")
RECEIVED = Page(200, "The provider's answer has arrived", _LOOK)


def failed(code: ErrorCode) -> Page:
    """Return the page for an error code."""
    entry = explain(code)
    return Page(entry.status, entry.title, f"{entry.text(place='{place}')} {_BACK}", code=code)


def broken(status: int) -> Page:
    """Return the page for an HTTP error of the web server itself."""
    return Page(status, "This did not work", "Go back to the {place} and try again.")
