/** Isola itself as a target: started by its command line in a temporary folder, stopped after. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { IsolaClient } from "../runtime/client/index.ts";
import type { Target } from "./baselines.ts";
import { commandOf, endWithUs, familyOf } from "./processes.ts";

const ISOLA = fileURLToPath(new URL("../runtime/cli/main.ts", import.meta.url));
const START_MAX_MS = 30_000;

export interface IsolaTarget extends Target {
  readonly client: IsolaClient;
  readonly publicUrl: string;
  /** Processes that hold the isolates of shared cells. */
  readonly cellPids: () => Promise<readonly number[]>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false;
  }
}

/** Starts Isola with one cell, as the prototype has, and `hello` deployed. */
export async function startIsola(folder: string, helloCode: string): Promise<IsolaTarget> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const data = join(folder, "data");
  const listeners = ["--port", String(port), "--admin-port", String(adminPort)];
  const argv = [ISOLA, "start", ...listeners, "--data", data, "--cells", "1"];
  const child = spawn(process.execPath, argv, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const stop = endWithUs(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (said = (said + chunk).slice(-8_000)));
  }
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  const deadlineMs = performance.now() + START_MAX_MS;
  while (!(await isReady(adminUrl))) {
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      await stop();
      throw new Error(`the platform did not start:\n${said}`);
    }
    await sleep(25);
  }
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  const publicUrl = `http://127.0.0.1:${port}`;
  const client = new IsolaClient({ url: adminUrl, publicUrl, token });
  await deployCode(client, "hello", helloCode);
  return {
    name: "isola",
    url: `${publicUrl}/function/hello`,
    publicUrl,
    client,
    pids: () => familyOf(child.pid ?? 0),
    cellPids: async () => {
      const cells = (await client.cells()).filter(({ role }) => role === "shared");
      // The cell's own process may stand behind a wrapper that locks or confines it.
      return cells.flatMap(({ pid }) =>
        pid === undefined ? [] : familyOf(pid).filter((one) => commandOf(one) === "workerd"),
      );
    },
    stop,
  };
}

/** Deploys one JavaScript module, bundled already. */
export async function deployCode(client: IsolaClient, name: string, code: string): Promise<void> {
  const module = { name: "index.js", kind: "js", content: code } as const;
  await client.deploy(name, { main: "index.js" }, [module]);
}
