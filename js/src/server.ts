const TIMEOUT_MS = 15_000;
const CHECK_MS = 3_000;
const LOGIN_PATH = /^pywry-auth\/login\?/;
const CACHE = Symbol.for("pywry-auth-nb");
/** The kernel's own word about an action: another way to ask would hear the same. */
const ANSWERS: unknown[] = ["refresh_failed", "no_refresh_token", "not_authenticated"];
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
  return LOGIN_PATH.test(loginPath) ? `${baseUrl() ?? ""}${baseUrl() === null ? "" : loginPath}` : "";
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
  const limit = deadline(CHECK_MS);
  try {
    const init: RequestInit = { credentials: "same-origin", signal: limit.signal };
    const { status, ok, redirected } = await fetch(`${base}pywry-auth/check`, init);
    // Voila by itself sends each unknown address on to its files, and refuses it there.
    return status !== 404 && (ok || !redirected);
  } catch {
    return true;
  } finally {
    limit.clear();
  }
}

/** What became of a request: "gone" is a kernel that was stopped or restarted, "failed" means: try another way. */
export type Outcome = "done" | "answered" | "gone" | "failed";

/** Ask the server for `action`. Never rejects. */
export async function post(action: string, loginPath: string, signal: AbortSignal): Promise<Outcome> {
  const href = loginRoute(loginPath);
  if (!href) return "failed";
  const url = href.replace("pywry-auth/login?", `pywry-auth/${action}?`);
  const limit = deadline(TIMEOUT_MS, signal);
  try {
    const response = await fetch(url, {
      method: "POST",
      credentials: "same-origin",
      // A redirect is a login page: a failure, not an answer.
      redirect: "error",
      headers: xsrfHeader(),
      signal: limit.signal,
    });
    const answer = await response.json();
    if (response.ok && answer.success === true) return "done";
    if (ANSWERS.includes(answer.error)) return "answered";
    return GONE.includes(answer.error) ? "gone" : "failed";
  } catch {
    return "failed";
  } finally {
    limit.clear();
  }
}

function withSlash(base: string): string {
  return base.endsWith("/") ? base : `${base}/`;
}

function xsrfHeader(): Record<string, string> {
  const token = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  return token ? { "X-XSRFToken": token } : {};
}

/** `signal` with a time limit; `clear` leaves no timer and no listener behind. */
function deadline(milliseconds: number, signal?: AbortSignal): { signal: AbortSignal; clear: () => void } {
  const own = new AbortController();
  const abort = () => own.abort();
  const timer = setTimeout(abort, milliseconds);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  return {
    signal: own.signal,
    clear() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}
