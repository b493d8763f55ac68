/**
 * One process of the platform, kept alive: the effects of `lifecycle.ts`.
 *
 * S1 A process is up when it answered, never because time has passed.
 * S2 `start` fails as soon as the first child dies before it answered; later deaths are retried
 *    for as long as the platform runs.
 */
import { IsolaError } from "../contract/index.ts";
import { type Child, type ChildExit, type ChildSpec, spawnChild } from "./child.ts";
import type { ProcessName } from "./layout.ts";
import {
  type Life,
  type LifeEffect,
  type LifeEvent,
  RESTART,
  STOPPED,
  stepLife,
} from "./lifecycle.ts";
import type { Cancel, Timers } from "./system-timers.ts";

/** What a kind of process adds. */
export interface ProcessRole {
  readonly name: ProcessName;
  /** Called before each child; makes files, unlinks stale sockets, opens descriptors. */
  prepare(): Promise<Pick<ChildSpec, "command" | "environment" | "descriptors">>;
  /** Right after the child exists. */
  spawned(pid: number): void;
  /** True once it answers; throws for an answer that means it never will. */
  probe(): Promise<boolean>;
  output(line: string): void;
  errorOutput(line: string): void;
  /** What its death means. `expected`: it was asked to end. */
  exited(exit: ChildExit, expected: boolean): { readonly withTenantCode: boolean };
  /** Each change of phase. */
  changed(life: Life): void;
}

export interface ProcessSurroundings {
  readonly timers: Timers;
  readonly now: () => number;
  /** Where its output's pipe lies. */
  readonly outputPath: string;
  /** Where to look when it does not start. */
  readonly logFile: string;
}

interface Waiter {
  resolve(): void;
  reject(error: IsolaError): void;
}

const PROBE_PERIOD_MS = 10;

export class SupervisedProcess {
  readonly #role: ProcessRole;
  readonly #around: ProcessSurroundings;
  #life: Life = STOPPED;
  #child: Child | undefined;
  #cancels: Cancel[] = [];
  #waiters: Waiter[] = [];
  #stopWaiters: (() => void)[] = [];
  #restarts = -1;
  #startedAtMs: number | undefined;
  #lastError = "";

  constructor(role: ProcessRole, around: ProcessSurroundings) {
    this.#role = role;
    this.#around = around;
  }

  get name(): ProcessName {
    return this.#role.name;
  }
  get life(): Life {
    return this.#life;
  }
  get pid(): number | undefined {
    return this.#child?.pid;
  }
  get restarts(): number {
    return Math.max(0, this.#restarts);
  }
  get startedAtMs(): number | undefined {
    return this.#startedAtMs;
  }

  /** Resolves when it answers. Errors: START_FAILED, and what its probe throws. */
  start(): Promise<void> {
    const up = this.#awaitUp();
    this.#apply({ kind: "start" });
    return up;
  }

  /** Ends and starts it again; resolves when it answers. */
  restart(): Promise<void> {
    const up = this.#awaitUp();
    this.#apply({ kind: "restart" });
    return up;
  }

  /** Resolves when nothing of it is left. */
  stop(): Promise<void> {
    const error = this.#failure("it was asked to stop");
    for (const waiter of this.#takeWaiters()) waiter.reject(error);
    const stopped = new Promise<void>((resolve) => this.#stopWaiters.push(resolve));
    this.#apply({ kind: "stop" });
    this.#settleStop();
    return stopped;
  }

  /** Takes what the child has written so far. */
  readOutput(): void {
    this.#child?.readOutput();
  }

  /** Ends the child at once; its role learns of it by `exited`. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  #awaitUp(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  #apply(event: LifeEvent): void {
    const before = this.#life;
    const { life, effects } = stepLife(before, event);
    this.#life = life;
    if (life.phase !== before.phase) {
      this.#cancelTimers();
      this.#role.changed(life);
    }
    for (const effect of effects) this.#perform(effect);
    if (life.phase === "up") for (const waiter of this.#takeWaiters()) waiter.resolve();
    this.#settleStop();
  }

  #perform(effect: LifeEffect): void {
    const { timers } = this.#around;
    switch (effect.kind) {
      case "spawn":
        void this.#spawn();
        break;
      case "signal":
        this.#child?.kill(effect.signal);
        break;
      case "awaitBackoff":
        this.#cancels.push(
          timers.after(effect.delayMs, () => this.#apply({ kind: "backoffOver" })),
        );
        break;
      case "awaitGrace":
        this.#cancels.push(timers.after(effect.delayMs, () => this.#apply({ kind: "graceOver" })));
        break;
    }
  }

  async #spawn(): Promise<void> {
    let prepared: Pick<ChildSpec, "command" | "environment" | "descriptors">;
    try {
      prepared = await this.#role.prepare();
    } catch (error) {
      this.#fail(error);
      this.#apply({ kind: "spawnFailed" });
      return;
    }
    if (this.#life.phase !== "starting") {
      this.#apply({ kind: "spawnFailed" });
      return;
    }
    this.#restarts += 1;
    this.#startedAtMs = this.#around.now();
    const { timers } = this.#around;
    let child: Child | undefined;
    try {
      child = this.#makeChild(prepared);
    } catch (error) {
      this.#fail(error);
      this.#apply({ kind: "spawnFailed" });
      return;
    }
    if (child === undefined) return;
    this.#child = child;
    this.#role.spawned(child.pid);
    const bound = timers.after(RESTART.startBoundMs, () => this.#apply({ kind: "startTimedOut" }));
    this.#cancels.push(bound);
    void this.#probeUntilUp(child);
  }

  #makeChild(prepared: Pick<ChildSpec, "command" | "environment" | "descriptors">) {
    return spawnChild(
      {
        ...prepared,
        outputPath: this.#around.outputPath,
        takeOutput: (line) => this.#role.output(line),
        takeError: (line) => this.#takeError(line),
        takeExit: (exit) => this.#takeExit(exit),
      },
      this.#around.timers,
    );
  }

  async #probeUntilUp(child: Child): Promise<void> {
    while (this.#child === child && this.#life.phase === "starting") {
      try {
        if (await this.#role.probe()) {
          if (this.#child === child) this.#apply({ kind: "answered", atMs: this.#around.now() });
          return;
        }
      } catch (error) {
        this.#fail(error);
        child.kill("SIGKILL");
        return;
      }
      await this.#around.timers.sleep(PROBE_PERIOD_MS);
    }
  }

  #takeError(line: string): void {
    if (line.trim() !== "") this.#lastError = line.slice(0, 500);
    this.#role.errorOutput(line);
  }

  #takeExit(exit: ChildExit): void {
    this.#child = undefined;
    const expected = this.#life.phase === "stopping";
    const { withTenantCode } = this.#role.exited(exit, expected);
    // Only the first start reports failure: whoever waits for a restart waits for the next try.
    if (this.#life.phase === "starting" && this.#restarts === 0) {
      const how = exit.signal ?? (exit.code === undefined ? "not run" : `status ${exit.code}`);
      this.#fail(this.#failure(`it ended (${how}): ${this.#lastError}`));
    }
    this.#apply({ kind: "exited", withTenantCode, atMs: this.#around.now() });
  }

  #fail(error: unknown): void {
    const known = error instanceof IsolaError ? error : this.#failure(String(error), error);
    for (const waiter of this.#takeWaiters()) waiter.reject(known);
  }

  #failure(found: string, cause?: unknown): IsolaError {
    const parts = {
      attempted: `start ${this.#role.name}`,
      found,
      required: `an answer within ${RESTART.startBoundMs / 1_000} s`,
      fix: `read ${this.#around.logFile}`,
    };
    return new IsolaError("START_FAILED", parts, { cause });
  }

  #takeWaiters(): readonly Waiter[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    return waiters;
  }

  #settleStop(): void {
    if (this.#life.phase !== "stopped") return;
    const waiters = this.#stopWaiters;
    this.#stopWaiters = [];
    for (const resolve of waiters) resolve();
  }

  #cancelTimers(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels = [];
  }
}
