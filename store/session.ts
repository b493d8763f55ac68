/**
 * One user of a job: a client, whose operations take effect at once, or an attempt of a step, whose
 * puts, deletes, expirations and takes take effect when the step commits (G2).
 *
 * E1 `commit` and `abort` happen once; afterwards, or after the job's end, nothing writes through
 *    the session any more: a late attempt is refused.
 * E2 Every answer carries the position it depends on; it leaves after that is committed (S2).
 */
import {
  type FoundObject,
  IsolaError,
  type ListOptions,
  type ListPage,
  type LockResult,
  type ObjectInfo,
  type PutOptions,
  type PutResult,
  STORE_LIMITS,
  type StoreFence,
  type StoredValue,
  type TakeLease,
  type Durability,
  findUncloneable,
} from "../runtime/contract/index.ts";
import type { OperationId } from "./answers.ts";
import { type DecisionParts, Decisions, type Place } from "./decisions.ts";
import type { Guest, Item, Job, Slot } from "./model.ts";
import { ObjectReader, infoOf } from "./reader.ts";
import { checkBucket, checkDuration, checkKey, invalid, jobEnded, lossReason } from "./refusals.ts";
import { cost } from "./space.ts";
import { Overlay, type Surface, TableSurface } from "./surface.ts";
import { Upload } from "./upload.ts";

/** An answer and the position that must be committed before it leaves; 0: none. */
export interface Reply<T> {
  readonly value: T;
  readonly position: number;
}

export interface IncrementOptions {
  /** Default 1. */
  readonly by?: number;
  /** Whether fractions are meant; default: whether `by` is one. */
  readonly isFloat?: boolean;
}

/** What a session is, beyond a client's. */
export interface SessionOptions {
  /** The session is an attempt of it; the job's end abandons it. */
  readonly step?: string;
  /** What is put goes to disk, whatever its options say: with the result of its step. */
  readonly isStrict?: boolean;
  /** Refuses buckets that it has no business in. */
  readonly checkBucket?: (bucket: string) => string;
}

export class Session implements Guest {
  readonly #parts: DecisionParts;
  readonly #job: Job;
  readonly #step: string | undefined;
  readonly #isStrict: boolean;
  readonly #checkBucket: (bucket: string) => string;
  readonly #overlay: Overlay | undefined;
  readonly #surface: Surface;
  readonly #decisions: Decisions;
  #ordinal = 0;
  #state: "open" | "committed" | "aborted" = "open";

  constructor(parts: DecisionParts, job: Job, options: SessionOptions = {}) {
    const { step, isStrict = false } = options;
    this.#parts = parts;
    this.#job = job;
    this.#step = step;
    this.#isStrict = isStrict;
    this.#checkBucket = options.checkBucket ?? checkBucket;
    this.#overlay = step === undefined ? undefined : new Overlay(parts, job);
    this.#surface = this.#overlay ?? new TableSurface(parts, job);
    this.#decisions = new Decisions(parts, job, this.#overlay);
    if (this.#overlay) job.guests.add(this);
  }

  /** Conditions make it an immediate operation. Errors: `STORE_FULL`, `KEY_INVALID`, … */
  async put(
    bucket: string,
    key: string,
    source: StoredValue | Upload,
    options: PutOptions = {},
    operation?: OperationId,
  ): Promise<Reply<PutResult>> {
    const place = this.#place(bucket, key, isConditional(options), operation, options.fence);
    checkOptions(options);
    const durability = this.#durability(options);
    return this.#placed(source, durability, async (slot) => {
      const item = this.#item(slot, durability, options);
      if (isConditional(options)) return this.#decisions.put(place, item, options);
      place.check();
      this.#surface.put(bucket, key, item);
      return { stored: true, version: item.version };
    });
  }

  /** A value that arrives in chunks; finished, it is the source of a put. */
  upload(durability?: Durability): Upload {
    this.#checkWritable();
    const asked = this.#isStrict ? "disk" : durability;
    return new Upload(this.#parts, this.#job, "bytes", asked ?? this.#job.durability);
  }

  /** Errors: `VALUE_LOST`, `BODY_TOO_LARGE`. */
  async get(bucket: string, key: string): Promise<Reply<FoundObject | undefined>> {
    const reader = this.open(bucket, key).value;
    if (!reader) return this.#reply(undefined);
    try {
      const found = { info: reader.info, value: await reader.whole() };
      return this.#reply(found);
    } finally {
      reader.release();
    }
  }

  /**
   * Octets in memory, in one piece and without a copy, if what they depend on is on disk up to
   * `durable`; undefined: ask `open`, which also says what is wrong.
   */
  glance(bucket: string, key: string, durable: number): Uint8Array | undefined {
    if (this.#job.position > durable) return undefined;
    const item = this.#find(bucket, key);
    const value = item?.slot.memory;
    // What is idle later is due later: that is the long way's business.
    if (!item || value?.kind !== "bytes" || item.idleMs !== undefined) return undefined;
    if (value.sizeBytes > STORE_LIMITS.inlineReadMaxBytes || value.chunks.length !== 1) {
      return undefined;
    }
    this.#parts.space.touch(item.slot);
    this.#job.meter.count(0, value.sizeBytes);
    return value.chunks[0];
  }

  /** For reading in ranges; release it. Errors: `VALUE_LOST`. */
  open(bucket: string, key: string): Reply<ObjectReader | undefined> {
    const item = this.#find(bucket, key);
    if (!item) return this.#reply(undefined);
    this.#parts.space.hold(item.slot);
    return this.#reply(new ObjectReader(this.#parts, infoOf(bucket, key, item), item.slot));
  }

  /** Looks without reading; counts as a use. Errors: `VALUE_LOST`. */
  stat(bucket: string, key: string): Reply<ObjectInfo | undefined> {
    const item = this.#find(bucket, key);
    this.#job.meter.count(0, 0);
    return this.#reply(item && infoOf(bucket, key, item));
  }

  /**
   * Reads once: deleted with the attempt's commit, back with its abort. A client passes `leaseMs`
   * and decides with `acknowledge` or `giveBack`. The reader is to be released.
   */
  take(
    bucket: string,
    key: string,
    leaseMs?: number,
  ): Reply<(Partial<TakeLease> & { readonly reader: ObjectReader }) | undefined> {
    this.#checkOpen();
    this.#checkBucket(bucket);
    checkKey(key);
    checkDuration("leaseMs", leaseMs, STORE_LIMITS.leaseMaxMs);
    if (!this.#overlay && leaseMs === undefined) {
      throw invalid("take an object", "no leaseMs", "leaseMs outside of an attempt");
    }
    const taken = this.#surface.take(bucket, key, leaseMs);
    if (!taken) return this.#reply(undefined);
    const { item, lease } = taken;
    // The overlay passes a hold on; a lease has its own.
    if (!this.#overlay) this.#parts.space.hold(item.slot);
    const reader = new ObjectReader(this.#parts, infoOf(bucket, key, item), item.slot);
    if (this.#overlay || lease?.untilMs === undefined) return this.#reply({ reader });
    return this.#reply({ reader, lease: lease.id, leaseUntilMs: lease.untilMs });
  }

  /** Errors: `LOCK_STALE`. */
  acknowledge(lease: number): Reply<void> {
    this.#parts.leases.acknowledge(this.#job, lease);
    return this.#reply(undefined);
  }

  /** Errors: `LOCK_STALE`. */
  giveBack(lease: number): Reply<void> {
    this.#parts.leases.giveBack(this.#job, lease);
    return this.#reply(undefined);
  }

  /** Whether there was something. */
  delete(bucket: string, key: string): Reply<boolean> {
    this.#checkOpen();
    this.#checkBucket(bucket);
    checkKey(key);
    this.#job.meter.count(0, 0);
    return this.#reply(this.#surface.remove(bucket, key));
  }

  /** Sets both times anew; undefined takes one off. False if there is nothing. */
  expire(
    bucket: string,
    key: string,
    times: { readonly ttlMs?: number; readonly idleMs?: number },
  ): Reply<boolean> {
    this.#checkOpen();
    this.#checkBucket(bucket);
    checkKey(key);
    const ttlMs = checkDuration("ttlMs", times.ttlMs, STORE_LIMITS.ttlMaxMs);
    const idleMs = checkDuration("idleMs", times.idleMs, STORE_LIMITS.ttlMaxMs);
    this.#job.meter.count(0, 0);
    const expiresAtMs = ttlMs === undefined ? undefined : this.#parts.clock.now() + ttlMs;
    return this.#reply(this.#surface.retime(bucket, key, expiresAtMs, idleMs));
  }

  list(bucket: string, options: ListOptions = {}): Reply<ListPage> {
    this.#checkOpen();
    this.#checkBucket(bucket);
    const limit = options.limit ?? STORE_LIMITS.listMaxKeys;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > STORE_LIMITS.listMaxKeys) {
      throw invalid("list", `limit ${String(limit)}`, `1 to ${String(STORE_LIMITS.listMaxKeys)}`);
    }
    this.#job.meter.count(0, 0);
    const objects: ObjectInfo[] = [];
    const lost = lossReason(this.#job);
    const rest = lost === undefined ? {} : { lost };
    for (const [key, item] of this.#surface.names(bucket, options.prefix ?? "", options.cursor)) {
      const last = objects.at(-1);
      if (objects.length >= limit && last)
        return this.#reply({ objects, cursor: last.key, ...rest });
      objects.push(infoOf(bucket, key, item));
    }
    return this.#reply({ objects, ...rest });
  }

  /** Errors: `COUNTER_INVALID`. */
  async increment(
    bucket: string,
    key: string,
    { by = 1, isFloat = !Number.isInteger(by) }: IncrementOptions = {},
    operation?: OperationId,
  ): Promise<Reply<number>> {
    const place = this.#place(bucket, key, true, operation);
    if (!Number.isFinite(by)) throw invalid("count", String(by), "a finite step");
    this.#job.meter.count(0, 0);
    const value = await this.#decisions.add(place, by, isFloat);
    return this.#reply(value);
  }

  async getPut(
    bucket: string,
    key: string,
    source: StoredValue,
    operation?: OperationId,
  ): Promise<Reply<StoredValue | undefined>> {
    const place = this.#place(bucket, key, true, operation);
    const durability = this.#durability({});
    return this.#placed(source, durability, async (slot) =>
      this.#decisions.getPut(place, this.#item(slot, durability, {})),
    );
  }

  /** `expected` undefined: only if there is nothing. */
  async compareAndSet(
    bucket: string,
    key: string,
    expected: StoredValue | undefined,
    next: StoredValue,
    options: PutOptions = {},
    operation?: OperationId,
  ): Promise<Reply<PutResult>> {
    const place = this.#place(bucket, key, true, operation, options.fence);
    checkOptions(options);
    const durability = this.#durability(options);
    return this.#placed(next, durability, async (slot) =>
      this.#decisions.compareAndSet(place, expected, this.#item(slot, durability, options)),
    );
  }

  lock(name: string, leaseMs: number, operation?: OperationId): Reply<LockResult> {
    const place = this.#place("locks", name, true, operation);
    checkDuration("leaseMs", leaseMs, STORE_LIMITS.leaseMaxMs);
    return this.#reply(this.#decisions.lock(place, leaseMs));
  }

  /** Errors: `LOCK_STALE`. */
  renew(name: string, token: number, leaseMs: number): Reply<LockResult> {
    const place = this.#place("locks", name, false, undefined);
    checkDuration("leaseMs", leaseMs, STORE_LIMITS.leaseMaxMs);
    return this.#reply(this.#decisions.renew(place, token, leaseMs));
  }

  /** Errors: `LOCK_STALE`. */
  unlock(name: string, token: number, operation?: OperationId): Reply<void> {
    const place = this.#place("locks", name, true, operation);
    this.#decisions.unlock(place, token);
    return this.#reply(undefined);
  }

  /** The step's result stands: call it in the tick that records it. Answers the position. */
  commit(): number {
    this.#checkWritable();
    this.#end("committed");
    this.#overlay?.commit();
    if (this.#step !== undefined) this.#parts.answers.settle(this.#job, this.#step);
    return this.#job.position;
  }

  /** Whether it can still be committed. */
  get isOpen(): boolean {
    return this.#state === "open" && this.#job.endedAtMs === undefined;
  }

  /** The attempt failed or is over; harmless after `commit` or a job's end. */
  abort(): void {
    if (this.#state !== "open") return;
    this.#end("aborted");
    this.#overlay?.abort();
  }

  abandon(): void {
    this.abort();
  }

  #end(state: "committed" | "aborted"): void {
    this.#state = state;
    this.#job.guests.delete(this);
  }

  /** Places a value, uses it, and drops it unless something holds it by then. */
  async #placed<T>(
    source: StoredValue | Upload,
    durability: Durability,
    use: (slot: Slot) => Promise<T>,
  ): Promise<Reply<T>> {
    const slot = await this.#settle(source, durability);
    try {
      this.#checkWritable();
      this.#job.meter.count(slot.sizeBytes, 0);
      return this.#reply(await use(slot));
    } finally {
      this.#parts.space.release(slot);
    }
  }

  async #settle(source: StoredValue | Upload, durability: Durability): Promise<Slot> {
    if (source instanceof Upload) return source.takeOver();
    checkValue(source);
    const { space, mover } = this.#parts;
    for (;;) {
      this.#checkWritable();
      const slot = space.tryPlace(this.#job, source, durability);
      if (slot) return slot;
      if (source.sizeBytes > STORE_LIMITS.inlineMaxBytes) {
        const upload = new Upload(this.#parts, this.#job, source.kind, durability);
        await upload.whole(space.encode(source));
        return upload.takeOver();
      }
      await mover.relief(cost(source.sizeBytes));
    }
  }

  #item(slot: Slot, durability: Durability, options: PutOptions): Item {
    const nowMs = this.#parts.clock.now();
    return {
      slot,
      version: this.#parts.serials.next(),
      persist: options.persist ?? false,
      durable: durability === "disk",
      createdAtMs: nowMs,
      expiresAtMs: options.ttlMs === undefined ? undefined : nowMs + options.ttlMs,
      idleMs: options.idleMs,
      usedAtMs: nowMs,
    };
  }

  #find(bucket: string, key: string): Item | undefined {
    this.#checkOpen();
    this.#checkBucket(bucket);
    checkKey(key);
    const item = this.#surface.current(bucket, key);
    if (item) item.usedAtMs = this.#parts.clock.now();
    return item;
  }

  /** Counts immediate operations of a step in the order in which they are asked. */
  #place(
    bucket: string,
    key: string,
    isImmediate: boolean,
    operation: OperationId | undefined,
    fence?: StoreFence,
  ): Place {
    this.#checkBucket(bucket);
    checkKey(key);
    this.#checkWritable();
    return {
      bucket,
      key,
      operation: operation ?? (isImmediate ? this.#nextOperation() : undefined),
      check: () => {
        this.#checkWritable();
        this.#parts.locks.check(this.#job, fence);
      },
    };
  }

  #nextOperation(): OperationId | undefined {
    if (this.#step === undefined) return undefined;
    this.#ordinal += 1;
    return { step: this.#step, ordinal: this.#ordinal };
  }

  #durability(options: PutOptions): Durability {
    if (options.persist === true || this.#isStrict) return "disk";
    return options.durability ?? this.#job.durability;
  }

  #checkOpen(): void {
    if (this.#state === "open") return;
    if (this.#job.endedAtMs !== undefined) throw jobEnded(this.#job);
    throw new IsolaError("ATTEMPT_ENDED", {
      attempted: `use store job ${this.#job.id}`,
      found: `an attempt that is ${this.#state}`,
    });
  }

  #checkWritable(): void {
    this.#checkOpen();
    if (this.#job.endedAtMs !== undefined) throw jobEnded(this.#job);
  }

  #reply<T>(value: T): Reply<T> {
    return { value, position: this.#job.position };
  }
}

function isConditional(options: PutOptions): boolean {
  return options.ifAbsent === true || options.ifPresent === true || options.ifVersion !== undefined;
}

function checkOptions(options: PutOptions): void {
  checkDuration("ttlMs", options.ttlMs, STORE_LIMITS.ttlMaxMs);
  checkDuration("idleMs", options.idleMs, STORE_LIMITS.ttlMaxMs);
  if (options.ifAbsent !== true) return;
  if (options.ifPresent !== true && options.ifVersion === undefined) return;
  throw invalid("put", "ifAbsent with another condition", "conditions that can hold together");
}

function checkValue(value: StoredValue): void {
  const { sizeBytes } = value;
  const isSized = Number.isSafeInteger(sizeBytes) && sizeBytes >= 0;
  if (!isSized) throw invalid("store a value", `size ${String(sizeBytes)}`, "its size in bytes");
  if (value.kind === "value") {
    const found = findUncloneable(value.value);
    if (!found) return;
    throw invalid("store a value", `${found.kind} at ${found.path}`, "structured-clonable data");
  }
  const bytes = value.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  if (bytes === sizeBytes) return;
  throw new IsolaError("BODY_INCOMPLETE", {
    attempted: "store an object",
    found: `${String(bytes)} bytes`,
    required: `${String(sizeBytes)} bytes`,
  });
}
