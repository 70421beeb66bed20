import type { RenderProps } from "@anywidget/types";
import { vi } from "vitest";

import type { LoginTraits } from "../src/state";
import widget from "../src/widget";

export const LOGIN = "pywry-auth/login?kernel=k1&flow=f1";

const SIGNED_OUT: LoginTraits = {
  status: "signed_out",
  provider: "login.example.org",
  name: "",
  expires_at: null,
  error_code: "",
  error_text: "",
  login_path: LOGIN,
};

/** What Backbone does for a widget model: set everything, then fire one event per changed trait. */
export class FakeModel {
  readonly send = vi.fn();
  readonly set = vi.fn();
  readonly save_changes = vi.fn();
  private readonly listeners = new Map<string, Set<() => void>>();
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
    for (const trait of Object.keys(traits)) {
      for (const listener of this.listeners.get(`change:${trait}`) ?? []) listener();
    }
  }
}

/** One drawn view of a model, with the parts a person can see. */
export function draw(model: FakeModel) {
  const el = document.body.appendChild(document.createElement("div"));
  const props = { model, el } as unknown as RenderProps<LoginTraits>;
  const remove = widget.render(props);
  const part = <T extends HTMLElement>(name: string) => el.querySelector<T>(`.pywry-auth-${name}`)!;
  return {
    el,
    remove,
    part,
    link: part<HTMLAnchorElement>("link"),
    copy: part<HTMLButtonElement>("copy"),
    live: part("live"),
    button: (label: string) =>
      [...el.querySelectorAll("button")].find((button) => button.textContent === label && !button.hidden),
    /** Every visible word, without the screen readers' region. */
    words: () => [...leaves(el)].map((leaf) => leaf.textContent).join(" "),
  };
}

function* leaves(element: Element): Generator<Element> {
  for (const child of element.children) {
    if ((child as HTMLElement).hidden || child.matches("[aria-live]")) continue;
    if (child.children.length) yield* leaves(child);
    else if (child.textContent) yield child;
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

/** Give promises a turn without waiting. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}
