/**
 * The life of one supervised process: a pure step from (life, event) to (life, effects).
 *
 * P1 Only one child exists at a time: `spawn` is asked for in `stopped` and `waiting` alone.
 * P2 A child that dies with tenant code entered, or after some seconds of health, comes back at
 *    once; any other death waits, longer each time, up to five seconds.
 * P3 `stop` always ends in `stopped`: SIGTERM, then SIGKILL after the grace, then the exit.
 */
import { unreachable } from "../contract/index.ts";

export const RESTART = {
  firstDelayMs: 100,
  maxDelayMs: 5_000,
  /** Time a child may take to its first answer. */
  startBoundMs: 20_000,
  /** Health after which a death is the first one again. */
  healthyAfterMs: 5_000,
  /** Between SIGTERM and SIGKILL. */
  graceMs: 2_000,
} as const;

export type Life =
  | { readonly phase: "stopped" }
  | { readonly phase: "starting"; readonly failures: number }
  | { readonly phase: "up"; readonly failures: number; readonly sinceMs: number }
  /** Between two children, until the back-off is over. */
  | { readonly phase: "waiting"; readonly failures: number }
  /** The child is ended; afterwards either a new one (`again`) or none. */
  | { readonly phase: "stopping"; readonly again: boolean };

export type LifeEvent =
  | { readonly kind: "start" }
  | { readonly kind: "answered"; readonly atMs: number }
  | { readonly kind: "startTimedOut" }
  | { readonly kind: "spawnFailed" }
  | { readonly kind: "exited"; readonly withTenantCode: boolean; readonly atMs: number }
  | { readonly kind: "backoffOver" }
  | { readonly kind: "restart" }
  | { readonly kind: "stop" }
  | { readonly kind: "graceOver" };

export type LifeEffect =
  | { readonly kind: "spawn" }
  | { readonly kind: "signal"; readonly signal: "SIGTERM" | "SIGKILL" }
  | { readonly kind: "awaitBackoff"; readonly delayMs: number }
  | { readonly kind: "awaitGrace"; readonly delayMs: number };

export interface LifeStep {
  readonly life: Life;
  readonly effects: readonly LifeEffect[];
}

export const STOPPED: Life = { phase: "stopped" };

const same = (life: Life): LifeStep => ({ life, effects: [] });

const KILL: LifeEffect = { kind: "signal", signal: "SIGKILL" };
const END: readonly LifeEffect[] = [
  { kind: "signal", signal: "SIGTERM" },
  { kind: "awaitGrace", delayMs: RESTART.graceMs },
];

function spawn(failures: number): LifeStep {
  return { life: { phase: "starting", failures }, effects: [{ kind: "spawn" }] };
}

/** Delay before the next child; `failures` counts from 1. */
export function backoffMs(failures: number): number {
  return Math.min(RESTART.maxDelayMs, RESTART.firstDelayMs * 2 ** (failures - 1));
}

function failed(failures: number): LifeStep {
  const life: Life = { phase: "waiting", failures: failures + 1 };
  return { life, effects: [{ kind: "awaitBackoff", delayMs: backoffMs(failures + 1) }] };
}

/** One transition. Events that come late for a phase change nothing. */
export function stepLife(life: Life, event: LifeEvent): LifeStep {
  switch (life.phase) {
    case "stopped":
      return event.kind === "start" || event.kind === "restart" ? spawn(0) : same(life);
    case "starting":
      return stepStarting(life, event);
    case "up":
      return stepUp(life, event);
    case "waiting":
      if (event.kind === "stop") return same(STOPPED);
      if (event.kind === "restart") return spawn(0);
      return event.kind === "backoffOver" ? spawn(life.failures) : same(life);
    case "stopping":
      return stepStopping(life, event);
    default:
      return unreachable(life, "a process has one of the phases");
  }
}

function stepStarting(life: Life & { phase: "starting" }, event: LifeEvent): LifeStep {
  switch (event.kind) {
    case "answered":
      return same({ phase: "up", failures: life.failures, sinceMs: event.atMs });
    case "startTimedOut":
      return { life, effects: [KILL] };
    case "spawnFailed":
    case "exited":
      return failed(life.failures);
    case "restart":
      return { life: { phase: "stopping", again: true }, effects: END };
    case "stop":
      return { life: { phase: "stopping", again: false }, effects: END };
    default:
      return same(life);
  }
}

function stepUp(life: Life & { phase: "up" }, event: LifeEvent): LifeStep {
  switch (event.kind) {
    case "exited": {
      const healthy = event.atMs - life.sinceMs >= RESTART.healthyAfterMs;
      return event.withTenantCode || healthy ? spawn(0) : failed(life.failures);
    }
    case "restart":
      return { life: { phase: "stopping", again: true }, effects: END };
    case "stop":
      return { life: { phase: "stopping", again: false }, effects: END };
    default:
      return same(life);
  }
}

function stepStopping(life: Life & { phase: "stopping" }, event: LifeEvent): LifeStep {
  switch (event.kind) {
    case "graceOver":
      return { life, effects: [KILL] };
    case "exited":
    case "spawnFailed":
      return life.again ? spawn(0) : same(STOPPED);
    case "stop":
      return same({ phase: "stopping", again: false });
    case "restart":
    case "start":
      return same({ phase: "stopping", again: true });
    default:
      return same(life);
  }
}
