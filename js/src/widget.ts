import type { AnyModel, RenderProps } from "@anywidget/types";

import { Elements } from "./elements";
import { loginRoute, post } from "./server";
import { faceOf } from "./state";
import type { Face, LocalState, LoginTraits } from "./state";
import { Countdown } from "./time";

const TRAITS = ["status", "provider", "name", "expires_at", "error_code", "error_text", "login_path"] as const;
const DOUBLE_CLICK_MS = 1000;
const COPIED_MS = 2000;
const KERNEL_GONE = "The kernel that showed this may have stopped or been restarted: run the cell again.";
const QUIET: LocalState = { opened: false, pending: false, note: "" };

function render({ model, el }: RenderProps<LoginTraits>): () => void {
  const view = new LoginView(model, el);
  return () => view.remove();
}

/** One view of the model: it reads the model and never writes to it. */
class LoginView {
  private readonly elements = new Elements();
  private readonly countdown = new Countdown((text) => this.elements.showTime(text));
  private readonly life = new AbortController();
  private local = QUIET;
  private traits: LoginTraits;
  private shown: Face;
  private openedAt = -Infinity;
  private copied: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly model: AnyModel<LoginTraits>, el: HTMLElement) {
    this.traits = readTraits(model);
    this.shown = this.face();
    this.listen();
    this.draw();
    el.append(this.elements.root);
  }

  remove(): void {
    this.life.abort();
    this.countdown.stop();
    clearTimeout(this.copied);
    for (const trait of TRAITS) this.model.off(`change:${trait}`, this.onChange);
    this.elements.root.remove();
  }

  private listen(): void {
    for (const trait of TRAITS) this.model.on(`change:${trait}`, this.onChange);
    const { link, copy, cancel, logout } = this.elements;
    this.onClick(link, (event) => this.open(event));
    this.onClick(copy, () => void this.copyLink());
    this.onClick(cancel, () => void this.ask("cancel"));
    this.onClick(logout, () => void this.ask("logout"));
  }

  private onClick(control: HTMLElement, handle: (event: MouseEvent) => void): void {
    const onClick = (event: MouseEvent) => {
      // The second half of a double click was meant for what stood here before.
      if (event.detail > 1) event.preventDefault();
      else handle(event);
    };
    control.addEventListener("click", onClick, { signal: this.life.signal });
  }

  private readonly onChange = (): void => {
    const before = this.traits;
    this.traits = readTraits(this.model);
    if (isNews(before, this.traits)) this.forget();
    this.draw();
  };

  private forget(): void {
    this.local = { ...QUIET, pending: this.local.pending };
    this.elements.hideField();
  }

  private update(change: Partial<LocalState>): void {
    if (this.life.signal.aborted) return;
    this.local = { ...this.local, ...change };
    this.draw();
  }

  private face(): Face {
    return faceOf(this.traits, this.local, loginRoute(this.traits.login_path));
  }

  private draw(): void {
    const face = this.face();
    clearTimeout(this.copied);
    this.elements.draw(face);
    this.countdown.start(face.counting ? this.traits.expires_at : null);
    this.speak(face);
  }

  /** Only what is new: a state or a note. */
  private speak(face: Face): void {
    const news = (["spoken", "note"] as const).filter((part) => face[part] !== this.shown[part] && face[part]);
    if (news.length) this.elements.announce(news.map((part) => face[part]).join(" "));
    this.shown = face;
  }

  private open(event: MouseEvent): void {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const { link } = this.elements;
    const again = performance.now() - this.openedAt < DOUBLE_CLICK_MS;
    // A second chance stays a plain link: no blocker stops that.
    const popup = link.classList.contains("pywry-auth-primary");
    if (again || popup) event.preventDefault();
    if (again) return;
    this.openedAt = performance.now();
    if (popup) window.open(link.href, "_blank", "popup,noopener,width=500,height=700");
    this.update({ opened: true });
  }

  private async copyLink(): Promise<void> {
    const url = this.elements.link.href; // the property is absolute, whatever the attribute says
    try {
      await navigator.clipboard.writeText(url);
    } catch {
      if (!this.life.signal.aborted) this.elements.offerField(url);
      return this.update({ note: "Copy this link and open it in this browser:" });
    }
    this.showCopied();
  }

  private showCopied(): void {
    if (this.life.signal.aborted) return;
    this.elements.copy.textContent = "Copied";
    this.elements.announce("Link copied.");
    clearTimeout(this.copied);
    this.copied = setTimeout(() => this.uncopy(), COPIED_MS);
  }

  private uncopy(): void {
    this.elements.announce("");
    this.draw();
  }

  /** Over HTTP, which works while a cell is running; else by a widget message, which has to wait for the cell. */
  private async ask(action: "cancel" | "logout"): Promise<void> {
    if (this.local.pending) return;
    this.update({ pending: true, note: "" });
    const outcome = await post(action, this.traits.login_path, this.life.signal);
    if (this.life.signal.aborted) return;
    // Meanwhile the login may have ended by itself: then nothing is left to ask for.
    const moot = outcome === "done" || this.shown.action !== action;
    const note = moot ? "" : this.send(action);
    this.update({ pending: false, note: outcome === "gone" && note ? KERNEL_GONE : note });
  }

  private send(action: "cancel" | "logout"): string {
    try {
      this.model.send({ action });
      return "The kernel was asked, and can answer when no cell is running.";
    } catch {
      return "Neither the Jupyter server nor the kernel could be reached. Is the kernel still running?";
    }
  }
}

function isNews(before: LoginTraits, now: LoginTraits): boolean {
  return (["status", "error_code", "error_text", "login_path"] as const).some((trait) => before[trait] !== now[trait]);
}

function readTraits(model: AnyModel<LoginTraits>): LoginTraits {
  const text = (trait: Exclude<keyof LoginTraits, "expires_at">) => String(model.get(trait) ?? "");
  return {
    status: text("status"),
    provider: text("provider"),
    name: text("name"),
    expires_at: model.get("expires_at") ?? null,
    error_code: text("error_code"),
    error_text: text("error_text"),
    login_path: text("login_path"),
  };
}

export default { render };
