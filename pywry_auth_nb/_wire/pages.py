"""The pages a person sees in the sign-in window: static, escaped, and true.

The Jupyter server and the callback server on one's own machine show the same ones.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass, replace
from html import escape

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:18vh auto 0;padding:0 1.5rem}
h1{font-size:1.4rem;font-weight:600;overflow-wrap:anywhere}
p{margin:.5rem 0}
code{opacity:.7}
""".strip()
#: Takes code and state out of the address, and closes the window after a success, where the browser lets it.
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
    """One outcome.

    Attributes:
        status: Of HTTP.
        title: The heading.
        text: What to do; ``{place}`` in it is where the person came from.
        closes: Whether the window closes itself, where the browser lets it.
        code: One of ours, shown for the person to report.
    """

    status: int
    title: str
    text: str
    closes: bool = False
    code: str = ""

    def html(self, place: str = "notebook") -> str:
        """Return the page for somebody who comes from a ``place``."""
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
<main role="status">
<h1>{title}</h1>
<p>{text}</p>
{code}
</main>
<script>{script}</script>
</body>
</html>
"""


_LOOK = "The {place} shows whether you are signed in. You can close this tab."
_DONE = "You can close this tab and go on in the {place}."
_AGAIN = "Go back to the {place} and sign in again."
_ADMIN = "Ask whoever set up this sign-in."


def signed_in(name: str) -> Page:
    """The page of a success."""
    return Page(200, f"Signed in as {name}" if name else "Signed in", _DONE, closes=True)


#: The callback server's, before an answer has come; and after one that its owner has yet to look at.
WAITING = Page(200, "Waiting for a sign-in", "Sign in at the provider, in the window that has opened for it.")
RECEIVED = Page(200, "The provider's answer has arrived", _LOOK)


#: What each code of the error tree means to the person in the sign-in window.
_PAGES = {
    # who may be here
    "jupyter_login": Page(403, "Sign in to Jupyter first", f"This browser is not signed in to Jupyter. {_AGAIN}"),
    "forbidden": Page(403, "Not allowed", "You may not run code on this Jupyter server, so you cannot sign in for it."),
    "other_browser": Page(
        403,
        "No sign-in is open in this browser",
        "A sign-in must end in the browser, and with the Jupyter user, where it began. If you have just signed in, you "
        "can close this tab. "
        f"Otherwise: {_AGAIN[0].lower()}{_AGAIN[1:]}",
    ),
    "not_found": Page(404, "There is nothing at this address", _AGAIN),
    "bad_request": Page(400, "This address is not complete", _LOOK),
    "bad_host": Page(400, "This is another address", "Nobody may use this server under the name that was used."),
    "bad_method": Page(405, "This address is only for reading", _AGAIN),
    "rate_limited": Page(
        429, "Too many sign-ins at once", "Wait for a minute. Then go back to the {place} and sign in again."
    ),
    # the kernel
    "kernel_gone": Page(404, "The notebook's kernel has stopped", "Run the notebook's cells again, then sign in."),
    "no_session": Page(
        404, "The notebook has no sign-in open", "Its kernel may have restarted. Run its cells again, then sign in."
    ),
    "kernel_busy": Page(
        504, "The notebook does not answer", "Its kernel is blocked. Wait for it or restart it, then sign in again."
    ),
    "kernel_slow": Page(
        504,
        "This takes longer than expected",
        "Look at the notebook: if it does not say that you are signed in within a minute, sign in again.",
    ),
    "version_mismatch": Page(
        501,
        "Versions do not fit",
        "The notebook's kernel and the Jupyter server have different versions of pywry-auth-nb. Install the same "
        "version in both, then restart both.",
    ),
    # the answer
    "already_used": Page(200, "This sign-in is finished", _LOOK),
    "unknown_flow": Page(
        404, "No such sign-in is open", f"It may be over already, or the {{place}} was restarted. {_AGAIN}"
    ),
    "access_denied": Page(
        400, "Access was declined", f"Nobody was signed in. To go on: {_AGAIN[0].lower()}{_AGAIN[1:]}"
    ),
    "flow_cancelled": Page(400, "The sign-in was cancelled", f"Nobody was signed in. {_AGAIN}"),
    "flow_timeout": Page(400, "The sign-in took too long", f"Nobody was signed in. {_AGAIN}"),
    "metadata_issuer": Page(
        400,
        "The provider's address is not written as it should be",
        f"The {{place}} says how. Nobody has been asked to sign in. {_ADMIN}",
    ),
    "issuer_mismatch": Page(400, "The answer came from another provider", f"It was refused for your safety. {_AGAIN}"),
    "issuer_missing": Page(
        400, "The answer does not say where it comes from", f"It was refused for your safety. {_AGAIN}"
    ),
    "invalid_response": Page(400, "The provider's answer is not valid", f"It was refused for your safety. {_AGAIN}"),
    "insecure_redirect_uri": Page(
        400,
        "Jupyter is not reached over https",
        "A sign-in could be read on its way. Open Jupyter over https. Behind a proxy, its administrator sets "
        "c.ServerApp.trust_xheaders = True or c.PywryAuth.redirect_uri.",
    ),
    "network": Page(502, "The provider cannot be reached", f"Check the network. {_AGAIN}"),
    "timeout": Page(504, "The provider did not answer in time", f"Check the network. {_AGAIN}"),
    "invalid_grant": Page(400, "The provider no longer accepts this sign-in", _AGAIN),
    "invalid_client": Page(
        400, "The provider does not know this application", f"Its registration is not right. {_ADMIN}"
    ),
    **dict.fromkeys(
        ("hub_scope_missing", "hub_auth_state_missing", "hub_token_expired", "hub_refused"),
        Page(502, "The hub does not give its token", "The {place} says what is missing. Ask whoever runs the hub."),
    ),
    "discovery_failed": Page(502, "The provider cannot be used", f"It is down, or its address is not right. {_ADMIN}"),
}
_OTHER = Page(400, "Signing in did not work", f"Nobody was signed in. The {{place}} says more. {_AGAIN}")


def failed(code: str) -> Page:
    """Return the page for a code; a general one for a code without its own."""
    return replace(_PAGES.get(code, _OTHER), code=code)
