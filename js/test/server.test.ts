import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { baseUrl, loginRoute, post, routes } from "../src/server";
import { LOGIN, answer, jupyterPage, newPage } from "./fake";

const alive = () => new AbortController().signal;

beforeEach(newPage);

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("the sign-in route", () => {
  it.each([
    ["/", `/${LOGIN}`],
    ["/a%40b/", `/a%40b/${LOGIN}`],
    ["/user/alice/", `/user/alice/${LOGIN}`],
    ["/user/alice", `/user/alice/${LOGIN}`],
  ])("lies under the base url %s", (base, href) => {
    jupyterPage(base);

    expect(loginRoute(LOGIN)).toBe(href);
  });

  it("lies under nbclassic's base url", () => {
    document.body.dataset.baseUrl = "/nb";

    expect(loginRoute(LOGIN)).toBe(`/nb/${LOGIN}`);
  });

  it("is missing when the page has no Jupyter server", () => {
    expect(loginRoute(LOGIN)).toBe("");
  });

  it.each([
    "",
    "/evil.example/pywry-auth/login?x",
    "javascript:alert(1)",
    "https://evil.example/",
    "pywry-auth/logout?x",
  ])("does not link to %j from a saved notebook", (path) => {
    jupyterPage("/");

    expect(loginRoute(path)).toBe("");
  });

  it.each(["not json", "null", "{}", '{"baseUrl": 3}'])("survives the page config %s", (config) => {
    jupyterPage("/");
    document.getElementById("jupyter-config-data")!.textContent = config;

    expect(baseUrl()).toBeNull();
  });
});

describe("whether the server has our routes", () => {
  const page = (status: number) => vi.fn(async (_url: string, _init: RequestInit) => new Response("<html>", { status }));

  it("is asked once per page", async () => {
    jupyterPage("/user/alice/");
    const fetched = answer({ version: "1" });
    vi.stubGlobal("fetch", fetched);

    expect(routes().value).toBeUndefined();
    expect(await Promise.all([routes().answer, routes().answer])).toEqual([true, true]);
    expect(routes().value).toBe(true);
    expect(fetched).toHaveBeenCalledOnce();
    expect(fetched.mock.calls[0]![0]).toBe("/user/alice/pywry-auth/check");
  });

  it.each([
    [404, false],
    [403, true],
    [500, true],
  ])("HTTP %d means %s", async (status, has) => {
    jupyterPage("/");
    vi.stubGlobal("fetch", page(status));

    expect(await routes().answer).toBe(has);
  });

  it.each([
    ["a refusal, as Voila by itself answers", 403, false],
    ["a page to log in at", 200, true],
  ])("a redirect to %s means %s", async (_what, status, has) => {
    jupyterPage("/");
    vi.stubGlobal("fetch", vi.fn().mockResolvedValue({ status, ok: status === 200, redirected: true }));

    expect(await routes().answer).toBe(has);
  });

  it("is no without a server", async () => {
    expect(await routes().answer).toBe(false);
  });

  it("is yes where the server is too slow to say", async () => {
    vi.useFakeTimers();
    jupyterPage("/");
    vi.stubGlobal("fetch", vi.fn(hang));

    const { answer } = routes();
    await vi.advanceTimersByTimeAsync(3000);

    expect(await answer).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a request to the server", () => {
  it("carries the query, the cookies and the XSRF token", async () => {
    jupyterPage("/user/alice/");
    vi.spyOn(document, "cookie", "get").mockReturnValue("other_xsrf=wrong; _xsrf=2|abc|123");
    const fetched = answer({ success: true, message: "" });
    vi.stubGlobal("fetch", fetched);

    expect(await post("cancel", LOGIN, alive())).toEqual({ status: "ok" });

    const [url, init] = fetched.mock.calls[0]!;
    expect(url).toBe("/user/alice/pywry-auth/cancel?kernel=k1&flow=f1");
    expect(init).toMatchObject({
      method: "POST",
      redirect: "error",
      headers: { "X-XSRFToken": "2|abc|123" },
    });
  });

  it.each([
    ["a 403", answer({}, 403)],
    ["an error answer", answer({ error: "unknown_flow", message: "" })],
    ["a page that is not JSON", vi.fn(async () => new Response("<html>"))],
    ["a network error", vi.fn(async () => Promise.reject(new TypeError("offline")))],
  ])("fails on %s", async (_case, fetched) => {
    jupyterPage("/");
    vi.stubGlobal("fetch", fetched);

    expect(await post("logout", LOGIN, alive())).toBeNull();
    expect(fetched).toHaveBeenCalledOnce();
  });

  it.each(["kernel_gone", "no_session"])("hears that the kernel is gone: %s", async (error) => {
    jupyterPage("/");
    vi.stubGlobal("fetch", answer({ error, message: "" }, 404));

    expect(await post("logout", LOGIN, alive())).toEqual({ status: "error", code: "kernel_gone" });
  });

  it.each(["refresh_failed", "no_refresh_token", "not_authenticated"])("takes the kernel's word: %s", async (error) => {
    jupyterPage("/");
    vi.stubGlobal("fetch", answer({ error, message: "" }, 400));

    expect(await post("refresh", LOGIN, alive())).toEqual({ status: "error" });
  });

  it("is not tried without a server", async () => {
    const fetched = answer({ success: true, message: "" });
    vi.stubGlobal("fetch", fetched);

    expect(await post("logout", LOGIN, alive())).toBeNull();
    expect(fetched).not.toHaveBeenCalled();
  });

  it("gives up after 15 s and leaves no timer", async () => {
    vi.useFakeTimers();
    jupyterPage("/");
    vi.stubGlobal("fetch", vi.fn(hang));

    const done = post("logout", LOGIN, alive());
    await vi.advanceTimersByTimeAsync(14_900);
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(200);

    expect(await done).toBeNull();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("stops when its view is gone", async () => {
    jupyterPage("/");
    vi.stubGlobal("fetch", vi.fn(hang));
    const view = new AbortController();

    const done = post("logout", LOGIN, view.signal);
    view.abort();

    expect(await done).toBeNull();
  });
});

function hang(_url: string, init: RequestInit): Promise<Response> {
  return new Promise((_resolve, reject) => init.signal!.addEventListener("abort", () => reject(new Error("aborted"))));
}
