/** The sink as a process: started, killed, started again over the same file and port. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("sink.ts", import.meta.url));

/** What the sink holds. */
export interface Account {
  readonly batches: number;
  /** How often batches came, repetitions included. */
  readonly arrivals: number;
  readonly films: number;
  /** How often films were written: as many as films, or something was loaded twice. */
  readonly loads: number;
  readonly rejects: number;
  readonly groups: number;
  readonly grossUsd: number;
  readonly best: readonly { readonly name: string; readonly returnRatio: number }[];
}

export class SinkProcess {
  readonly #file: string;
  /** Told of each batch that has been committed, with how many came so far. */
  readonly #onBatch: (count: number) => void;
  #child: ChildProcess | undefined;
  #port = "0";
  #count = 0;

  constructor(file: string, onBatch: (count: number) => void = () => {}) {
    this.#file = file;
    this.#onBatch = onBatch;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const args = [PROGRAM, this.#file, this.#port];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    const lines = createInterface({ input: child.stdout });
    const listening = Promise.race([once(lines, "line"), once(child, "exit")]);
    const [line] = (await listening) as [string | number | null];
    const port = /^port (\d+)$/.exec(String(line))?.[1];
    if (port === undefined) throw new Error(`the sink did not start: ${String(line)}`);
    this.#port = port;
    lines.on("line", () => {
      this.#count += 1;
      this.#onBatch(this.#count);
    });
  }

  /** kill -9; nothing that it was doing is finished. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async account(): Promise<Account> {
    const response = await fetch(`${this.url}/account`);
    return (await response.json()) as Account;
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
}
