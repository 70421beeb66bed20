import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { FakeModel, LOGIN, answer, draw, jupyterPage, settle } from "./fake";

const NASTY = `<img src=x onerror="alert(1)">`;
const open = vi.fn();
const writeText = vi.fn();

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  document.body.replaceChildren();
  jupyterPage("/user/alice/");
  open.mockReset();
  writeText.mockReset().mockResolvedValue(undefined);
  vi.stubGlobal("open", open);
  vi.stubGlobal("fetch", answer({ success: true, message: "" }));
  vi.stubGlobal("navigator", { clipboard: { writeText } });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("each state", () => {
  it("signed out: a real link that names the provider", () => {
    const { words, link } = draw(new FakeModel());

    expect(words()).toBe("Not signed in. Sign in at login.example.org");
    expect(link.getAttribute("href")).toBe(`/user/alice/${LOGIN}`);
    expect(link.target).toBe("_blank");
    expect(link.rel).toContain("noopener");
  });

  it("signed out: without a provider's name", () => {
    expect(draw(new FakeModel({ provider: "" })).words()).toBe("Not signed in. Sign in");
  });

  it("authorizing: cancel, open again, copy", () => {
    expect(draw(new FakeModel({ status: "authorizing" })).words()).toBe("Signing in… Open again Copy link Cancel");
  });

  it("signed in: who, how long, sign out", () => {
    const model = new FakeModel({ status: "signed_in", name: "Ada", expires_at: 3000 });

    expect(draw(model).words()).toBe("Signed in as Ada 50 min left Sign out");
  });

  it("refreshing: the same words as signed in", () => {
    const model = new FakeModel({ status: "signed_in", name: "Ada", expires_at: 3000 });
    const { words, part } = draw(model);
    const before = words();

    model.change({ status: "refreshing" });

    expect(words()).toBe(before);
    expect(part("root").dataset.tone).toBe("busy");
  });

  it("signed in without a name or an end", () => {
    expect(draw(new FakeModel({ status: "signed_in" })).words()).toBe("Signed in. Sign out");
  });

  it("ended: sign in again", () => {
    expect(draw(new FakeModel({ status: "reauth_required" })).words()).toBe(
      "Your sign-in has ended. Sign in again at login.example.org",
    );
  });

  it.each(["", "hibernating"])("an unknown status %j looks signed out", (status) => {
    expect(draw(new FakeModel({ status })).words()).toContain("Not signed in. Sign in");
  });

  it("offers another sign-in where the token cannot be renewed", () => {
    const stuck = { status: "signed_in", name: "Ada", error_code: "provider_unavailable", login_path: LOGIN };
    const view = draw(new FakeModel(stuck));
    expect(view.link.textContent?.trim()).toBe("Sign in again");
    expect(view.link.hidden).toBe(false);
    expect(draw(new FakeModel({ ...stuck, error_code: "" })).link.hidden).toBe(true);
  });

  it.each(["signed_out", "authorizing", "signed_in", "reauth_required"])("an error stands above %s", (status) => {
    const model = new FakeModel({ status });
    const { words, part } = draw(model);

    model.change({ error_code: "access_denied", error_text: "You said no. Try again." });

    expect(part("error").getAttribute("role")).toBe("alert");
    expect(words()).toMatch(/^You said no\. Try again\. access_denied /);
  });

  it("an error offers to try again, and goes when the kernel says so", () => {
    const model = new FakeModel({ error_code: "network" });
    const { words } = draw(model);
    expect(words()).toContain("Sign in again at");

    model.change({ error_code: "" });

    expect(words()).toBe("Not signed in. Sign in at login.example.org");
  });
});

describe("without a way to sign in", () => {
  it("says that there is no Jupyter server", () => {
    document.getElementById("jupyter-config-data")!.remove();
    const { words, link } = draw(new FakeModel());

    expect(words()).toContain("no Jupyter server");
    expect(link.hidden).toBe(true);
    expect(link.hasAttribute("href")).toBe(false);
  });

  it("says that no kernel is waiting", () => {
    const { words, link } = draw(new FakeModel({ login_path: "" }));

    expect(words()).toContain("run the cell again");
    expect(link.hidden).toBe(true);
  });

  it("can still cancel, by a message to the kernel", async () => {
    document.getElementById("jupyter-config-data")!.remove();
    const model = new FakeModel({ status: "authorizing" });
    const { button, words } = draw(model);
    expect(words()).not.toContain("Copy link");

    button("Cancel")!.click();
    await settle();

    expect(model.send).toHaveBeenCalledExactlyOnceWith({ action: "cancel" });
  });
});

describe("text from outside", () => {
  it.each([
    ["name", { status: "signed_in", name: NASTY }],
    ["provider", { provider: NASTY }],
    ["error_text", { error_text: NASTY }],
    ["error_code", { error_code: NASTY }],
  ])("%s stays text", (_trait, traits) => {
    const { el, words } = draw(new FakeModel(traits));

    expect(el.querySelector("img")).toBeNull();
    expect(words()).toContain(NASTY);
  });

  it("cannot turn the words around it", () => {
    const { part } = draw(new FakeModel({ status: "signed_in", name: "\u202Eevil" }));

    expect(part("name").tagName).toBe("BDI");
  });
});

describe("clicking the link", () => {
  it("opens a popup that knows nothing of this page, and says what to do if it did not", () => {
    const { link, words } = draw(new FakeModel());

    expect(click(link).defaultPrevented).toBe(true);

    expect(open).toHaveBeenCalledExactlyOnceWith(
      `${location.origin}/user/alice/${LOGIN}`,
      "_blank",
      "popup,noopener,width=500,height=700",
    );
    expect(words()).toBe("A sign-in window should have opened. Nothing there? Open the link Copy the link");
  });

  it("twice within a second opens one popup and no tab", () => {
    const { link } = draw(new FakeModel());

    click(link);
    vi.advanceTimersByTime(500);
    expect(click(link).defaultPrevented).toBe(true);

    expect(open).toHaveBeenCalledOnce();
  });

  it("twice within a second opens one popup, also when the first failed at once", () => {
    const model = new FakeModel();
    const { link } = draw(model);

    click(link);
    model.change({ error_code: "network" });
    click(link);

    expect(open).toHaveBeenCalledOnce();
  });

  it("as a double click does not cancel what it began", () => {
    const model = new FakeModel();
    const { link, button } = draw(model);

    click(link);
    model.change({ status: "authorizing" });
    click(button("Cancel")!, { detail: 2 });

    expect(fetch).not.toHaveBeenCalled();
  });

  it("a second time, later, is left to the browser: nothing blocks a plain link", () => {
    const { link } = draw(new FakeModel());

    click(link);
    vi.advanceTimersByTime(1500);

    expect(click(link).defaultPrevented).toBe(false);
    expect(open).toHaveBeenCalledOnce();
  });

  it.each(["ctrlKey", "metaKey", "shiftKey", "altKey"])("with %s is left to the browser", (key) => {
    const { link, words } = draw(new FakeModel());

    expect(click(link, { [key]: true }).defaultPrevented).toBe(false);

    expect(open).not.toHaveBeenCalled();
    expect(words()).toContain("Not signed in.");
  });

  it("is forgotten when the kernel reports news", () => {
    const model = new FakeModel();
    const { link, words } = draw(model);

    click(link);
    model.change({ error_code: "flow_timeout", error_text: "Too late." });

    expect(words()).toContain("Not signed in. Sign in again at");
  });

  it("changes this view only", () => {
    const model = new FakeModel();
    const one = draw(model);
    const two = draw(model);

    click(one.link);
    expect(two.words()).toContain("Not signed in.");

    model.change({ status: "signed_in", name: "Ada" });
    expect(one.words()).toBe(two.words());
  });
});

describe("copying the link", () => {
  it("copies the whole address and says so", async () => {
    const { copy, words, live } = draw(new FakeModel({ status: "authorizing" }));

    copy.click();
    await settle();

    expect(writeText).toHaveBeenCalledExactlyOnceWith(`${location.origin}/user/alice/${LOGIN}`);
    expect(words()).toContain("Copied");
    expect(live.textContent).toBe("Link copied.");

    vi.advanceTimersByTime(2500);
    expect(words()).toContain("Copy link");
    expect(live.textContent).toBe("");
  });

  it.each([
    ["is missing", () => vi.stubGlobal("navigator", {})],
    ["refuses", () => void writeText.mockRejectedValue(new Error("denied"))],
  ])("shows the address, selected, when the clipboard %s", async (_case, arrange) => {
    arrange();
    const { copy, part } = draw(new FakeModel({ status: "authorizing" }));

    copy.click();
    await settle();

    const field = part<HTMLInputElement>("field");
    expect(field.hidden).toBe(false);
    expect(field.readOnly).toBe(true);
    expect(document.activeElement).toBe(field);
    expect(field.value.slice(field.selectionStart!, field.selectionEnd!)).toBe(`${location.origin}/user/alice/${LOGIN}`);
  });
});

describe("cancel and sign out", () => {
  it.each([
    ["Cancel", "cancel", "authorizing"],
    ["Sign out", "logout", "signed_in"],
  ])("%s asks the server, once", async (label, action, status) => {
    const model = new FakeModel({ status });
    const { button } = draw(model);

    button(label)!.click();
    expect(button(label)!.getAttribute("aria-disabled")).toBe("true");
    button(label)!.click();
    await settle();

    expect(fetch).toHaveBeenCalledOnce();
    expect(vi.mocked(fetch).mock.calls[0]![0]).toBe(`/user/alice/pywry-auth/${action}?kernel=k1&flow=f1`);
    expect(model.send).not.toHaveBeenCalled();
    expect(button(label)!.getAttribute("aria-disabled")).toBe("false");
  });

  it("ask the kernel when the server does not do it, and say what that means", async () => {
    vi.stubGlobal("fetch", answer({ error: "no_kernel", message: "" }));
    const model = new FakeModel({ status: "signed_in" });
    const { button, words, live } = draw(model);

    button("Sign out")!.click();
    await settle();

    expect(model.send).toHaveBeenCalledExactlyOnceWith({ action: "logout" });
    expect(words()).toContain("The kernel was asked");
    expect(live.textContent).toContain("The kernel was asked");

    model.change({ status: "signed_out" });
    expect(words()).toBe("Not signed in. Sign in at login.example.org");
  });

  it("do not ask the kernel for what is over by now", async () => {
    vi.stubGlobal("fetch", answer({}, 502));
    const model = new FakeModel({ status: "authorizing" });
    const { button, words } = draw(model);

    button("Cancel")!.click();
    model.change({ status: "signed_in", name: "Ada" });
    await settle();

    expect(model.send).not.toHaveBeenCalled();
    expect(words()).toBe("Signed in as Ada Sign out");
  });

  it("say that the kernel was restarted, although it is asked as well", async () => {
    vi.stubGlobal("fetch", answer({ error: "kernel_gone", message: "" }, 404));
    const model = new FakeModel({ status: "signed_in", name: "Ada" });
    const { button, words } = draw(model);

    button("Sign out")!.click();
    await settle();

    expect(model.send).toHaveBeenCalledOnce(); // the server may not know a kernel that lives
    expect(words()).toContain("been restarted: run the cell again");
  });

  it("say that nothing could be reached", async () => {
    vi.stubGlobal("fetch", answer({}, 502));
    const model = new FakeModel({ status: "signed_in" });
    model.send.mockImplementation(() => {
      throw new Error("comm is closed");
    });
    const { button, words } = draw(model);

    button("Sign out")!.click();
    await settle();

    expect(words()).toContain("could be reached");
    expect(button("Sign out")!.getAttribute("aria-disabled")).toBe("false");
  });
});

describe("the screen reader's region", () => {
  it("says states, not the first one and not the seconds", () => {
    const model = new FakeModel();
    const { live } = draw(model);
    expect(live.textContent).toBe("");
    expect(live.getAttribute("aria-live")).toBe("polite");

    model.change({ status: "signed_in", name: "Ada", expires_at: 60 });
    expect(live.textContent).toBe("Signed in as Ada.");

    const changes = new MutationObserver(() => {});
    changes.observe(live, { childList: true, characterData: true, subtree: true });
    vi.advanceTimersByTime(90_000);
    model.change({ status: "refreshing" });
    model.change({ status: "signed_in", expires_at: 3600 });
    expect(changes.takeRecords()).toEqual([]);
  });

  it("does not hold the countdown", () => {
    const { live, part } = draw(new FakeModel({ status: "signed_in", expires_at: 60 }));

    expect(part("time").textContent).toBe("60 s left");
    vi.advanceTimersByTime(3000);

    expect(part("time").textContent).toBe("57 s left");
    expect(part("time").closest("[aria-live]")).toBeNull();
    expect(live.textContent).toBe("");
  });
});

describe("the keyboard's focus", () => {
  it("stays on the link while signing in begins", () => {
    const model = new FakeModel();
    const { link } = draw(model);
    link.focus();

    click(link);
    model.change({ status: "authorizing" });

    expect(document.activeElement).toBe(link);
  });

  it("moves to the words when the link is gone, not to a button that signs out", () => {
    const model = new FakeModel({ status: "authorizing" });
    const { link, part } = draw(model);
    link.focus();

    model.change({ status: "signed_in", name: "Ada" });

    expect(document.activeElement).toBe(part("state"));
    expect(part("state").textContent).toBe("Signed in as Ada");
  });

  it.each([
    ["Cancel", "authorizing", "signed_in"],
    ["Cancel", "authorizing", "signed_out"],
    ["Sign out", "signed_in", "reauth_required"],
    ["Sign out", "signed_in", "signed_out"],
  ])("moves to the words when %s is gone: %s, then %s", (label, before, after) => {
    const model = new FakeModel({ status: before });
    const { button, part } = draw(model);
    button(label)!.focus();

    model.change({ status: after });

    expect(document.activeElement).toBe(part("state"));
  });

  it("moves to the words when the field with the link is gone", async () => {
    writeText.mockRejectedValue(new Error("denied"));
    const model = new FakeModel({ status: "authorizing" });
    const { copy, part } = draw(model);
    copy.click();
    await settle();
    expect(document.activeElement).toBe(part("field"));

    model.change({ status: "signed_in" });

    expect(document.activeElement).toBe(part("state"));
  });

  it("does not stop at the words on its way through the page", () => {
    expect(draw(new FakeModel()).part("state").tabIndex).toBe(-1);
  });

  it("is left alone when it is elsewhere", () => {
    const elsewhere = document.body.appendChild(document.createElement("button"));
    const model = new FakeModel({ status: "authorizing" });
    draw(model);
    elsewhere.focus();

    model.change({ status: "signed_in" });

    expect(document.activeElement).toBe(elsewhere);
  });

  it("works in a shadow tree", () => {
    const model = new FakeModel({ status: "authorizing" });
    const { el, button, part } = draw(model);
    const shadow = document.body.appendChild(document.createElement("div")).attachShadow({ mode: "open" });
    shadow.append(el);
    button("Cancel")!.focus();

    model.change({ status: "signed_in" });

    expect(shadow.activeElement).toBe(part("state"));
  });
});

describe("the model", () => {
  it("is never written", async () => {
    const model = new FakeModel();
    const { link, copy, button } = draw(model);

    click(link);
    copy.click();
    model.change({ status: "authorizing" });
    button("Cancel")!.click();
    await settle();
    model.change({ status: "signed_in", name: "Ada", expires_at: 100 });
    vi.advanceTimersByTime(120_000);
    button("Sign out")!.click();
    await settle();

    expect(model.set).not.toHaveBeenCalled();
    expect(model.save_changes).not.toHaveBeenCalled();
    expect(model.send).not.toHaveBeenCalled();
  });

  it("may lack traits", () => {
    const model = new FakeModel();
    model.get = () => undefined;

    expect(draw(model).words()).toContain("Not signed in.");
  });
});

describe("removing a view", () => {
  it("leaves no timer, no listener and no element", async () => {
    const model = new FakeModel({ status: "signed_in", expires_at: 60 });
    const { remove, el } = draw(model);
    expect(vi.getTimerCount()).toBe(1);
    expect(model.listenerCount()).toBeGreaterThan(0);

    remove();

    expect(vi.getTimerCount()).toBe(0);
    expect(model.listenerCount()).toBe(0);
    expect(el.childElementCount).toBe(0);
  });

  it("stops a pending request without asking the kernel", async () => {
    vi.stubGlobal("fetch", (_url: string, init: RequestInit) => {
      return new Promise((_resolve, reject) => init.signal!.addEventListener("abort", () => reject(new Error("gone"))));
    });
    const model = new FakeModel({ status: "signed_in", expires_at: 60 });
    const { remove, button } = draw(model);

    button("Sign out")!.click();
    remove();
    await settle();

    expect(model.send).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each(["resolves", "rejects"])("before a copy %s starts nothing new", async (how) => {
    if (how === "rejects") writeText.mockRejectedValue(new Error("denied"));
    const { remove, copy } = draw(new FakeModel({ status: "authorizing" }));

    copy.click();
    remove();
    await settle();

    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves the other views at work", () => {
    const model = new FakeModel();
    const one = draw(model);
    const two = draw(model);

    one.remove();
    model.change({ status: "signed_in", name: "Ada" });

    expect(two.words()).toContain("Signed in as Ada");
  });
});

function click(target: HTMLElement, init: MouseEventInit = {}): MouseEvent {
  const event = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1, ...init });
  target.dispatchEvent(event);
  return event;
}
