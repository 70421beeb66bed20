import { button, fill, make, setText, show, tabLink } from "./dom";
import type { Panels } from "./panels";
import type { Face, LinkFace } from "./state";

const PICTURE = /^data:image\/(?:png|jpeg|webp|gif);base64,[\w+/=]+$/;

/**
 * The widget's elements. They are built once and then only change text and visibility:
 * so focus stays on what is still shown, and a redraw cannot replace a button under the pointer.
 */
export class Elements {
  readonly link = tabLink("link");
  readonly other = button("button pywry-auth-primary", "");
  readonly retry = button("button", "Try now");
  readonly cancel = button("button", "Cancel");
  readonly more = button("button pywry-auth-more", "\u22ef", { "aria-label": "Account and details" });
  readonly trouble = button("plain", "Trouble signing in?");
  readonly install = button("plain", "How to install it");
  readonly account = tabLink("button pywry-auth-account", "Use another account");
  readonly logout = button("button", "Sign out");
  readonly field = make("input", "field", { readonly: "", "aria-label": "Sign-in link" });

  private readonly initials = make("span", "initials");
  private readonly photo = make("img", "photo", { alt: "" });
  private readonly mark = make("span", "mark", { "aria-hidden": "true" }, this.initials, this.photo, make("span", "dot"));
  private readonly before = make("span", "before");
  private readonly title = make("bdi", "title");
  private readonly after = make("span", "after");
  private readonly line = make("div", "line");
  private readonly status = make(
    "div",
    "state",
    { tabindex: "-1" },
    // The spaces are for those who hear or copy the words: the layout has its own gaps.
    make("div", "head", {}, this.before, " ", this.title, this.after, " "),
    this.line,
  );
  private readonly sub = make("div", "sub", {}, this.link, this.install, this.trouble);
  private readonly actions = make("div", "actions", {}, this.other, this.retry, this.cancel, this.more);
  private readonly errorText = make("span", "error-text");
  private readonly errorCode = make("code", "error-code");
  private readonly errorDetail = make("div", "error-detail", { dir: "auto" });
  private readonly alert = make("div", "error", { role: "alert", dir: "auto" }, this.errorText, " ", this.errorCode, this.errorDetail);
  private readonly note = make("div", "note");
  private readonly facts = make("dl", "facts");
  private readonly details = make("div", "panel pywry-auth-details", {}, this.facts, make("div", "row", {}, this.account, this.logout));
  private readonly live = make("div", "live", { "aria-live": "polite" });

  readonly root: HTMLElement;

  constructor(private readonly panels: Panels) {
    const card = make("div", "card", {}, this.mark, make("div", "mid", {}, this.status, this.sub), this.actions);
    this.field.hidden = true;
    this.root = make(
      "div",
      "root",
      // Otherwise the notebook's one-key shortcuts see what is typed here: two d delete the cell.
      { role: "group", "aria-label": "Sign-in", "data-lm-suppress-shortcuts": "true" },
      ...[card, this.alert, this.note, this.field, ...panels.roots, this.details, this.live],
    );
    this.photo.addEventListener("error", () => {
      this.photo.hidden = true;
    });
  }

  draw(face: Face): void {
    const focused = this.focused();
    this.root.dataset.tone = face.tone;
    this.drawWords(face);
    this.drawMark(face);
    this.drawLink(face.link);
    this.drawActions(face);
    this.drawDetails(face);
    this.panels.draw(face);
    if (focused) this.keepFocus(focused);
  }

  /** For screen readers only. Never the countdown: it would talk all day. */
  announce(text: string): void {
    setText(this.live, text);
  }

  /** A text field with the link, selected, for browsers that do not let a page copy. */
  offerField(url: string): void {
    this.field.value = url;
    this.field.hidden = false;
    this.field.focus();
    this.field.select();
  }

  hideField(): void {
    this.field.hidden = true;
  }

  private drawWords(face: Face): void {
    show(this.before, face.before);
    this.before.classList.toggle("pywry-auth-unseen", face.tone !== "busy");
    show(this.title, face.title);
    this.title.title = face.title;
    this.title.classList.toggle("pywry-auth-name", face.person);
    show(this.after, face.after);
    fill(this.line, face.line.join("\n"), () => face.line.flatMap((part, place) => [place ? " \u00b7 " : "", make("bdi", "part", {}, part)]).map(asNode));
    this.line.hidden = face.line.length === 0;
    setText(this.errorText, face.error);
    show(this.errorCode, face.errorCode);
    show(this.errorDetail, face.errorDetail);
    this.alert.hidden = face.error === "";
    show(this.note, face.note);
  }

  private drawMark({ title, avatar, tone }: Face): void {
    const picture = PICTURE.test(avatar) ? avatar : "";
    this.photo.hidden = picture === "";
    if (picture && this.photo.getAttribute("src") !== picture) this.photo.src = picture;
    setText(this.initials, tone === "busy" ? "" : initialsOf(title));
  }

  private drawLink(link: LinkFace | null): void {
    this.link.hidden = link === null;
    if (link === null) {
      this.link.removeAttribute("href");
      return;
    }
    this.link.href = link.href;
    setText(this.link, link.label);
    this.link.setAttribute("aria-label", link.label + link.at);
    this.link.classList.toggle("pywry-auth-primary", link.place === "primary");
    this.link.classList.toggle("pywry-auth-button", link.place !== "text");
    const home = link.place === "text" ? this.sub : this.actions;
    if (this.link.parentNode !== home) home.prepend(this.link);
  }

  private drawActions(face: Face): void {
    show(this.other, face.other);
    this.install.hidden = !face.install;
    this.trouble.hidden = !face.trouble;
    this.trouble.setAttribute("aria-expanded", String(face.help !== null));
    drawAction(this.cancel, face.cancel, face.pending === "cancel");
    drawAction(this.retry, face.retry, face.pending === "refresh");
    drawAction(this.logout, true, face.pending === "logout");
    this.more.hidden = !face.more;
    this.more.setAttribute("aria-expanded", String(face.facts !== null));
    this.sub.hidden = [...this.sub.children].every((child) => (child as HTMLElement).hidden);
  }

  private drawDetails(face: Face): void {
    this.details.hidden = face.facts === null;
    this.account.hidden = face.account === "";
    if (face.account) this.account.href = face.account;
    else this.account.removeAttribute("href");
    fill(this.facts, JSON.stringify(face.facts), () =>
      (face.facts ?? []).flatMap(([name, value]) => [make("dt", "fact", {}, name), make("dd", "fact", { dir: "auto" }, value)]),
    );
  }

  // Some front ends draw widgets in a shadow tree, where document.activeElement is only its host.
  private focused(): HTMLElement | null {
    const active = (this.root.getRootNode() as Document | ShadowRoot).activeElement;
    return this.root.contains(active) ? (active as HTMLElement) : null;
  }

  // To the words, not to a button: Space or Enter, meant for the notebook, would sign out.
  private keepFocus(before: HTMLElement): void {
    const shown = before.isConnected && before.closest("[hidden]") === null;
    if (this.focused() !== before || !shown) (shown ? before : this.status).focus();
  }
}

// Not `disabled`: that would throw the keyboard's focus out of the widget.
function drawAction(control: HTMLButtonElement, shown: boolean, pending: boolean): void {
  control.hidden = !shown;
  control.setAttribute("aria-disabled", String(pending));
}

function asNode(part: string | Node): Node {
  return typeof part === "string" ? document.createTextNode(part) : part;
}

/** One letter of the first word and one of the last. */
function initialsOf(title: string): string {
  const words = title.split(/\s+/).filter((word) => /^[\p{L}\p{N}]/u.test(word));
  const letters = [words[0], words.length > 1 ? words[words.length - 1] : ""].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toUpperCase();
}

