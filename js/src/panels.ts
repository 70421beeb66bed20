import { button, fill, make, setHref, setText, show, tabLink } from "./dom";
import type { Begun, Face, HelpFace, Qr } from "./state";

const SVG = "http://www.w3.org/2000/svg";
const LABELS: Record<string, string> = {
  device: "Use a phone or another device",
  loopback: "Sign in and paste an address",
};

/** What the panels let the user do. */
export interface Choices {
  begin(way: string): void;
  paste(text: string): void;
  copy(text: string, button: HTMLButtonElement, field?: HTMLInputElement): void;
  copyLink(button: HTMLButtonElement): void;
}

/** What stands below the card while a sign-in is open, each shown only when there is something in it. */
export class Panels {
  readonly roots: HTMLElement[];

  private readonly ways = make("div", "ways");
  private readonly copyLink = button("button", "Copy the sign-in link");
  private readonly help = make("div", "panel pywry-auth-help", {}, this.ways, this.copyLink);

  private readonly address = make("input", "field", { readonly: "", "aria-label": "Redirect URI to register" });
  private readonly copyAddress = button("button", "Copy");
  private readonly register = make(
    "div",
    "panel",
    {},
    make("div", "said", {}, "An error page there? This address must be registered at the provider:"),
    make("div", "row", {}, this.address, this.copyAddress),
  );

  private readonly qr = make("div", "qr");
  private readonly deviceLink = tabLink("plain");
  private readonly code = make("strong", "code", { tabindex: "-1" });
  private readonly codeLeft = make("span", "left");
  private readonly copyCode = button("plain", "Copy code");
  private readonly device = make(
    "div",
    "panel pywry-auth-device",
    {},
    this.qr,
    make(
      "div",
      "mid",
      {},
      make("div", "said", {}, "On your phone or in any other browser, open ", this.deviceLink, " and enter"),
      this.code,
      make("div", "sub", {}, this.codeLeft, this.copyCode),
    ),
  );

  private readonly signInLink = tabLink("plain", "Open the sign-in page");
  private readonly pasted = make("input", "field", {
    "aria-label": "Address of the page that could not be opened",
    placeholder: "http://127.0.0.1:\u2026/callback?code=\u2026",
    autocomplete: "off",
    spellcheck: "false",
  });
  private readonly proceed = button("button pywry-auth-primary", "Continue", { type: "submit" });
  private readonly problem = make("div", "problem", { role: "alert" });
  private readonly paste = make(
    "form",
    "panel",
    { novalidate: "" },
    make("div", "said", {}, this.signInLink, ". If your browser then says \u201crefused to connect\u201d, paste the whole address of that page here:"),
    make("div", "row", {}, this.pasted, this.proceed),
    this.problem,
  );

  constructor(
    private readonly choices: Choices,
    signal: AbortSignal,
  ) {
    this.roots = [this.help, this.device, this.paste, this.register];
    const on = (target: HTMLElement, event: string, handle: (event: Event) => void) =>
      target.addEventListener(event, handle, { signal });
    on(this.copyLink, "click", () => choices.copyLink(this.copyLink));
    on(this.copyAddress, "click", () => choices.copy(this.address.value, this.copyAddress, this.address));
    on(this.copyCode, "click", () => choices.copy(this.code.textContent ?? "", this.copyCode));
    const send = (event: Event) => {
      event.preventDefault();
      if (this.pasted.value.trim()) choices.paste(this.pasted.value.trim());
    };
    on(this.paste, "submit", send);
    // JupyterLab does not let Enter submit a form.
    on(this.pasted, "keydown", (event) => {
      if ((event as KeyboardEvent).key === "Enter") send(event);
    });
  }

  draw(face: Face): void {
    this.drawHelp(face.help);
    this.drawBegun(face.begun, face.codeLeft, face.pending);
    this.register.hidden = face.register === "";
    if (this.address.value !== face.register) this.address.value = face.register;
  }

  private drawHelp(help: HelpFace | null): void {
    this.help.hidden = help === null;
    if (help === null) return;
    this.copyLink.hidden = !help.copy;
    fill(this.ways, JSON.stringify(help.ways), () =>
      help.ways.map(({ name, why }) => {
        if (why) return make("div", "said", {}, `${LABELS[name] ?? name}: ${why}`);
        const choice = button("button", LABELS[name] ?? name);
        choice.addEventListener("click", () => this.choices.begin(name));
        return choice;
      }),
    );
  }

  private drawBegun(begun: Begun | null, codeLeft: string, pending: string): void {
    const device = begun?.kind === "device" ? begun : null;
    const paste = begun?.kind === "loopback" ? begun : null;
    this.device.hidden = device === null;
    this.paste.hidden = paste === null;
    setHref(this.deviceLink, device?.url ?? "");
    setText(this.deviceLink, (device?.url ?? "").replace(/^https:\/\//, ""));
    setText(this.code, device?.code ?? "");
    setText(this.codeLeft, device ? codeLeft : "");
    this.qr.hidden = !device?.qr;
    fill(this.qr, device?.qr?.path ?? "", () => (device?.qr ? [picture(device.qr)] : []));
    setHref(this.signInLink, paste?.url ?? "");
    show(this.problem, paste?.error ?? "");
    this.proceed.setAttribute("aria-disabled", String(pending === "paste"));
    if (paste === null) this.pasted.value = "";
  }
}

/** A QR code, dark on light in every theme, with the margin that scanners need. */
function picture({ path, size }: Qr): Node {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `-4 -4 ${size + 8} ${size + 8}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "QR code of that page");
  const modules = document.createElementNS(SVG, "path");
  modules.setAttribute("d", path);
  svg.append(modules);
  return svg;
}
