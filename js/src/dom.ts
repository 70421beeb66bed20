/** An element of ours, with what it holds. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  name: string,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = `pywry-auth-${name}`;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function button(name: string, label: string, attributes: Record<string, string> = {}): HTMLButtonElement {
  return make("button", name, { type: "button", ...attributes }, label);
}

/** A link to another tab, which knows nothing of this page. */
export function tabLink(name: string, ...children: (Node | string)[]): HTMLAnchorElement {
  return make("a", name, { target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** Text, or nothing at all. */
export function show(element: HTMLElement, text: string): void {
  setText(element, text);
  element.hidden = text === "";
}

// Setting the same text again would make some screen readers say it again.
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Only a web address becomes a link: the text comes from a provider. */
export function setHref(link: HTMLAnchorElement, url: string): void {
  if (/^https?:\/\//i.test(url)) link.href = url;
  else link.removeAttribute("href");
}

/** Replace the children only if what they say has changed, so that a redraw takes no focus and no selection away. */
export function fill(element: HTMLElement, key: string, children: () => Node[]): void {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...children());
}
