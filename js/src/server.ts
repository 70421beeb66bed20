import type { Route } from "./state";

const TIMEOUT_MS = 15_000;
const LOGIN_PATH = /^pywry-auth\/login\?/;
const NO_SERVER =
  "This page has no Jupyter server, and the sign-in link needs one: open the notebook in JupyterLab or Jupyter Notebook.";
const GONE: unknown[] = ["kernel_gone", "no_session"];
const NO_KERNEL = "No kernel is waiting for this sign-in: run the cell again.";

/** The path this page's Jupyter server lives under ("/", "/user/alice/"), or null without a server. */
export function baseUrl(): string | null {
  const config = document.getElementById("jupyter-config-data")?.textContent;
  if (!config) return null;
  try {
    const base: unknown = JSON.parse(config).baseUrl;
    return typeof base === "string" && base ? withSlash(base) : null;
  } catch {
    return null;
  }
}

/** Where signing in starts, from the model's `login_path`. */
export function loginRoute(loginPath: string): Route {
  const base = baseUrl();
  if (base === null) {
    return { href: null, missing: NO_SERVER };
  }
  // A saved notebook can hold any text here; only our own route may become a link.
  if (!LOGIN_PATH.test(loginPath)) {
    return { href: null, missing: NO_KERNEL };
  }
  return { href: base + loginPath, missing: "" };
}

/** What became of a request: "gone" is a kernel that was stopped or restarted, "failed" means: try another way. */
export type Outcome = "done" | "gone" | "failed";

/** Ask the server for `action`. Never rejects. */
export async function post(action: "cancel" | "logout", loginPath: string, signal: AbortSignal): Promise<Outcome> {
  const { href } = loginRoute(loginPath);
  if (href === null) return "failed";
  const url = href.replace("pywry-auth/login?", `pywry-auth/${action}?`);
  const limit = deadline(signal);
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
function deadline(signal: AbortSignal): { signal: AbortSignal; clear: () => void } {
  const own = new AbortController();
  const abort = () => own.abort();
  const timer = setTimeout(abort, TIMEOUT_MS);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  return {
    signal: own.signal,
    clear() {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    },
  };
}
