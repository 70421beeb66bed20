// src/elements.ts
var Elements = class {
  constructor() {
    this.root = make("div", "root", { role: "group", "aria-label": "Sign-in" });
    this.link = make("a", "link", { target: "_blank", rel: "noopener" });
    this.copy = make("button", "copy", { type: "button" });
    this.cancel = make("button", "button", { type: "button" });
    this.logout = make("button", "button", { type: "button" });
    this.alert = make("div", "error", { role: "alert", dir: "auto" });
    this.errorText = make("span", "error-text");
    this.errorCode = make("code", "error-code");
    this.status = make("span", "state", { tabindex: "-1" });
    this.text = make("span", "text");
    this.name = make("bdi", "name");
    this.time = make("span", "time");
    this.linkLabel = make("span", "label");
    this.linkProvider = make("bdi", "provider");
    this.note = make("div", "note");
    this.field = make("input", "field", { type: "text", readonly: "", "aria-label": "Sign-in link" });
    this.live = make("div", "live", { "aria-live": "polite" });
    this.cancel.textContent = "Cancel";
    this.logout.textContent = "Sign out";
    this.field.setAttribute("data-lm-suppress-shortcuts", "true");
    this.alert.append(this.errorText, " ", this.errorCode);
    this.link.append(this.linkLabel, " ", this.linkProvider);
    this.status.append(make("span", "dot", { "aria-hidden": "true" }), this.text, " ", this.name);
    const row = make("div", "row");
    row.append(this.status, this.time, this.link, this.copy, this.cancel, this.logout);
    this.field.hidden = true;
    this.root.append(this.alert, row, this.note, this.field, this.live);
  }
  draw(face) {
    const hadFocus = this.root.contains(this.focused());
    this.root.dataset.tone = face.tone;
    show(this.text, face.text);
    show(this.name, face.name);
    this.name.title = face.name;
    this.drawError(face);
    this.drawLink(face.link);
    show(this.copy, face.copy);
    show(this.note, face.note);
    this.drawAction(this.cancel, face.action === "cancel", face.pending);
    this.drawAction(this.logout, face.action === "logout", face.pending);
    if (hadFocus) this.keepFocus();
  }
  showTime(text) {
    show(this.time, text);
  }
  /** For screen readers only. Never the countdown: it would talk all day. */
  announce(text) {
    setText(this.live, text);
  }
  /** A text field with the link, selected, for browsers that do not let a page copy. */
  offerField(url) {
    this.field.value = url;
    this.field.hidden = false;
    this.field.focus();
    this.field.select();
  }
  hideField() {
    this.field.hidden = true;
  }
  drawError(face) {
    setText(this.errorText, face.error);
    show(this.errorCode, face.errorCode);
    this.alert.hidden = face.error === "";
  }
  drawLink(link) {
    this.link.hidden = link === null;
    if (link === null) return this.link.removeAttribute("href");
    this.link.href = link.href;
    this.link.classList.toggle("pywry-auth-primary", link.primary);
    show(this.linkLabel, link.label);
    show(this.linkProvider, link.provider);
    this.linkProvider.title = link.provider;
  }
  // Not `disabled`: that would throw the keyboard's focus out of the widget.
  drawAction(button, shown, pending) {
    button.hidden = !shown;
    button.setAttribute("aria-disabled", String(pending));
  }
  // Some front ends draw widgets in a shadow tree, where document.activeElement is only its host.
  focused() {
    return this.root.getRootNode().activeElement ?? null;
  }
  // To the words, not to a button: Space or Enter, meant for the notebook, would sign out.
  keepFocus() {
    const focused = this.focused();
    if (this.root.contains(focused) && !focused.hidden) return;
    this.status.focus();
  }
};
function make(tag, name, attributes = {}) {
  const element = document.createElement(tag);
  element.className = `pywry-auth-${name}`;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
function show(element, text) {
  setText(element, text);
  element.hidden = text === "";
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// src/server.ts
var TIMEOUT_MS = 15e3;
var LOGIN_PATH = /^pywry-auth\/login\?/;
var NO_SERVER = "This page has no Jupyter server, and the sign-in link needs one: open the notebook in JupyterLab or Jupyter Notebook.";
var GONE = ["kernel_gone", "no_session"];
var NO_KERNEL = "No kernel is waiting for this sign-in: run the cell again.";
function baseUrl() {
  const config = document.getElementById("jupyter-config-data")?.textContent;
  if (!config) return null;
  try {
    const base = JSON.parse(config).baseUrl;
    return typeof base === "string" && base ? withSlash(base) : null;
  } catch {
    return null;
  }
}
function loginRoute(loginPath) {
  const base = baseUrl();
  if (base === null) {
    return { href: null, missing: NO_SERVER };
  }
  if (!LOGIN_PATH.test(loginPath)) {
    return { href: null, missing: NO_KERNEL };
  }
  return { href: base + loginPath, missing: "" };
}
async function post(action, loginPath, signal) {
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
      signal: limit.signal
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
function withSlash(base) {
  return base.endsWith("/") ? base : `${base}/`;
}
function xsrfHeader() {
  const token = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  return token ? { "X-XSRFToken": token } : {};
}
function deadline(signal) {
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
    }
  };
}

// src/state.ts
function faceOf(traits, local, route) {
  const base = { ...frame(traits), note: local.note, pending: local.pending };
  switch (traits.status) {
    case "authorizing":
      return { ...base, ...authorizing(route) };
    case "signed_in":
    case "refreshing":
      return { ...base, ...signedIn(traits) };
    default:
      return { ...base, ...local.opened ? opened(route) : signedOut(traits, local, route) };
  }
}
function frame(traits) {
  const failed = traits.error_code !== "" || traits.error_text !== "";
  return {
    name: "",
    error: traits.error_text || (failed ? "Something went wrong while signing in." : ""),
    errorCode: traits.error_code,
    copy: "",
    action: null,
    counting: false
  };
}
function signedOut(traits, local, route) {
  const ended = traits.status === "reauth_required";
  const text = ended ? "Your sign-in has ended." : "Not signed in.";
  const verb = ended || traits.error_code || traits.error_text ? "Sign in again" : "Sign in";
  return {
    tone: ended ? "ended" : "off",
    text,
    spoken: text,
    note: local.note || route.missing,
    link: linkTo(route, traits.provider ? `${verb} at` : verb, traits.provider, true)
  };
}
function opened(route) {
  const text = "A sign-in window should have opened. Nothing there?";
  return {
    tone: "off",
    text,
    spoken: text,
    link: linkTo(route, "Open the link", "", false),
    copy: "Copy the link"
  };
}
function authorizing(route) {
  return {
    tone: "busy",
    text: "Signing in\u2026",
    spoken: "Signing in.",
    link: linkTo(route, "Open again", "", false),
    copy: route.href ? "Copy link" : "",
    action: "cancel"
  };
}
function signedIn(traits) {
  return {
    tone: traits.status === "refreshing" ? "busy" : "on",
    text: traits.name ? "Signed in as" : "Signed in.",
    name: traits.name,
    // The same for both states: a refresh in the background is not worth an interruption.
    spoken: traits.name ? `Signed in as ${traits.name}.` : "Signed in.",
    link: null,
    action: "logout",
    counting: true
  };
}
function linkTo(route, label, provider, primary) {
  return route.href === null ? null : { href: route.href, label, provider, primary };
}

// src/time.ts
function timeLeft(expiresAt, nowMs) {
  if (expiresAt === null || !Number.isFinite(expiresAt)) return { text: "", nextMs: null };
  const left = expiresAt - nowMs / 1e3;
  if (left <= 0) return { text: "renews when used", nextMs: null };
  if (left < 120) return { text: `${Math.ceil(left)} s left`, nextMs: 1e3 };
  return { text: `${inWords(Math.floor(left / 60))} left`, nextMs: Math.min(2e4, Math.max(1e3, (left - 119) * 1e3)) };
}
function inWords(minutes) {
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}
var Countdown = class {
  constructor(show2) {
    this.show = show2;
  }
  start(expiresAt) {
    this.stop();
    const { text, nextMs } = timeLeft(expiresAt, Date.now());
    this.show(text);
    if (nextMs !== null) this.timer = setTimeout(() => this.start(expiresAt), nextMs);
  }
  stop() {
    clearTimeout(this.timer);
  }
};

// src/widget.ts
var TRAITS = ["status", "provider", "name", "expires_at", "error_code", "error_text", "login_path"];
var DOUBLE_CLICK_MS = 1e3;
var COPIED_MS = 2e3;
var KERNEL_GONE = "The kernel that showed this may have stopped or been restarted: run the cell again.";
var QUIET = { opened: false, pending: false, note: "" };
function render({ model, el }) {
  const view = new LoginView(model, el);
  return () => view.remove();
}
var LoginView = class {
  constructor(model, el) {
    this.model = model;
    this.elements = new Elements();
    this.countdown = new Countdown((text) => this.elements.showTime(text));
    this.life = new AbortController();
    this.local = QUIET;
    this.openedAt = -Infinity;
    this.onChange = () => {
      const before = this.traits;
      this.traits = readTraits(this.model);
      if (isNews(before, this.traits)) this.forget();
      this.draw();
    };
    this.traits = readTraits(model);
    this.shown = this.face();
    this.listen();
    this.draw();
    el.append(this.elements.root);
  }
  remove() {
    this.life.abort();
    this.countdown.stop();
    clearTimeout(this.copied);
    for (const trait of TRAITS) this.model.off(`change:${trait}`, this.onChange);
    this.elements.root.remove();
  }
  listen() {
    for (const trait of TRAITS) this.model.on(`change:${trait}`, this.onChange);
    const { link, copy, cancel, logout } = this.elements;
    this.onClick(link, (event) => this.open(event));
    this.onClick(copy, () => this.copyLink());
    this.onClick(cancel, () => this.ask("cancel"));
    this.onClick(logout, () => this.ask("logout"));
  }
  onClick(control, handle) {
    const onClick = (event) => {
      if (event.detail > 1) event.preventDefault();
      else handle(event);
    };
    control.addEventListener("click", onClick, { signal: this.life.signal });
  }
  forget() {
    this.local = { ...QUIET, pending: this.local.pending };
    this.elements.hideField();
  }
  update(change) {
    if (this.life.signal.aborted) return;
    this.local = { ...this.local, ...change };
    this.draw();
  }
  face() {
    return faceOf(this.traits, this.local, loginRoute(this.traits.login_path));
  }
  draw() {
    const face = this.face();
    clearTimeout(this.copied);
    this.elements.draw(face);
    this.countdown.start(face.counting ? this.traits.expires_at : null);
    this.speak(face);
  }
  /** Only what is new: a state or a note. */
  speak(face) {
    const news = ["spoken", "note"].filter((part) => face[part] !== this.shown[part] && face[part]);
    if (news.length) this.elements.announce(news.map((part) => face[part]).join(" "));
    this.shown = face;
  }
  open(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const { link } = this.elements;
    const again = performance.now() - this.openedAt < DOUBLE_CLICK_MS;
    const popup = link.classList.contains("pywry-auth-primary");
    if (again || popup) event.preventDefault();
    if (again) return;
    this.openedAt = performance.now();
    if (popup) window.open(link.href, "_blank", "popup,noopener,width=500,height=700");
    this.update({ opened: true });
  }
  async copyLink() {
    const url = this.elements.link.href;
    try {
      await navigator.clipboard.writeText(url);
    } catch {
      if (!this.life.signal.aborted) this.elements.offerField(url);
      return this.update({ note: "Copy this link and open it in this browser:" });
    }
    this.showCopied();
  }
  showCopied() {
    if (this.life.signal.aborted) return;
    this.elements.copy.textContent = "Copied";
    this.elements.announce("Link copied.");
    clearTimeout(this.copied);
    this.copied = setTimeout(() => this.uncopy(), COPIED_MS);
  }
  uncopy() {
    this.elements.announce("");
    this.draw();
  }
  /** Over HTTP, which works while a cell is running; else by a widget message, which has to wait for the cell. */
  async ask(action) {
    if (this.local.pending) return;
    this.update({ pending: true, note: "" });
    const outcome = await post(action, this.traits.login_path, this.life.signal);
    if (this.life.signal.aborted) return;
    const moot = outcome === "done" || this.shown.action !== action;
    const note = moot ? "" : this.send(action);
    this.update({ pending: false, note: outcome === "gone" && note ? KERNEL_GONE : note });
  }
  send(action) {
    try {
      this.model.send({ action });
      return "The kernel was asked, and can answer when no cell is running.";
    } catch {
      return "Neither the Jupyter server nor the kernel could be reached. Is the kernel still running?";
    }
  }
};
function isNews(before, now) {
  return ["status", "error_code", "error_text", "login_path"].some((trait) => before[trait] !== now[trait]);
}
function readTraits(model) {
  const text = (trait) => String(model.get(trait) ?? "");
  return {
    status: text("status"),
    provider: text("provider"),
    name: text("name"),
    expires_at: model.get("expires_at") ?? null,
    error_code: text("error_code"),
    error_text: text("error_text"),
    login_path: text("login_path")
  };
}
var widget_default = { render };
export {
  widget_default as default
};
