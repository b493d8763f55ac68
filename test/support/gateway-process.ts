/**
 * The gateway and two cells, one of them for probation, in a single workerd process: everything of
 * a platform that deploys and administers, without a host and without sockets between.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { CellsReport } from "../../runtime/contract/index.ts";
import { workerBuildOptions } from "../../runtime/host/internal.ts";

export const ADMIN_TOKEN = "operator-token-of-the-test";
export const SEAL_KEY = Buffer.alloc(32, 7).toString("base64");

export interface GatewayProcess {
  readonly adminUrl: string;
  readonly publicUrl: string;
  readonly dataDir: string;
  readonly pid: number;
  output(): string;
  /** Supply sockets of three slots; the cells of the process have their own way. */
  supplyUrl(slot: (typeof SUPPLY_SLOTS)[number]): string;
  /** Posts to the control entrypoint, as the host does; fails unless the gateway takes it. */
  control(path: string, body: unknown): Promise<unknown>;
  /** Ends the process at once; the data stays. */
  kill(): Promise<void>;
  /** Ends the process and removes the data, if it made the folder. */
  stop(): Promise<void>;
}

export interface GatewayProcessOptions {
  /** @default a folder of its own */
  readonly dataDir?: string;
  /** Port of a server that stands where the host's socket is. */
  readonly hostPort?: number;
}

/** Slots with a supply socket that a test can speak on, as a cell that was taken over. */
const SUPPLY_SLOTS = [0, 1, 99] as const;

const workerd = createRequire(import.meta.url)("workerd") as { readonly default: string };
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const START_TIMEOUT_MS = 15_000;

/** Both cells up, as the host would say. */
export const CELLS_UP: CellsReport = {
  cells: [
    { slot: 0, role: "shared", state: "up", pid: 1, restarts: 0 },
    { slot: 99, role: "probation", state: "up", pid: 2, restarts: 0 },
  ],
};

export async function startGateway(options: GatewayProcessOptions = {}): Promise<GatewayProcess> {
  const folder = await mkdtemp(join(tmpdir(), "isola-gateway-"));
  const dataDir = options.dataDir ?? join(folder, "data");
  await mkdir(join(dataDir, "state"), { recursive: true });
  await mkdir(join(dataDir, "blobs"), { recursive: true });
  await writeFile(join(folder, "gateway.js"), await bundle("gateway"));
  await writeFile(join(folder, "cell.js"), await bundle("cell"));
  await writeFile(join(folder, "config.capnp"), configText(dataDir, options.hostPort));
  const child = spawn(
    workerd.default,
    ["serve", "--experimental", "--control-fd=3", join(folder, "config.capnp")],
    {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      env: { ISOLA_SEAL_KEY: SEAL_KEY, ISOLA_ADMIN_TOKEN: ADMIN_TOKEN, ISOLA_MARK: "" },
    },
  );
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const kill = (): Promise<void> => endProcess(child);
  const stop = async (): Promise<void> => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const ports = await portsOf(child, () => output);
    const control = (path: string, body: unknown) =>
      tell(`http://127.0.0.1:${String(ports.get("control"))}${path}`, body);
    await control("/cells", CELLS_UP);
    return {
      adminUrl: `http://127.0.0.1:${String(ports.get("admin"))}`,
      publicUrl: `http://127.0.0.1:${String(ports.get("public"))}`,
      supplyUrl: (slot) => `http://127.0.0.1:${String(ports.get(`supply-${String(slot)}`))}`,
      dataDir,
      pid: child.pid ?? 0,
      output: () => output,
      control,
      kill,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function bundle(room: "cell" | "gateway"): Promise<string> {
  const options = workerBuildOptions(ROOT);
  const result = await build({ ...options, entryPoints: [`runtime/${room}/entry.worker.ts`] });
  return result.outputFiles?.[0]?.text ?? "";
}

async function tell(url: string, body: unknown): Promise<unknown> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`the gateway refused ${url}: ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

function configText(dataDir: string, hostPort: number | undefined): string {
  const settings = { form: "host", dev: false, publicPort: 8080, version: "0.0.0-test" };
  const rest = { startedAtMs: 0, otlpEndpoint: "", otlpHeaders: "" };
  // Its cells hold none: nobody is asked for runs.
  const given = { ...settings, ...rest, shards: 0 };
  const address = `127.0.0.1:${String(hostPort)}`;
  const host =
    hostPort === undefined
      ? ""
      : `(name = "host", external = (address = "${address}", http = ())),`;
  const hostBinding = hostPort === undefined ? "" : `(name = "HOST", service = "host"),`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "gateway", worker = .gateway), (name = "cell-0", worker = .cell0),
    (name = "cell-99", worker = .cell99), (name = "nowhere", network = (allow = [])),
    ${host}
    (name = "state", disk = (path = "${dataDir}/state", writable = true)),
    (name = "blobs", disk = (path = "${dataDir}/blobs", writable = true)),
  ],
  sockets = [
    (name = "public", address = "127.0.0.1:0", http = (), service = "gateway"),
    (name = "admin", address = "127.0.0.1:0", http = (),
      service = (name = "gateway", entrypoint = "Admin")),
    (name = "control", address = "127.0.0.1:0", http = (),
      service = (name = "gateway", entrypoint = "Control")),
    ${SUPPLY_SLOTS.map(supplySocket).join("\n    ")}
  ],
);
const gateway :Workerd.Worker = (
  modules = [ (name = "gateway.js", esModule = embed "gateway.js") ],
  compatibilityDate = "2026-11-01",
  compatibilityFlags = ["enable_request_signal"],
  globalOutbound = "nowhere",
  durableObjectNamespaces = [
    (className = "Registry", uniqueKey = "isola-registry-v1", enableSql = true,
      preventEviction = true),
  ],
  durableObjectStorage = (localDisk = "state"),
  bindings = [
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "SETTINGS", json = ${JSON.stringify(JSON.stringify(given))}),
    (name = "SEAL_KEY", fromEnvironment = "ISOLA_SEAL_KEY"),
    (name = "ADMIN_TOKEN", fromEnvironment = "ISOLA_ADMIN_TOKEN"),
    (name = "BLOBS", service = "blobs"), ${hostBinding}
    (name = "CELL_0", service = "cell-0"), (name = "CELL_99", service = "cell-99"),
    (name = "CELLCTL_0", service = (name = "cell-0", entrypoint = "Control")),
    (name = "CELLCTL_99", service = (name = "cell-99", entrypoint = "Control")),
  ],
);
${cellText(0, "shared")}
${cellText(99, "probation")}
`;
}

function supplySocket(slot: number): string {
  const props = JSON.stringify(JSON.stringify({ slot }));
  return `(name = "supply-${String(slot)}", address = "127.0.0.1:0", http = (),
      service = (name = "gateway", entrypoint = "Supply", props = (json = ${props}))),`;
}

function cellText(slot: number, role: string): string {
  const settings = JSON.stringify(JSON.stringify({ slot, role, maxIsolates: 100 }));
  const props = JSON.stringify(JSON.stringify({ slot }));
  return `const cell${String(slot)} :Workerd.Worker = (
  modules = [ (name = "cell.js", esModule = embed "cell.js") ],
  compatibilityDate = "2026-11-01",
  compatibilityFlags = ["enable_request_signal"],
  globalOutbound = "nowhere",
  bindings = [
    (name = "LOADER", workerLoader = (id = "functions-${String(slot)}")),
    (name = "CELL", json = ${settings}), (name = "MARK", fromEnvironment = "ISOLA_MARK"),
    (name = "SUPPLY", service = (name = "gateway", entrypoint = "Supply",
      props = (json = ${props}))),
    (name = "EGRESS", service = "nowhere"),
  ],
);`;
}

/** Ports by socket, once workerd listens on all. */
function portsOf(child: ChildProcess, output: () => string): Promise<Map<string, number>> {
  return new Promise((resolve, reject) => {
    const ports = new Map<string, number>();
    const fail = (reason: string): void => {
      reject(new Error(`workerd did not start: ${reason}\n${output()}`));
    };
    const timer = setTimeout(() => fail("it did not listen in time"), START_TIMEOUT_MS);
    child.once("exit", (status) => fail(`exit ${String(status)}`));
    createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      const event = JSON.parse(line) as {
        readonly event: string;
        readonly socket?: string;
        readonly port?: number;
      };
      if (event.event !== "listen" || event.socket === undefined || event.port === undefined)
        return;
      ports.set(event.socket, event.port);
      if (ports.size < 3 + SUPPLY_SLOTS.length) return;
      clearTimeout(timer);
      resolve(ports);
    });
  });
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}
