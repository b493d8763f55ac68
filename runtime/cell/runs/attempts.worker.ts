/**
 * The attempts of a shard: which begin when, and which are under way.
 *
 * A1 They begin in turns: a few, then the rest of the shard has its own. How late the next turn
 *    comes says how busy the thread is (dispatch-queue.ts).
 * A2 One that is to end before it has begun has ended, and says so; one under way hears it.
 * A3 The time of an attempt counts from when it begins, not from when its turn was waited for.
 * A4 Those that keep the thread busy are shared with the other cells (spread.ts); one that found no
 *    room there is made here.
 * A5 Runs of a namespace that has too much waiting are refused (G8): the others may start.
 */
import { systemClock, toIsolaError } from "../../contract/index.ts";
import type {
  AttemptRef,
  RunHome,
  RunRef,
  RunReport,
  RunRequest,
} from "../../../workflow/index.ts";
import { afterPause, afterThisTick } from "../shard/system-timers.worker.ts";
import { DispatchQueue } from "./dispatch-queue.ts";
import type { Attempter, Attempters, Dispatch, EffectOf, RunsDesk } from "./performers.ts";
import { failed } from "./run-errors.ts";
import { Spread } from "./spread.ts";
import { STAYS, cellsBeside } from "./stays.ts";
import { warn } from "../stdout.worker.ts";

/** Runs of a namespace with attempts, and the octets of these attempts' requests. */
export const ROOM = { runs: 2_000, bytes: 32 * 1024 * 1024 } as const;

/** Between two looks at what waits while nothing begins or ends. */
const LOOK_MS = 10;

interface Job {
  readonly key: string;
  readonly run: RunHome;
  readonly request: RunRequest;
  readonly effect: Dispatch;
  readonly sizeBytes: number;
  readonly addedAtMs: number;
}

interface Load {
  bytes: number;
  /** Attempts, by run. */
  readonly runs: Map<string, number>;
}

interface AttemptsSeams extends RunsDesk {
  /** Undefined for what is not attempted. */
  attempter(op: keyof Attempters): Attempter | undefined;
  /** An attempt begins, so long after it was dispatched. */
  begins(run: RunHome, effect: Dispatch, waitedMs: number): void;
}

export class Attempts {
  readonly #seams: AttemptsSeams;
  readonly #queue = new DispatchQueue<Job>();
  readonly #underWay = new Map<string, AbortController>();
  readonly #spread = new Spread();
  /** Taken from the queue, and waiting for a place here or in another cell. */
  #unplaced: Job[] = [];
  readonly #loads = new Map<string, Load>();
  #isTurnAhead = false;
  #isLookAhead = false;

  constructor(seams: AttemptsSeams) {
    this.#seams = seams;
  }

  /** Whether the namespace may start another run (A5). */
  hasRoom(namespace: string): boolean {
    const load = this.#loads.get(namespace);
    return !load || (load.runs.size < ROOM.runs && load.bytes < ROOM.bytes);
  }

  add(run: RunHome, request: RunRequest, effect: Dispatch): void {
    const addedAtMs = systemClock.now();
    const key = keyOf(run, effect);
    const job = { key, run, request, effect, sizeBytes: sizeOf(effect), addedAtMs };
    this.#count(job, 1);
    this.#queue.push(run.namespace, key, job, addedAtMs);
    this.#go();
  }

  /** A2. */
  cancel(run: RunHome, effect: EffectOf<"cancel">): void {
    const key = keyOf(run, effect);
    const waiting = this.#queue.withdraw(run.namespace, key) ?? this.#unplace(key);
    if (!waiting) {
      this.#underWay.get(key)?.abort();
      return;
    }
    this.#count(waiting, -1);
    this.#seams.report(run, canceled(waiting.effect));
  }

  /** Whether it has not begun (A3). */
  isWaiting(run: RunRef, attempt: AttemptRef): boolean {
    const key = keyOf(run, attempt);
    return this.#queue.has(run.namespace, key) || this.#unplaced.some((one) => one.key === key);
  }

  #go(): void {
    let hasBegun = false;
    for (;;) {
      const job = this.#queue.take(systemClock.now());
      if (!job) break;
      hasBegun = true;
      this.#place(job);
    }
    if (!this.#isTurnAhead && (hasBegun || this.#queue.isHeld)) this.#turnLater();
    // What waits while all that is under way only waits, too, has a larger window soon.
    const isAnyWaiting = this.#queue.size > 0 || this.#unplaced.length > 0;
    if (!this.#isLookAhead && isAnyWaiting) this.#lookLater();
  }

  #lookLater(): void {
    this.#isLookAhead = true;
    const dueMs = systemClock.now() + LOOK_MS;
    afterPause(() => {
      const nowMs = systemClock.now();
      this.#isLookAhead = false;
      const lateMs = Math.max(0, nowMs - dueMs);
      this.#queue.turn(lateMs, nowMs);
      this.#spread.look(lateMs);
      for (const one of this.#unplaced.splice(0)) this.#place(one);
      this.#go();
    }, LOOK_MS);
  }

  #place(job: Job): void {
    const { operation, isSuspect } = job.effect;
    const isApply = operation.op === "apply" && job.request.version !== undefined && !isSuspect;
    const place = isApply
      ? this.#spread.place(operation.function, job.sizeBytes, systemClock.now())
      : "light";
    if (place === undefined) this.#unplaced.push(job);
    else void this.#attempt(job, place);
  }

  /** Takes off what waits for a place. */
  #unplace(key: string): Job | undefined {
    const job = this.#unplaced.find((one) => one.key === key);
    if (!job) return undefined;
    this.#unplaced = this.#unplaced.filter((one) => one !== job);
    this.#queue.done(job.run.namespace, systemClock.now());
    return job;
  }

  async #attempt(job: Job, place: "here" | "away" | "light"): Promise<void> {
    const { key, run, request, addedAtMs } = job;
    const waitedMs = systemClock.now() - addedAtMs;
    const effect = begunLater(job.effect, waitedMs);
    const controller = new AbortController();
    this.#underWay.set(key, controller);
    this.#seams.begins(run, effect, waitedMs);
    const { operation } = effect;
    const attempt = this.#seams.attempter(operation.op as keyof Attempters);
    const asked = place === "away" ? { ...effect, isAway: true as const } : effect;
    const { signal } = controller;
    let report = await made(attempt, { run, request, effect: asked, signal });
    const nowMs = systemClock.now();
    if (place === "away") this.#spread.cameBack(cellsBeside.count, nowMs);
    if (report?.type === "settled" && report.outcome === STAYS) {
      report = await made(attempt, { run, request, effect, signal });
    }
    this.#underWay.delete(key);
    if (place !== "away" && operation.op === "apply") {
      this.#spread.ended(operation.function, place, this.#underWay.size, nowMs);
    }
    this.#count(job, -1);
    this.#queue.done(run.namespace, nowMs);
    if (report) this.#seams.report(run, report);
    for (const one of this.#unplaced.splice(0)) this.#place(one);
    this.#go();
  }

  #turnLater(): void {
    this.#isTurnAhead = true;
    const askedMs = systemClock.now();
    afterThisTick(() => {
      const nowMs = systemClock.now();
      this.#isTurnAhead = false;
      this.#queue.turn(nowMs - askedMs, nowMs);
      this.#spread.turn(nowMs - askedMs);
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

interface Making {
  readonly run: RunHome;
  readonly request: RunRequest;
  readonly effect: Dispatch;
  readonly signal: AbortSignal;
}

/** Attempters answer by a report; a defect of theirs fails the attempt, and holds up nobody. */
async function made(
  attempter: Attempter | undefined,
  { run, request, effect, signal }: Making,
): Promise<RunReport | undefined> {
  try {
    return await attempter?.(run, request, effect, signal);
  } catch (thrown) {
    const { step, token } = effect;
    const error = toIsolaError(thrown, `attempt the step ${step} of the run ${run.id}`);
    warn(error.message);
    return { type: "settled", step, token, outcome: failed(error.toData()) };
  }
}

/** A3. */
function begunLater(effect: Dispatch, byMs: number): Dispatch {
  const { deadlineMs } = effect;
  return deadlineMs === undefined ? effect : { ...effect, deadlineMs: deadlineMs + byMs };
}

function keyOf({ id }: RunRef, { step, token }: AttemptRef): string {
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
