import type { Face, LinkFace } from "./state";

/**
 * The widget's elements. They are built once and then only change text and visibility:
 * so focus stays on what is still shown, and a redraw cannot replace a button under the pointer.
 */
export class Elements {
  readonly root = make("div", "root", { role: "group", "aria-label": "Sign-in" });
  readonly link = make("a", "link", { target: "_blank", rel: "noopener" });
  readonly copy = make("button", "copy", { type: "button" });
  readonly cancel = make("button", "button", { type: "button" });
  readonly logout = make("button", "button", { type: "button" });

  private readonly alert = make("div", "error", { role: "alert", dir: "auto" });
  private readonly errorText = make("span", "error-text");
  private readonly errorCode = make("code", "error-code");
  private readonly status = make("span", "state", { tabindex: "-1" });
  private readonly text = make("span", "text");
  private readonly name = make("bdi", "name");
  private readonly time = make("span", "time");
  private readonly linkLabel = make("span", "label");
  private readonly linkProvider = make("bdi", "provider");
  private readonly note = make("div", "note");
  private readonly field = make("input", "field", { type: "text", readonly: "", "aria-label": "Sign-in link" });
  private readonly live = make("div", "live", { "aria-live": "polite" });

  constructor() {
    this.cancel.textContent = "Cancel";
    this.logout.textContent = "Sign out";
    // Otherwise the notebook's one-key shortcuts see what is typed here.
    this.field.setAttribute("data-lm-suppress-shortcuts", "true");
    this.alert.append(this.errorText, " ", this.errorCode);
    // The spaces are for those who hear or copy the words: the layout has its own gaps.
    this.link.append(this.linkLabel, " ", this.linkProvider);
    this.status.append(make("span", "dot", { "aria-hidden": "true" }), this.text, " ", this.name);
    const row = make("div", "row");
    row.append(this.status, this.time, this.link, this.copy, this.cancel, this.logout);
    this.field.hidden = true;
    this.root.append(this.alert, row, this.note, this.field, this.live);
  }

  draw(face: Face): void {
    const hadFocus = this.root.contains(this.focused());
    this.root.dataset.tone = face.tone;
    show(this.text, face.text);
    show(this.name, face.name);
    this.name.title = face.name;
    this.drawError(face);
    this.drawLink(face.link);
    show(this.copy, face.copy);
    show(this.note, face.note);
    this.drawAction(this.cancel, face.action === "cancel", face.pending);
    this.drawAction(this.logout, face.action === "logout", face.pending);
    if (hadFocus) this.keepFocus();
  }

  showTime(text: string): void {
    show(this.time, text);
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

  private drawError(face: Face): void {
    setText(this.errorText, face.error);
    show(this.errorCode, face.errorCode);
    this.alert.hidden = face.error === "";
  }

  private drawLink(link: LinkFace | null): void {
    this.link.hidden = link === null;
    if (link === null) {
      this.link.removeAttribute("href");
      return;
    }
    this.link.href = link.href;
    this.link.classList.toggle("pywry-auth-primary", link.primary);
    show(this.linkLabel, link.label);
    show(this.linkProvider, link.provider);
    this.linkProvider.title = link.provider;
  }

  // Not `disabled`: that would throw the keyboard's focus out of the widget.
  private drawAction(button: HTMLButtonElement, shown: boolean, pending: boolean): void {
    button.hidden = !shown;
    button.setAttribute("aria-disabled", String(pending));
  }

  // Some front ends draw widgets in a shadow tree, where document.activeElement is only its host.
  private focused(): Element | null {
    return (this.root.getRootNode() as Document | ShadowRoot).activeElement ?? null;
  }

  // To the words, not to a button: Space or Enter, meant for the notebook, would sign out.
  private keepFocus(): void {
    const focused = this.focused();
    if (this.root.contains(focused) && !(focused as HTMLElement).hidden) return;
    this.status.focus();
  }
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  name: string,
  attributes: Record<string, string> = {},
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = `pywry-auth-${name}`;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Text, or nothing at all. */
function show(element: HTMLElement, text: string): void {
  setText(element, text);
  element.hidden = text === "";
}

// Setting the same text again would make some screen readers say it again.
function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
