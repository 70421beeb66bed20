import type { Make } from "./dom";
import type { Face } from "./state";

const PICTURE = /^data:image\/(?:png|jpeg|webp|gif);base64,[\w+/=]+$/;
const LINKS = { primary: "button primary link", button: "button link", text: "link" };
const LABELS: Record<string, string> = {
  device: "Use a phone or another device",
  loopback: "Sign in and paste an address",
};

/** What the user can do. */
export interface Actions {
  open(event: MouseEvent): void;
  /** Sign in without the server's route, `switches` with another account. */
  otherWay(switches: boolean): void;
  act(name: "cancel" | "refresh" | "logout"): void;
  toggle(part: "more" | "help" | "install"): void;
  begin(way: string): void;
  paste(text: string): void;
  copy(text: string): void;
}

/** The whole card. `said` is for screen readers only: never the countdown, which would talk all day. */
export function draw(make: Make, face: Face, said: string, actions: Actions): HTMLElement {
  return make(
    "div",
    "root",
    // Otherwise the notebook's one-key shortcuts see what is typed here: two d delete the cell.
    { role: "group", "aria-label": "Sign-in", "data-tone": face.tone, "data-lm-suppress-shortcuts": true },
    make(
      "div",
      face.more ? "card dotted" : "card",
      { key: "card" },
      drawMark(make, face),
      make("div", "mid", {}, drawWords(make, face), drawBelow(make, face, actions)),
      drawActions(make, face, actions),
    ),
    face.error && drawError(make, face),
    face.note && make("div", "note", {}, face.note),
    face.address && drawAddress(make, face, actions),
    face.facts && drawDetails(make, face, actions),
    face.help && drawHelp(make, face, actions),
    face.begun?.draw(make, face, actions),
    make("div", "live", { "aria-live": "polite" }, said),
  );
}

/** The picture of who is signed in, and a dot. */
function drawMark(make: Make, { title, avatar, tone }: Face): HTMLElement {
  return make(
    "span",
    "mark",
    { "aria-hidden": true },
    tone !== "busy" && initialsOf(title),
    avatar && PICTURE.test(avatar) && make("img", "photo", { key: avatar, alt: "", src: avatar }),
    make("span", "dot"),
  );
}

/** One letter of the first word and one of the last; a neutral mark for an address of digits. */
function initialsOf(title: string): string {
  const words = title.split(/\s+/).filter((word) => /^\p{L}/u.test(word));
  return [...new Set([words[0] ?? "@", words.at(-1) ?? ""])].map((word) => [...word][0]).join("").toUpperCase();
}

function drawWords(make: Make, { tone, before, title, person, after, line }: Face): HTMLElement {
  return make(
    "div",
    "state",
    { tabindex: -1 },
    // The spaces are for those who hear or copy the words: the layout has its own gaps.
    make(
      "div",
      "head",
      {},
      before && make("span", tone === "busy" ? "before" : "before unseen", { key: "before" }, `${before} `),
      title && make("bdi", person ? "title name" : "title", { key: "title", title }, title),
      after && make("span", "after", {}, after),
    ),
    line && make("div", "line", {}, make("div", "parts", {}, ...line.map((part) => make("bdi", "part", {}, `${part} `)))),
  );
}

function drawBelow(make: Make, face: Face, actions: Actions): HTMLElement {
  return make(
    "div",
    "sub",
    {},
    face.link?.place === "text" && drawLink(make, face, actions),
    face.install && make("button", "plain install", { onclick: () => actions.toggle("install") }, "How to install it"),
    face.trouble && make("button", "plain trouble", { "aria-expanded": !!face.help, onclick: () => actions.toggle("help") }, "Trouble signing in?"),
  );
}

function drawActions(make: Make, face: Face, actions: Actions): HTMLElement {
  const dots = { "aria-label": "Account and details", "aria-expanded": !!face.facts, onclick: () => actions.toggle("more") };
  return make(
    "div",
    "actions",
    {},
    face.link && face.link.place !== "text" && drawLink(make, face, actions),
    face.other && make("button", "button primary other", { onclick: () => actions.otherWay(false) }, face.other),
    face.retry && drawAction(make, "refresh", "Try now", face, actions),
    face.cancel && drawAction(make, "cancel", "Cancel", face, actions),
    face.more && make("button", "button more", dots, "\u22ef"),
  );
}

function drawLink(make: Make, { link }: Face, actions: Actions): HTMLElement | undefined {
  const onclick = (event: MouseEvent) => actions.open(event);
  return link && make("a", LINKS[link.place], { key: "link", href: link.href, "aria-label": link.label + link.at, onclick }, link.label);
}

// Not `disabled`: that would throw the keyboard's focus out of the widget.
function drawAction(make: Make, name: "cancel" | "refresh" | "logout", label: string, { pending }: Face, actions: Actions): HTMLElement {
  return make("button", `button ${name}`, { "aria-disabled": pending === name, onclick: () => actions.act(name) }, label);
}

function drawError(make: Make, { error, errorCode, errorDetail }: Face): HTMLElement {
  return make(
    "div",
    "error",
    { role: "alert", dir: "auto" },
    `${error} `,
    errorCode && make("code", "error-code", {}, errorCode),
    errorDetail && make("div", "error-detail", { dir: "auto" }, errorDetail),
  );
}

/** An address to copy: with the button, or by hand where the browser does not let a page copy. */
function drawAddress(make: Make, { address, copied }: Face, actions: Actions): HTMLElement | undefined {
  return (
    address &&
    make(
      "div",
      "panel",
      {},
      make("div", "said", {}, address.text),
      make(
        "div",
        "row",
        {},
        make("input", "field address", { readOnly: true, "aria-label": address.label, value: address.value }),
        make("button", "button copy", { onclick: () => actions.copy(address.value) }, copied === address.value ? "Copied" : "Copy"),
      ),
    )
  );
}

/** The ways besides the server's, and why one cannot be had. */
function drawHelp(make: Make, { help, copied }: Face, actions: Actions): HTMLElement | undefined {
  return (
    help &&
    make(
      "div",
      "panel help",
      {},
      ...help.ways.map(({ name, why }) => {
        const label = LABELS[name] ?? name;
        return why ? make("div", "said", {}, `${label}: ${why}`) : make("button", "button", { onclick: () => actions.begin(name) }, label);
      }),
      help.copy &&
        make("button", "button copy-link", { onclick: () => actions.copy(help.copy) }, copied === help.copy ? "Copied" : "Copy the sign-in link"),
    )
  );
}

function drawDetails(make: Make, face: Face, actions: Actions): HTMLElement {
  const [label, account] = ["Use another account", face.account];
  return make(
    "div",
    "panel details",
    {},
    make(
      "dl",
      "facts",
      {},
      ...(face.facts ?? []).flatMap(([name, value]) => [
        make("dt", "fact", {}, name),
        make("dd", "fact", { dir: "auto" }, value),
      ]),
    ),
    make(
      "div",
      "row",
      {},
      account === true && make("button", "button account", { onclick: () => actions.otherWay(true) }, label),
      account && account !== true && make("a", "button account", { href: account, onclick: (event) => actions.open(event) }, label),
      drawAction(make, "logout", "Sign out", face, actions),
    ),
  );
}
