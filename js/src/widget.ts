import type { AnyModel, RenderProps } from "@anywidget/types";

import { Elements } from "./elements";
import { type Choices, Panels } from "./panels";
import { baseUrl, loginRoute, routes } from "./server";
import { faceOf, INSTALL, NO_DETAILS, QUIET } from "./state";
import type { Begun, Face, LocalState, LoginTraits, Qr, Site, Way } from "./state";
import { type Reply, Wire } from "./wire";

const TRAITS: (keyof LoginTraits)[] = [
  "status",
  "provider",
  "name",
  "expires_at",
  "renews",
  "stuck",
  "asks",
  "error_code",
  "error_text",
  "error_detail",
  "login_path",
  "account_path",
];
const DOUBLE_CLICK_MS = 1000;
const COPIED_MS = 2000;
const WAITS = "The kernel was asked, and can answer when no cell is running.";
const PROBLEMS: Record<string, string> = {
  kernel_gone: "The kernel that showed this may have stopped or been restarted: run the cell again.",
  unreachable: "Neither the Jupyter server nor the kernel could be reached. Is the kernel still running?",
};

function render({ model, el }: RenderProps<LoginTraits>): () => void {
  const view = new LoginView(model, el);
  return () => view.remove();
}

/** One view of the model: it reads the model and never writes to it. */
class LoginView implements Choices {
  private readonly life = new AbortController();
  private readonly elements = new Elements(new Panels(this, this.life.signal));
  private readonly wire: Wire;
  private local = QUIET;
  private details = NO_DETAILS;
  private ways: Way[] | undefined;
  private traits: LoginTraits;
  private shown: Face;
  private openedAt = -Infinity;
  /** The user began a sign-in in this view, and it has not ended yet. */
  private mine = false;
  /** Who was signed in last, as this view has seen it. */
  private person = "";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private copied: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly model: AnyModel<LoginTraits>,
    el: HTMLElement,
  ) {
    this.wire = new Wire(model, this.life.signal);
    this.traits = readTraits(model);
    this.settle();
    this.shown = this.face();
    this.listen();
    this.draw();
    el.append(this.elements.root);
    void this.meet();
  }

  remove(): void {
    this.life.abort();
    clearTimeout(this.timer);
    clearTimeout(this.copied);
    for (const trait of TRAITS) this.model.off(`change:${trait}`, this.onChange);
    this.model.off("msg:custom", this.onMessage);
    this.elements.root.remove();
  }

  // -- what the kernel says

  private listen(): void {
    for (const trait of TRAITS) this.model.on(`change:${trait}`, this.onChange);
    this.model.on("msg:custom", this.onMessage);
    const { link, other, account, cancel, retry, more, trouble, install, logout } = this.elements;
    this.onClick(link, (event) => this.open(event, link));
    this.onClick(account, (event) => this.open(event, account));
    this.onClick(other, () => this.otherWay());
    this.onClick(cancel, () => void this.act("cancel"));
    this.onClick(retry, () => void this.act("refresh"));
    this.onClick(logout, () => void this.act("logout"));
    this.onClick(more, () => this.update({ more: !this.local.more }));
    this.onClick(trouble, () => this.update({ help: !this.local.help }));
    this.onClick(install, () => this.update({ note: this.local.note === INSTALL ? "" : INSTALL }));
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

  private readonly onMessage = (message: { details?: unknown; open?: unknown }): void => {
    if (message?.details) this.learn(message.details);
    if (typeof message?.open === "string") this.begin(message.open);
  };

  private learn(details: unknown): void {
    if (this.life.signal.aborted || typeof details !== "object") return;
    this.details = { ...NO_DETAILS, ...details };
    this.draw();
  }

  private forget(): void {
    const { pending, since, begun } = this.local;
    const open = this.traits.status === "authorizing";
    this.local = { ...QUIET, pending, note: this.newcomer(), ...(open ? { since, begun } : {}) };
    this.elements.hideField();
    this.settle();
  }

  /** Another user's sign-in is said: a kernel may have two people, and a store two notebooks. */
  private newcomer(): string {
    const { status, name } = this.traits;
    if (this.mine || status !== "signed_in" || !name || !this.person || this.person === name) return "";
    return `${name} has signed in. Before, it was ${this.person}.`;
  }

  private settle(): void {
    const { status, name } = this.traits;
    if (status === "authorizing") {
      this.local = { ...this.local, since: this.local.since || Date.now() };
      return;
    }
    this.mine = false;
    if (status === "signed_in") this.person = name;
  }

  /** Tell the kernel what this page is, learn what else there is to show, and which ways lead to a sign-in here. */
  private async meet(): Promise<void> {
    const server = baseUrl() !== null && (await routes().answer);
    this.update({});
    const hello = this.wire.ask("hello", (control) => ({ front_end: { server, control } }));
    const details = this.wire.ask("details");
    this.ways = readWays(await hello);
    this.update({});
    this.learn((await details).details);
  }

  // -- drawing

  private update(change: Partial<LocalState>): void {
    if (this.life.signal.aborted) return;
    this.local = { ...this.local, ...change };
    this.draw();
  }

  private site(): Site {
    const { login_path, account_path } = this.traits;
    return {
      login: loginRoute(login_path),
      account: loginRoute(account_path),
      server: baseUrl() !== null,
      routes: baseUrl() === null ? false : routes().value,
      ways: this.ways,
    };
  }

  private face(): Face {
    return faceOf(this.traits, this.details, this.local, this.site(), Date.now());
  }

  private draw(): void {
    const face = this.face();
    clearTimeout(this.timer);
    clearTimeout(this.copied);
    this.elements.draw(face);
    if (face.nextMs !== null) this.timer = setTimeout(() => this.draw(), face.nextMs);
    this.speak(face);
  }

  /** Only what is new: a state or a note. */
  private speak(face: Face): void {
    const news = (["spoken", "note"] as const).filter((part) => face[part] !== this.shown[part] && face[part]);
    if (news.length) this.elements.announce(news.map((part) => face[part]).join(" "));
    this.shown = face;
  }

  // -- what the user does

  private open(event: MouseEvent, link: HTMLAnchorElement): void {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) {
      this.mine = true;
      return;
    }
    const again = performance.now() - this.openedAt < DOUBLE_CLICK_MS;
    // A second chance stays a plain link: no blocker stops that.
    const popup = link.classList.contains("pywry-auth-primary");
    if (again || popup) event.preventDefault();
    if (again) return;
    this.openedAt = performance.now();
    this.mine = true;
    if (popup) window.open(link.href, "_blank", "popup,noopener,width=500,height=700");
    this.update({ opened: true });
  }

  private otherWay(): void {
    const ways = (this.ways ?? []).filter(({ name, why }) => name !== "server" && !why);
    if (ways.length === 1 && ways[0]) this.begin(ways[0].name);
    else this.update({ help: !this.local.help });
  }

  begin(way: string): void {
    if (this.local.pending === "start") return;
    this.mine = true;
    void this.start(way);
  }

  private async start(way: string): Promise<void> {
    this.update({ pending: "start", note: "" });
    const reply = await this.ask("start", { way });
    const begun = readBegun(way, reply);
    this.update({ pending: "", help: false, begun, note: begun ? "" : problem(reply) });
    if (begun?.kind === "device" && begun.complete) await this.fetchQr(begun);
  }

  private async fetchQr(begun: Begun & { kind: "device" }): Promise<void> {
    const { path, size } = await this.ask("qr", { text: begun.complete });
    const qr: Qr | null = typeof path === "string" && typeof size === "number" ? { path, size } : null;
    if (this.local.begun === begun) this.update({ begun: { ...begun, qr } });
  }

  paste(text: string): void {
    const { begun, pending } = this.local;
    if (pending !== "paste" && begun?.kind === "loopback") void this.handOver(text, begun);
  }

  private async handOver(text: string, begun: Begun & { kind: "loopback" }): Promise<void> {
    this.update({ pending: "paste", begun: { ...begun, error: "" } });
    const reply = await this.ask("paste", { text });
    const error = reply.status === "ok" ? "" : problem(reply);
    if (this.local.begun?.kind === "loopback") this.update({ begun: { ...begun, error } });
    this.update({ pending: "", note: "" });
  }

  private async act(name: "cancel" | "refresh" | "logout"): Promise<void> {
    if (this.local.pending === name) return;
    const before = this.traits.status;
    this.update({ pending: name, note: "" });
    const reply = await this.ask(name);
    // Meanwhile it may have ended by itself: then nothing is left to be said.
    const unheard = String(reply.code) in PROBLEMS;
    const moot = reply.status === "ok" || this.traits.status !== before || (name === "refresh" && !unheard);
    this.update({ pending: "", note: moot ? "" : problem(reply) });
  }

  private ask(name: string, content: Record<string, unknown> = {}): Promise<Reply> {
    return this.wire.ask(name, () => content, () => this.update({ note: WAITS }));
  }

  // -- copying

  copyLink(control: HTMLButtonElement): void {
    const url = new URL(loginRoute(this.traits.login_path), location.href).href;
    void this.write(url, control, () => {
      this.elements.offerField(url);
      this.update({ note: "Copy this link and open it in this browser:" });
    });
  }

  copy(text: string, control: HTMLButtonElement, field?: HTMLInputElement): void {
    void this.write(text, control, () => {
      field?.focus();
      field?.select();
    });
  }

  private async write(text: string, control: HTMLButtonElement, fallback: () => void): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (!this.life.signal.aborted) fallback();
      return;
    }
    if (!this.life.signal.aborted) this.showCopied(control);
  }

  private showCopied(control: HTMLButtonElement): void {
    const label = control.dataset.label ?? control.textContent ?? "";
    control.dataset.label = label;
    control.textContent = "Copied";
    this.elements.announce("Copied.");
    clearTimeout(this.copied);
    this.copied = setTimeout(() => {
      control.textContent = label;
      this.elements.announce("");
    }, COPIED_MS);
  }
}

function isNews(before: LoginTraits, now: LoginTraits): boolean {
  const traits = ["status", "name", "asks", "error_code", "error_text", "login_path"] as const;
  const renewal = ["signed_in", "refreshing"];
  const both = renewal.includes(before.status) && renewal.includes(now.status);
  return traits.some((trait) => before[trait] !== now[trait] && !(both && trait === "status"));
}

function problem({ code, text }: Reply): string {
  if (typeof text === "string" && text) return text;
  return PROBLEMS[String(code)] ?? "That did not work. Try again, or sign in another way.";
}

function readWays({ ways }: Reply): Way[] {
  if (!Array.isArray(ways)) return [];
  return ways.filter((way) => typeof way?.name === "string").map(({ name, why }) => ({ name, why: String(why ?? "") }));
}

function readBegun(way: string, reply: Reply): Begun | null {
  if (reply.status !== "ok") return null;
  const text = (name: string) => String(reply[name] ?? "");
  if (way === "loopback") return { kind: "loopback", url: text("authorize_url"), error: "" };
  const expiresAt = Date.now() + 1000 * (Number(reply.expires_in) || 600);
  const [code, url, complete] = [text("user_code"), text("verification_uri"), text("verification_uri_complete")];
  return { kind: "device", code, url, complete, expiresAt, qr: null };
}

// Another version's model may lack a trait; text is whatever it says.
function readTraits(model: AnyModel<LoginTraits>): LoginTraits {
  const read = (trait: keyof LoginTraits) => [trait, model.get(trait) ?? (trait === "expires_at" ? null : "")];
  return Object.fromEntries(TRAITS.map(read)) as unknown as LoginTraits;
}

export default { render };
