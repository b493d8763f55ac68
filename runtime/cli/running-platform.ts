/**
 * The platform that runs on a data folder, by `<data>/run/platform.pid`, which the host writes. A
 * process counts only if it is older than the file: ids are given out again.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export interface RunningPlatform {
  readonly pid: number;
  readonly publicUrl: string;
  readonly adminUrl: string;
}

const TICKS_PER_SECOND = 100;
/** The clock of `/proc` is coarse. */
const TOLERANCE_MS = 2_000;

export function findRunning(dataDir: string): RunningPlatform | undefined {
  const path = join(dataDir, "run", "platform.pid");
  try {
    const running = JSON.parse(readFileSync(path, "utf8")) as RunningPlatform;
    const startedAtMs = startOf(running.pid);
    const isOlder =
      startedAtMs === undefined || startedAtMs <= statSync(path).mtimeMs + TOLERANCE_MS;
    return isOlder && isAlive(running.pid) ? running : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a process of that id exists and is no zombie. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { readonly code?: unknown }).code === "EPERM";
  }
  return statusFields(pid)?.[0] !== "Z";
}

/** When the process began, where the system says. */
function startOf(pid: number): number | undefined {
  const ticks = Number(statusFields(pid)?.[19]);
  try {
    const boot = /^btime (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1];
    const startedAtMs = (Number(boot) + ticks / TICKS_PER_SECOND) * 1_000;
    return Number.isFinite(startedAtMs) ? startedAtMs : undefined;
  } catch {
    return undefined;
  }
}

/** Fields of `/proc/<pid>/stat` from the third on. */
function statusFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, "utf8");
    // The name in parentheses may hold anything.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
