import type { Make } from "./dom";
import { type End, endAt, inWords } from "./time";
import type { Actions } from "./view";

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

/** What the kernel tells by message only, so that no notebook file holds it. It is empty until then. */
export interface Details {
  email?: string;
  /** A data URI, or "". */
  avatar?: string;
  scopes?: string[];
  store?: string;
  /** How the sign-in could renew by itself, "" if there is nothing to say. */
  advice?: string;
  /** The sign-in was made in another kernel, or in an earlier one. */
  elsewhere?: boolean;
  /** Where the provider sends the browser in the sign-in that is open, "" for none. */
  redirect_uri?: string;
}

/** A way to sign in; `why` says why it cannot be had, "" if it can. */
export interface Way {
  name: string;
  why: string;
}

/** What was begun besides the server's own way. It lives in this page only. */
export interface Begun {
  way: string;
  /** The kernel's number of it. */
  id: string;
  /** Where to sign in, or to enter the code. */
  url: string;
  code: string;
  /** The picture of an address with the code: a data URI, or "". */
  qr: string;
  /** Epoch milliseconds. */
  expiresAt: number;
  /** Another view has begun the same way anew. */
  superseded: boolean;
  /** Why what was pasted cannot be used, or "". */
  problem: string;
  /** Its panel, which came with the kernel's answer. */
  draw: (make: Make, face: Face, actions: Actions) => HTMLElement;
}

/** What only this view knows. What is left out is not so. */
export interface LocalState {
  /** The sign-in link was clicked here. */
  opened?: boolean;
  /** The name of the request that is on its way. */
  pending?: string;
  /** One sentence about the last click. */
  note?: string;
  /** Since when this view shows that a sign-in is open (epoch milliseconds). */
  since?: number | undefined;
  more?: boolean;
  help?: boolean;
  install?: boolean;
  /** Another account is asked for. */
  switches?: boolean | undefined;
  /** What the browser did not let this page copy. */
  byHand?: string;
  /** What was copied last. */
  copied?: string;
  begun?: Begun | null | undefined;
}

/** How this page reaches a sign-in. */
export interface Site {
  /** Our routes on the server, "" where the server lacks them. */
  login: string;
  account: string;
  /** The whole address of the first, to copy. */
  whole: string;
  /** The page has a Jupyter server. */
  server: boolean;
  /** The server has our routes; undefined until that is known. */
  routes: boolean | undefined;
  /** The ways besides the server's, or undefined until the kernel has named them. */
  ways: Way[] | undefined;
}

/** One drawing of the widget, as plain data. What is left out is not shown. */
export interface Face {
  tone: "off" | "busy" | "on" | "warn" | "ended";
  /** The words around the title; the first are for those who do not see the picture. */
  before?: string;
  title: string;
  after?: string;
  person?: boolean;
  avatar?: string | undefined;
  line?: string[] | undefined;
  spoken?: string;
  error?: string;
  errorCode?: string;
  errorDetail?: string;
  note?: string | undefined;
  link?: LinkFace | undefined;
  /** The button for a sign-in without the server. */
  other?: string;
  install?: boolean | undefined;
  trouble?: boolean;
  help?: HelpFace | undefined;
  /** An address to copy: the one to register at the provider, or the sign-in link. */
  address?: { text: string; label: string; value: string } | undefined;
  begun?: Begun | undefined;
  /** How long what was begun is good, and the words when it no longer is. */
  left?: string;
  over?: string;
  cancel?: boolean;
  retry?: boolean;
  more?: boolean;
  facts?: [string, string][] | undefined;
  /** Where another account can be chosen; true where that needs no server. */
  account?: string | boolean;
  pending?: string | undefined;
  copied?: string | undefined;
  /** Milliseconds until this drawing is out of date. */
  nextMs?: number | null;
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
  /** The sign-in link to copy, "" for none. */
  copy: string;
}

const INSTALL =
  "Install pywry-auth-nb where Jupyter itself runs, or, if it is there: jupyter server extension enable pywry_auth_nb. " +
  "Then restart Jupyter and reload this page.";
const NO_SERVER =
  "This page has no Jupyter server, and the sign-in link needs one: open the notebook in JupyterLab or Jupyter Notebook.";
const NO_KERNEL = "No kernel is waiting for this sign-in: run the cell again.";
const LACKS = "pywry-auth-nb does not answer on this Jupyter server.";
const REGISTER = "An error page there? This address must be registered at the provider:";
const BY_HAND = "Copy this link and open it in this browser:";
const RENEWS = "renews by itself";
const ELSEWHERE = "from another notebook, or earlier";
const ERROR_PAGE_MS = 20_000;

/** The face of one state. An unknown status looks signed out, so that a newer kernel cannot break the page. */
export function faceOf(traits: LoginTraits, details: Details, local: LocalState, site: Site, now: number): Face {
  const base = frame(traits, details, local, site);
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

function frame(traits: LoginTraits, details: Details, local: LocalState, site: Site): Face {
  const { pending, copied, note } = local;
  return {
    tone: "off",
    title: traits.name || traits.provider || "Sign-in",
    person: traits.name !== "",
    avatar: traits.name && details.avatar,
    note,
    pending,
    copied,
    address: local.byHand && local.byHand === site.whole ? { text: BY_HAND, label: "Sign-in link", value: site.whole } : undefined,
    ...failure(traits),
  };
}

// A sign-in that the user gave up must not be shown as a failure.
function failure({ error_code, error_text, error_detail }: LoginTraits): Partial<Face> {
  if (error_code === "flow_cancelled" || !(error_code || error_text)) return {};
  return {
    error: error_text || "Something went wrong while signing in.",
    errorCode: error_code,
    errorDetail: error_detail && `The provider says: ${error_detail}`,
  };
}

function signedOut(traits: LoginTraits, local: LocalState, site: Site): Partial<Face> {
  const ended = traits.status === "reauth_required";
  const text = ended ? `Your sign-in${at(traits.provider)} has ended.` : "Not signed in";
  const verb = ended || failure(traits).error ? "Sign in again" : "Sign in";
  const face: Partial<Face> = { line: [text], spoken: text };
  if (ended) face.tone = "ended";
  else Object.assign(face, { title: traits.provider || "Sign-in", person: false });
  if (site.routes === undefined) return face;
  if (hrefOf(site)) return { ...face, link: linkTo(site, verb, "primary", traits) };
  return { ...face, ...withoutServer(verb, text, ended, local, site) };
}

/** Where the server has no route of ours: what to install, and the ways that work without it. */
function withoutServer(verb: string, text: string, ended: boolean, local: LocalState, site: Site): Partial<Face> {
  const lacks = site.server && !site.routes;
  const other = hasWay(site);
  const missing = site.server ? NO_KERNEL : NO_SERVER;
  return {
    other: other ? (lacks ? "Sign in another way" : verb) : "",
    install: lacks,
    line: lacks ? [ended ? `${text} ${LACKS}` : LACKS] : [text],
    note: local.note || (local.install ? INSTALL : other || lacks || !site.ways ? "" : missing),
    help: helpOf(local, site),
  };
}

// With noopener the page cannot tell whether the window was blocked, so the words fit both cases.
function opened(traits: LoginTraits, local: LocalState, site: Site): Partial<Face> {
  const text = "A sign-in window should have opened. Nothing there?";
  return { line: [text], spoken: text, error: "", link: linkTo(site, "Open the window", "text", traits), ...helping(local, site) };
}

function authorizing(traits: LoginTraits, details: Details, local: LocalState, site: Site, now: number): Partial<Face> {
  const face: Partial<Face> = {
    tone: "busy",
    before: traits.provider ? "Signing in at" : "Signing in",
    title: traits.provider,
    after: "\u2026",
    person: false,
    avatar: "",
    spoken: "Signing in.",
    error: "",
    cancel: true,
    ...helping(local, site),
  };
  const { begun } = local;
  if (begun) return { ...face, begun, ...remaining(begun, now) };
  const patience = ERROR_PAGE_MS - (now - (local.since ?? now));
  face.link = linkTo(site, "Open the window again", "text", traits);
  if (patience > 0) return { ...face, nextMs: patience };
  const value = details.redirect_uri;
  return value && local.byHand !== site.whole ? { ...face, address: { text: REGISTER, label: "Redirect URI to register", value } } : face;
}

/** How long a code is good. */
function remaining({ code, expiresAt }: Begun, now: number): Partial<Face> {
  if (!code) return {};
  const minutes = Math.ceil((expiresAt - now) / 60_000);
  return minutes > 0 ? { left: `Good for ${inWords(minutes)}`, nextMs: 15_000 } : { over: "The code is too old." };
}

function helping(local: LocalState, site: Site): Partial<Face> {
  return { trouble: !!(hrefOf(site) || site.ways?.length), help: helpOf(local, site) };
}

function helpOf(local: LocalState, site: Site): HelpFace | undefined {
  return local.help ? { ways: site.ways ?? [], copy: site.routes ? site.whole : "" } : undefined;
}

function signedIn(traits: LoginTraits, details: Details, local: LocalState, site: Site, now: number): Partial<Face> {
  const end = endAt(traits.expires_at, now);
  const face: Partial<Face> = {
    tone: "on",
    before: traits.name && "Signed in as",
    title: traits.name || "Signed in",
    line: filled([details.email === traits.name ? "" : details.email, traits.provider, renewal(traits, details, end)]),
    // The same while it is renewed in the background: that is not worth an interruption.
    spoken: traits.name ? `Signed in as ${traits.name}.` : "Signed in.",
    more: true,
    facts: local.more ? facts(traits, details, end) : undefined,
    account: site.routes ? site.account : site.routes === false && hasWay(site),
    help: local.more && local.help ? { ways: site.ways ?? [], copy: "" } : undefined,
    nextMs: end && (!traits.renews || traits.stuck) ? end.nextMs : null,
  };
  if (traits.stuck) return { ...face, ...stuck(traits, end, site) };
  if (end?.soon && !traits.renews) return { ...face, ...ending(traits, details, local, end, site) };
  return face;
}

function stuck(traits: LoginTraits, end: End | null, site: Site): Partial<Face> {
  const until = !end ? "" : end.over ? ` It ended at ${end.at}.` : ` Good until ${end.at}.`;
  const text = `Cannot be renewed now.${until}`;
  return { tone: "warn", line: [text], spoken: text, retry: true, link: linkTo(site, "Sign in again", "text", traits) };
}

function ending(traits: LoginTraits, details: Details, local: LocalState, end: End, site: Site): Partial<Face> {
  return {
    tone: "warn",
    line: [end.over ? `Ended at ${end.at}` : `Ends at ${end.at} (${end.left}), then sign in again`],
    spoken: `Your sign-in ends at ${end.at}.`,
    note: local.note || details.advice,
    link: linkTo(site, "Sign in again", "button", traits),
  };
}

/** That it renews by itself goes without saying where another line is needed: why the user is signed in at all. */
function renewal({ renews }: LoginTraits, { elsewhere }: Details, end: End | null): string {
  if (renews) return elsewhere ? ELSEWHERE : RENEWS;
  return end ? `ends at ${end.at}` : "";
}

function facts(traits: LoginTraits, details: Details, end: End | null): [string, string][] {
  const token = [end ? `${end.over ? "ended at" : "good until"} ${end.at}` : "", traits.renews ? RENEWS : ""];
  const all = {
    Account: details.email,
    Provider: traits.provider,
    Scopes: details.scopes?.join(" "),
    Token: filled(token).join(", "),
    "Kept in": details.store,
    "Signed in": details.elsewhere && ELSEWHERE,
  };
  return Object.entries(all).filter((fact): fact is [string, string] => !!fact[1]);
}

function filled(texts: (string | undefined)[]): string[] {
  return texts.filter((text) => !!text) as string[];
}

// A cell waits for a user who is signed in: to allow more, or to sign in again.
function asked(traits: LoginTraits, local: LocalState, site: Site): Partial<Face> {
  const link = linkTo(site, "Continue", local.opened ? "button" : "primary", traits);
  return {
    tone: "on",
    line: [traits.asks],
    spoken: traits.asks,
    link,
    other: !link && hasWay(site) ? "Continue" : "",
    cancel: true,
    ...helping(local, site),
    trouble: local.opened,
  };
}

function linkTo(site: Site, label: string, place: LinkFace["place"], traits: LoginTraits): LinkFace | undefined {
  const href = hrefOf(site);
  return href ? { href, label, at: at(traits.provider), place } : undefined;
}

function hrefOf(site: Site): string {
  return site.routes ? site.login : "";
}

/** Whether there is a way besides the server's. */
function hasWay({ ways }: Site): boolean {
  return !!ways?.some(({ why }) => !why);
}

function at(provider: string): string {
  return provider && ` at ${provider}`;
}
