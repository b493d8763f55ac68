/** Cross-check of our own generator by wrk, where the machine has it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Calls a second as wrk counts them; undefined without wrk. */
export async function wrkCallsPerSecond(
  url: string,
  clients: number,
  durationMs: number,
): Promise<number | undefined> {
  const seconds = Math.max(1, Math.round(durationMs / 1000));
  try {
    const { stdout } = await run("wrk", ["-t1", `-c${clients}`, `-d${seconds}s`, url]);
    return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN);
  } catch {
    return undefined;
  }
}
