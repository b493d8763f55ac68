/** A platform of the demo's own, and how the demo speaks: to it, and of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { IsolaClient } from "../../runtime/client/index.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const ISOLA = join(ROOT, "runtime/cli/main.ts");
const START_MAX_MS = 20_000;
const STOP_MAX_MS = 15_000;

export const number = (value: number): string => value.toLocaleString("en-US");
export const seconds = (fromMs: number): string =>
  `${((performance.now() - fromMs) / 1000).toFixed(1)} s`;
export const milliseconds = (ms: number): string => `${ms.toFixed(1)} ms`;
export const say = (line = ""): void => console.log(line);
export const packageFile = (path: string): string => join(ROOT, "node_modules", path);

/** Ends the demo unless `holds`: a figure that does not add up is a failure. */
export function check(holds: boolean, sentence: string): void {
  if (!holds) throw new Error(sentence);
}

/** Waits until something is there. */
export async function until<T>(
  look: () => Promise<T | undefined>,
  what: string,
  maxMs = 5_000,
): Promise<T> {
  const deadlineMs = performance.now() + maxMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    check(performance.now() < deadlineMs, `${what} in ${String(maxMs)} ms`);
    await sleep(20);
  }
}

/** Runs `isola` and keeps what it says. */
function isola(args: readonly string[], data: string, adminUrl?: string) {
  const env = { ...process.env, ISOLA_DATA: data, ...(adminUrl ? { ISOLA_URL: adminUrl } : {}) };
  const child = spawn(process.execPath, [ISOLA, ...args], {
    env,
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (text = (text + chunk).slice(-8_000)));
  }
  return { child, said: () => text.trim() };
}

export class Platform {
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly client: IsolaClient;
  /** What it said, for the case that it fails. */
  readonly said: () => string;
  readonly #process: ChildProcess;
  readonly #data: string;

  private constructor(
    child: ChildProcess,
    data: string,
    urls: readonly [publicUrl: string, adminUrl: string],
    said: () => string,
  ) {
    [this.publicUrl, this.adminUrl] = urls;
    this.#process = child;
    this.#data = data;
    this.said = said;
    const token = readFileSync(join(data, "admin-token"), "utf8").trim();
    this.client = new IsolaClient({ url: this.adminUrl, publicUrl: this.publicUrl, token });
  }

  /** `start` prints its addresses once it answers. */
  static async start(data: string, options: readonly string[]): Promise<Platform> {
    const { child, said } = isola(["start", "--port", "0", "--admin-port", "0", ...options], data);
    process.on("exit", () => child.kill("SIGTERM"));
    const deadlineMs = performance.now() + START_MAX_MS;
    for (;;) {
      const [, publicUrl, adminUrl] = /^public\s+(\S+)\s+admin\s+(\S+)$/m.exec(said()) ?? [];
      if (publicUrl !== undefined && adminUrl !== undefined) {
        return new Platform(child, data, [publicUrl, adminUrl], said);
      }
      check(child.exitCode === null, `the platform did not start:\n${said()}`);
      if (performance.now() > deadlineMs) {
        await stop(child);
        throw new Error(`the platform was not ready in time:\n${said()}`);
      }
      await sleep(20);
    }
  }

  /** Runs a command against the platform; its output. */
  async command(...args: readonly string[]): Promise<string> {
    const { child, said } = isola(args, this.#data, this.adminUrl);
    const [code] = (await once(child, "close")) as [number | null];
    check(code === 0, `isola ${args.join(" ")} ended with status ${String(code)}:\n${said()}`);
    return said();
  }

  /** Calls a function over HTTP. */
  async call(target: string, init?: RequestInit): Promise<string> {
    return callText(`${this.publicUrl}/function/${target}`, init);
  }

  /** Calls a function with a value, and answers its value. */
  async value<Result>(name: string, input: unknown): Promise<Result> {
    return JSON.parse(await this.call(name, asJson(input))) as Result;
  }

  /** Begins a run and does not wait for it; its id. */
  async start(workflow: string, input: unknown): Promise<string> {
    const response = await fetch(`${this.publicUrl}/async-function/${workflow}`, asJson(input));
    const id = response.headers.get("x-run-id");
    check(response.status === 202 && id !== null, `${workflow} answered ${response.status}`);
    return id ?? "";
  }

  async statusOf(run: string): Promise<string> {
    return (await this.client.runs.show(run)).status;
  }

  /** The result of a run, when it has one. */
  async result<Result>(run: string): Promise<Result> {
    return until(async () => {
      const response = await fetch(`${this.publicUrl}/runs/${run}`);
      if (response.status === 202) return undefined;
      const text = await response.text();
      check(response.ok, `run ${run} answered ${response.status}: ${text.slice(0, 500)}`);
      return JSON.parse(text) as Result;
    }, `no result of run ${run}`);
  }

  /** @returns whether it stopped by itself. */
  stop(): Promise<boolean> {
    return stop(this.#process);
  }
}

const asJson = (value: unknown): RequestInit => ({
  method: "POST",
  // Longer than the default, on machines that have other things to do.
  headers: { "content-type": "application/json", prefer: "wait=60" },
  body: JSON.stringify(value),
});

async function callText(url: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  const text = await response.text();
  check(response.ok, `${url} answered ${response.status}: ${text.slice(0, 500)}`);
  return text;
}

async function stop(child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return true;
  const ended = once(child, "exit").then(() => true);
  child.kill("SIGTERM");
  if (await Promise.race([ended, sleep(STOP_MAX_MS, false, { ref: false })])) return true;
  child.kill("SIGKILL");
  await ended;
  return false;
}
