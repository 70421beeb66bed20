import { limit } from "./limit";
import type { Reply } from "./wire";

const TIMEOUT_MS = 15_000;
const CHECK_MS = 3_000;
const LOGIN_PATH = /^pywry-auth\/login\?/;
const CACHE = Symbol.for("pywry-auth-nb");
/** The kernel's own word about an action: another way to ask would hear the same. */
const ANSWERS: unknown[] = ["refresh_failed", "no_refresh_token", "not_authenticated"];
/** A kernel that was stopped or restarted, if the server knows all kernels. */
const GONE: unknown[] = ["kernel_gone", "no_session"];

/** The path this page's Jupyter server lives under ("/", "/user/alice/"), or null without a server. */
export function baseUrl(): string | null {
  const base = configured() ?? document.body.dataset.baseUrl; // nbclassic has the second
  return base ? withSlash(base) : null;
}

function configured(): string | undefined {
  try {
    const base: unknown = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "").baseUrl;
    // Text of a notebook may have an element of this name, too: it must not lead elsewhere.
    return typeof base === "string" && new URL(base, location.href).origin === location.origin ? base : undefined;
  } catch {
    return undefined;
  }
}

/** Where signing in starts, from the model's `login_path`; "" without a server or a kernel that waits for it. */
export function loginRoute(loginPath: string): string {
  // A saved notebook can hold any text here; only our own route may become a link.
  const base = baseUrl();
  return base && LOGIN_PATH.test(loginPath) ? base + loginPath : "";
}

/** Whether the server has our routes: `value` once that is known. */
export interface Routes {
  value?: boolean;
  answer: Promise<boolean>;
}

/** Ask the server once per page; the cache is the page's, since every widget loads this module anew. */
export function routes(): Routes {
  const page = globalThis as { [CACHE]?: Routes };
  if (page[CACHE] === undefined) {
    const asked: Routes = { answer: check() };
    void asked.answer.then((value) => {
      asked.value = value;
    });
    page[CACHE] = asked;
  }
  return page[CACHE];
}

/** Only a server that answers and does not know the address lacks it: others may be busy, or want a login first. */
async function check(): Promise<boolean> {
  const base = baseUrl();
  if (base === null) return false;
  const { signal, end } = limit(CHECK_MS);
  try {
    const { status, ok, redirected } = await fetch(`${base}pywry-auth/check`, { signal });
    // Voila by itself sends each unknown address on to its files, and refuses it there.
    return status !== 404 && (ok || !redirected);
  } catch {
    return true;
  } finally {
    end();
  }
}

/** Ask the server for `action`; null means: try another way. Never rejects. */
export async function post(action: string, loginPath: string, life: AbortSignal): Promise<Reply | null> {
  const href = loginRoute(loginPath);
  if (!href) return null;
  const { signal, end } = limit(TIMEOUT_MS, life);
  try {
    // A redirect is a login page: a failure, not an answer.
    const init: RequestInit = { method: "POST", redirect: "error", headers: xsrfHeader(), signal };
    const response = await fetch(href.replace("/login?", `/${action}?`), init);
    const { success, error } = await response.json();
    if (response.ok && success === true) return { status: "ok" };
    if (ANSWERS.includes(error)) return { status: "error" };
    return GONE.includes(error) ? { status: "error", code: "kernel_gone" } : null;
  } catch {
    return null;
  } finally {
    end();
  }
}

function withSlash(base: string): string {
  return base.endsWith("/") ? base : `${base}/`;
}

function xsrfHeader(): Record<string, string> {
  const token = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  return token ? { "X-XSRFToken": token } : {};
}
