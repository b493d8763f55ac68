/**
 * One platform per data directory: a lock that the kernel takes back when its holder dies.
 *
 * Node has no flock. An exclusive SQLite transaction is one on every system, also against another
 * platform in this very process.
 */
import { DatabaseSync } from "node:sqlite";
import { IsolaError } from "../contract/index.ts";
import type { Layout } from "./layout.ts";
import { LOCK_AT_ONCE, TAKE_LOCK } from "./schema.ts";
import { readOptional } from "./whole-file.ts";

/** What `run/platform.pid` says of a running platform. */
interface RunningPlatform {
  readonly pid: number;
  readonly publicUrl: string;
  readonly adminUrl: string;
}

/** @throws IsolaError `DATA_IN_USE` naming the holder. */
export function lockData(layout: Layout): { release(): void } {
  const database = new DatabaseSync(layout.lockFile);
  try {
    database.exec(LOCK_AT_ONCE);
    database.exec(TAKE_LOCK);
  } catch (error) {
    database.close();
    const holder = readPidFile(layout);
    const who = holder === undefined ? "a live process" : `the live process ${holder.pid}`;
    throw new IsolaError(
      "DATA_IN_USE",
      {
        attempted: `start on ${layout.dataDir}`,
        found: `${who} that holds its lock`,
        required: "a data directory that no other platform uses",
        fix: `stop it (isola stop, or kill ${holder?.pid ?? "it"}), or pass another --data`,
      },
      { cause: error },
    );
  }
  return { release: () => database.close() };
}

function readPidFile(layout: Layout): RunningPlatform | undefined {
  try {
    return JSON.parse(readOptional(layout.pidFile) ?? "") as RunningPlatform;
  } catch {
    return undefined;
  }
}
