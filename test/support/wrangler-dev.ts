/** The collapsed form under `wrangler dev`, as `npx wrangler dev` starts it. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { processesOfGroup } from "./process-list.ts";

export const ROOT = join(import.meta.dirname, "../..");
export const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
/** A name of the admin side besides its own. */
export const OTHER_ADMIN_HOST = "operators.example";
const START_TIMEOUT_MS = 45_000;
const END_TIMEOUT_MS = 5_000;

export interface WranglerDev {
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  stop(): Promise<void>;
}

/** Environment in which wrangler keeps its files in `folder` and asks nobody. */
export function wranglerEnvironment(folder: string): Record<string, string> {
  return {
    PATH: `${join(ROOT, "node_modules/.bin")}:${process.env["PATH"] ?? ""}`,
    HOME: folder,
    XDG_CONFIG_HOME: join(folder, "config"),
    CI: "1",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_LOG_PATH: join(folder, "wrangler-logs"),
  };
}

export async function startWrangler(folder: string): Promise<WranglerDev> {
  const adminToken = randomBytes(16).toString("hex");
  const sealKey = randomBytes(32).toString("base64");
  const child = spawn(
    process.execPath,
    [
      WRANGLER,
      ...["dev", "--port", "0", "--ip", "127.0.0.1", "--inspector-port", "0"],
      ...["--persist-to", join(folder, "state"), "--show-interactive-dev-session=false"],
      ...["--var", `ISOLA_ADMIN_TOKEN:${adminToken}`, "--var", `ISOLA_SEAL_KEY:${sealKey}`],
      ...["--var", `ISOLA_ADMIN_HOST:${OTHER_ADMIN_HOST}`],
    ],
    // A group of its own: wrangler's children are ended with it.
    {
      cwd: ROOT,
      env: wranglerEnvironment(folder),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    },
  );
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const group = child.pid ?? 0;
  const stop = (): Promise<void> => endGroup(group);
  let port: string;
  try {
    port = await portOf(
      () => output,
      () => child.exitCode !== null,
    );
  } catch {
    await stop();
    throw new Error(`wrangler dev did not start:\n${output}`);
  }
  return {
    publicUrl: `http://127.0.0.1:${port}`,
    adminUrl: `http://admin.localhost:${port}`,
    adminToken,
    stop,
  };
}

/** The port it says it is ready on, once it answers there. */
async function portOf(output: () => string, hasEnded: () => boolean): Promise<string> {
  const untilMs = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const [, port] = /Ready on http:\/\/127\.0\.0\.1:(\d+)/.exec(output()) ?? [];
    if (port !== undefined && (await answers(port))) return port;
    if (hasEnded() || performance.now() > untilMs) throw new Error("no answer");
    await new Promise((go) => setTimeout(go, 50));
  }
}

async function answers(port: string): Promise<boolean> {
  const signal = AbortSignal.timeout(2_000);
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal }).catch(() => undefined);
  return answer?.ok === true;
}

/** SIGTERM, then SIGKILL; resolves when no process of the group is left. */
async function endGroup(group: number): Promise<void> {
  const untilMs = performance.now() + END_TIMEOUT_MS;
  let signal: NodeJS.Signals = "SIGTERM";
  while (processesOfGroup(group).length > 0) {
    try {
      process.kill(-group, signal);
    } catch {
      return;
    }
    await new Promise((go) => setTimeout(go, 100));
    if (performance.now() > untilMs) signal = "SIGKILL";
  }
}
