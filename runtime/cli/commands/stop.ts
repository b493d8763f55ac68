import { IsolaError, LIMITS } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { findRunning, isAlive } from "../running-platform.ts";

/** The drain's bound, and some time to end the processes. */
const PATIENCE_MS = LIMITS.drainMs + 5_000;
const LOOK_EVERY_MS = 50;

export const stopCommand: Command = {
  name: "stop",
  summary: "stop the platform of a data folder: drain, then end",
  async run(context) {
    const running = findRunning(context.dataDir);
    if (running === undefined) {
      throw new IsolaError("UNREACHABLE", {
        attempted: "stop the platform",
        found: `none that runs on ${context.option("data")}`,
        required: "a platform started with isola start on this machine",
        fix: "pass the data folder with --data or ISOLA_DATA",
      });
    }
    process.kill(running.pid, "SIGTERM");
    await context.progress("draining", ended(running.pid));
    context.print(`stopped the platform on ${context.option("data")}`);
  },
};

async function ended(pid: number): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  while (isAlive(pid)) {
    if (Date.now() > until) {
      throw new IsolaError("START_FAILED", {
        attempted: "stop the platform",
        found: `process ${String(pid)} still there after ${String(PATIENCE_MS)} ms`,
        required: "its end",
        fix: `kill -9 ${String(pid)}; nothing it started outlives it`,
      });
    }
    await new Promise((resume) => setTimeout(resume, LOOK_EVERY_MS));
  }
}
