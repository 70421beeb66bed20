import { type End, endAt, inWords } from "./time";

/** The traits the kernel syncs. None of them is secret; all text is plain text. */
export interface LoginTraits {
  status: string;
  provider: string;
  name: string;
  expires_at: number | null;
  /** The kernel renews the token by itself. */
  renews: boolean;
  /** It cannot just now, though the sign-in has not ended. */
  stuck: boolean;
  /** What a cell asks of a user who is signed in, "" for nothing. */
  asks: string;
  error_code: string;
  error_text: string;
  error_detail: string;
  login_path: string;
  account_path: string;
}

/** What the kernel tells by message only, so that no notebook file holds it. */
export interface Details {
  email: string;
  /** A data URI, or "". */
  avatar: string;
  scopes: string[];
  store: string;
  /** The sign-in was made in another kernel. */
  elsewhere: boolean;
  /** Where the provider sends the browser in the sign-in that is open, "" for none. */
  redirect_uri: string;
}

export const NO_DETAILS: Details = { email: "", avatar: "", scopes: [], store: "", elsewhere: false, redirect_uri: "" };

/** A way to sign in; `why` says why it cannot be had, "" if it can. */
export interface Way {
  name: string;
  why: string;
}

/** What was begun besides the server's own way. It lives in this page only. */
export type Begun =
  | { kind: "device"; code: string; url: string; complete: string; expiresAt: number; qr: Qr | null }
  | { kind: "loopback"; url: string; error: string };

/** A QR code as an SVG path in a square of `size` modules. */
export interface Qr {
  path: string;
  size: number;
}

/** What only this view knows. */
export interface LocalState {
  /** The sign-in link was clicked here. */
  opened: boolean;
  /** The name of the request that is on its way, "" for none. */
  pending: string;
  /** One sentence about the last click, "" for none. */
  note: string;
  /** Since when this view shows that a sign-in is open (epoch milliseconds), or 0. */
  since: number;
  more: boolean;
  help: boolean;
  begun: Begun | null;
}

export const QUIET: LocalState = { opened: false, pending: "", note: "", since: 0, more: false, help: false, begun: null };

/** How this page reaches a sign-in. */
export interface Site {
  /** Our routes on the server, "" where the server lacks them. */
  login: string;
  account: string;
  /** The page has a Jupyter server. */
  server: boolean;
  /** The server has our routes; undefined until that is known. */
  routes: boolean | undefined;
  /** The ways without the server, or undefined until the kernel has said so. */
  ways: Way[] | undefined;
}

/** One drawing of the widget, as plain data. */
export interface Face {
  tone: "off" | "busy" | "on" | "warn" | "ended";
  /** The words around the title; the first are for those who do not see the picture. */
  before: string;
  title: string;
  after: string;
  person: boolean;
  avatar: string;
  line: string[];
  spoken: string;
  error: string;
  errorCode: string;
  errorDetail: string;
  note: string;
  link: LinkFace | null;
  /** The button for a sign-in without the server, "" for none. */
  other: string;
  install: boolean;
  trouble: boolean;
  help: HelpFace | null;
  /** The address that must be registered at the provider, "" to say nothing of it. */
  register: string;
  begun: Begun | null;
  /** How long the device's code is good. */
  codeLeft: string;
  cancel: boolean;
  retry: boolean;
  more: boolean;
  facts: [string, string][] | null;
  /** Where another account can be chosen, "" for nowhere. */
  account: string;
  pending: string;
  /** Milliseconds until this drawing is out of date, or null. */
  nextMs: number | null;
}

/** The sign-in link: the main thing to do (`primary`), a button beside it, or a second chance below the words. */
export interface LinkFace {
  href: string;
  label: string;
  /** For those who hear the link alone. */
  at: string;
  place: "primary" | "button" | "text";
}

export interface HelpFace {
  ways: Way[];
  copy: boolean;
}

export const INSTALL =
  "Install pywry-auth-nb where Jupyter itself runs (pip install pywry-auth-nb), restart Jupyter, and reload this page.";
const NO_SERVER =
  "This page has no Jupyter server, and the sign-in link needs one: open the notebook in JupyterLab or Jupyter Notebook.";
const NO_KERNEL = "No kernel is waiting for this sign-in: run the cell again.";
const RENEWABLE = "To let a sign-in renew by itself, add the scope offline_access.";
const ERROR_PAGE_MS = 20_000;

/** The face of one state. An unknown status looks signed out, so that a newer kernel cannot break the page. */
export function faceOf(traits: LoginTraits, details: Details, local: LocalState, site: Site, now: number): Face {
  const base = frame(traits, details, local);
  switch (traits.status) {
    case "authorizing":
      return { ...base, ...authorizing(traits, details, local, site, now) };
    case "signed_in":
    case "refreshing":
      if (traits.asks) return { ...base, ...asked(traits, local, site) };
      return { ...base, ...signedIn(traits, details, local, site, now) };
    default:
      if (local.opened) return { ...base, ...opened(traits, local, site) };
      return { ...base, ...signedOut(traits, local, site) };
  }
}

function frame(traits: LoginTraits, details: Details, local: LocalState): Face {
  // A sign-in that the user gave up must not be shown as a failure.
  const failed = (traits.error_code !== "" || traits.error_text !== "") && traits.error_code !== "flow_cancelled";
  return {
    tone: "off",
    before: "",
    title: traits.name || traits.provider || "Sign-in",
    after: "",
    person: traits.name !== "",
    avatar: traits.name ? details.avatar : "",
    line: [],
    spoken: "",
    error: failed ? traits.error_text || "Something went wrong while signing in." : "",
    errorCode: failed ? traits.error_code : "",
    errorDetail: failed && traits.error_detail ? `The provider says: ${traits.error_detail}` : "",
    note: local.note,
    link: null,
    other: "",
    install: false,
    trouble: false,
    help: null,
    register: "",
    begun: null,
    codeLeft: "",
    cancel: false,
    retry: false,
    more: false,
    facts: null,
    account: "",
    pending: local.pending,
    nextMs: null,
  };
}

function signedOut(traits: LoginTraits, local: LocalState, site: Site): Partial<Face> {
  const ended = traits.status === "reauth_required";
  const text = ended ? `Your sign-in${at(traits.provider)} has ended.` : "Not signed in";
  const verb = ended || (traits.error_code && traits.error_code !== "flow_cancelled") ? "Sign in again" : "Sign in";
  const face: Partial<Face> = {
    tone: ended ? "ended" : "off",
    line: [text],
    spoken: text,
    person: ended && traits.name !== "",
  };
  if (!ended) face.title = traits.provider || "Sign-in";
  if (site.routes === undefined) return face;
  if (site.login && site.routes) return { ...face, link: linkTo(site, verb, "primary", traits) };
  return { ...face, ...withoutServer(verb, local, site, face) };
}

/** Where the server has no route of ours: what to install, and the ways that work without it. */
function withoutServer(verb: string, local: LocalState, site: Site, face: Partial<Face>): Partial<Face> {
  const ways = others(site).filter((way) => !way.why);
  const lacks = site.server && site.routes === false;
  const other = ways.length ? (lacks ? "Sign in another way" : verb) : "";
  const missing = lacks ? "" : site.server ? NO_KERNEL : NO_SERVER;
  return {
    other,
    install: lacks,
    line: lacks ? [...(face.line ?? []), "this Jupyter server has no pywry-auth-nb"] : face.line,
    note: local.note || (other || site.ways === undefined ? "" : missing),
    help: local.help ? { ways: others(site), copy: false } : null,
  };
}

// With noopener the page cannot tell whether the window was blocked, so the words fit both cases.
function opened(traits: LoginTraits, local: LocalState, site: Site): Partial<Face> {
  const text = "A sign-in window should have opened. Nothing there?";
  return {
    line: [text],
    spoken: text,
    error: "",
    link: linkTo(site, "Open the window", "text", traits),
    ...helping(local, site),
  };
}

function authorizing(traits: LoginTraits, details: Details, local: LocalState, site: Site, now: number): Partial<Face> {
  const begun = local.begun;
  const since = now - local.since;
  const waiting = !begun && since < ERROR_PAGE_MS;
  const minutes = begun?.kind === "device" ? Math.max(0, Math.ceil((begun.expiresAt - now) / 60_000)) : 0;
  return {
    tone: "busy",
    before: traits.provider ? "Signing in at" : "Signing in",
    title: traits.provider,
    after: "\u2026",
    person: false,
    avatar: "",
    spoken: "Signing in.",
    error: "",
    link: begun ? null : linkTo(site, "Open the window again", "text", traits),
    cancel: true,
    begun,
    codeLeft: minutes ? `Good for ${inWords(minutes)}` : "The code is too old: cancel, and begin again.",
    register: begun || waiting ? "" : details.redirect_uri,
    nextMs: begun ? (minutes ? 15_000 : null) : waiting ? ERROR_PAGE_MS - since : null,
    ...helping(local, site),
  };
}

function helping(local: LocalState, site: Site): Partial<Face> {
  const help = { ways: others(site), copy: hrefOf(site) !== "" };
  return { trouble: help.copy || help.ways.length > 0, help: local.help ? help : null };
}

function signedIn(traits: LoginTraits, details: Details, local: LocalState, site: Site, now: number): Partial<Face> {
  const end = endAt(traits.expires_at, now);
  const face: Partial<Face> = {
    tone: "on",
    before: traits.name ? "Signed in as" : "",
    title: traits.name || "Signed in",
    line: [details.email === traits.name ? "" : details.email, traits.provider, renewal(traits, end)].filter(Boolean),
    // The same while it is renewed in the background: that is not worth an interruption.
    spoken: traits.name ? `Signed in as ${traits.name}.` : "Signed in.",
    more: true,
    facts: local.more ? facts(traits, details, end) : null,
    account: local.more && site.routes ? site.account : "",
    nextMs: end && (!traits.renews || traits.stuck) ? end.nextMs : null,
  };
  if (traits.stuck) return { ...face, ...stuck(traits, end, site) };
  if (end?.soon && !traits.renews) return { ...face, ...ending(traits, details, local, end, site) };
  return face;
}

function stuck(traits: LoginTraits, end: End | null, site: Site): Partial<Face> {
  const until = !end ? "" : end.over ? ` It ended at ${end.at}.` : ` Good until ${end.at}.`;
  const text = `Cannot be renewed now.${until}`;
  return {
    tone: "warn",
    line: [text],
    spoken: text,
    retry: true,
    link: site.routes ? linkTo(site, "Sign in again", "text", traits) : null,
  };
}

function ending(traits: LoginTraits, details: Details, local: LocalState, end: End, site: Site): Partial<Face> {
  const advise = details.scopes.includes("openid") && !details.scopes.includes("offline_access");
  return {
    tone: "warn",
    line: [end.over ? `Ended at ${end.at}` : `Ends at ${end.at} (${end.left}), then sign in again`],
    spoken: `Your sign-in ends at ${end.at}.`,
    note: local.note || (advise ? RENEWABLE : ""),
    link: site.routes ? linkTo(site, "Sign in again", "button", traits) : null,
  };
}

function renewal(traits: LoginTraits, end: End | null): string {
  if (traits.renews) return "renews by itself";
  return end ? `ends at ${end.at}` : "";
}

function facts(traits: LoginTraits, details: Details, end: End | null): [string, string][] {
  const token = [end ? `${end.over ? "ended at" : "good until"} ${end.at}` : "", traits.renews ? "renews by itself" : ""];
  const all: [string, string][] = [
    ["Account", details.email],
    ["Provider", traits.provider],
    ["Scopes", details.scopes.join(" ")],
    ["Token", token.filter(Boolean).join(", ")],
    ["Kept in", details.store],
    ["Signed in", details.elsewhere ? "in another notebook, or earlier" : ""],
  ];
  return all.filter(([, value]) => value);
}

// A cell waits for a user who is signed in: to allow more, or to sign in again.
function asked(traits: LoginTraits, local: LocalState, site: Site): Partial<Face> {
  const link = site.routes ? linkTo(site, "Continue", local.opened ? "button" : "primary", traits) : null;
  return {
    tone: "on",
    line: [traits.asks],
    spoken: traits.asks,
    link,
    other: !link && others(site).some((way) => !way.why) ? "Continue" : "",
    cancel: true,
    ...helping(local, site),
    trouble: local.opened,
  };
}

function linkTo(site: Site, label: string, place: LinkFace["place"], traits: LoginTraits): LinkFace | null {
  const href = hrefOf(site);
  return href ? { href, label, at: at(traits.provider), place } : null;
}

function hrefOf(site: Site): string {
  return site.routes ? site.login : "";
}

function others(site: Site): Way[] {
  return (site.ways ?? []).filter((way) => way.name !== "server");
}

function at(provider: string): string {
  return provider ? ` at ${provider}` : "";
}
