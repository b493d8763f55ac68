/** What the platform's processes use: for /metrics and `isola cells`. */
import { statfsSync } from "node:fs";
import type { HostMetrics } from "../contract/index.ts";
import { readMemory, readProcess } from "./proc.ts";

/** Processes that are gone, or on systems without /proc, are left out. */
export function metricsOf(
  processes: readonly { name: string; pid: number }[],
  dataDir: string,
): HostMetrics {
  return {
    ...diskFree(dataDir),
    processes: processes.flatMap(({ name, pid }) => {
      const [memory, stat] = [readMemory(pid), readProcess(pid)];
      if (memory === undefined || stat === undefined) return [];
      return [{ name, pid, residentBytes: memory.residentBytes, cpuMs: stat.cpuMs }];
    }),
  };
}

/** Free space for who is not root; absent where the system does not say. */
export function diskFree(folder: string): { diskFreeBytes?: number } {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return { diskFreeBytes: bavail * bsize };
  } catch {
    return {};
  }
}
