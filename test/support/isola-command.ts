// Runs the `isola` command of this checkout, as a user would.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { onTestFinished } from "vitest";

const MAIN = join(import.meta.dirname, "../../runtime/cli/main.ts");
const KILL_AFTER_MS = 15_000;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Program and first arguments. @default this checkout's command */
  readonly program?: readonly string[];
}

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end. */
export async function isola(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const running = startIsola(args, options);
  running.child.stdin?.end(options.input ?? "");
  const status = await running.ended;
  return { status, stdout: running.stdout(), stderr: running.stderr() };
}

export interface RunningCommand {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Exit status; null after a signal. */
  readonly ended: Promise<number | null>;
  /** Waits until the output matches; what it printed is in the error if it does not. */
  said(pattern: RegExp, withinMs?: number): Promise<RegExpMatchArray>;
}

/** Starts a command that goes on; it is ended with the test. */
export function startIsola(args: readonly string[], options: CommandOptions = {}): RunningCommand {
  const [file = "", ...first] = options.program ?? [process.execPath, MAIN];
  const child = spawn(file, [...first, ...args], {
    cwd: options.cwd,
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
      for (const listener of listeners) listener();
    });
  }
  const ended = once(child, "close").then(([status]) => status as number | null);
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
    await ended;
    clearTimeout(timer);
  }, KILL_AFTER_MS + 5_000);
  const all = (): string => output.stdout + output.stderr;
  const said = async (pattern: RegExp, withinMs = 20_000): Promise<RegExpMatchArray> => {
    const until = Date.now() + withinMs;
    for (;;) {
      const match = pattern.exec(all());
      if (match) return match;
      const leftMs = until - Date.now();
      if (leftMs <= 0 || child.exitCode !== null) {
        throw new Error(`isola ${args.join(" ")} did not say ${String(pattern)}:\n${all()}`);
      }
      await new Promise<void>((resume) => {
        const go = (): void => {
          clearTimeout(timer);
          listeners.delete(go);
          resume();
        };
        const timer = setTimeout(go, leftMs);
        listeners.add(go);
        void ended.then(go);
      });
    }
  };
  return { child, stdout: () => output.stdout, stderr: () => output.stderr, ended, said };
}
