/** Child processes of a benchmark: started, observed through /proc, ended with it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import type { Readable } from "node:stream";

const STOP_MAX_MS = 15_000;
const CLOCK_TICKS_PER_SECOND = 100;
const KIB = 1024;

export interface ChildProgram {
  readonly pid: number;
  readonly port: number;
  readonly stop: () => Promise<void>;
}

/** SIGTERM, then SIGKILL after a bound; children also die with this process. */
export function endWithUs(child: ChildProcess): () => Promise<void> {
  const kill = (): void => void child.kill("SIGKILL");
  process.on("exit", kill);
  return async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      const timer = setTimeout(kill, STOP_MAX_MS);
      await exited;
      clearTimeout(timer);
    }
    process.off("exit", kill);
  };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

function workerdBinary(): string {
  const module: unknown = createRequire(import.meta.url)("workerd");
  const path = (module as { readonly default?: unknown }).default;
  if (typeof path !== "string") throw new Error("the workerd package names no binary");
  return path;
}

/** Starts workerd with a configuration and waits until its socket listens. */
export async function startWorkerd(config: string): Promise<ChildProgram> {
  const child = spawn(workerdBinary(), ["serve", "--experimental", "--control-fd=3", config], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const stop = endWithUs(child);
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
  const control = child.stdio[3] as Readable;
  const port = await Promise.race([
    listeningPort(control),
    once(child, "exit").then(() => undefined),
  ]);
  if (port === undefined) throw new Error(`workerd ended before it listened: ${said}`);
  return { pid: child.pid ?? 0, port, stop };
}

/** The port of the first socket that workerd reports; 0 for a unix socket. */
async function listeningPort(control: Readable): Promise<number> {
  let text = "";
  for await (const chunk of control.setEncoding("utf8")) {
    text += String(chunk);
    const match = /\{"event":"listen".*?\}/.exec(text);
    if (!match) continue;
    control.resume();
    return (JSON.parse(match[0]) as { readonly port?: number }).port ?? 0;
  }
  throw new Error("workerd closed its control channel");
}

export interface Memory {
  /** Proportional set size: shared pages divided among those who share them. */
  readonly pssBytes: number;
  readonly anonymousBytes: number;
}

/** Memory of a process; undefined if the system does not let us read it. */
export function memoryOf(pid: number): Memory | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN) * KIB;
    return { pssBytes: field("Pss"), anonymousBytes: field("Anonymous") };
  } catch {
    return undefined;
  }
}

/** CPU time of a process in milliseconds, or 0 if it is gone. */
export function cpuMsOf(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    return (ticks * 1000) / CLOCK_TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

/** The process itself and everything below it. */
export function familyOf(pid: number): readonly number[] {
  const found = [pid];
  for (const parent of found) {
    try {
      const text = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8");
      found.push(...text.split(" ").filter(Boolean).map(Number));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** Command line of a process, its arguments joined by spaces. */
export function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
