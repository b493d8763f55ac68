/** What every part of a running platform shares. */
import type { Clock, LogLevel } from "../contract/index.ts";
import type { Capabilities } from "./capabilities.ts";
import type { Cgroups } from "./cgroup.ts";
import type { Layout } from "./layout.ts";
import type { ProcessLog } from "./process-log.ts";
import type { Timers } from "./system-timers.ts";

/** Something that happened to a process; for operators, the developer's terminal, tests. */
export interface PlatformEvent {
  readonly atMs: number;
  readonly level: LogLevel;
  readonly process: string;
  readonly text: string;
}

export interface Surroundings {
  readonly layout: Layout;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly capabilities: Capabilities;
  readonly cgroups: Cgroups | undefined;
  /** Path of the workerd binary. */
  readonly workerd: string;
  readonly openLog: (name: string) => ProcessLog;
  readonly event: (level: LogLevel, process: string, text: string) => void;
  /** A process was spawned or is gone: the list for the next platform changes. */
  readonly processesChanged: () => void;
}
