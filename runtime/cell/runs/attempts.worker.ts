/**
 * The attempts of a shard: which begin when, and which are under way.
 *
 * A1 They begin in turns: a few, then the rest of the shard has its own. How late the next turn
 *    comes says how busy the thread is (dispatch-queue.ts).
 * A2 One that is to end before it has begun has ended, and says so; one under way hears it.
 * A3 Runs of a namespace that has too much waiting are refused (G8): the others may start.
 */
import { systemClock } from "../../contract/index.ts";
import type { RunHome, RunReport, RunRequest } from "../../../workflow/index.ts";
import { afterThisTick } from "../shard/system-timers.worker.ts";
import { DispatchQueue } from "./dispatch-queue.ts";
import type { Attempter, Attempters, Dispatch, EffectOf, RunsDesk } from "./performers.ts";

/** Runs of a namespace with attempts, and the octets of these attempts' requests. */
export const ROOM = { runs: 2_000, bytes: 32 * 1024 * 1024 } as const;

interface Job {
  readonly key: string;
  readonly run: RunHome;
  readonly request: RunRequest;
  readonly effect: Dispatch;
  readonly sizeBytes: number;
}

interface Load {
  bytes: number;
  /** Attempts, by run. */
  readonly runs: Map<string, number>;
}

interface AttemptsSeams extends RunsDesk {
  /** Undefined for what is not attempted. */
  attempter(op: keyof Attempters): Attempter | undefined;
  /** An attempt begins. */
  begins(run: RunHome, effect: Dispatch): void;
}

export class Attempts {
  readonly #seams: AttemptsSeams;
  readonly #queue = new DispatchQueue<Job>();
  readonly #underWay = new Map<string, AbortController>();
  readonly #loads = new Map<string, Load>();
  #isTurnAhead = false;

  constructor(seams: AttemptsSeams) {
    this.#seams = seams;
  }

  /** Whether the namespace may start another run (A3). */
  hasRoom(namespace: string): boolean {
    const load = this.#loads.get(namespace);
    return !load || (load.runs.size < ROOM.runs && load.bytes < ROOM.bytes);
  }

  add(run: RunHome, request: RunRequest, effect: Dispatch): void {
    const job = { key: keyOf(run, effect), run, request, effect, sizeBytes: sizeOf(effect) };
    this.#count(job, 1);
    this.#queue.push(run.namespace, job.key, job, systemClock.now());
    this.#go();
  }

  /** A2. */
  cancel(run: RunHome, effect: EffectOf<"cancel">): void {
    const key = keyOf(run, effect);
    const waiting = this.#queue.withdraw(run.namespace, key);
    if (!waiting) {
      this.#underWay.get(key)?.abort();
      return;
    }
    this.#count(waiting, -1);
    this.#seams.report(run, canceled(waiting.effect));
  }

  #go(): void {
    let hasBegun = false;
    for (;;) {
      const job = this.#queue.take(systemClock.now());
      if (!job) break;
      hasBegun = true;
      void this.#attempt(job);
    }
    if (!this.#isTurnAhead && (hasBegun || this.#queue.isHeld)) this.#turnLater();
  }

  async #attempt(job: Job): Promise<void> {
    const { key, run, request, effect } = job;
    const controller = new AbortController();
    this.#underWay.set(key, controller);
    this.#seams.begins(run, effect);
    const attempt = this.#seams.attempter(effect.operation.op as keyof Attempters);
    const report = await attempt?.(run, request, effect, controller.signal);
    this.#underWay.delete(key);
    this.#count(job, -1);
    this.#queue.done(run.namespace, systemClock.now());
    if (report) this.#seams.report(run, report);
    this.#go();
  }

  #turnLater(): void {
    this.#isTurnAhead = true;
    const askedMs = systemClock.now();
    afterThisTick(() => {
      const nowMs = systemClock.now();
      this.#isTurnAhead = false;
      this.#queue.turn(nowMs - askedMs, nowMs);
      this.#go();
    });
  }

  #count({ run, sizeBytes }: Job, by: 1 | -1): void {
    const { namespace, id } = run;
    const load = this.#loads.get(namespace) ?? { bytes: 0, runs: new Map<string, number>() };
    load.bytes += by * sizeBytes;
    const attempts = (load.runs.get(id) ?? 0) + by;
    if (attempts > 0) load.runs.set(id, attempts);
    else load.runs.delete(id);
    if (load.runs.size > 0) this.#loads.set(namespace, load);
    else this.#loads.delete(namespace);
  }
}

function keyOf({ id }: RunHome, { step, token }: { step: string; token: number }): string {
  return `${id} ${step} ${String(token)}`;
}

/** Of an asynchronous call: its request's body. */
function sizeOf({ input }: Dispatch): number {
  if ("ref" in input) return input.sizeBytes;
  const value = "value" in input ? (input.value as { readonly body?: unknown } | null) : undefined;
  const body = value?.body;
  return body instanceof Uint8Array ? body.byteLength : 0;
}

function canceled({ step, token }: Dispatch): RunReport {
  const error = { name: "Canceled", message: "the attempt was ended before it began" };
  return { type: "settled", step, token, outcome: { ok: false, error } };
}
