"""Every state of the widget in one page without a kernel: for axe-core, and to look at."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pywry_auth_nb._sign_in.qr import qr_code

if TYPE_CHECKING:
    from playwright.sync_api import Page

STATIC = Path(__file__).parents[2] / "pywry_auth_nb" / "static"
THEMES = Path(sys.prefix, "share/jupyter/lab/themes/@jupyterlab")
#: JupyterLab's themes by the name of their folder; "" is a page without JupyterLab, which follows the system.
LOOKS = {
    "light": ("theme-light-extension", "light"),
    "dark": ("theme-dark-extension", "dark"),
    "high-contrast": ("theme-dark-high-contrast-extension", "dark"),
    "plain-light": ("", "light"),
    "plain-dark": ("", "dark"),
}
SERVER = {"name": "server", "why": ""}
WAYS = [SERVER, {"name": "device", "why": ""}, {"name": "loopback", "why": ""}]
WHY = [SERVER, {"name": "device", "why": "Contoso offers no sign-in with another device."}, WAYS[2]]
ADA = {"status": "signed_in", "name": "Ada Lovelace", "renews": True}
DETAILS = {
    "email": "ada@contoso.com",
    "scopes": ["openid", "profile", "drive.readonly"],
    "store": "Redis",
    "redirect_uri": "https://hub.example.org/hub/user-redirect/pywry-auth/callback",
}
DEVICE = {
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://login.contoso.com/device",
    "qr": qr_code("https://login.contoso.com/device?user_code=WDJB-MJHT"),
    "expires_in": 840,
}
PASTE = {"authorize_url": "https://login.contoso.com/authorize?client_id=1", "redirect_uri": "http://127.0.0.1:1/"}
UNUSABLE = {"status": "error", "text": "This is the address of the first page. Copy the one of the last page."}
LONG = "Wolfeschlegelsteinhausenbergerdorff Wilhelmina Constantia von und zu Hohenzollern-Sigmaringen the Elder"


@dataclass
class State:
    """A state of the widget.

    Attributes:
        traits: The traits of the model; those left out are of a widget that is signed out.
        click: What to click, by its text or label.
        answers: What the kernel answers, by the name of the request.
        seconds: How long to wait in the page's time.
        routes: Whether the server has the extension.
        type: What to type into the field for an address.
        said: What the kernel says at the end.
    """

    traits: dict[str, Any] = field(default_factory=dict)
    click: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    seconds: int = 0
    routes: bool = True
    type: str = ""
    said: dict[str, Any] = field(default_factory=dict)


OPEN = {"status": "authorizing"}
HELP = "Trouble signing in?"
DOTS = "Account and details"
STATES = {
    "signed-out": State(),
    "window-blocked": State(click=["Sign in"]),
    "signing-in": State(OPEN),
    "error-page": State(OPEN, seconds=21),
    "trouble": State(OPEN, click=[HELP]),
    "trouble-why": State(OPEN, click=[HELP], answers={"hello": {"ways": WHY}}),
    "device": State(OPEN, click=[HELP, "Use a phone or another device"]),
    "superseded": State(OPEN, click=[HELP, "Use a phone or another device"], said={"superseded": "1"}),
    "paste": State(OPEN, click=[HELP, "Sign in and paste an address"]),
    "paste-wrong": State(
        OPEN, click=[HELP, "Sign in and paste an address", "Continue"], type="https://login.contoso.com/"
    ),
    "declined": State(
        {
            "error_code": "access_denied",
            "error_text": "You declined the request. Sign in again.",
            "error_detail": "User is not assigned to the client application.",
        }
    ),
    "signed-in": State(ADA),
    "details": State({**ADA, "expires_in": 3480}, click=[DOTS]),
    "elsewhere": State(ADA, answers={"details": {"details": {**DETAILS, "elsewhere": True}}}),
    "asks": State({**ADA, "asks": "This cell asks for more access: files.read"}),
    "ends-soon": State({**ADA, "renews": False, "expires_in": 290}),
    "cannot-renew": State(
        {
            **ADA,
            "stuck": True,
            "expires_in": 1800,
            "error_code": "connection_refused",
            "error_text": "login.contoso.com refuses the connection. Try again in a moment.",
        }
    ),
    "ended": State(
        {
            "status": "reauth_required",
            "name": "Ada Lovelace",
            "error_code": "invalid_grant",
            "error_text": "The provider no longer accepts this sign-in. Sign in again.",
        }
    ),
    "no-extension": State(routes=False),
    "no-extension-account": State(ADA, routes=False, click=[DOTS, "Use another account"]),
    "no-extension-help": State(routes=False, click=["How to install it", "Sign in another way"]),
    "long-name": State({**ADA, "name": LONG, "provider": "login.microsoftonline.example.org"}, click=[DOTS]),
    "no-name": State({"provider": "127.0.0.1:9000"}),
    "rtl-name": State({**ADA, "name": "\u05e2\u05d3\u05d4 \u05dc\u05d0\u05d1\u05dc\u05d9\u05d9\u05e1"}),
}
_ADDRESS = "http://127.0.0.1:9/lab"  # of the page, which no server has to serve
_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Widget</title><style>%(theme)s
body{margin:0;padding:16px;background:var(--jp-layout-color0,Canvas);color:var(--jp-ui-font-color1,CanvasText)}
h1,h2{font:600 12px/2 system-ui,sans-serif;margin:8px 0 2px}
.jp-ThemedContainer button{border-radius:var(--jp-border-radius)}
.jp-ThemedContainer a{text-decoration:unset;color:unset}
.jp-ThemedContainer a:hover{text-decoration:underline;color:var(--jp-content-link-hover-color,#000)}
.jp-OutputArea-output :is(dl,dt,dd){display:block;padding:0;margin:0}
.jp-OutputArea-output dl{width:100%%;overflow:hidden}
.jp-OutputArea-output dt{font-weight:bold;float:left;width:20%%}
.jp-OutputArea-output dd{float:left;width:80%%}
%(css)s</style></head>
<body class="jp-ThemedContainer" %(light)s>
<script id="jupyter-config-data" type="application/json">{"baseUrl":"/"}</script>
<main class="jp-OutputArea-output"><h1>The widget</h1></main></body></html>"""
_SCRIPT = """async ({ source, states }) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const widget = (await import(url)).default;
  window.open = () => null;
  const main = document.querySelector("main");
  const settle = async () => { for (let i = 0; i < 60; i++) await Promise.resolve(); };
  // A module takes longer than a promise, and the page's clock stands still.
  const changed = (el) => new Promise((resolve) => {
    const observer = new MutationObserver(() => { observer.disconnect(); resolve(); });
    observer.observe(el, { childList: true, subtree: true });
  });
  for (const name of Object.keys(states)) main.append(Object.assign(document.createElement("section"), { id: name }));
  const drawState = async (name, state) => {
    delete globalThis[Symbol.for("pywry-auth-nb")];
    globalThis.fetch = async () => new Response("{}", { status: state.routes ? 200 : 404 });
    const handlers = {};
    const now = Date.now() / 1000;
    const traits = { status: "signed_out", provider: "Contoso", name: "", renews: false, stuck: false, asks: "",
      error_code: "", error_text: "", error_detail: "", login_path: "pywry-auth/login?kernel=k&flow=f",
      account_path: "pywry-auth/login?kernel=k&flow=f&prompt=select_account", ...state.traits };
    traits.expires_at = now + (traits.expires_in ?? 3480);
    const model = {
      get: (trait) => traits[trait], widget_manager: {},
      on: (event, handler) => (handlers[event] ??= []).push(handler), off: () => {},
      send: ({ request, id }) => queueMicrotask(() => {
        for (const handler of handlers["msg:custom"]) handler({ reply: id, status: "ok", ...state.answers[request] });
      }),
    };
    const section = document.getElementById(name);
    section.setAttribute("aria-label", name);
    section.append(Object.assign(document.createElement("h2"), { textContent: name }));
    const el = section.appendChild(document.createElement("div"));
    widget.render({ model, el });
    await settle();
    for (const label of state.click) {
      if (state.type) el.querySelectorAll("form input").forEach((input) => { input.value = state.type; });
      const found = [...el.querySelectorAll("button, a")].find(
        (control) => [control.textContent, control.getAttribute("aria-label")].includes(label));
      if (!found) throw new Error(`${name}: no ${label}`);
      found.click();
      await settle();
      while (el.contains(found) && found.closest(".pywry-auth-help")) await changed(el);
    }
    for (const handler of handlers["msg:custom"]) handler(state.said);
  };
  globalThis.draw = async (later) => {
    const chosen = Object.entries(states).filter(([, state]) => Boolean(state.seconds) === later);
    for (const [name, state] of chosen) await drawState(name, state);
  };
}"""


def draw(page: Page, look: str, *, forced: bool = False) -> None:
    """Draw every state in ``page``, in one of LOOKS."""
    theme, scheme = LOOKS[look]
    page.emulate_media(color_scheme=scheme, forced_colors="active" if forced else "none")  # type: ignore[arg-type]
    light = f'data-jp-theme-light="{json.dumps(scheme == "light")}"' if theme else ""
    page.clock.install()
    html = _HTML % {"theme": _theme(theme), "css": _text("widget.css"), "light": light}
    page.route(_ADDRESS, lambda route: route.fulfill(content_type="text/html", body=html))
    page.goto(_ADDRESS)
    answers = {"hello": {"ways": WAYS}, "details": {"details": DETAILS}, "paste": UNUSABLE}
    states = {name: {**vars(state), "answers": {**answers, **state.answers}} for name, state in STATES.items()}
    for state in states.values():
        is_device = any("phone" in label for label in state["click"])
        state["answers"]["start"] = {**(DEVICE if is_device else PASTE), "id": "1", "panel": _text("panel.js")}
    page.evaluate(_SCRIPT, {"source": _text("widget.js"), "states": states})
    page.evaluate("draw(true)")
    page.clock.fast_forward(max(state.seconds for state in STATES.values()) * 1000)
    page.evaluate("draw(false)")


def _theme(name: str) -> str:
    """Return the variables of a theme, whose other rules are about JupyterLab's own parts."""
    return _text(str(THEMES / name / "index.css")) if name else ""


@cache
def _text(name: str) -> str:
    return Path(STATIC, name).read_text(encoding="utf-8")
