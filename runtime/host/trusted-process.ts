/** Gateway and egress: trusted processes without tenant code, restarted with back-off. */
import type { ChildExit, ChildSpec } from "./child.ts";
import type { ProcessName } from "./layout.ts";
import type { Life } from "./lifecycle.ts";
import { type ProcessRole, SupervisedProcess } from "./supervised-process.ts";
import type { Surroundings } from "./surroundings.ts";
import { type Cancel, within } from "./system-timers.ts";

/** Starts in a row without an answer, after which a process that the platform needs is given up. */
export const FAILED_STARTS_MAX = 7;

/** A trusted process never holds its thread for long: silence of this length, twice, is its end. */
const HEARTBEAT = { periodMs: 5_000, boundMs: 10_000, silences: 2 } as const;

export interface TrustedParts {
  readonly name: ProcessName;
  readonly around: Surroundings;
  readonly prepare: () => Promise<Pick<ChildSpec, "command" | "environment" | "descriptors">>;
  /** The child has what it inherits. */
  readonly spawned?: () => void;
  readonly probe: () => Promise<boolean>;
  readonly changed: (life: Life) => void;
}

export function trustedProcess(parts: TrustedParts): SupervisedProcess {
  const { name, around } = parts;
  const log = around.openLog(name);
  const write = (line: string): void => log.write(`${line}\n`);
  const role: ProcessRole = {
    name,
    prepare: parts.prepare,
    spawned: (pid) => {
      parts.spawned?.();
      around.processesChanged();
      around.event("debug", name, `started with pid ${pid}`);
    },
    probe: parts.probe,
    output: write,
    errorOutput: write,
    exited: (exit: ChildExit, expected: boolean) => {
      around.processesChanged();
      if (!expected) {
        const how = exit.signal ?? `status ${exit.code ?? "unknown"}`;
        around.event("error", name, `died (${how})`);
        write(`isola: died (${how})`);
      }
      return { withTenantCode: false };
    },
    changed: parts.changed,
  };
  return new SupervisedProcess(role, {
    timers: around.timers,
    now: () => around.clock.now(),
    outputPath: around.layout.outputPipe(name),
    logFile: log.path,
  });
}

/** Ends a process that no longer answers; its supervisor brings it back. */
export function watchHeartbeat(
  process: SupervisedProcess,
  probe: () => Promise<boolean>,
  around: Surroundings,
): Cancel {
  let silences = 0;
  let asking = false;
  return around.timers.every(HEARTBEAT.periodMs, () => {
    if (asking || process.life.phase !== "up") return;
    asking = true;
    const { pid } = process;
    const answer = probe().catch(() => true);
    void within(around.timers, HEARTBEAT.boundMs, answer, false).then((answered) => {
      asking = false;
      silences = answered || process.pid !== pid ? 0 : silences + 1;
      if (silences < HEARTBEAT.silences) return;
      silences = 0;
      around.event("error", process.name, "does not answer any more: ended");
      process.kill();
    });
  });
}
