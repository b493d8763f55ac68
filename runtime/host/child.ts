/** One child process: spawned in a group of its own, its output read to the end before its exit. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { LineReader } from "./line-reader.ts";
import { OutputPipe } from "./output-pipe.ts";
import type { Timers } from "./system-timers.ts";

export interface ChildSpec {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Descriptors the child gets from 3 on. */
  readonly descriptors: readonly number[];
  /** Where its standard output gets a name; the folder is the host's own. */
  readonly outputPath: string;
  readonly takeOutput: (line: string) => void;
  readonly takeError: (line: string) => void;
  readonly takeExit: (exit: ChildExit) => void;
}

export interface ChildExit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

export interface Child {
  readonly pid: number;
  /** Takes what it has written so far, before anything is concluded from its silence. */
  readOutput(): void;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

/** Files and sockets that a child makes are open to its directory's group, never to others. */
const CHILD_UMASK = 0o007;
/** Longest wait for the rest of the output of a child that has ended. */
const OUTPUT_BOUND_MS = 200;

function withUmask<T>(run: () => T): T {
  const before = process.umask(CHILD_UMASK);
  try {
    return run();
  } finally {
    process.umask(before);
  }
}

function readLines(stream: Readable | null, take: (line: string) => void): LineReader {
  const reader = new LineReader(take);
  stream?.on("data", (chunk: Buffer) => reader.push(chunk));
  stream?.on("error", () => undefined);
  return reader;
}

const exitOf = (code: number | null, signal: string | null): ChildExit => ({
  code: code ?? undefined,
  signal: signal ?? undefined,
});

/** Undefined if the system refused; `takeExit` is then called all the same. */
export function spawnChild(spec: ChildSpec, timers: Timers): Child | undefined {
  const [file = "", ...args] = spec.command;
  const output = OutputPipe.create(spec.outputPath, spec.takeOutput, timers);
  const stdout = output?.writeDescriptor ?? "pipe";
  const stdio: StdioOptions = ["ignore", stdout, "pipe", ...spec.descriptors];
  // A group of its own: Ctrl-C in the terminal reaches the host alone, which then drains.
  const options = { stdio, env: { ...spec.environment }, detached: true };
  const child: ChildProcess = withUmask(() => spawn(file, args, options));
  output?.release();
  const readers = [
    readLines(child.stdout, spec.takeOutput),
    readLines(child.stderr, spec.takeError),
  ];
  let settled = false;
  const settle = (exit: ChildExit): void => {
    if (settled) return;
    settled = true;
    output?.finish();
    for (const reader of readers) reader.end();
    spec.takeExit(exit);
  };
  child.on("error", (error) => {
    spec.takeError(`cannot run ${file}: ${error.message}`);
    if (child.pid === undefined) settle({ code: undefined, signal: undefined });
  });
  child.on("close", (code, signal) => settle(exitOf(code, signal)));
  child.on("exit", (code, signal) => {
    timers.after(OUTPUT_BOUND_MS, () => settle(exitOf(code, signal)));
  });
  const { pid } = child;
  if (pid === undefined) return undefined;
  const readOutput = (): void => output?.look();
  return { pid, readOutput, kill: (signal) => void child.kill(signal) };
}
