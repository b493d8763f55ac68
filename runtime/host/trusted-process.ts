/** Gateway and egress: trusted processes without tenant code, restarted with back-off. */
import type { ChildExit, ChildSpec } from "./child.ts";
import type { ProcessName } from "./layout.ts";
import type { Life } from "./lifecycle.ts";
import { type ProcessRole, SupervisedProcess } from "./supervised-process.ts";
import type { Surroundings } from "./surroundings.ts";

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
