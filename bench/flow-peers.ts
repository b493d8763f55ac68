/** The other engines of `flows`: Restate from npm, and the Workflows engine that workerd brings. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { bundleOf } from "./bundle.ts";
import { COMPATIBILITY_DATE, type FlowGroup, type FlowTarget, urlsOf } from "./flow-targets.ts";
import { endWithUs, familyOf, freePort } from "./processes.ts";

const START_MAX_MS = 30_000;

/** What a program says when it is ready. */
interface Said {
  readonly url?: string;
  readonly port?: number;
}

/** A program of ours beside us, and the first thing that it says. */
async function startProgram(
  name: string,
  message?: object,
): Promise<{
  readonly child: ChildProcess;
  readonly said: Said;
  readonly stop: () => Promise<void>;
}> {
  const child = fork(new URL(`./peers/${name}-program.ts`, import.meta.url), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const stop = endWithUs(child);
  if (message) child.send(message);
  const said = await Promise.race([
    once(child, "message").then(([first]) => first as Said),
    once(child, "exit").then(() => undefined),
  ]);
  if (said === undefined) throw new Error(`${name} ended before it said anything`);
  return { child, said, stop };
}

export async function startBundled(folder: string): Promise<FlowGroup> {
  await mkdir(folder, { recursive: true });
  const contents = await bundleOf("flow-engine.ts");
  const asked = { contents, compatibilityDate: COMPATIBILITY_DATE, folder };
  const { child, said, stop } = await startProgram("engine", asked);
  const { url = "" } = said;
  const target: FlowTarget = {
    name: "bundled",
    urls: urlsOf((composition) => `${url}${composition}`),
    startUrl: `${url}fizzbuzz?start=1`,
    processes: () => familyOf(child.pid ?? 0).map((pid) => ({ name: "engine", pid })),
  };
  return { targets: [target], stop };
}

/** Version of Restate's server, or undefined if npm has none for this platform. */
export function restateVersion(): string | undefined {
  try {
    const require = createRequire(import.meta.url);
    require.resolve(restateBinary());
    const manifest: unknown = require("@restatedev/restate-server/package.json");
    return (manifest as { readonly version: string }).version;
  } catch {
    return undefined;
  }
}

const restateBinary = (): string =>
  `@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`;

/** As it starts by itself, but for its ports, and without telemetry. */
async function startRestateServer(folder: string) {
  const [ingress, admin, node] = [await freePort(), await freePort(), await freePort()];
  const binary = createRequire(import.meta.url).resolve(restateBinary());
  const child = spawn(binary, ["--no-logo", "--listen-mode", "tcp", "--node-name", "bench"], {
    cwd: folder,
    stdio: "ignore",
    env: {
      RESTATE_BASE_DIR: folder,
      RESTATE_DISABLE_TELEMETRY: "true",
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
      RESTATE_BIND_ADDRESS: `127.0.0.1:${node}`,
    },
  });
  return { ingress, admin, pid: child.pid ?? 0, stop: endWithUs(child) };
}

async function register(adminPort: number, servicePort: number): Promise<void> {
  const deadlineMs = performance.now() + START_MAX_MS;
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${adminPort}/deployments`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ uri: `http://127.0.0.1:${servicePort}` }),
      });
      if (response.ok) return;
      throw new Error(`status ${response.status}: ${await response.text()}`);
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
      await sleep(100);
    }
  }
}

export async function startRestate(folder: string): Promise<FlowGroup> {
  await mkdir(folder, { recursive: true });
  const services = await startProgram("restate");
  try {
    const server = await startRestateServer(folder);
    const stop = async (): Promise<void> => {
      await Promise.all([server.stop(), services.stop()]);
    };
    try {
      await register(server.admin, services.said.port ?? 0);
    } catch (error) {
      await stop();
      throw error;
    }
    const url = `http://127.0.0.1:${server.ingress}/`;
    const target: FlowTarget = {
      name: "restate",
      urls: urlsOf((composition) => `${url}${composition}/run`),
      startUrl: `${url}fizzbuzz/run/send`,
      processes: () => [
        { name: "server", pid: server.pid },
        { name: "services", pid: services.child.pid ?? 0 },
      ],
    };
    return { targets: [target], stop };
  } catch (error) {
    await services.stop();
    throw error;
  }
}
