/** The traits the kernel syncs. None of them is secret; all text is plain text. */
export interface LoginTraits {
  status: string;
  provider: string;
  name: string;
  expires_at: number | null;
  error_code: string;
  error_text: string;
  login_path: string;
}

/** What only this view knows, forgotten when the kernel reports news. */
export interface LocalState {
  /** The sign-in link was clicked here. */
  opened: boolean;
  /** A request to the server is on its way. */
  pending: boolean;
  /** One sentence about the last click, "" for none. */
  note: string;
}

/** How the page reaches the sign-in route: `href`, or `missing` says in words why there is none. */
export interface Route {
  href: string | null;
  missing: string;
}

/** One drawing of the widget, as plain data. */
export interface Face {
  tone: "off" | "busy" | "on" | "ended";
  text: string;
  name: string;
  spoken: string;
  error: string;
  errorCode: string;
  note: string;
  link: LinkFace | null;
  copy: string;
  action: "cancel" | "logout" | null;
  pending: boolean;
  counting: boolean;
}

/** The sign-in link: the main thing to do (`primary`), or a second chance next to it. */
export interface LinkFace {
  href: string;
  label: string;
  provider: string;
  primary: boolean;
}

/** The face of one state. An unknown status looks signed out, so that a newer kernel cannot break the page. */
export function faceOf(traits: LoginTraits, local: LocalState, route: Route): Face {
  const base = { ...frame(traits), note: local.note, pending: local.pending };
  switch (traits.status) {
    case "authorizing":
      return { ...base, ...authorizing(route) };
    case "signed_in":
    case "refreshing":
      return { ...base, ...signedIn(traits, route) };
    default:
      return { ...base, ...(local.opened ? opened(route) : signedOut(traits, local, route)) };
  }
}

function frame(traits: LoginTraits) {
  const failed = traits.error_code !== "" || traits.error_text !== "";
  return {
    name: "",
    error: traits.error_text || (failed ? "Something went wrong while signing in." : ""),
    errorCode: traits.error_code,
    copy: "",
    action: null,
    counting: false,
  };
}

function signedOut(traits: LoginTraits, local: LocalState, route: Route) {
  const ended = traits.status === "reauth_required";
  const text = ended ? "Your sign-in has ended." : "Not signed in.";
  const verb = ended || traits.error_code || traits.error_text ? "Sign in again" : "Sign in";
  return {
    tone: ended ? ("ended" as const) : ("off" as const),
    text,
    spoken: text,
    note: local.note || route.missing,
    link: linkTo(route, traits.provider ? `${verb} at` : verb, traits.provider, true),
  };
}

// With noopener the page cannot tell whether the window was blocked, so the words fit both cases.
function opened(route: Route) {
  const text = "A sign-in window should have opened. Nothing there?";
  return {
    tone: "off" as const,
    text,
    spoken: text,
    link: linkTo(route, "Open the link", "", false),
    copy: "Copy the link",
  };
}

function authorizing(route: Route) {
  return {
    tone: "busy" as const,
    text: "Signing in\u2026",
    spoken: "Signing in.",
    link: linkTo(route, "Open again", "", false),
    copy: route.href ? "Copy link" : "",
    action: "cancel" as const,
  };
}

function signedIn(traits: LoginTraits, route: Route) {
  // An error while signed in is one that does not pass by itself: a token that has expired and cannot be renewed now.
  const stuck = traits.error_code !== "" || traits.error_text !== "";
  return {
    tone: traits.status === "refreshing" ? ("busy" as const) : ("on" as const),
    text: traits.name ? "Signed in as" : "Signed in.",
    name: traits.name,
    // The same for both states: a refresh in the background is not worth an interruption.
    spoken: traits.name ? `Signed in as ${traits.name}.` : "Signed in.",
    link: stuck ? linkTo(route, "Sign in again", "", false) : null,
    action: "logout" as const,
    counting: true,
  };
}

function linkTo(route: Route, label: string, provider: string, primary: boolean): LinkFace | null {
  return route.href === null ? null : { href: route.href, label, provider, primary };
}
