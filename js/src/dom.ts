type Child = Node | string | false | null | undefined;
/** Properties and attributes; null takes one away. `key` is for an element whose classes change. */
type Props = Record<string, unknown> & { onclick?: (event: MouseEvent) => void };
/** Returns an element of ours with what it holds: the one of the drawing before, changed where it differs. */
export type Make = (tag: string, classes: string, props?: Props, ...children: Child[]) => HTMLElement;

/** Our own routes and web addresses. Others come from outside, and might be a script. */
const ADDRESS = /^(?:https?:\/)?\//i;
const DEFAULTS: Record<string, Props> = {
  button: { type: "button" },
  // A tab that knows nothing of this page.
  a: { target: "_blank", rel: "noopener noreferrer" },
};

/**
 * The elements of one view, by tag and classes, those of the same in their order. Each drawing begins with `next`, and
 * takes those of the drawing before: so focus stays on what is still shown, and a redraw cannot replace a button under
 * the pointer.
 */
export function elements(): { make: Make; next: () => void } {
  let before = new Map<string, HTMLElement>();
  let now = new Map<string, HTMLElement>();
  return {
    next() {
      before = now;
      now = new Map();
    },
    make(tag, classes, { key = classes, onclick, ...props } = {}, ...children) {
      let name = `${tag} ${key}`;
      while (now.has(name)) name += "+";
      const element = before.get(name) ?? document.createElement(tag);
      now.set(name, element);
      set(element, { className: classes.replace(/\S+/g, "pywry-auth-$&"), ...DEFAULTS[tag], ...props });
      // The second half of a double click was meant for what stood here before.
      if (onclick) element.onclick = (event) => (event.detail > 1 ? event.preventDefault() : onclick(event));
      hold(element, children);
      return element;
    },
  };
}

function set(element: HTMLElement, props: Props): void {
  const properties = element as unknown as Props;
  for (const [name, value] of Object.entries(props)) {
    if (value == null || (name === "href" && !ADDRESS.test(String(value)))) element.removeAttribute(name);
    else if (!(name in element)) element.setAttribute(name, String(value));
    else if (properties[name] !== value) properties[name] = value;
  }
}

/** Let `parent` hold `children`, no two of them the same text. Those that stay are not moved, which would take the focus away. */
function hold(parent: HTMLElement, children: Child[]): void {
  const texts = [...parent.childNodes].filter((node) => node instanceof Text);
  const nodes = children
    .filter((child) => child)
    .map((child) => (child instanceof Node ? child : (texts.find(({ data }) => data === child) ?? new Text(String(child)))));
  for (const node of [...parent.childNodes]) if (!nodes.includes(node)) node.remove();
  nodes.forEach((node, place) => {
    const there = parent.childNodes[place];
    if (there !== node) parent.insertBefore(node, there ?? null);
  });
}
