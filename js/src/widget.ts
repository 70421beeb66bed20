import type { AnyModel, RenderProps } from "@anywidget/types";

import { elements } from "./dom";
import { load } from "./load";
import { baseUrl, loginRoute, routes } from "./server";
import { type Begun, type Face, type Details, faceOf, type LoginTraits, type LocalState, type Way } from "./state";
import { type Actions, draw } from "./view";
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
class LoginView implements Actions {
  readonly #model: AnyModel<LoginTraits>;
  readonly #life = new AbortController();
  readonly #wire: Wire;
  readonly #elements = elements();
  #root!: HTMLElement;
  #local: LocalState = {};
  #details: Details = {};
  #ways: Way[] | undefined;
  #traits: LoginTraits;
  #shown: Face;
  #said = "";
  #openedAt = -Infinity;
  /** The user began a sign-in in this view, and it has not ended yet. */
  #mine = false;
  /** Who was signed in last, as this view has seen it. */
  #person = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: AnyModel<LoginTraits>, el: HTMLElement) {
    this.#model = model;
    this.#wire = new Wire(model, this.#life.signal);
    this.#traits = readTraits(model);
    this.#settle();
    this.#shown = this.#face();
    this.#listen("on");
    this.#draw();
    el.append(this.#root);
    void this.#meet();
  }

  remove(): void {
    this.#life.abort();
    clearTimeout(this.#timer);
    this.#listen("off");
    this.#root.remove();
  }

  // -- what the kernel says

  #listen(how: "on" | "off"): void {
    for (const trait of TRAITS) this.#model[how](`change:${trait}`, this.#onChange);
    this.#model[how]("msg:custom", this.#onMessage);
  }

  readonly #onChange = (): void => {
    const before = this.#traits;
    this.#traits = readTraits(this.#model);
    if (isNews(before, this.#traits)) this.#forget();
    this.#draw();
  };

  readonly #onMessage = (message: { details?: unknown; open?: unknown; superseded?: unknown }): void => {
    const { begun } = this.#local;
    if (message?.details) this.#learn(message.details);
    if (typeof message?.open === "string") this.begin(message.open);
    if (begun && message?.superseded === begun.id) this.#update({ begun: { ...begun, superseded: true } });
  };

  #learn(details: unknown): void {
    if (details) this.#details = details;
    this.#update({});
  }

  #forget(): void {
    const { pending, since, begun, switches } = this.#local;
    const open = this.#traits.status === "authorizing";
    this.#local = { pending, note: this.#newcomer(), ...(open && { since, begun, switches }) };
    this.#settle();
  }

  /** Another user's sign-in is said: a kernel may have two people, and a store two notebooks. */
  #newcomer(): string {
    const { status, name } = this.#traits;
    if (this.#mine || status !== "signed_in" || !name || !this.#person || this.#person === name) return "";
    return `${name} has signed in. Before, it was ${this.#person}.`;
  }

  #settle(): void {
    const { status, name } = this.#traits;
    if (status === "authorizing") {
      this.#local = { since: Date.now(), ...this.#local };
      return;
    }
    this.#mine = false;
    if (status === "signed_in") this.#person = name;
  }

  /** Tell the kernel what this page is, learn what else there is to show, and which ways lead to a sign-in here. */
  async #meet(): Promise<void> {
    const server = baseUrl() !== null && (await routes().answer);
    this.#update({});
    const hello = this.#wire.ask("hello", (control) => ({ front_end: { server, control } }));
    const details = this.#wire.ask("details");
    this.#ways = readWays(await hello);
    this.#update({});
    this.#learn((await details).details);
  }

  // -- drawing

  #update(change: Partial<LocalState>): void {
    if (this.#life.signal.aborted) return;
    this.#local = { ...this.#local, ...change };
    this.#draw();
  }

  #face(): Face {
    const server = baseUrl() !== null;
    const { login_path, account_path } = this.#traits;
    const login = loginRoute(login_path);
    const site = {
      login,
      whole: login && new URL(login, location.href).href,
      account: loginRoute(account_path),
      server,
      routes: server && routes().value,
      ways: this.#ways,
    };
    return faceOf(this.#traits, this.#details, this.#local, site, Date.now());
  }

  #draw(): void {
    const face = this.#face();
    clearTimeout(this.#timer);
    if (face.nextMs != null) this.#timer = setTimeout(() => this.#draw(), face.nextMs);
    this.#speak(face);
    const focused = this.#focused();
    this.#elements.next();
    this.#root = draw(this.#elements.make, face, this.#said, this);
    if (focused) this.#keepFocus(focused);
  }

  /** Only what is new: a state or a note. */
  #speak(face: Face): void {
    const news = (["spoken", "note"] as const).filter((part) => face[part] !== this.#shown[part] && face[part]);
    if (news.length) this.#said = news.map((part) => face[part]).join(" ");
    this.#shown = face;
  }

  // Some front ends draw widgets in a shadow tree, where document.activeElement is only its host.
  #focused(): HTMLElement | null {
    const active = (this.#root?.getRootNode() as Document | ShadowRoot | undefined)?.activeElement;
    return active && this.#root.contains(active) ? (active as HTMLElement) : null;
  }

  // To the words, not to a button: Space or Enter, meant for the notebook, would sign out.
  #keepFocus(before: HTMLElement): void {
    if (!this.#root.contains(before)) this.#find(".pywry-auth-state").focus();
    else if (this.#focused() !== before) before.focus();
  }

  #find<T extends HTMLElement>(selector: string): T {
    return this.#root.querySelector(selector) as T;
  }

  // -- what the user does

  open(event: MouseEvent): void {
    const link = event.currentTarget as HTMLAnchorElement;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) {
      this.#mine = true;
      return;
    }
    const again = performance.now() - this.#openedAt < DOUBLE_CLICK_MS;
    // A second chance stays a plain link: no blocker stops that.
    const popup = link.classList.contains("pywry-auth-primary");
    if (again || popup) event.preventDefault();
    if (again) return;
    this.#openedAt = performance.now();
    this.#mine = true;
    if (popup) window.open(link.href, "_blank", "popup,noopener,width=500,height=700");
    this.#update({ opened: true });
  }

  toggle(part: "more" | "help" | "install"): void {
    this.#update({ [part]: !this.#local[part], note: "" });
  }

  otherWay(switches: boolean): void {
    const ways = (this.#ways ?? []).filter(({ why }) => !why);
    this.#update({ switches });
    if (ways.length === 1 && ways[0]) this.begin(ways[0].name);
    else this.#update({ help: !this.#local.help });
  }

  begin(way: string): void {
    if (this.#local.pending === "start") return;
    this.#mine = true;
    void this.#start(way);
  }

  async #start(way: string): Promise<void> {
    this.#update({ pending: "start", note: "" });
    const prompt = this.#local.switches ? { prompt: "select_account" } : {};
    const reply = await this.#ask("start", { way, ...prompt });
    const begun = await readBegun(way, reply);
    this.#update({ pending: "", help: false, begun, note: begun ? "" : problem(reply) });
  }

  paste(text: string): void {
    const { begun, pending } = this.#local;
    if (text && begun && pending !== "paste") void this.#handOver(text, begun);
  }

  async #handOver(text: string, begun: Begun): Promise<void> {
    this.#update({ pending: "paste", begun: { ...begun, problem: "" } });
    const reply = await this.#ask("paste", { text });
    if (this.#local.begun) this.#update({ begun: { ...begun, problem: reply.status === "ok" ? "" : problem(reply) } });
    this.#update({ pending: "", note: "" });
  }

  act(name: "cancel" | "refresh" | "logout"): void {
    if (this.#local.pending !== name) void this.#request(name);
  }

  async #request(name: string): Promise<void> {
    const before = this.#traits.status;
    this.#update({ pending: name, note: "" });
    const reply = await this.#ask(name);
    // Meanwhile it may have ended by itself: then nothing is left to be said.
    const unheard = String(reply.code) in PROBLEMS;
    const moot = reply.status === "ok" || this.#traits.status !== before || (name === "refresh" && !unheard);
    this.#update({ pending: "", note: moot ? "" : problem(reply) });
  }

  #ask(name: string, content: Record<string, unknown> = {}): Promise<Reply> {
    return this.#wire.ask(name, () => content, () => this.#update({ note: WAITS }));
  }

  copy(text: string): void {
    void this.#write(text);
  }

  async #write(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.#said = "Copied.";
      this.#update({ copied: text });
    } catch {
      this.#update({ byHand: text });
      const field = this.#find<HTMLInputElement>(".pywry-auth-address");
      field?.focus();
      field?.select();
    }
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

/** The ways besides the server's. */
function readWays({ ways }: Reply): Way[] {
  if (!Array.isArray(ways)) return [];
  const others = ways.filter((way) => typeof way?.name === "string" && way.name !== "server");
  return others.map(({ name, why }) => ({ name, why: String(why ?? "") }));
}

/** What was begun; null if it was not, or if this page lets no module in. */
async function readBegun(way: string, reply: Reply): Promise<Begun | null> {
  if (reply.status !== "ok") return null;
  const text = (name: string) => String(reply[name] ?? "");
  const draw = await load<Begun["draw"]>(reply.panel).catch(() => null);
  return (
    draw && {
      way,
      id: text("id"),
      url: text("authorize_url") || text("verification_uri"),
      code: text("user_code"),
      qr: text("qr"),
      expiresAt: Date.now() + 1000 * (Number(reply.expires_in) || 600),
      superseded: false,
      problem: "",
      draw,
    }
  );
}

// Another version's model may lack a trait; text is whatever it says.
function readTraits(model: AnyModel<LoginTraits>): LoginTraits {
  const read = (trait: keyof LoginTraits) => [trait, model.get(trait) ?? (trait === "expires_at" ? null : "")];
  return Object.fromEntries(TRAITS.map(read)) as unknown as LoginTraits;
}

export default { render };
