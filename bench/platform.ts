/** Isola itself as a target: started by its command line in a temporary folder, stopped after. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { IsolaClient } from "../runtime/client/index.ts";
import type { Target } from "./baselines.ts";
import { commandLineOf, endWithUs, familyOf } from "./processes.ts";

const ISOLA = fileURLToPath(new URL("../runtime/cli/main.ts", import.meta.url));
/** So much that no isolate leaves for want of memory while the suite counts them. */
const CELL_MEMORY_MB = 2_048;
const START_MAX_MS = 30_000;

export interface IsolaTarget extends Target {
  readonly client: IsolaClient;
  readonly publicUrl: string;
}

/** `start` prints its addresses once it answers. */
async function addressesOf(child: ChildProcess, stop: () => Promise<void>) {
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      said = (said + chunk).slice(-8_000);
    });
  }
  const deadlineMs = performance.now() + START_MAX_MS;
  while (child.exitCode === null && performance.now() < deadlineMs) {
    const [, publicUrl, adminUrl] = /^public\s+(\S+)\s+admin\s+(\S+)$/m.exec(said) ?? [];
    if (publicUrl !== undefined && adminUrl !== undefined) return { publicUrl, adminUrl };
    await sleep(20);
  }
  await stop();
  throw new Error(`the platform did not start:\n${said}`);
}

/** Which part of the platform a process is, by the configuration that it runs. */
function partOf(pid: number): string {
  const part = /workerd\/([a-z]+)(-\d+)?\/config\.capnp/.exec(commandLineOf(pid));
  if (!part) return "host";
  return part[2] === "-99" ? "probation" : (part[1] ?? "");
}

/** Starts Isola with one cell, as the prototype has, and `hello` deployed. */
export async function startIsola(
  folder: string,
  helloCode: string,
  options: readonly string[] = [],
): Promise<IsolaTarget> {
  const data = join(folder, "data");
  const listeners = ["--port", "0", "--admin-port", "0"];
  const size = ["--cells", "1", "--cell-memory-mb", String(CELL_MEMORY_MB)];
  const argv = [ISOLA, "start", ...listeners, "--data", data, ...size, ...options];
  const child = spawn(process.execPath, argv, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const stop = endWithUs(child);
  const { publicUrl, adminUrl } = await addressesOf(child, stop);
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  const client = new IsolaClient({ url: adminUrl, publicUrl, token });
  try {
    await deployCode(client, "hello", helloCode);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: "isola",
    url: `${publicUrl}/function/hello`,
    publicUrl,
    client,
    processes: () => familyOf(child.pid ?? 0).map((pid) => ({ name: partOf(pid), pid })),
    stop,
  };
}

/** Deploys one JavaScript module, bundled already. */
export async function deployCode(client: IsolaClient, name: string, code: string): Promise<void> {
  const module = { name: "index.js", kind: "js", content: code } as const;
  await client.deploy(name, { main: "index.js" }, [module]);
}
