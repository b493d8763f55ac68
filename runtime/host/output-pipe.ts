/**
 * A child's standard output as a pipe that is read in intervals.
 *
 * Node gives its children a socket and wakes for each small write: 45 µs of the host's CPU a call
 * when every call writes a line, and a buffer that a few hundred lines fill, which blocks the
 * writer. A named pipe holds a thousand lines and costs nothing until somebody looks.
 */
import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, openSync, readSync, rmSync } from "node:fs";
import { LineReader } from "./line-reader.ts";
import type { Cancel, Timers } from "./system-timers.ts";

/** Between two looks at a pipe that held little, or a lot. */
const LOOK_MS = { quiet: 25, busy: 2 } as const;
/** What a pipe of Linux holds; more than half of it calls for a look soon. */
const PIPE_BYTES = 65_536;
/** Looks in a row at a child that writes faster than we read, before others get their turn. */
const READS_PER_LOOK = 8;

export class OutputPipe {
  /** For the child; `release` after it was spawned. */
  readonly writeDescriptor: number;
  readonly #readDescriptor: number;
  readonly #reader: LineReader;
  readonly #timers: Timers;
  readonly #buffer = Buffer.allocUnsafe(PIPE_BYTES);
  #cancel: Cancel | undefined;
  #open = true;

  private constructor(path: string, take: (line: string) => void, timers: Timers) {
    this.#readDescriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.writeDescriptor = openSync(path, constants.O_WRONLY);
    this.#reader = new LineReader(take);
    this.#timers = timers;
  }

  /** Undefined where the system has no named pipes. */
  static create(
    path: string,
    take: (line: string) => void,
    timers: Timers,
  ): OutputPipe | undefined {
    try {
      rmSync(path, { force: true });
      execFileSync("mkfifo", ["-m", "600", path], { stdio: "ignore" });
      return existsSync(path) ? new OutputPipe(path, take, timers) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The child has its end: from now on the pipe ends with it. */
  release(): void {
    closeSync(this.writeDescriptor);
    this.#schedule(LOOK_MS.quiet);
  }

  /** Takes everything that the child has written so far. */
  look(): void {
    let bytes = 0;
    for (let reads = 0; this.#open && reads < READS_PER_LOOK; reads += 1) {
      const count = this.#read();
      if (count === 0) break;
      bytes += count;
      this.#reader.push(this.#buffer.subarray(0, count));
      if (count < PIPE_BYTES / 2) break;
    }
    this.#cancel?.();
    if (this.#open) this.#schedule(bytes > PIPE_BYTES / 2 ? LOOK_MS.busy : LOOK_MS.quiet);
  }

  /** After the child's end: takes the rest. */
  finish(): void {
    if (!this.#open) return;
    for (let count = this.#read(); count > 0; count = this.#read()) {
      this.#reader.push(this.#buffer.subarray(0, count));
    }
    this.#reader.end();
    this.#cancel?.();
    this.#open = false;
    closeSync(this.#readDescriptor);
  }

  #schedule(delayMs: number): void {
    this.#cancel = this.#timers.after(delayMs, () => this.look());
  }

  /** 0 when nothing is there: an empty pipe, or one whose writer is gone. */
  #read(): number {
    try {
      return readSync(this.#readDescriptor, this.#buffer, 0, PIPE_BYTES, null);
    } catch {
      return 0;
    }
  }
}
