/** Processes of this machine, for tests that look for what is left. */
import { readFileSync, readdirSync } from "node:fs";

/** Processes whose command line names the folder, and that are no zombies. */
export function processesOf(folder: string): number[] {
  const pids = readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0);
  return pids.filter((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      const [, state] = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
      return command.includes(folder) && state !== "Z" && pid !== process.pid;
    } catch {
      return false;
    }
  });
}

/** Processes of a group, zombies left out. */
export function processesOfGroup(group: number): number[] {
  const pids = readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0);
  return pids.filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const [, state, processGroup] = /\) (\S) \d+ (\d+)/.exec(stat) ?? [];
      return Number(processGroup) === group && state !== "Z";
    } catch {
      return false;
    }
  });
}
