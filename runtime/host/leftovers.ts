/**
 * Processes that outlived their host. The death signal ends them at once where the system has it;
 * this is for systems without it, and for the moment between the two.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import type { Layout } from "./layout.ts";
import { readProcess } from "./proc.ts";
import type { Timers } from "./system-timers.ts";
import { readOptional, writeWhole } from "./whole-file.ts";

interface Recorded {
  readonly pid: number;
  /** With the pid, the name of a process for good: pids are used again. */
  readonly startTicks: string;
}

const GONE_BOUND_MS = 5_000;
const GONE_PERIOD_MS = 20;

export function recordProcesses(layout: Layout, pids: readonly number[]): void {
  const recorded = pids.flatMap((pid): Recorded[] => {
    const startTicks = readProcess(pid)?.startTicks;
    return startTicks === undefined ? [] : [{ pid, startTicks }];
  });
  writeWhole(layout.processesFile, `${JSON.stringify(recorded)}\n`, 0o600);
}

/** Ends what an earlier platform on this data left; the caller holds the lock. */
export async function endLeftovers(layout: Layout, timers: Timers): Promise<void> {
  let recorded: readonly Recorded[];
  try {
    recorded = JSON.parse(readOptional(layout.processesFile) ?? "[]") as Recorded[];
  } catch {
    recorded = [];
  }
  const alive = (): readonly Recorded[] =>
    recorded.filter(({ pid, startTicks }) => {
      const found = readProcess(pid);
      return found?.startTicks === startTicks && found.state !== "Z";
    });
  for (const { pid } of alive()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
  const untilMs = timers.monotonicMs() + GONE_BOUND_MS;
  while (alive().length > 0 && timers.monotonicMs() < untilMs) await timers.sleep(GONE_PERIOD_MS);
  rmSync(layout.processesFile, { force: true });
}

/**
 * For systems without a death signal: a shell that waits for the end of its standard input, which
 * comes when the host is gone, and then ends the last processes it was told of.
 */
export class Reaper {
  readonly #shell: ChildProcess;

  constructor() {
    const script = 'pids=""; while read -r line; do pids="$line"; done; kill -9 $pids 2>/dev/null';
    const options = { detached: true, stdio: ["pipe", "ignore", "ignore"] as const };
    this.#shell = spawn("/bin/sh", ["-c", script], { ...options, stdio: [...options.stdio] });
    this.#shell.on("error", () => undefined);
    this.#shell.stdin?.on("error", () => undefined);
    this.#shell.unref();
  }

  watch(pids: readonly number[]): void {
    this.#shell.stdin?.write(`${pids.join(" ")}\n`);
  }

  close(): void {
    this.watch([]);
    this.#shell.stdin?.end();
  }
}
