import type { Make } from "./dom";
import type { Begun, Face } from "./state";
import type { Actions } from "./view";

/**
 * What a way to sign in needs besides the card. The kernel sends this module with its answer to `start`: pages that sign
 * in by the server's route never load it.
 */
export default function draw(make: Make, face: Face, actions: Actions): HTMLElement {
  const begun = face.begun as Begun;
  const kind = begun.way === "device" ? DEVICE : PASTE;
  const over = begun.superseded ? kind.superseded : face.over;
  if (!over) return kind.draw(begun, make, face, actions);
  return make(
    "div",
    "panel",
    {},
    make("div", "said", {}, over),
    make("div", "row", {}, make("button", "button again", { onclick: () => actions.begin(begun.way) }, kind.again)),
  );
}

/** A code to enter on another device, and a picture of the address that has it (RFC 8628 §3.3). */
const DEVICE = {
  superseded: "This code is no longer good: another view of the widget has a newer one.",
  again: "Get a new code",
  draw: ({ url, code, qr }: Begun, make: Make, { left, copied }: Face, actions: Actions): HTMLElement =>
    make(
      "div",
      "panel device",
      {},
      qr && make("img", "qr", { src: qr, alt: "QR code of that page" }),
      make(
        "div",
        "mid enter",
        {},
        make(
          "div",
          "said",
          {},
          "On your phone or in any other browser, open ",
          make("a", "plain", { href: url }, url.replace(/^https:\/\//, "")),
          " and enter",
        ),
        make("strong", "code", { tabindex: -1 }, code),
        make(
          "div",
          "sub entered",
          {},
          make("span", "left", {}, left),
          make("button", "plain copy-code", { onclick: () => actions.copy(code) }, copied === code ? "Copied" : "Copy code"),
        ),
      ),
    ),
};

/** A page to open, and a field for the address at which it ends. */
const PASTE = {
  superseded: "This sign-in is over: another view of the widget has begun a newer one.",
  again: "Begin again",
  draw({ url, problem }: Begun, make: Make, { pending }: Face, actions: Actions): HTMLElement {
    const field = make("input", "field pasted", {
      "aria-label": "Address of the page that could not be opened",
      placeholder: "http://127.0.0.1:\u2026/callback?code=\u2026",
      autocomplete: "off",
      spellcheck: false,
      // JupyterLab does not let Enter submit a form.
      onkeydown: (event: KeyboardEvent) => event.key === "Enter" && send(event),
    }) as HTMLInputElement;
    const send = (event: Event) => {
      event.preventDefault();
      actions.paste(field.value.trim());
    };
    return make(
      "form",
      "panel",
      { onsubmit: send },
      make(
        "div",
        "said",
        {},
        make("a", "plain", { href: url }, "Open the sign-in page"),
        ". If your browser then ends at a page that it cannot open, paste the whole address of that page here:",
      ),
      make("div", "row", {}, field, make("button", "button primary proceed", { type: "submit", "aria-disabled": pending === "paste" }, "Continue")),
      problem && make("div", "problem", { role: "alert" }, problem),
    );
  },
};
