/**
 * The store as one call uses it: the job of its outermost call, and what it took.
 *
 * T1 The job of a call is made at its first use, in a shard of this cell if it has one, and ended
 *    once: when the outermost call has ended and nothing of it that may use the job is left (the
 *    stream of its answer; its `waitUntil`, within a bound). Nothing makes it again, so what is
 *    lost with its shard is an error, not an absence (G5).
 * T2 What a call took is decided once, when the call settles: it is gone before an answer without
 *    an error leaves, and back otherwise; what cannot be made to go is an error of the call. What
 *    a called function took becomes its caller's with its answer: one outcome for the whole tree.
 *    Of an attempt of a run nothing of this is done here: its shard stages what it takes and puts,
 *    also under calls that it makes, and decides it with the step (runs/run-store.ts).
 * T3 Namespace, call and job come from the call in flight, never from tenant code; after the call
 *    has ended its scope reaches nothing.
 */
import { waitUntil } from "cloudflare:workers";
import {
  ERRORS,
  type ErrorCode,
  type ErrorData,
  IsolaError,
  LIMITS,
  STORE_LIMITS,
  type CallEnvelope,
  type StoreAnswers,
  type StoreAttempt,
  type StoreJobRequest,
  type StoreOpening,
  type StoreResult,
  type StoreTarget,
  callUnder,
  newJobId,
  shardOfJob,
} from "../contract/index.ts";
import { CallStoreTarget, RefusingTarget, callEnded } from "./call-store-target.worker.ts";
import type { Cell } from "./cell.worker.ts";
import type { LiveCall, StoreOfCall, Take } from "./live-calls.worker.ts";
import { WireStore } from "./wire-store.worker.ts";

/** From this status on an HTTP function's answer is a failure. */
const FAILURE_STATUS = 400;
/** Refusals after which nothing is there that another could take. */
const GONE: ReadonlySet<ErrorCode> = new Set(["JOB_ENDED", "JOB_NOT_FOUND"]);
/** Pauses after an end of a job that was not heard. */
const END_PAUSES_MS = [500, 2_000, 8_000];
/** How long after the answer `waitUntil` may keep the job. */
const HOLD_MS = 60_000;

/** Stores of calls that are not over. */
const stores = new Set<CallStore>();

/** The job of an outermost call; shared by all calls under it. */
class CallJob {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  /** Another cell made it and will end it. */
  readonly isForeign: boolean;
  isUsed = false;
  /** It is made once: what a restart of its shard took would not be missed otherwise. */
  isMade = false;
  isEnded = false;

  constructor(cell: Cell, { envelope }: LiveCall) {
    // Of an attempt the job of its run, which ends with the run.
    const shared = envelope.rs?.run ?? envelope.sj;
    this.id = shared ?? `${String(shardFor(cell, envelope.id))}-${envelope.id}`;
    this.isForeign = shared !== undefined;
    this.namespace = envelope.ns;
    this.name = envelope.fn;
  }

  get request(): Omit<StoreJobRequest, "id" | "namespace"> {
    return { name: this.name, kind: "call", durability: "memory" };
  }
}

class CallStore implements StoreOfCall {
  readonly job: CallJob;
  /** It works for an attempt of a run: what it writes is staged with that (G2). */
  readonly attempt: StoreAttempt | undefined;
  readonly #cell: Cell;
  readonly #live: LiveCall;
  #takes: Take[] = [];
  /** What still uses the job after the answer. */
  #holds = 0;
  #heldUntilMs = Number.POSITIVE_INFINITY;
  #isStreamed = false;
  #isAnswered = false;
  #isOver = false;
  #ordinal = 0;

  constructor(cell: Cell, live: LiveCall) {
    this.#cell = cell;
    this.#live = live;
    const caller = live.caller && storeOf(cell, live.caller);
    this.job = caller?.job ?? new CallJob(cell, live);
    this.attempt = caller?.attempt ? callUnder(caller.attempt, live.number) : live.envelope.rs;
    if (!live.hasLeft) return;
    // First used after the answer: what still works then says so before.
    this.#isAnswered = true;
    if (live.isWorking) this.hold();
    else this.#isOver = true;
    if (!live.caller && this.#isOver) this.job.isEnded = true;
  }

  get isStreamed(): boolean {
    return this.#isStreamed;
  }

  get isOpen(): boolean {
    return !this.#isOver && !this.job.isEnded;
  }

  get isStale(): boolean {
    const isHeld = this.#isAnswered && !this.#isOver;
    return isHeld && this.#heldUntilMs < this.#cell.now();
  }

  /** @param jobId whatever tenant code says; undefined: the call's own job. */
  async open(jobId: unknown): Promise<StoreTarget> {
    const isOwn = typeof jobId !== "string" || jobId === this.job.id;
    if (!this.isOpen) return new RefusingTarget(callEnded());
    const id = typeof jobId === "string" ? jobId : this.job.id;
    const { envelope } = this.#live;
    const opening = { namespace: envelope.ns, job: id, callId: envelope.id };
    if (isOwn && this.attempt) return reach(this.#cell, { ...opening, attempt: this.attempt });
    if (!isOwn || this.job.isForeign || this.job.isMade) return reach(this.#cell, opening);
    this.job.isUsed = true;
    const target = await reach(this.#cell, { ...opening, create: this.job.request });
    this.job.isMade = true;
    return target;
  }

  /**
   * A job that lives until it is ended; in this cell's shards if it has one.
   *
   * @param request whatever tenant code says; the store refuses what is wrong in it.
   */
  async create(request: unknown): Promise<StoreResult> {
    if (!this.isOpen) return { ok: false, error: callEnded().toData() };
    const { envelope } = this.#live;
    const shard = shardFor(this.#cell, envelope.id);
    const job = newJobId(shard, this.#cell.random);
    const target = reach(this.#cell, { namespace: envelope.ns, job });
    const { name, durability, hints } = (request ?? {}) as Partial<StoreJobRequest>;
    return (await target).run({
      op: "createJob",
      kind: "client",
      name: name ?? envelope.fn,
      durability: durability ?? "memory",
      ...(hints === undefined ? {} : { hints }),
    });
  }

  /** Makes the job before a call that is placed elsewhere can use it (T1); runs make theirs. */
  async prepare(): Promise<void> {
    if (this.attempt) return;
    const target = await this.open(undefined);
    await target.run({ op: "job" });
  }

  get leaseMs(): number {
    const { dl } = this.#live.envelope;
    if (dl === 0) return STORE_LIMITS.leaseMaxMs;
    const leftMs = dl - this.#cell.now() + LIMITS.graceMs + HOLD_MS;
    return Math.min(Math.max(leftMs, 1), STORE_LIMITS.leaseMaxMs);
  }

  took(take: Take): boolean {
    if (!this.isOpen) return false;
    this.#takes.push(take);
    return true;
  }

  nextOrdinal(): number {
    this.#ordinal += 1;
    return this.#ordinal;
  }

  passOver(ordinal: number): void {
    if (ordinal === this.#ordinal) this.#ordinal -= 1;
  }

  hold(): void {
    this.#holds += 1;
    if (!this.#isStreamed) this.#heldUntilMs = this.#cell.now() + HOLD_MS;
  }

  holdStream(): void {
    if (this.#isStreamed || this.#isAnswered) return;
    this.#isStreamed = true;
    this.#holds += 1;
    // Whoever sends the stream sees its end; this is for the end that nobody saw.
    this.#heldUntilMs = this.#cell.now() + LIMITS.timeoutMaxMs;
  }

  async release(): Promise<void> {
    if (this.#holds === 0 || --this.#holds > 0) return;
    if (this.#isAnswered) await this.#leave(true);
  }

  async settle(isDone: boolean): Promise<ErrorData | undefined> {
    if (this.#isAnswered) return undefined;
    this.#isAnswered = true;
    return this.#holds === 0 ? this.#leave(isDone) : this.#decide(isDone);
  }

  drop(): void {
    if (this.#isOver || (this.#isAnswered && this.#holds > 0 && !this.isStale)) return;
    this.#isAnswered = true;
    waitUntil(this.#leave(false));
  }

  async #leave(isDone: boolean): Promise<ErrorData | undefined> {
    this.#isOver = true;
    stores.delete(this);
    const decided = this.#decide(isDone);
    if (!this.#live.caller) this.#endJob();
    return decided;
  }

  async #decide(isDone: boolean): Promise<ErrorData | undefined> {
    const takes = this.#takes;
    if (takes.length === 0) return undefined;
    this.#takes = [];
    const caller = this.#live.caller?.store;
    if (isDone && caller?.isOpen === true) {
      for (const take of takes) caller.took(take);
      return undefined;
    }
    const errors = await Promise.all(takes.map((take) => this.#decideOne(take, isDone)));
    return isDone ? errors.find((error) => error !== undefined) : undefined;
  }

  async #decideOne({ job, lease, found }: Take, isDone: boolean): Promise<ErrorData | undefined> {
    // With the job goes what was taken of it.
    if (!this.#live.caller && !this.job.isForeign && job === this.job.id) return undefined;
    try {
      const target = await reach(this.#cell, { namespace: this.job.namespace, job });
      const result = await target.run({ op: isDone ? "acknowledge" : "giveBack", lease });
      if (result.ok || GONE.has(result.error.code)) return undefined;
      if (result.error.code !== "LOCK_STALE") return result.error;
      // Destroyed or put over since, it is gone; after a restart of its shard it is back.
      const { bucket, key, version } = found;
      const stat = await target.run({ op: "stat", bucket, key });
      const isBack = stat.ok && (stat.answer as StoreAnswers["stat"]).found?.version === version;
      return isBack ? result.error : undefined;
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      const parts = { attempted: "decide a take", found: message };
      return new IsolaError("CELL_RESTARTING", parts).toData();
    }
  }

  #endJob(): void {
    const { job } = this;
    if (job.isEnded) return;
    job.isEnded = true;
    if (!job.isUsed || job.isForeign) return;
    waitUntil(this.#sayEnd(job).catch(() => undefined));
  }

  /** Again, if not heard: a gateway may be starting. A shard that is, has dropped the job. */
  async #sayEnd({ namespace, id }: CallJob): Promise<void> {
    for (const pauseMs of END_PAUSES_MS) {
      const target = await reach(this.#cell, { namespace, job: id });
      const result = await target.run({ op: "endJob" });
      if (result.ok || !ERRORS[result.error.code].retryable) return;
      await scheduler.wait(pauseMs);
    }
  }
}

/** The call's store; made at first use, with those of its callers. */
export function storeOf(cell: Cell, live: LiveCall): CallStore {
  if (live.store instanceof CallStore) return live.store;
  sweepStores();
  const store = new CallStore(cell, live);
  live.store = store;
  if (store.isOpen) stores.add(store);
  return store;
}

/**
 * The call answered: decides what it took, and keeps the job while a streamed answer is read.
 *
 * @returns the answer to send.
 */
export async function settleAnswer(
  store: StoreOfCall,
  answer: Response | IsolaError,
): Promise<Response | IsolaError> {
  const isDone = answer instanceof Response && answer.status < FAILURE_STATUS;
  const error = await store.settle(isDone);
  const told = error ? IsolaError.fromData(error) : answer;
  if (!store.isStreamed) return told;
  if (told instanceof Response && told.body) return watched(told, told.body, store);
  await store.release();
  return told;
}

/** The same of a call between functions, whose answer is a value whatever it said. */
export async function settleResult(store: StoreOfCall, isDone: boolean): Promise<void> {
  // What it took is its caller's now, whose answer decides.
  await store.settle(isDone);
  if (store.isStreamed) await store.release();
}

function watched(answer: Response, body: ReadableStream, store: StoreOfCall): Response {
  const length = answer.headers.get("content-length");
  const { readable, writable } =
    length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
  waitUntil(
    body
      .pipeTo(writable)
      .catch(() => undefined)
      .then(() => store.release()),
  );
  return new Response(readable, answer);
}

/**
 * What a call placed elsewhere has of its caller's job: the job, made before, so that only this
 * cell makes it; or the attempt that both work for.
 */
export async function sharedStore(
  cell: Cell,
  caller: LiveCall,
): Promise<Pick<CallEnvelope, "sj" | "rs">> {
  if (cell.bindings.shards.count === 0) return {};
  const store = storeOf(cell, caller);
  const { job, attempt } = store;
  if (attempt) {
    caller.callsMade += 1;
    return { rs: { run: job.id, ...callUnder(attempt, caller.callsMade) } };
  }
  await store.prepare();
  return { sj: job.id };
}

/** Ends what was held for longer than its bound; its invocation was dropped in silence. */
export function sweepStores(): void {
  for (const store of stores) if (store.isStale) store.drop();
}

/** A job, wherever its shard is. */
async function reach(cell: Cell, opening: StoreOpening): Promise<StoreTarget> {
  const { shards } = cell.bindings;
  const shard = shardOfJob(opening.job);
  if (shard === undefined || shard >= shards.count) return new RefusingTarget(noSuchJob(opening));
  if (shards.own.includes(shard)) return shards.actor(shard).openStore(opening);
  const wire = new WireStore(cell.supply, shard, opening);
  const refusal = await wire.create();
  if (refusal) return new RefusingTarget(IsolaError.fromData(refusal));
  return opening.callId === undefined
    ? wire
    : new CallStoreTarget(wire, { job: opening.job, callId: opening.callId });
}

/** One of this cell's shards, or any where it has none; the same for the same call. */
function shardFor(cell: Cell, callId: string): number {
  const { own, count } = cell.bindings.shards;
  const bits = Number.parseInt(callId.slice(0, 8), 16);
  const shard = own.length > 0 ? own[bits % own.length] : bits % count;
  if (shard !== undefined && !Number.isNaN(shard)) return shard;
  throw new IsolaError("INTERNAL", {
    attempted: "choose a shard for a store job",
    found: `${String(count)} shards`,
    required: "at least one",
  });
}

function noSuchJob({ job }: StoreOpening): IsolaError {
  return new IsolaError("JOB_NOT_FOUND", {
    attempted: "open a store job",
    found: `none ${JSON.stringify(job.slice(0, 100))} in this namespace`,
  });
}
