/**
 * What Isola is measured against, each a bare workerd without a platform: a static worker, a
 * loaded isolate, and the prototype of gateway and cell as two processes over a unix socket.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { type ChildProgram, startWorkerd } from "./processes.ts";

const FIXTURES = fileURLToPath(new URL("./fixtures/", import.meta.url));
const COMPATIBILITY_DATE = "2026-11-01";

export interface NamedProcess {
  readonly name: string;
  readonly pid: number;
}

/** A running platform or baseline, as the suites see it. */
export interface Target {
  readonly name: string;
  /** Address that answers hello. */
  readonly url: string;
  /** Its processes: what their memory and CPU time are read from. */
  readonly processes: () => readonly NamedProcess[];
  readonly stop: () => Promise<void>;
}

/** JavaScript of a fixture, types removed. */
export async function fixtureCode(name: string): Promise<string> {
  const source = await readFile(join(FIXTURES, name), "utf8");
  return (await transform(source, { loader: "ts", target: "es2024" })).code;
}

interface WorkerSpec {
  readonly module: string;
  readonly address: string;
  readonly bindings?: string;
  readonly services?: string;
}

function capnpOf({ module, address, bindings = "", services = "" }: WorkerSpec): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main), ${services} ],
  sockets = [ (name = "http", address = "${address}", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "${module}") ],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  bindings = [ ${bindings} ],
);
`;
}

const LOADER_BINDINGS =
  '(name = "LOADER", workerLoader = (id = "functions")), (name = "HELLO", text = embed "hello.js")';

async function start(folder: string, name: string, spec: WorkerSpec): Promise<ChildProgram> {
  const config = join(folder, `${name}.capnp`);
  await writeFile(config, capnpOf(spec));
  return startWorkerd(config);
}

/** Starts the three baselines with their files in `folder`. */
export async function startBaselines(folder: string): Promise<readonly Target[]> {
  const names = ["static.worker", "loader.worker", "gateway.worker", "hello"];
  await Promise.all(
    names.map(async (name) =>
      writeFile(join(folder, `${name}.js`), await fixtureCode(`${name}.ts`)),
    ),
  );
  const loader = { module: "loader.worker.js", bindings: LOADER_BINDINGS };
  const anyPort = "127.0.0.1:0";
  const socket = `unix:${join(folder, "cell.sock")}`;
  const bare = await start(folder, "static", { module: "static.worker.js", address: anyPort });
  const loaded = await start(folder, "loaded", { ...loader, address: anyPort });
  const cell = await start(folder, "cell", { ...loader, address: socket });
  const gateway = await start(folder, "gateway", {
    module: "gateway.worker.js",
    address: anyPort,
    bindings: '(name = "CELL", service = "cell")',
    services: `(name = "cell", external = (address = "${socket}", http = ()))`,
  });
  return [
    target("static", bare.port, { cell: bare }),
    target("loaded", loaded.port, { cell: loaded }),
    target("prototype", gateway.port, { gateway, cell }),
  ];
}

function target(
  name: string,
  port: number,
  programs: Readonly<Record<string, ChildProgram>>,
): Target {
  const all = Object.entries(programs);
  return {
    name,
    url: `http://127.0.0.1:${port}/`,
    processes: () => all.map(([part, { pid }]) => ({ name: part, pid })),
    stop: async () => {
      await Promise.all(all.map(([, program]) => program.stop()));
    },
  };
}
