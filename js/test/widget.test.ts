import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { load } from "../src/load";
import { EVERYWHERE, FakeKernel, FakeModel, LOGIN, answer, draw, drawNow, jupyterPage, newPage, settle } from "./fake";

// Node imports no address of a Blob; the browser tests do.
vi.mock("../src/load", async () => {
  const { default: panel } = await import("../src/panel");
  return { load: vi.fn(async () => panel) };
});

const NASTY = `<img src=x onerror="alert(1)">`;
const PIXEL = "data:image/png;base64,iVBORw0KGgo=";
const REDIRECT_URI = "https://hub.example.org/hub/user-redirect/pywry-auth/callback";
const DEVICE = {
  user_code: "WDJB-MJHT",
  verification_uri: "https://contoso.com/device",
  expires_in: 840,
  panel: "export default …",
};
const ADA = { status: "signed_in", name: "Ada" };
const OPEN = "Signing in at Contoso \u2026 Open the window again Trouble signing in? Cancel";
const open = vi.fn();
const writeText = vi.fn();

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  newPage();
  jupyterPage("/user/alice/");
  open.mockReset();
  vi.mocked(load).mockClear();
  writeText.mockReset().mockResolvedValue(undefined);
  vi.stubGlobal("open", open);
  vi.stubGlobal("fetch", answer({ success: true, message: "" }));
  vi.stubGlobal("navigator", { clipboard: { writeText } });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A model whose kernel can be reached by JupyterLab's control channel. */
function withKernel(traits: ConstructorParameters<typeof FakeModel>[0] = {}): [FakeModel, FakeKernel] {
  const [model, kernel] = [new FakeModel(traits), new FakeKernel()];
  model.widget_manager = { kernel };
  return [model, kernel];
}

describe("each state", () => {
  it("signed out: a real link that names the provider", async () => {
    const { words, link } = await draw(new FakeModel());

    expect(words()).toBe("Contoso Not signed in Sign in");
    expect(link.getAttribute("href")).toBe(`/user/alice/${LOGIN}`);
    expect(link.getAttribute("aria-label")).toBe("Sign in at Contoso");
    expect(link.target).toBe("_blank");
    expect(link.rel).toContain("noopener");
  });

  it("signed out: without a provider's name", async () => {
    expect((await draw(new FakeModel({ provider: "" }))).words()).toBe("Sign-in Not signed in Sign in");
  });

  it("authorizing: open again, help, cancel", async () => {
    expect((await draw(new FakeModel({ status: "authorizing" }))).words()).toBe(OPEN);
  });

  it("signed in: who, where, and that it renews; nothing that ends it", async () => {
    const model = new FakeModel({ ...ADA, expires_at: 3000 });
    model.answers.details = { details: { email: "ada@contoso.com" } };

    const { words, button } = await draw(model);

    expect(words()).toBe("Signed in as Ada ada@contoso.com Contoso renews by itself \u22ef");
    expect(button("Sign out")).toBeUndefined();
  });

  it("signed in: when it ends, if it does not renew", async () => {
    const { words } = await draw(new FakeModel({ ...ADA, renews: false, expires_at: 3600 }));

    expect(words()).toMatch(/Contoso ends at \d\d?:00 [AP]M \u22ef$/);
  });

  it("refreshing: the same as signed in, and not a word about it", async () => {
    const model = new FakeModel({ ...ADA, expires_at: 3000 });
    const { words, part, live } = await draw(model);
    const before = words();

    model.change({ status: "refreshing" });

    expect(words()).toBe(before);
    expect(part("root").dataset.tone).toBe("on");
    expect(live.textContent).toBe("");
  });

  it("signed in without a name", async () => {
    expect((await draw(new FakeModel({ status: "signed_in" }))).words()).toBe(
      "Signed in Contoso renews by itself \u22ef",
    );
  });

  it("five minutes before an end: a warning, what to do, and how it could renew", async () => {
    const model = new FakeModel({ ...ADA, renews: false, expires_at: 600 });
    model.answers.details = { details: { advice: "To let it renew, add offline_access." } };
    const { words, part, live } = await draw(model);
    expect(part("root").dataset.tone).toBe("on");

    vi.advanceTimersByTime(300_000);

    expect(part("root").dataset.tone).toBe("warn");
    expect(words()).toMatch(/Ends at \d\d?:10 [AP]M \(in 5 min\), then sign in again Sign in again \u22ef To let .* offline_access/);
    expect(part("link").getAttribute("aria-label")).toBe("Sign in again at Contoso");
    expect(live.textContent).toMatch(/^Your sign-in ends at/);
    vi.advanceTimersByTime(60_000);
    expect(words()).toContain("(in 4 min)");
  });

  it("cannot be renewed now: until when it is good, why, and a button to try", async () => {
    const stuck = { ...ADA, stuck: true, expires_at: 3600, error_code: "network", error_text: "No answer." };
    const model = new FakeModel(stuck);
    const { words, part, button } = await draw(model);

    expect(part("root").dataset.tone).toBe("warn");
    expect(words()).toMatch(/^Signed in as Ada Cannot be renewed now\. Good until \d\d?:00 [AP]M\. Sign in again Try now \u22ef No answer\. network$/);
    button("Try now")!.click();
    expect(button("Try now")!.getAttribute("aria-disabled")).toBe("true");
    await settle();
    expect(vi.mocked(fetch).mock.lastCall![0]).toBe("/user/alice/pywry-auth/refresh?kernel=k1&flow=f1");
  });

  it("cannot be renewed now, and is over", async () => {
    const { words } = await draw(new FakeModel({ ...ADA, stuck: true, expires_at: -60 }));

    expect(words()).toContain("Cannot be renewed now. It ended at ");
  });

  it.each(["signed_in", "refreshing"])("%s, and a cell asks for more: what it asks, and a way on", async (status) => {
    const asks = "This cell asks for more access: files.read";
    const view = await draw(new FakeModel({ ...ADA, status, expires_at: 3000, asks }));

    expect(view.words()).toBe(`Ada ${asks} Continue Cancel`);
    expect(view.link.getAttribute("href")).toBe(`/user/alice/${LOGIN}`);
    view.link.click();
    expect(open).toHaveBeenCalledOnce();
    expect(view.words()).toBe(`Ada ${asks} Trouble signing in? Continue Cancel`);
  });

  it("what a cell asked is gone with the answer", async () => {
    const model = new FakeModel({ ...ADA, asks: "This cell asks you to sign in again." });
    const { words } = await draw(model);

    model.change({ status: "authorizing" });
    expect(words()).toBe(OPEN);
    model.change({ status: "signed_in", asks: "" });
    expect(words()).toBe("Signed in as Ada Contoso renews by itself \u22ef");
  });

  it("ended: whose sign-in it was, and a way to sign in again", async () => {
    expect((await draw(new FakeModel({ status: "reauth_required", name: "Ada" }))).words()).toBe(
      "Ada Your sign-in at Contoso has ended. Sign in again",
    );
  });

  it.each(["", "hibernating"])("an unknown status %j looks signed out", async (status) => {
    expect((await draw(new FakeModel({ status }))).words()).toContain("Not signed in Sign in");
  });

  it.each(["signed_out", "signed_in", "reauth_required"])("an error stands below %s", async (status) => {
    const model = new FakeModel({ status });
    const { words, part } = await draw(model);

    model.change({ error_code: "access_denied", error_text: "You said no. Try again." });

    expect(part("error").getAttribute("role")).toBe("alert");
    expect(words()).toMatch(/You said no\. Try again\. access_denied$/);
  });

  it("the provider's own words stand below ours, as words of the provider", async () => {
    const model = new FakeModel({ error_code: "access_denied", error_text: "You said no.", error_detail: "Ask Eve." });
    const { words, part } = await draw(model);

    expect(words()).toMatch(/You said no\. access_denied The provider says: Ask Eve\.$/);
    model.change({ error_detail: "Ask Bob." });
    expect(part("error-detail").textContent).toBe("The provider says: Ask Bob.");
    model.change({ error_code: "", error_text: "", error_detail: "" });
    expect(words()).toBe("Contoso Not signed in Sign in");
  });

  it("words of the provider without an error are not shown", async () => {
    expect((await draw(new FakeModel({ error_detail: "Ask Eve." }))).words()).not.toContain("Eve");
  });

  it("an error without a sentence still has one", async () => {
    expect((await draw(new FakeModel({ error_code: "x" }))).words()).toContain("Something went wrong while signing in. x");
  });

  it("a sign-in that was cancelled leaves nothing red", async () => {
    const { words, part, visible } = await draw(new FakeModel({ error_code: "flow_cancelled", error_text: "Cancelled." }));

    expect(words()).toBe("Contoso Not signed in Sign in");
    expect(visible(part("error"))).toBe(false);
  });

  it.each(["click", "authorizing"])("the error of the last attempt is gone with the next: %s", async (how) => {
    const model = new FakeModel({ error_code: "access_denied", error_text: "You said no." });
    const { link, words } = await draw(model);

    if (how === "click") click(link);
    else model.change({ status: "authorizing" });

    expect(words()).not.toContain("You said no.");
  });
});

describe("behind the three dots", () => {
  it("are the account, the scopes, the store, another account and the way out", async () => {
    const account_path = `${LOGIN}&prompt=select_account`;
    const model = new FakeModel({ ...ADA, expires_at: 3600, account_path });
    const details = { email: "ada@contoso.com", scopes: ["openid", "drive"], store: "Redis", elsewhere: true };
    model.answers.details = { details };
    const { words, part, button } = await draw(model);

    part("more").click();
    const account = part<HTMLAnchorElement>("account");

    expect(part("more").getAttribute("aria-expanded")).toBe("true");
    expect(words()).toMatch(
      /\u22ef Account ada@contoso.com Provider Contoso Scopes openid drive Token good until \d\d?:00 [AP]M, renews by itself Kept in Redis Signed in from another notebook, or earlier Use another account Sign out$/,
    );
    expect(account.getAttribute("href")).toBe(`/user/alice/${account_path}`);
    expect(account.rel).toContain("noopener");
    account.click();
    expect(open).not.toHaveBeenCalled();
    part("more").click();
    expect(button("Sign out")).toBeUndefined();
  });

  it("no other account where none can be chosen, or where the server has no route for it", async () => {
    const { part } = await draw(new FakeModel(ADA));
    part("more").click();

    expect(part("account")).toBeNull();
  });

  it("another account by another way, where the server has no route: the only one at once", async () => {
    vi.stubGlobal("fetch", answer({}, 404));
    const [model, kernel] = withKernel(ADA);
    kernel.answers.hello = { ways: [EVERYWHERE[0], EVERYWHERE[2]] };
    kernel.answers.start = DEVICE;
    const { part, button, words } = await draw(model);
    part("more").click();

    button("Use another account")!.click();
    await settle();
    model.change({ status: "authorizing" });

    expect(kernel.sent("start")[0]!.content).toMatchObject({ way: "device", prompt: "select_account" });
    expect(words()).toContain("WDJB-MJHT");
    vi.advanceTimersByTime(900_000);
    button("Get a new code")!.click();
    await settle();
    expect(kernel.sent("start")[1]!.content).toMatchObject({ way: "device", prompt: "select_account" });
  });

  it("another account by another way: one of those that can be had", async () => {
    vi.stubGlobal("fetch", answer({}, 404));
    const [model, kernel] = withKernel(ADA);
    const { part, button } = await draw(model);
    part("more").click();

    button("Use another account")!.click();
    button("Sign in and paste an address")!.click();
    await settle();

    expect(kernel.sent("start")[0]!.content).toMatchObject({ way: "loopback", prompt: "select_account" });
  });

  it("no other account where no way leads to one", async () => {
    vi.stubGlobal("fetch", answer({}, 404));
    const [model, kernel] = withKernel(ADA);
    kernel.answers.hello = { ways: EVERYWHERE.map(({ name }) => ({ name, why: "Contoso signs you in by itself." })) };
    const { part, button } = await draw(model);
    part("more").click();

    expect(button("Use another account")).toBeUndefined();
  });

  it("another account goes to our own route only", async () => {
    const { part } = await draw(new FakeModel({ ...ADA, account_path: "https://evil.example/pywry-auth/login?" }));
    part("more").click();

    expect(part("account")).toBeNull();
  });

  it("are closed after a sign-in", async () => {
    const model = new FakeModel(ADA);
    const { part, button } = await draw(model);
    part("more").click();

    model.change({ status: "authorizing" });
    model.change({ status: "signed_in", name: "Bob" });

    expect(button("Sign out")).toBeUndefined();
  });
});

describe("who it is", () => {
  it.each([
    ["Ada Lovelace", "AL"],
    ["Ada", "A"],
    ["Ada (Countess) of Lovelace", "AL"],
    ["\u{1d4d0}da", "\u{1d4d0}"],
    ["\u05d0\u05d3\u05d4 \u05dc\u05d0\u05d1", "\u05d0\u05dc"],
    ["!!", "@"],
    ["127.0.0.1", "@"],
  ])("%s has the initials %s", async (name, initials) => {
    const { part } = await draw(new FakeModel({ ...ADA, name }));

    expect(part("mark").textContent).toBe(initials);
  });

  it("is a picture, if the kernel has one", async () => {
    const model = new FakeModel(ADA);
    model.answers.details = { details: { avatar: PIXEL } };
    const { part, visible } = await draw(model);

    expect(visible(part("photo"))).toBe(true);
    expect(part<HTMLImageElement>("photo").src).toBe(PIXEL);
  });

  it.each(["https://evil.example/ada.png", "data:image/svg+xml;base64,AAAA", "data:text/html,x", ""])(
    "is no picture from %j",
    async (avatar) => {
      const model = new FakeModel(ADA);
      model.answers.details = { details: { avatar } };
      const { part } = await draw(model);

      expect(part("photo")).toBeNull();
    },
  );

  it("is told anew when it changes", async () => {
    const model = new FakeModel(ADA);
    const { words } = await draw(model);

    model.says({ details: { email: "ada@contoso.com" } });

    expect(words()).toContain("ada@contoso.com");
  });

  it("is not the person of before while another signs in", async () => {
    const { part } = await draw(new FakeModel({ status: "authorizing", name: "Ada" }));

    expect(part("title").classList).not.toContain("pywry-auth-name");
  });

  it("is said if it is another person, who signed in elsewhere", async () => {
    const model = new FakeModel(ADA);
    const { words, live } = await draw(model);

    model.change({ name: "Bob" });

    expect(words()).toContain("Bob has signed in. Before, it was Ada.");
    expect(live.textContent).toContain("Bob has signed in.");
  });

  it("is said to be known from elsewhere, if the user did not sign in here", async () => {
    const model = new FakeModel({ ...ADA, expires_at: 3000 });
    model.answers.details = { details: { elsewhere: true } };
    const { words } = await draw(model);

    expect(words()).toBe("Signed in as Ada Contoso from another notebook, or earlier \u22ef");
    model.change({ renews: false });
    expect(words()).toMatch(/Contoso ends at/);
  });

  it("is not said to the one who has signed in here", async () => {
    const account_path = `${LOGIN}&prompt=select_account`;
    const model = new FakeModel({ ...ADA, account_path });
    const { part, words } = await draw(model);
    part("more").click();
    click(part("account"));

    model.change({ status: "authorizing" });
    model.change({ status: "signed_in", name: "Bob" });

    expect(words()).not.toContain("Before");
  });
});

describe("an open sign-in", () => {
  it("shows after 20 s which address must be registered", async () => {
    const model = new FakeModel({ status: "authorizing" });
    model.answers.details = { details: { redirect_uri: REDIRECT_URI } };
    const { words, part, visible, button } = await draw(model);
    vi.advanceTimersByTime(19_900);
    expect(visible(part("field[aria-label^=Redirect]"))).toBe(false);

    vi.advanceTimersByTime(200);

    expect(words()).toContain("An error page there? This address must be registered at the provider: Copy");
    expect(part<HTMLInputElement>("field[aria-label^=Redirect]").value).toBe(REDIRECT_URI);
    button("Copy")!.click();
    await settle();
    expect(writeText).toHaveBeenCalledExactlyOnceWith(REDIRECT_URI);
    model.change({ status: "signed_in" });
    expect(words()).not.toContain("registered");
  });

  it("does not count from an earlier one", async () => {
    const model = new FakeModel({ status: "authorizing" });
    model.answers.details = { details: { redirect_uri: REDIRECT_URI } };
    const { words } = await draw(model);
    vi.advanceTimersByTime(15_000);
    model.change({ status: "signed_out" });
    model.change({ status: "authorizing" });
    vi.advanceTimersByTime(15_000);

    expect(words()).not.toContain("registered");
  });

  it("offers the other ways, and says why one cannot be had", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.hello = { ways: [...EVERYWHERE.slice(0, 2), { name: "device", why: "Contoso has no device sign-in." }] };
    const { words, button } = await draw(model);

    button("Trouble signing in?")!.click();

    expect(words()).toBe(
      `${OPEN} Sign in and paste an address Use a phone or another device: Contoso has no device sign-in. Copy the sign-in link`,
    );
    expect(button("Trouble signing in?")!.getAttribute("aria-expanded")).toBe("true");
  });

  it("goes on with another device: its code, how long it is good, and a QR code", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { ...DEVICE, qr: PIXEL };
    const { words, button, part } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Use a phone or another device")!.click();
    await settle();

    expect(kernel.sent("start")[0]!.content).toMatchObject({ way: "device" });
    expect(words()).toBe(
      "Signing in at Contoso \u2026 Trouble signing in? Cancel On your phone or in any other browser, open contoso.com/device and enter WDJB-MJHT Good for 14 min Copy code",
    );
    expect(part<HTMLAnchorElement>("device a").href).toBe(DEVICE.verification_uri);
    expect(load).toHaveBeenCalledExactlyOnceWith(DEVICE.panel);
    expect(part<HTMLImageElement>("qr").src).toBe(PIXEL);
    expect(part<HTMLImageElement>("qr").alt).toBe("QR code of that page");
    vi.advanceTimersByTime(60_000);
    expect(words()).toContain("Good for 13 min");
    button("Copy code")!.click();
    await settle();
    expect(writeText).toHaveBeenCalledExactlyOnceWith("WDJB-MJHT");
    expect(button("Copied")).toBeDefined();
    vi.advanceTimersByTime(800_000);
    expect(words()).toContain("The code is too old.");
    expect(words()).not.toContain("WDJB-MJHT");
    kernel.answers.start = { ...DEVICE, user_code: "NEWW-CODE" };
    button("Get a new code")!.click();
    await settle();
    expect(words()).toContain("NEWW-CODE");
    expect(button("Copied")).toBeUndefined();
  });

  it("shows no QR code for an address that has no code in it", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = DEVICE;
    const { button, part } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Use a phone or another device")!.click();
    await settle();

    expect(part("device")).not.toBeNull();
    expect(part("qr")).toBeNull();
  });

  it.each([
    ["device", "Use a phone or another device", "This code is no longer good", "Get a new code"],
    ["loopback", "Sign in and paste an address", "This sign-in is over", "Begin again"],
  ])("says that another view has begun a newer one, and begins that: %s", async (way, choose, said, again) => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { ...DEVICE, id: "1", authorize_url: "https://contoso.com/a" };
    const { words, button } = await draw(model);
    button("Trouble signing in?")!.click();
    button(choose)!.click();
    await settle();

    model.says({ superseded: "0" });
    expect(words()).not.toContain(said);
    model.says({ superseded: "1" });

    expect(words()).toContain(said);
    expect(words()).not.toContain("WDJB-MJHT");
    kernel.answers.start = { ...DEVICE, id: "2", authorize_url: "https://contoso.com/a" };
    button(again)!.click();
    await settle();
    expect(kernel.sent("start")[1]!.content).toMatchObject({ way });
    expect(words()).not.toContain(said);
  });

  it("says that it did not work on a page that lets no module in", async () => {
    vi.mocked(load).mockRejectedValueOnce(new Error("Content Security Policy"));
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = DEVICE;
    const { words, button } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Use a phone or another device")!.click();
    await settle();

    expect(words()).toContain("That did not work.");
  });

  it.each(["javascript:alert(1)", "data:text/html,x", ""])("links to no address like %j", async (url) => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { ...DEVICE, verification_uri: url };
    const { button, part } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Use a phone or another device")!.click();
    await settle();

    expect(part("device a").hasAttribute("href")).toBe(false);
  });

  it("goes on with a pasted address; a wrong one is said, and can be corrected", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { authorize_url: "https://contoso.com/authorize?state=s", redirect_uri: "http://127.0.0.1:1/cb" };
    kernel.answers.paste = { status: "error", code: "paste_unusable", text: "That is the first address." };
    const { words, button, part, el } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Sign in and paste an address")!.click();
    await settle();
    expect(part<HTMLAnchorElement>("panel a[href*=authorize]").href).toBe("https://contoso.com/authorize?state=s");
    const field = el.querySelector<HTMLInputElement>("form input")!;
    field.value = "  https://contoso.com/authorize?state=s ";
    button("Continue")!.click();
    await settle();

    expect(kernel.sent("paste")[0]!.content).toMatchObject({ text: "https://contoso.com/authorize?state=s" });
    expect(words()).toContain("That is the first address.");
    expect(part("problem").getAttribute("role")).toBe("alert");
    kernel.answers.paste = {};
    field.value = "http://127.0.0.1:1/cb?code=c";
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    await settle();
    expect(kernel.sent("paste")).toHaveLength(2);
    expect(words()).not.toContain("That is the first address.");
    model.change({ status: "signed_in" });
    expect(part("pasted")).toBeNull();
    model.change({ status: "authorizing" });
    button("Trouble signing in?")!.click();
    button("Sign in and paste an address")!.click();
    await settle();
    expect(part<HTMLInputElement>("pasted").value).toBe("");
  });

  it("does not send an empty field", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { authorize_url: "https://contoso.com/a" };
    const { button } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Sign in and paste an address")!.click();
    await settle();
    button("Continue")!.click();
    await settle();

    expect(kernel.sent("paste")).toEqual([]);
  });

  it("goes on in the way that a cell asks for", async () => {
    const [model, kernel] = withKernel();
    kernel.answers.start = DEVICE;
    const { words } = await draw(model);

    model.says({ open: "device" });
    await settle();
    model.change({ status: "authorizing" });

    expect(kernel.sent("start")[0]!.content).toMatchObject({ way: "device" });
    expect(words()).toContain("WDJB-MJHT");
  });

  it("says why another way could not begin", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { status: "error", code: "network", text: "Contoso does not answer." };
    const { button, words } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Use a phone or another device")!.click();
    await settle();

    expect(words()).toContain("Contoso does not answer.");
  });
});

describe("without a route of ours on the server", () => {
  it("says so, says how to install it, and offers another way, but no link", async () => {
    vi.stubGlobal("fetch", answer({}, 404));
    const [model, kernel] = withKernel();
    const { words, button, link } = await draw(model);

    expect(words()).toBe("Contoso pywry-auth-nb does not answer on this Jupyter server. How to install it Sign in another way");
    expect(link).toBeNull();
    button("How to install it")!.click();
    expect(words()).toContain("jupyter server extension enable pywry_auth_nb");
    button("Sign in another way")!.click();
    expect(button("Sign in and paste an address")).toBeDefined();
    expect(kernel.sent("hello")[0]!.content).toEqual({ protocol: 1, flow: "f1", front_end: { server: false, control: true } });
  });

  it("offers no link before the server has answered", async () => {
    vi.stubGlobal("fetch", vi.fn(() => new Promise(() => {})));
    const { link, words } = await draw(new FakeModel());

    expect(link).toBeNull();
    expect(words()).toBe("Contoso Not signed in");
  });

  it("takes the only other way at once", async () => {
    document.getElementById("jupyter-config-data")!.remove();
    const [model, kernel] = withKernel();
    kernel.answers.hello = { ways: [{ name: "device", why: "" }] };
    kernel.answers.start = DEVICE;
    const { words, button } = await draw(model);
    expect(words()).toBe("Contoso Not signed in Sign in");

    button("Sign in")!.click();
    await settle();
    model.change({ status: "authorizing" });

    expect(words()).toContain("WDJB-MJHT");
  });

  it("says that there is no Jupyter server, where nothing can be done without", async () => {
    document.getElementById("jupyter-config-data")!.remove();
    const { words, link } = await draw(new FakeModel());

    expect(words()).toContain("no Jupyter server");
    expect(link).toBeNull();
  });

  it("says that no kernel is waiting", async () => {
    const { words, link } = await draw(new FakeModel({ login_path: "" }));

    expect(words()).toContain("run the cell again");
    expect(link).toBeNull();
  });

  it("can still cancel, by a message to the kernel", async () => {
    document.getElementById("jupyter-config-data")!.remove();
    const model = new FakeModel({ status: "authorizing" });
    model.answers.cancel = {};
    const { button } = await draw(model);

    button("Cancel")!.click();
    await settle();

    expect(model.requests()).toEqual([{ request: "cancel" }]);
  });
});

describe("text from outside", () => {
  it.each([
    ["name", { status: "signed_in", name: NASTY }],
    ["provider", { provider: NASTY }],
    ["asks", { status: "signed_in", asks: NASTY }],
    ["error_text", { error_text: NASTY }],
    ["error_code", { error_code: NASTY }],
    ["error_detail", { error_code: "access_denied", error_detail: NASTY }],
  ])("%s stays text", async (_trait, traits) => {
    const { part, words } = await draw(new FakeModel(traits));

    expect(part("root").querySelector("img[src=x]")).toBeNull();
    expect(words()).toContain(NASTY);
  });

  it("cannot turn the words around it", async () => {
    const model = new FakeModel({ status: "signed_in", name: "\u202Eevil" });
    model.answers.details = { details: { email: "\u202Elive" } };
    const { part } = await draw(model);

    expect(part("name").tagName).toBe("BDI");
    expect(part("line bdi").textContent).toBe("\u202Elive ");
  });
});

describe("clicking the link", () => {
  it("opens a popup that knows nothing of this page, and says what to do if it did not", async () => {
    const { link, words } = await draw(new FakeModel());

    expect(click(link).defaultPrevented).toBe(true);

    expect(open).toHaveBeenCalledExactlyOnceWith(
      `${location.origin}/user/alice/${LOGIN}`,
      "_blank",
      "popup,noopener,width=500,height=700",
    );
    expect(words()).toBe(
      "Contoso A sign-in window should have opened. Nothing there? Open the window Trouble signing in?",
    );
  });

  it("twice within a second opens one popup and no tab", async () => {
    const { link } = await draw(new FakeModel());

    click(link);
    vi.advanceTimersByTime(500);
    expect(click(link).defaultPrevented).toBe(true);

    expect(open).toHaveBeenCalledOnce();
  });

  it("twice within a second opens one popup, also when the first failed at once", async () => {
    const model = new FakeModel();
    const { link } = await draw(model);

    click(link);
    model.change({ error_code: "network" });
    click(link);

    expect(open).toHaveBeenCalledOnce();
  });

  it("as a double click does not cancel what it began", async () => {
    const model = new FakeModel();
    const { link, button } = await draw(model);
    vi.mocked(fetch).mockClear();

    click(link);
    model.change({ status: "authorizing" });
    click(button("Cancel")!, { detail: 2 });
    await settle();

    expect(fetch).not.toHaveBeenCalled();
  });

  it("a second time, later, is left to the browser: nothing blocks a plain link", async () => {
    const { link } = await draw(new FakeModel());

    click(link);
    vi.advanceTimersByTime(1500);

    expect(click(link).defaultPrevented).toBe(false);
    expect(open).toHaveBeenCalledOnce();
  });

  it.each(["ctrlKey", "metaKey", "shiftKey", "altKey"])("with %s is left to the browser", async (key) => {
    const { link, words } = await draw(new FakeModel());

    expect(click(link, { [key]: true }).defaultPrevented).toBe(false);

    expect(open).not.toHaveBeenCalled();
    expect(words()).toContain("Not signed in");
  });

  it("is forgotten when the kernel reports news", async () => {
    const model = new FakeModel();
    const { link, words } = await draw(model);

    click(link);
    model.change({ error_code: "flow_timeout", error_text: "Too late." });

    expect(words()).toContain("Not signed in Sign in again Too late.");
  });

  it("changes this view only", async () => {
    const model = new FakeModel();
    const one = await draw(model);
    const two = await draw(model);

    click(one.link);
    expect(two.words()).toContain("Not signed in");

    model.change(ADA);
    expect(one.words()).toBe(two.words());
  });
});

describe("copying the link", () => {
  const helped = async (model: FakeModel) => {
    const view = await draw(model);
    view.button("Trouble signing in?")!.click();
    return view;
  };

  it("copies the whole address and says so", async () => {
    const { button, live } = await helped(new FakeModel({ status: "authorizing" }));

    button("Copy the sign-in link")!.click();
    await settle();

    expect(writeText).toHaveBeenCalledExactlyOnceWith(`${location.origin}/user/alice/${LOGIN}`);
    expect(button("Copied")).toBeDefined();
    expect(live.textContent).toBe("Copied.");
  });

  it.each([
    ["is missing", () => vi.stubGlobal("navigator", {})],
    ["refuses", () => void writeText.mockRejectedValue(new Error("denied"))],
  ])("shows the address, selected, when the clipboard %s", async (_case, arrange) => {
    arrange();
    const { button, part } = await helped(new FakeModel({ status: "authorizing" }));

    button("Copy the sign-in link")!.click();
    await settle();

    const field = part<HTMLInputElement>("field[aria-label='Sign-in link']");
    expect(field.readOnly).toBe(true);
    expect(document.activeElement).toBe(field);
    expect(field.value.slice(field.selectionStart!, field.selectionEnd!)).toBe(`${location.origin}/user/alice/${LOGIN}`);
  });
});

describe("cancel and sign out", () => {
  const ready = async (model: FakeModel) => {
    const view = await draw(model);
    if (model.get("status") !== "authorizing") view.part("more").click();
    vi.mocked(fetch).mockClear();
    return view;
  };

  it.each([
    ["Cancel", "cancel", "authorizing"],
    ["Sign out", "logout", "signed_in"],
  ])("%s asks the server, once", async (label, action, status) => {
    const model = new FakeModel({ status });
    const { button } = await ready(model);

    button(label)!.click();
    expect(button(label)!.getAttribute("aria-disabled")).toBe("true");
    button(label)!.click();
    await settle();

    expect(fetch).toHaveBeenCalledOnce();
    expect(vi.mocked(fetch).mock.calls[0]![0]).toBe(`/user/alice/pywry-auth/${action}?kernel=k1&flow=f1`);
    expect(model.requests()).toEqual([]);
    expect(button(label)!.getAttribute("aria-disabled")).toBe("false");
  });

  it("ask the kernel when the server does not do it, and say what that means", async () => {
    vi.stubGlobal("fetch", answer({ error: "no_kernel", message: "" }));
    const model = new FakeModel(ADA);
    const { button, words, live } = await ready(model);

    button("Sign out")!.click();
    await vi.advanceTimersByTimeAsync(1100);

    expect(model.requests()).toEqual([{ request: "logout" }]);
    expect(words()).toContain("can answer when no cell is running");
    expect(live.textContent).toContain("can answer when no cell is running");
    model.change({ status: "signed_out", name: "" });
    expect(words()).toBe("Contoso Not signed in Sign in");
  });

  it("say nothing of what is over by now", async () => {
    vi.stubGlobal("fetch", answer({}, 502));
    const model = new FakeModel({ status: "authorizing" });
    model.answers.cancel = { status: "error", code: "no_session" };
    const { button, words } = await ready(model);

    button("Cancel")!.click();
    model.change(ADA);
    await settle();

    expect(words()).toBe("Signed in as Ada Contoso renews by itself \u22ef");
  });

  it("say that the kernel was restarted, although it is asked as well", async () => {
    vi.stubGlobal("fetch", answer({ error: "kernel_gone", message: "" }, 404));
    vi.mocked(fetch).mockResolvedValueOnce(new Response("{}"));
    const model = new FakeModel(ADA);
    const view = await draw(model);
    view.part("more").click();

    view.button("Sign out")!.click();
    await vi.advanceTimersByTimeAsync(3_000);

    expect(model.requests()).toHaveLength(1); // the server may not know a kernel that lives
    expect(view.words()).toContain("been restarted: run the cell again");
  });

  it("say that nothing could be reached", async () => {
    vi.stubGlobal("fetch", answer({}, 502));
    const model = new FakeModel({ status: "signed_in" });
    model.send.mockImplementation(() => {
      throw new Error("comm is closed");
    });
    const { button, words } = await ready(model);

    button("Sign out")!.click();
    await settle();

    expect(words()).toContain("could be reached");
    expect(button("Sign out")!.getAttribute("aria-disabled")).toBe("false");
  });
});

describe("the screen reader's region", () => {
  it("says states, not the first one and not the minutes", async () => {
    const model = new FakeModel();
    const { live } = await draw(model);
    expect(live.textContent).toBe("");
    expect(live.getAttribute("aria-live")).toBe("polite");

    model.change({ ...ADA, renews: false, expires_at: 600 });
    expect(live.textContent).toBe("Signed in as Ada.");
    vi.advanceTimersByTime(300_000);
    expect(live.textContent).toMatch(/^Your sign-in ends at /);

    const changes = new MutationObserver(() => {});
    changes.observe(live, { childList: true, characterData: true, subtree: true });
    vi.advanceTimersByTime(200_000);
    model.change({ status: "refreshing" });
    expect(changes.takeRecords()).toEqual([]);
  });
});

describe("the keyboard's focus", () => {
  it("stays on the link while signing in begins", async () => {
    const model = new FakeModel();
    const { link } = await draw(model);
    link.focus();

    click(link);
    expect(document.activeElement).toBe(link);
    model.change({ status: "authorizing" });

    expect(document.activeElement).toBe(link);
  });

  it.each(["link", "cancel"])("moves from the %s to the words after a sign-in, not to a button", async (from) => {
    const model = new FakeModel({ status: "authorizing" });
    const { link, part, button } = await draw(model);
    (from === "link" ? link : button("Cancel")!).focus();

    model.change(ADA);

    expect(document.activeElement).toBe(part("state"));
    expect(part("state").textContent).toContain("Signed in as Ada");
  });

  it("moves to the words when signing out is done", async () => {
    const model = new FakeModel(ADA);
    const { part, button } = await draw(model);
    part("more").click();
    button("Sign out")!.focus();

    model.change({ status: "signed_out", name: "" });

    expect(document.activeElement).toBe(part("state"));
  });

  it("does not stop at the words on its way through the page", async () => {
    expect((await draw(new FakeModel())).part("state").tabIndex).toBe(-1);
  });

  it("is left alone when it is elsewhere", async () => {
    const elsewhere = document.body.appendChild(document.createElement("button"));
    const model = new FakeModel({ status: "authorizing" });
    await draw(model);
    elsewhere.focus();

    model.change({ status: "signed_in" });

    expect(document.activeElement).toBe(elsewhere);
  });

  it("stays in a field that the kernel's news leave there, with what was typed", async () => {
    const [model, kernel] = withKernel({ status: "authorizing" });
    kernel.answers.start = { authorize_url: "https://contoso.com/a" };
    const { el, button } = await draw(model);
    button("Trouble signing in?")!.click();
    button("Sign in and paste an address")!.click();
    await settle();
    const field = el.querySelector<HTMLInputElement>("form input")!;
    field.focus();
    field.value = "http://127.0.0.1";

    model.says({ details: { email: "ada@contoso.com" } });

    expect(document.activeElement).toBe(field);
    expect(field.value).toBe("http://127.0.0.1");
  });

  it("works in a shadow tree", async () => {
    const model = new FakeModel({ status: "authorizing" });
    const { el, button, part } = await draw(model);
    const shadow = document.body.appendChild(document.createElement("div")).attachShadow({ mode: "open" });
    shadow.append(el);
    button("Cancel")!.focus();

    model.change({ status: "signed_in" });

    expect(shadow.activeElement).toBe(part("state"));
  });

  it("keeps the notebook's one-key shortcuts out of the whole widget", async () => {
    expect((await draw(new FakeModel())).part("root").hasAttribute("data-lm-suppress-shortcuts")).toBe(true);
  });
});

describe("the model", () => {
  it("is never written, whatever is shown", async () => {
    const [model, kernel] = withKernel();
    kernel.answers.start = DEVICE;
    const { link, button, part } = await draw(model);

    click(link);
    model.change({ status: "authorizing" });
    button("Trouble signing in?")!.click();
    button("Use a phone or another device")!.click();
    await settle();
    button("Cancel")!.click();
    await settle();
    model.change({ ...ADA, expires_at: 100 });
    vi.advanceTimersByTime(120_000);
    part("more").click();
    button("Sign out")!.click();
    await settle();

    expect(model.set).not.toHaveBeenCalled();
    expect(model.save_changes).not.toHaveBeenCalled();
    expect(model.send).not.toHaveBeenCalled();
  });

  it("may lack traits", async () => {
    const model = new FakeModel();
    model.get = () => undefined;

    expect((await draw(model)).words()).toContain("Not signed in");
  });
});

describe("removing a view", () => {
  it("leaves no timer, no listener and no element", async () => {
    const model = new FakeModel({ status: "signed_in", renews: false, expires_at: 60 });
    const { remove, el } = await draw(model);
    expect(vi.getTimerCount()).toBe(1);
    expect(model.listenerCount()).toBeGreaterThan(0);

    remove();

    expect(vi.getTimerCount()).toBe(0);
    expect(model.listenerCount()).toBe(0);
    expect(el.childElementCount).toBe(0);
  });

  it("at once leaves nothing either", async () => {
    const model = new FakeModel();
    const { remove, el } = drawNow(model);

    remove();
    await settle();

    expect(model.send).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
    expect(el.childElementCount).toBe(0);
  });

  it("stops a pending request without asking the kernel", async () => {
    const model = new FakeModel({ status: "authorizing" });
    const { remove, button } = await draw(model);
    vi.stubGlobal("fetch", (_url: string, init: RequestInit) => {
      return new Promise((_resolve, reject) => init.signal!.addEventListener("abort", () => reject(new Error("gone"))));
    });

    button("Cancel")!.click();
    await settle();
    remove();
    await settle();

    expect(model.requests()).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each(["resolves", "rejects"])("before a copy %s starts nothing new", async (how) => {
    if (how === "rejects") writeText.mockRejectedValue(new Error("denied"));
    const { remove, button } = await draw(new FakeModel({ status: "authorizing" }));
    button("Trouble signing in?")!.click();

    button("Copy the sign-in link")!.click();
    remove();
    await settle();

    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves the other views at work", async () => {
    const model = new FakeModel();
    const one = await draw(model);
    const two = await draw(model);

    one.remove();
    model.change(ADA);

    expect(two.words()).toContain("Signed in as Ada");
  });
});

function click(target: HTMLElement, init: MouseEventInit = {}): MouseEvent {
  const event = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1, ...init });
  target.dispatchEvent(event);
  return event;
}
