// A page that is no notebook: it starts a kernel at a Jupyter server of another origin, and shows widgets with html-manager,
// as front ends do that are not Jupyter's own.
//
//   ?server=http://127.0.0.1:8888/&token=…&control     `control`: the widget can reach the kernel's control channel
//
// `run(code)` runs a cell, shows its widgets in #out, and resolves to the text that it printed.
import { HTMLManager } from "@jupyter-widgets/html-manager";
import { shims } from "@jupyter-widgets/base";
import * as base from "@jupyter-widgets/base";
import { KernelManager, ServerConnection } from "@jupyterlab/services";

const MIME = "application/vnd.jupyter.widget-view+json";
const asked = new URLSearchParams(location.search);

/** anywidget comes as an AMD module, which only wants @jupyter-widgets/base. */
async function loadAnywidget() {
  const source = await (await fetch("anywidget.js")).text();
  let loaded;
  const define = (...given) => {
    const [deps, factory] = given.slice(-2);
    const needs = deps.map((name) => (name === "exports" ? (loaded = {}) : base));
    loaded = factory(...needs) ?? loaded;
  };
  define.amd = true;
  new Function("define", source)(define);
  return loaded;
}

class Manager extends HTMLManager {
  constructor(connection) {
    super({ loader: async () => (this.anywidget ??= loadAnywidget()) });
    this.connection = connection;
    if (asked.has("control")) this.kernel = connection;
    connection.registerCommTarget(this.comm_target_name, (comm, message) =>
      this.handle_comm_open(new shims.services.Comm(comm), message),
    );
  }

  async _create_comm(target, id, data, metadata) {
    const comm = this.connection.createComm(target, id);
    if (data || metadata) comm.open(data, metadata);
    return new shims.services.Comm(comm);
  }

  async _get_comm_info() {
    return (await this.connection.requestCommInfo({ target_name: this.comm_target_name })).content.comms;
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl: asked.get("server"),
  wsUrl: asked.get("server").replace("http", "ws"),
  token: asked.get("token"),
  appendToken: true,
});
const kernel = await new KernelManager({ serverSettings }).startNew({ name: "python3" });
const manager = new Manager(kernel);

async function show(modelId) {
  const model = await manager.get_model(modelId);
  await manager.display_view(await manager.create_view(model), document.getElementById("out"));
}

window.run = async (code) => {
  let text = "";
  const future = kernel.requestExecute({ code });
  future.onIOPub = ({ header, content }) => {
    if (header.msg_type === "stream") text += content.text;
    if (header.msg_type === "error") text += `${content.ename}: ${content.evalue}\n`;
    const view = content.data?.[MIME];
    if (view) void show(view.model_id);
  };
  await future.done;
  return text;
};
