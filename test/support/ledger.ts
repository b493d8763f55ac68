/** The ledger of a test: a process that notes what was done outside (ledger-program.ts). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "ledger-program.ts");

export interface LedgerEntry {
  readonly key: string;
  readonly step: string;
  /** How often it was asked for; it happened once. */
  readonly tries: number;
}

export interface Ledger {
  readonly url: string;
  entries(): Promise<readonly LedgerEntry[]>;
  stop(): Promise<void>;
}

export async function startLedger(): Promise<Ledger> {
  const child = spawn(process.execPath, [PROGRAM], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const url = `http://127.0.0.1:${line.toString().trim()}`;
  return {
    url,
    entries: async () => (await (await fetch(url)).json()) as readonly LedgerEntry[],
    stop: async () => {
      child.kill("SIGKILL");
      await once(child, "close");
    },
  };
}
