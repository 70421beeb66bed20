import type { RenderProps } from "@anywidget/types";
import { vi } from "vitest";

import type { LoginTraits } from "../src/state";
import widget from "../src/widget";

export const LOGIN = "pywry-auth/login?kernel=k1&flow=f1";

const SIGNED_OUT: LoginTraits = {
  status: "signed_out",
  provider: "Contoso",
  name: "",
  expires_at: null,
  renews: true,
  stuck: false,
  asks: "",
  error_code: "",
  error_text: "",
  error_detail: "",
  login_path: LOGIN,
  account_path: "",
};

export const EVERYWHERE = [
  { name: "server", why: "" },
  { name: "loopback", why: "" },
  { name: "device", why: "" },
];

type Message = Record<string, unknown>;
type Answer = Message | ((content: Message) => Message) | null;

/** What Backbone does for a widget model: set everything, then fire one event per changed trait. */
export class FakeModel {
  readonly set = vi.fn();
  readonly save_changes = vi.fn();
  /** What the kernel answers to widget messages, by the name of the request; null for nothing. */
  answers: Record<string, Answer> = { hello: { ways: EVERYWHERE.slice(0, 1) }, details: { details: {} } };
  widget_manager: unknown = {};
  readonly send = vi.fn((message: Message) => this.reply(message));
  private readonly listeners = new Map<string, Set<(message?: unknown) => void>>();
  private traits: LoginTraits;

  constructor(traits: Partial<LoginTraits> = {}) {
    this.traits = { ...SIGNED_OUT, ...traits };
  }

  get(trait: keyof LoginTraits): unknown {
    return this.traits[trait];
  }

  on(event: string, listener: () => void): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener));
  }

  off(event: string, listener: () => void): void {
    this.listeners.get(event)?.delete(listener);
  }

  listenerCount(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }

  /** The kernel reports news. */
  change(traits: Partial<LoginTraits>): void {
    this.traits = { ...this.traits, ...traits };
    for (const trait of Object.keys(traits)) this.fire(`change:${trait}`);
  }

  /** The kernel sends a message. */
  says(message: Message): void {
    this.fire("msg:custom", message);
  }

  /** The requests that came as widget messages, without the greeting of a new view. */
  requests(): unknown[] {
    const all = this.send.mock.calls.map(([{ id: _, ...message }]) => message);
    return all.filter(({ request }) => request !== "hello" && request !== "details");
  }

  private reply(message: Message): void {
    const answer = this.answers[String(message.request)];
    const content = typeof answer === "function" ? answer(message) : answer;
    if (content) queueMicrotask(() => this.says({ status: "ok", reply: message.id, ...content }));
  }

  private fire(event: string, message?: unknown): void {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener(message);
  }
}

/** JupyterLab's connection to a kernel; `answers` as for widget messages, null for a kernel that ignores the request. */
export class FakeKernel {
  readonly clientId = "client-1";
  readonly username = "ada";
  readonly futures: { onReply: (message: unknown) => void; done: Promise<unknown>; dispose: () => void }[] = [];
  answers: Record<string, Answer> = { hello: { ways: EVERYWHERE }, details: { details: {} } };
  readonly sendControlMessage = vi.fn((message: Message, _expectReply: boolean, _disposeOnDone: boolean) => {
    const future = { onReply: (_: unknown) => {}, done: Promise.resolve(), dispose: vi.fn() };
    this.futures.push(future);
    const { msg_type: type } = message.header as { msg_type: string };
    const answer = this.answers[type.replace(/^pywry_auth_|_request$/g, "")];
    const content = typeof answer === "function" ? answer(message.content as Message) : answer;
    if (content) {
      queueMicrotask(() => {
        future.onReply({ header: { msg_type: type.replace("request", "accepted") }, content: { protocol: 1 } });
        future.onReply({ header: { msg_type: type.replace("request", "reply") }, content: { status: "ok", ...content } });
      });
    }
    return future;
  });

  sent(name: string): Message[] {
    const all = this.sendControlMessage.mock.calls.map(([message]) => message);
    return all.filter(({ header }) => (header as Message).msg_type === `pywry_auth_${name}_request`);
  }
}

/** One drawn view of a model, with the parts a person can see, once it knows its server and its kernel. */
export async function draw(model: FakeModel) {
  const view = drawNow(model);
  await settle();
  return view;
}

export function drawNow(model: FakeModel) {
  const el = document.body.appendChild(document.createElement("div"));
  const props = { model, el } as unknown as RenderProps<LoginTraits>;
  const remove = widget.render(props);
  const part = <T extends HTMLElement>(name: string) => el.querySelector<T>(`.pywry-auth-${name}`)!;
  const visible = (element: HTMLElement | null) => element !== null && el.contains(element);
  return {
    el,
    remove,
    part,
    visible,
    get link() {
      return part<HTMLAnchorElement>("link");
    },
    get account() {
      return part<HTMLAnchorElement>("account");
    },
    live: part("live"),
    button: (label: string) => [...el.querySelectorAll("button")].find((button) => button.textContent === label),
    /** Every visible word, without the screen readers' region and the picture. */
    words: () => [...texts(el)].join(" ").replace(/\s+/g, " ").trim(),
  };
}

function* texts(element: Element): Generator<string> {
  for (const child of element.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) yield child.textContent ?? "";
    if (!(child instanceof HTMLElement) || child.matches("[aria-live], [aria-hidden=true]")) continue;
    yield* texts(child);
  }
}

/** A page of a Jupyter server under `baseUrl`. */
export function jupyterPage(baseUrl: string): void {
  const config = document.body.appendChild(document.createElement("script"));
  config.id = "jupyter-config-data";
  config.type = "application/json";
  config.textContent = JSON.stringify({ baseUrl });
}

export function answer(body: unknown, status = 200) {
  return vi.fn(async (_url: string, _init: RequestInit) => new Response(JSON.stringify(body), { status }));
}

/** Forget what the page knows of its server. */
export function newPage(): void {
  document.body.replaceChildren();
  delete document.body.dataset.baseUrl;
  delete (globalThis as Record<symbol, unknown>)[Symbol.for("pywry-auth-nb")];
}

/** Give promises a turn without waiting. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await Promise.resolve();
}
