/**
 * The store as one call uses it: the job of its outermost call, and what it took.
 *
 * T1 The job of a call is made at its first use, in a shard of this cell if it has one, and ended
 *    once: when the outermost call has ended and nothing of it that may use the job is left (the
 *    stream of its answer; its `waitUntil`, within a bound). Nothing makes it again.
 * T2 What a call took is decided once, when the call settles: it is gone before an answer without
 *    an error leaves, and back otherwise. What a called function took becomes its caller's with its
 *    answer, so one outcome decides for the whole tree.
 * T3 Namespace, call and job come from the call in flight, never from tenant code; after the call
 *    has ended its scope reaches nothing.
 */
import { waitUntil } from "cloudflare:workers";
import {
  ERRORS,
  IsolaError,
  LIMITS,
  STORE_LIMITS,
  type StoreJobRequest,
  type StoreOpening,
  type StoreResult,
  type StoreTarget,
  newJobId,
  shardOfJob,
} from "../contract/index.ts";
import { CallStoreTarget, RefusingTarget, callEnded } from "./call-store-target.worker.ts";
import type { Cell } from "./cell.worker.ts";
import type { LiveCall, StoreOfCall, Take } from "./live-calls.worker.ts";
import { WireStore } from "./wire-store.worker.ts";

/** From this status on an HTTP function's answer is a failure. */
const FAILURE_STATUS = 400;
/** Pauses after an end of a job that was not heard. */
const END_PAUSES_MS = [500, 2_000, 8_000];
/** How long after the answer `waitUntil` may keep the job. */
const HOLD_MS = 60_000;

/** Stores of calls that are not over. */
const stores = new Map<LiveCall, CallStore>();

/** The job of an outermost call; shared by all calls under it. */
class CallJob {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  /** Another cell made it and will end it. */
  readonly isForeign: boolean;
  isUsed = false;
  isEnded = false;

  constructor(cell: Cell, { envelope }: LiveCall) {
    this.id = envelope.sj ?? `${String(shardFor(cell, envelope.id))}-${envelope.id}`;
    this.isForeign = envelope.sj !== undefined;
    this.namespace = envelope.ns;
    this.name = envelope.fn;
  }

  get request(): Omit<StoreJobRequest, "id" | "namespace"> {
    return { name: this.name, kind: "call", durability: "memory" };
  }
}

class CallStore implements StoreOfCall {
  readonly job: CallJob;
  readonly #cell: Cell;
  readonly #live: LiveCall;
  #takes: Take[] = [];
  /** What still uses the job after the answer. */
  #holds = 0;
  #heldUntilMs = Number.POSITIVE_INFINITY;
  #isStreamed = false;
  #isAnswered = false;
  #isOver = false;

  constructor(cell: Cell, live: LiveCall) {
    this.#cell = cell;
    this.#live = live;
    this.job = live.caller ? storeOf(cell, live.caller).job : new CallJob(cell, live);
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
    if (isOwn) this.job.isUsed = true;
    return reach(this.#cell, {
      namespace: envelope.ns,
      job: id,
      callId: envelope.id,
      ...(isOwn && !this.job.isForeign ? { create: this.job.request } : {}),
    });
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

  /** Makes the job before a call that is placed elsewhere can use it (T1). */
  async prepare(): Promise<void> {
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

  async settle(isDone: boolean): Promise<void> {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    if (this.#holds === 0) await this.#leave(isDone);
    else await this.#decide(isDone);
  }

  drop(): void {
    if (this.#isOver || (this.#isAnswered && this.#holds > 0 && !this.isStale)) return;
    this.#isAnswered = true;
    waitUntil(this.#leave(false));
  }

  async #leave(isDone: boolean): Promise<void> {
    this.#isOver = true;
    stores.delete(this.#live);
    const decided = this.#decide(isDone);
    if (!this.#live.caller) this.#endJob();
    await decided;
  }

  async #decide(isDone: boolean): Promise<void> {
    const takes = this.#takes;
    if (takes.length === 0) return;
    this.#takes = [];
    const caller = this.#live.caller?.store;
    if (isDone && caller?.isOpen === true) {
      for (const take of takes) caller.took(take);
      return;
    }
    const op = isDone ? "acknowledge" : "giveBack";
    const isEnding = !this.#live.caller && !this.job.isForeign;
    const { ns: namespace } = this.#live.envelope;
    await Promise.all(
      takes.map(async ({ job, lease }) => {
        // With the job goes what was taken of it.
        if (isEnding && job === this.job.id) return;
        const target = await reach(this.#cell, { namespace, job });
        await target.run({ op, lease });
      }),
    ).catch(() => undefined);
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
  let store = stores.get(live);
  if (!store) {
    sweepStores();
    store = new CallStore(cell, live);
    live.store = store;
    if (store.isOpen) stores.set(live, store);
  }
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
  await store.settle(isDone);
  if (!store.isStreamed) return answer;
  if (answer instanceof Response && answer.body) return watched(answer, answer.body, store);
  await store.release();
  return answer;
}

/** The same of a call between functions, whose answer is a value whatever it said. */
export async function settleResult(store: StoreOfCall, isDone: boolean): Promise<void> {
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

/** The job that a call placed elsewhere shares; made before, so that only this cell makes it. */
export async function sharedJob(cell: Cell, live: LiveCall): Promise<string | undefined> {
  if (cell.bindings.shards.count === 0) return undefined;
  const store = storeOf(cell, live);
  await store.prepare();
  return store.job.id;
}

/** Ends what was held for longer than its bound; its invocation was dropped in silence. */
export function sweepStores(): void {
  for (const store of stores.values()) if (store.isStale) store.drop();
}

/** A job, wherever its shard is. */
async function reach(cell: Cell, opening: StoreOpening): Promise<StoreTarget> {
  const { shards } = cell.bindings;
  const shard = shardOfJob(opening.job);
  if (shard === undefined || shard >= shards.count) return new RefusingTarget(noSuchJob(opening));
  if (shards.own.includes(shard)) return shards.actor(shard).openStore(opening);
  const wire = new WireStore(cell.supply, shard, opening);
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
