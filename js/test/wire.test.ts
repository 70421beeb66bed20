import type { AnyModel } from "@anywidget/types";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { LoginTraits } from "../src/state";
import { Wire } from "../src/wire";
import { FakeKernel, FakeModel, answer, jupyterPage, newPage, settle } from "./fake";

let kernel: FakeKernel;
let model: FakeModel;
let life: AbortController;

const wire = () => new Wire(model as unknown as AnyModel<LoginTraits>, life.signal);

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  newPage();
  jupyterPage("/");
  vi.stubGlobal("fetch", answer({ success: true }));
  kernel = new FakeKernel();
  model = new FakeModel();
  model.answers = {};
  model.widget_manager = { kernel };
  life = new AbortController();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("the server", () => {
  it.each(["cancel", "logout", "refresh"])("is asked first for %s", async (name) => {
    expect(await wire().ask(name)).toEqual({ status: "ok" });

    expect(kernel.sendControlMessage).not.toHaveBeenCalled();
    expect(model.send).not.toHaveBeenCalled();
  });

  it.each(["hello", "start", "paste"])("is not asked for %s: it has no route for it", async (name) => {
    kernel.answers[name] = {};

    expect(await wire().ask(name)).toMatchObject({ status: "ok" });
    expect(fetch).not.toHaveBeenCalled();
  });

  it("is not asked where it lacks our routes", async () => {
    vi.stubGlobal("fetch", answer({}, 404));
    kernel.answers.logout = {};

    await wire().ask("logout");

    expect(vi.mocked(fetch).mock.calls.map(([url]) => url)).toEqual(["/pywry-auth/check"]);
    expect(kernel.sent("logout")).toHaveLength(1);
  });

  it("has the last word where the kernel has answered through it", async () => {
    vi.stubGlobal("fetch", answer({ error: "refresh_failed" }, 500));

    expect(await wire().ask("refresh")).toEqual({ status: "error" });
    expect(kernel.sendControlMessage).not.toHaveBeenCalled();
  });
});

describe("the control channel", () => {
  it("carries the message as JupyterLab would send it, and keeps the future for the second answer", async () => {
    kernel.answers.start = { user_code: "WDJB" };

    expect(await wire().ask("start", () => ({ way: "device" }))).toEqual({ status: "ok", user_code: "WDJB" });

    expect(kernel.sendControlMessage).toHaveBeenCalledExactlyOnceWith(
      {
        header: {
          msg_id: expect.stringMatching(/^\w{16,}$/),
          msg_type: "pywry_auth_start_request",
          session: "client-1",
          username: "ada",
          date: "1970-01-01T00:00:00.000Z",
          version: "5.3",
        },
        parent_header: {},
        metadata: {},
        content: { protocol: 1, flow: "f1", way: "device" },
        channel: "control",
        buffers: [],
      },
      true,
      false,
    );
    expect(kernel.futures[0]!.dispose).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is given up after 3 s where the kernel does not accept it", async () => {
    kernel.answers.hello = null;
    model.answers.hello = { ways: [] };

    const reply = wire().ask("hello", (control) => ({ front_end: { control } }));
    await vi.advanceTimersByTimeAsync(2_900);
    expect(model.send).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(200);

    expect(await reply).toMatchObject({ ways: [] });
    expect(kernel.sent("hello")[0]!.content).toMatchObject({ front_end: { control: true } });
    expect(model.send).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ request: "hello", front_end: { control: false } }),
    );
  });

  it("is waited for longer once the kernel has accepted", async () => {
    kernel.answers.paste = null;
    const reply = wire().ask("paste");
    await settle();
    kernel.futures[0]!.onReply({ header: { msg_type: "pywry_auth_paste_accepted" }, content: {} });
    await vi.advanceTimersByTimeAsync(45_000);
    kernel.futures[0]!.onReply({ header: { msg_type: "pywry_auth_paste_reply" }, content: { status: "ok" } });

    expect(await reply).toEqual({ status: "ok" });
    expect(model.send).not.toHaveBeenCalled();
  });

  it.each([
    ["a dead kernel", { sendControlMessage: () => { throw new Error("Kernel is dead"); } }],
    ["no kernel", null],
    ["a connection of another kind", {}],
  ])("is passed over with %s", async (_case, other) => {
    model.widget_manager = { kernel: other };
    model.answers.paste = {};

    expect(await wire().ask("paste")).toMatchObject({ status: "ok" });
  });

  it("is not used where the kernel has no key for it", async () => {
    model.change({ login_path: "" });
    model.answers.hello = {};

    await wire().ask("hello");

    expect(kernel.sendControlMessage).not.toHaveBeenCalled();
  });
});

describe("a widget message", () => {
  beforeEach(() => {
    model.widget_manager = {};
  });

  it("is answered by the message with its number only", async () => {
    const reply = wire().ask("paste", () => ({ text: "x" }));
    await settle();
    const [{ id, ...message }] = model.send.mock.calls[0]!;
    model.says({ reply: "another", status: "error" });
    model.says({ reply: id, status: "ok" });

    expect(message).toEqual({ request: "paste", text: "x" });
    expect(await reply).toMatchObject({ status: "ok" });
    expect(model.listenerCount()).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("says after a second that it waits for the cell", async () => {
    const onSlow = vi.fn();
    void wire().ask("paste", undefined, onSlow);
    await vi.advanceTimersByTimeAsync(900);
    expect(onSlow).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(200);

    expect(onSlow).toHaveBeenCalledOnce();
  });

  it("that is never answered ends", async () => {
    const reply = wire().ask("paste");
    await vi.advanceTimersByTimeAsync(60_000);

    expect(await reply).toEqual({ status: "error", code: "unreachable" });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("that cannot be sent is an answer, too", async () => {
    model.send.mockImplementation(() => {
      throw new Error("comm is closed");
    });

    expect(await wire().ask("paste")).toEqual({ status: "error", code: "unreachable" });
    expect(model.listenerCount()).toBe(0);
  });
});

it("says that the kernel is gone where the server knows it", async () => {
  vi.stubGlobal("fetch", answer({ error: "kernel_gone" }, 404));
  vi.mocked(fetch).mockResolvedValueOnce(new Response("{}"));
  model.widget_manager = {};

  const reply = wire().ask("logout");
  await vi.advanceTimersByTimeAsync(3_000);

  expect(await reply).toEqual({ status: "error", code: "kernel_gone" });
});

it("ends with its view, and leaves nothing behind", async () => {
  kernel.answers.paste = null;
  const reply = wire().ask("paste");
  await settle();
  life.abort();

  expect(await reply).toMatchObject({ status: "error" });
  expect(kernel.futures[0]!.dispose).toHaveBeenCalledOnce();
  expect(model.send).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});
