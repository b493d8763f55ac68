/**
 * A real workerd process with one worker of ours, for tests that need nothing else of a platform.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { build } from "esbuild";

export interface RunningWorkerd {
  /** Address without a slash at the end. */
  readonly url: string;
  readonly pid: number;
  /** What it wrote to stdout and stderr so far. */
  output(): string;
  stop(): Promise<void>;
}

export interface WorkerdOptions {
  /** Source of the worker, relative to the repository. */
  readonly entry: string;
  /** Cap'n Proto text of the bindings. */
  readonly bindings?: string;
  /** Cap'n Proto text of further services. */
  readonly services?: string;
  /** Cap'n Proto text of further fields of the worker. */
  readonly worker?: string;
  /** Allows what the release calls experimental. */
  readonly isExperimental?: boolean;
}

const workerd = createRequire(import.meta.url)("workerd") as { readonly default: string };

const START_TIMEOUT_MS = 10_000;

export async function startWorkerd(options: WorkerdOptions): Promise<RunningWorkerd> {
  const folder = await mkdtemp(join(tmpdir(), "isola-worker-"));
  await writeFile(join(folder, "main.js"), await bundle(options.entry));
  await writeFile(join(folder, "config.capnp"), configOf(options));
  const flags = options.isExperimental === true ? ["--experimental"] : [];
  const args = ["serve", ...flags, "--control-fd=3", join(folder, "config.capnp")];
  const child = spawn(workerd.default, args, {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  // A test run that ends in the middle takes its processes along.
  const killNow = (): void => void child.kill("SIGKILL");
  process.once("exit", killNow);
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const stop = async (): Promise<void> => {
    process.off("exit", killNow);
    await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const port = await portOf(child, () => output);
    return { url: `http://127.0.0.1:${port}`, pid: child.pid ?? 0, output: () => output, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function bundle(entry: string): Promise<string> {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    platform: "neutral",
    external: ["cloudflare:*", "workerd:*", "node:*"],
    logLevel: "silent",
  });
  return result.outputFiles[0]?.text ?? "";
}

function configOf({ bindings = "", services = "", worker = "" }: WorkerdOptions): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main), ${services} ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "main.js") ],
  compatibilityDate = "2026-11-01",
  bindings = [ ${bindings} ],
  ${worker}
);
`;
}

/** The port from the line that workerd writes once it listens. */
function portOf(child: ChildProcess, output: () => string): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      reject(new Error(`workerd did not start: ${reason}\n${output()}`));
    };
    const timer = setTimeout(() => fail("it did not listen in time"), START_TIMEOUT_MS);
    child.once("exit", (status) => fail(`exit ${String(status)}`));
    createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      const event = JSON.parse(line) as { readonly event: string; readonly port?: number };
      if (event.event !== "listen" || event.port === undefined) return;
      clearTimeout(timer);
      resolve(event.port);
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}
