import type { AnyModel } from "@anywidget/types";

import { limit } from "./limit";
import { post, routes } from "./server";
import type { LoginTraits } from "./state";

const PROTOCOL = 1;
const ACCEPT_MS = 3_000;
const REPLY_MS = 60_000;
const GONE = "kernel_gone";
/** What the server has a route for. It is asked first, because it can also reach a kernel that this page cannot. */
const ROUTED = ["cancel", "logout", "refresh"];

/** An answer of the kernel: `status` is "ok" or "error". */
export type Reply = Record<string, unknown> & { status?: unknown; code?: unknown; text?: unknown };

/** What to send; it may depend on whether the control channel carries it. */
export type Content = (control: boolean) => Record<string, unknown>;

/** What of JupyterLab's kernel connection is used. */
interface Kernel {
  clientId: string;
  username: string;
  sendControlMessage(message: unknown, expectReply: boolean, disposeOnDone: boolean): Future;
}

interface Future {
  onReply: (message: { header: { msg_type: string }; content: Reply }) => void;
  done: Promise<unknown>;
  dispose(): void;
}

/** The ways from this page to the kernel, in the order: server, control channel, widget message. */
export class Wire {
  readonly #model: AnyModel<LoginTraits>;
  readonly #signal: AbortSignal;

  constructor(model: AnyModel<LoginTraits>, signal: AbortSignal) {
    this.#model = model;
    this.#signal = signal;
  }

  /**
   * Ask the kernel. Never rejects.
   *
   * `onSlow` is called where only a widget message is left, which waits for the cell that runs.
   * The answer is an error with the code "kernel_gone" or "unreachable" where none came.
   */
  async ask(name: string, content: Content = () => ({}), onSlow: () => void = () => {}): Promise<Reply> {
    const path = String(this.#model.get("login_path") ?? "");
    const heard = ROUTED.includes(name) && (await routes().answer) ? await post(name, path, this.#signal) : null;
    if (heard && heard.code !== GONE) return heard;
    const reply = (await this.#overControl(name, path, content)) ?? (await this.#overWidget(name, content, onSlow, !!heard));
    return reply ?? heard ?? { status: "error", code: "unreachable" };
  }

  async #overControl(name: string, path: string, content: Content): Promise<Reply | null> {
    const kernel = this.#kernel();
    const flow = /[?&]flow=([^&]+)/.exec(path)?.[1];
    if (!kernel || !flow || this.#signal.aborted) return null;
    const type = `pywry_auth_${name}`;
    return this.#once(ACCEPT_MS, (finish, wait) => {
      const message = request(kernel, `${type}_request`, { protocol: PROTOCOL, flow, ...content(true) });
      const future = kernel.sendControlMessage(message, true, false);
      future.done.catch(() => {});
      future.onReply = ({ header, content }) => {
        if (header.msg_type === `${type}_reply`) finish(content);
        else wait(REPLY_MS);
      };
      return () => future.dispose();
    });
  }

  async #overWidget(name: string, content: Content, onSlow: () => void, gone: boolean): Promise<Reply | null> {
    if (this.#signal.aborted) return null;
    const id = unique();
    // A kernel that is gone answers nothing: do not keep the user waiting for it.
    return this.#once(gone ? ACCEPT_MS : REPLY_MS, (finish) => {
      const onMessage = (message: Reply) => {
        if (message?.reply === id) finish(message);
      };
      this.#model.on("msg:custom", onMessage);
      const slow = setTimeout(onSlow, 1_000);
      try {
        this.#model.send({ request: name, id, ...content(false) });
      } catch {
        finish(null); // the comm is closed
      }
      return () => {
        clearTimeout(slow);
        this.#model.off("msg:custom", onMessage);
      };
    });
  }

  #kernel(): Kernel | null {
    const manager = this.#model.widget_manager as unknown as { kernel?: Kernel | null } | undefined;
    return typeof manager?.kernel?.sendControlMessage === "function" ? manager.kernel : null;
  }

  /** One answer within a time limit that `wait` sets anew; null if it passes, the view goes, or `begin` throws. */
  async #once(
    milliseconds: number,
    begin: (finish: (reply: Reply | null) => void, wait: (milliseconds: number) => void) => () => void,
  ): Promise<Reply | null> {
    const { signal, renew, end } = limit(milliseconds, this.#signal);
    let close = () => {};
    try {
      return await new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(null));
        close = begin(resolve, renew);
      });
    } catch {
      return null;
    } finally {
      end();
      close();
    }
  }
}

/** A message of the Jupyter protocol, in the form that JupyterLab's kernel connection sends. */
function request(kernel: Kernel, type: string, content: Record<string, unknown>) {
  return {
    header: {
      msg_id: unique(),
      msg_type: type,
      session: kernel.clientId,
      username: kernel.username,
      date: new Date().toISOString(),
      version: "5.3",
    },
    parent_header: {},
    metadata: {},
    content,
    channel: "control",
    buffers: [],
  };
}

// crypto.randomUUID is missing on plain http.
function unique(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(36)).join("");
}
