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
:root{color-scheme:light dark;--off:light-dark(#57606a,#9ea7b0)}
body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:14vh auto 0;padding:0 1.5rem 2rem}
body{background:Canvas;color:CanvasText}
a{color:LinkText}
h1{font-size:1.4rem;font-weight:600;line-height:1.3;margin:.75rem 0 .25rem;overflow-wrap:anywhere}
p{margin:.5rem 0;overflow-wrap:anywhere}
.mark{display:grid;place-items:center;width:3rem;height:3rem;border:2px solid;border-radius:50%;font-size:1.5rem}
.off,.where,code{color:var(--off)}
.ok{color:light-dark(#1a7f37,#4ac26b)}
.bad{color:light-dark(#b3261e,#f2746b);border-radius:.5rem}
button{font:inherit;margin:1rem 0 .5rem;padding:.5rem 1rem;border:1px solid var(--off);border-radius:.375rem}
button{background:none;color:inherit;cursor:pointer}
button[hidden]{display:none}
""".strip()
#: Removes code and state from the address, and closes the window after a success, if the browser allows it.
_SCRIPT = """
history.replaceState(null,"",location.pathname);
if(document.body.dataset.close)setTimeout(()=>window.close(),1200);
const button=document.querySelector("button");
button.hidden=false;
button.addEventListener("click",()=>{
  window.close();
  setTimeout(()=>button.replaceWith("This browser lets no page close itself: close the tab."),300);
});
""".strip()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; img-src data:; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
        login_url: Where the user can sign in to Jupyter and come back, or empty.
        provider: Name of the provider, or empty.
    """

    status: int
    title: str
    text: str
    closes: bool = False
    code: str = ""
    login_url: str = ""
    provider: str = ""

    @property
    def outcome(self) -> str:
        """Whether the sign-in succeeded (``ok``), failed (``bad``), or neither (``off``)."""
        if self.closes:
            return "ok"
        return "bad" if self.status >= 400 else "off"  # noqa: PLR2004

    def html(self, place: str = "notebook") -> str:
        """Return the HTML for a user who came from ``place``."""
        return _TEMPLATE.format(
            style=_STYLE,
            script=_SCRIPT,
            title=escape(self.title),
            text=escape(self.text.format(place=place)),
            code=f"<p><code>{escape(self.code)}</code></p>" if self.code else "",
            outcome=self.outcome,
            mark=_MARKS[self.outcome],
            where=_WHERE.format(provider=escape(self.provider)) if self.provider else "",
            link=_LINK.format(url=escape(self.login_url)) if self.login_url else "",
            close=' data-close="1"' if self.closes else "",
        )


_MARKS = {"ok": "\N{CHECK MARK}", "bad": "!", "off": "i"}
_WHERE = '<p class="where">Sign-in at <bdi>{provider}</bdi></p>'
_LINK = '<p><a href="{url}">Sign in and go on</a></p>'
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body{close}>
<main>
<div class="mark {outcome}" aria-hidden="true">{mark}</div>
<div role="status">
<h1>{title}</h1>
{where}
<p>{text}</p>
{link}
{code}
</div>
<button type="button" hidden>Close this tab</button>
</main>
<script>{script}</script>
</body>
</html>
"""


_LOOK = "The {place} shows whether you are signed in. You can close this tab."
_DONE = "You can close this tab and go on in the {place}."
_BACK = "You can close this tab and go back to the {place}."


def signed_in(name: str, provider: str = "") -> Page:
    """Return the page for a successful sign-in of the user ``name`` at ``provider``."""
    return Page(200, f"Signed in as {name}" if name else "Signed in", _DONE, closes=True, provider=provider)


#: Pages of the callback server: before an answer, and after one that is yet to be validated.
WAITING = Page(200, "Waiting for a sign-in", "Sign in at the provider, in the window that has opened for it.")
RECEIVED = Page(200, "The provider's answer has arrived", _LOOK)
#: The redirect URI without an answer: reloaded, restored, or reached by going back or forward.
OVER = Page(200, "This tab has done its work", _LOOK)


def failed(code: ErrorCode, *, login_url: str = "", provider: str = "") -> Page:
    """Return the page for an error code; with a ``login_url``, a link to Jupyter's login page is all there is to do."""
    entry = explain(code)
    text = entry.sentence if login_url else f"{entry.text(place='{place}')} {_BACK}"
    return Page(entry.status, entry.title, text, code=code, login_url=login_url, provider=provider)


def broken(status: int) -> Page:
    """Return the page for an HTTP error of the web server itself."""
    return Page(status, "This did not work", "You can close this tab, go back to the {place} and try again.")
