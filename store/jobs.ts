/**
 * Jobs: who owns the data, and its end.
 *
 * J1 A job of another namespace is not found, in the same way as one that never was (G6).
 * J2 When a job ends, every byte it holds in any tier is given back at once, staged, taken and
 *    half-uploaded ones included, except what is persisted (G4).
 * J3 Jobs of calls have a row only once something of theirs has one; they never survive a restart.
 */
import {
  type Clock,
  IsolaError,
  STORE_LIMITS,
  type Sql,
  type StoreJobInfo,
  type StoreJobRequest,
} from "../runtime/contract/index.ts";
import type { Answers } from "./answers.ts";
import { Meter } from "./meter.ts";
import { HELD_BUCKET, type Job } from "./model.ts";
import type { Leases } from "./leases.ts";
import type { Locks } from "./locks.ts";
import {
  checkKey,
  jobEnded,
  jobNotFound,
  lossReason,
  quotaExceeded,
  storeFull,
} from "./refusals.ts";
import { type JobRow, STATEMENTS } from "./schema.ts";
import { Shares } from "./shares.ts";
import type { Serials } from "./serials.ts";
import type { Space } from "./space.ts";
import type { Table } from "./table.ts";

/** Ended jobs that are told from those that never were. */
const TOMBSTONES_MAX = 10_000;
/** Share of the newest mark when it is lower than what was learned. */
const FORGETTING = 0.25;
const MIB = 1024 * 1024;

interface JobSeams {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly serials: Serials;
  readonly space: Space;
}

interface JobParts {
  readonly table: Table;
  readonly locks: Locks;
  readonly leases: Leases;
  readonly answers: Answers;
}

/** What is remembered of a job of which nothing is left. */
type Tombstone = Pick<Job, "endedAtMs" | "id" | "namespace">;

export class Jobs {
  readonly #seams: JobSeams;
  readonly #parts: JobParts;
  readonly #byId = new Map<string, Job>();
  readonly #shares = new Shares();
  readonly #byNumber = new Map<number, Job>();
  /** Ended jobs without anything left, oldest first. */
  readonly #tombstones = new Map<string, Tombstone>();
  /** High-water marks by namespace and workflow. */
  readonly #learned = new Map<string, number>();

  constructor(seams: JobSeams, parts: JobParts) {
    this.#seams = seams;
    this.#parts = parts;
  }

  get count(): number {
    return this.#byId.size;
  }

  /**
   * Creating the same job again answers the one that is there. Errors: `ALREADY_EXISTS`, …
   *
   * @param reopens one that has ended is open again, with what was persisted of it.
   */
  create(request: StoreJobRequest, reopens = false): Job {
    checkKey(request.id, "job id");
    const known = this.#byId.get(request.id);
    const isOwn = known?.namespace === request.namespace;
    if (known && isOwn && known.endedAtMs === undefined) return known;
    if (known && isOwn && reopens) return this.#reopen(known);
    const tombstone = this.#tombstones.get(request.id);
    if (reopens && tombstone?.namespace === request.namespace) this.#tombstones.delete(request.id);
    if (known || this.#tombstones.has(request.id)) {
      throw new IsolaError("ALREADY_EXISTS", {
        attempted: `create store job ${request.id}`,
        found: "one of that id",
      });
    }
    if (this.#byId.size >= STORE_LIMITS.jobsPerShard) {
      throw storeFull(`${String(this.#byId.size)} jobs in the shard`, "STORE_FULL");
    }
    const taken = this.#shares.of(request.namespace);
    if (taken >= STORE_LIMITS.jobsPerNamespace) {
      throw quotaExceeded(
        "create a store job",
        `${String(taken)} jobs of the namespace in a shard`,
      );
    }
    const createdAtMs = this.#seams.clock.now();
    const job = this.#make(this.#seams.serials.next(), { ...request, createdAtMs });
    if (job.kind !== "call") this.record(job);
    this.#seams.space.makeWay(job, this.expectedBytes(job) ?? 0);
    return job;
  }

  /** Errors: `JOB_NOT_FOUND`, `JOB_ENDED`. */
  find(namespace: string, id: string): Job {
    const job = this.#byId.get(id);
    if (job?.namespace === namespace) return job;
    const tombstone = this.#tombstones.get(id);
    if (tombstone?.namespace === namespace) throw jobEnded(tombstone);
    throw jobNotFound(id);
  }

  list(namespace: string): Job[] {
    return [...this.#byId.values()].filter((job) => job.namespace === namespace);
  }

  ofKind(kind: Job["kind"]): Job[] {
    return [...this.#byId.values()].filter((job) => job.kind === kind);
  }

  byNumber(number: number): Job | undefined {
    return this.#byNumber.get(number);
  }

  record(job: Job): void {
    if (job.hasRow) return;
    job.hasRow = true;
    this.#seams.sql.all(
      STATEMENTS.jobInsert,
      job.number,
      job.id,
      job.namespace,
      job.name,
      job.kind,
      job.durability,
      job.workflow ?? null,
      JSON.stringify(job.hints),
      job.createdAtMs,
    );
    this.#seams.space.wrote(job);
  }

  /** After a write-back: the end of the shard's memory takes nothing of these jobs any more. */
  markWritten(): void {
    for (const job of this.#byId.values()) {
      if (!job.isVolatile || !isWritten(job)) continue;
      job.isVolatile = false;
      this.#parts.answers.flush(job);
      this.#seams.sql.all(STATEMENTS.jobWritten, job.number);
      this.#seams.space.wrote(job);
    }
  }

  /** Idempotent. */
  end(job: Job): void {
    if (job.endedAtMs !== undefined) return;
    job.endedAtMs = this.#seams.clock.now();
    for (const guest of job.guests) guest.abandon();
    const { table, locks, leases, answers } = this.#parts;
    leases.dropAll(job);
    table.inBulk(() => {
      for (const bucket of job.buckets.values()) {
        for (const entry of bucket.entries.values()) if (!entry.persist) table.remove(entry);
        if (bucket.entries.size === 0) table.dropBucket(bucket);
      }
      locks.dropAll(job);
      answers.settleAll(job);
      for (const slot of job.slots) if (!slot.entry) this.#seams.space.free(slot);
    });
    this.#learn(job);
    if (job.buckets.size > 0) {
      this.record(job);
      this.#seams.sql.all(STATEMENTS.jobEnd, job.endedAtMs, job.number);
      this.#seams.space.wrote(job);
    } else this.#forget(job);
  }

  /** An ended job goes with its last persisted object. */
  collect(job: Job): void {
    if (job.endedAtMs === undefined || !this.#byNumber.has(job.number)) return;
    for (const bucket of job.buckets.values()) {
      if (bucket.entries.size > 0) return;
    }
    for (const bucket of job.buckets.values()) this.#parts.table.dropBucket(bucket);
    this.#forget(job);
  }

  expectedBytes(job: Job): number | undefined {
    const learned =
      job.workflow === undefined
        ? undefined
        : this.#learned.get(learnedKey(job.namespace, job.workflow));
    const { capacityMb } = job.hints;
    return learned ?? (capacityMb === undefined ? undefined : capacityMb * MIB);
  }

  info(job: Job): StoreJobInfo {
    const lost = lossReason(job);
    const expectedBytes = this.expectedBytes(job);
    let objects = 0;
    // What a run holds by reference is its own.
    const buckets = [...job.buckets.values()].filter(({ name }) => name !== HELD_BUCKET);
    for (const bucket of buckets) objects += bucket.entries.size;
    return {
      id: job.id,
      name: job.name,
      kind: job.kind,
      durability: job.durability,
      createdAtMs: job.createdAtMs,
      ...(job.endedAtMs === undefined ? {} : { endedAtMs: job.endedAtMs }),
      objects,
      buckets: buckets.map(({ name }) => name).sort(),
      ...(expectedBytes === undefined ? {} : { expectedBytes }),
      usage: job.meter.usage(this.#seams.clock.now()),
      ...(lost === undefined ? {} : { lost }),
    };
  }

  restore(row: JobRow): Job {
    const job = this.#make(row.number, {
      ...(row as JobRow & Pick<StoreJobRequest, "kind" | "durability">),
      workflow: row.workflow ?? undefined,
      hints: JSON.parse(row.hints) as StoreJobRequest["hints"] & object,
    });
    job.hasRow = true;
    job.endedAtMs = row.endedAtMs ?? undefined;
    job.lostEpoch = row.lostEpoch ?? undefined;
    return job;
  }

  restoreLearned(namespace: string, workflow: string, bytes: number): void {
    this.#learned.set(learnedKey(namespace, workflow), bytes);
  }

  /** After a restart: ends jobs of calls, whose calls are gone, and what an end left half done. */
  sweep(): void {
    for (const job of this.#byId.values()) {
      if (job.kind === "call") this.end(job);
      this.collect(job);
    }
  }

  #make(
    number: number,
    made: Omit<StoreJobRequest, "workflow"> & {
      createdAtMs: number;
      workflow?: string | undefined;
    },
  ): Job {
    const job: Job = {
      number,
      id: made.id,
      namespace: made.namespace,
      name: made.name,
      kind: made.kind,
      durability: made.durability,
      workflow: made.workflow,
      hints: made.hints ?? {},
      createdAtMs: made.createdAtMs,
      meter: new Meter(this.#seams.clock.now(), this.#seams.space.meterOf(made.namespace)),
      buckets: new Map(),
      slots: new Set(),
      residents: new Set(),
      locks: new Map(),
      answers: new Map(),
      unwritten: new Set(),
      guests: new Set(),
      endedAtMs: undefined,
      hasRow: false,
      isVolatile: false,
      lostEpoch: undefined,
      settled: new Set(),
      position: 0,
      writes: 0,
    };
    this.#byId.set(job.id, job);
    this.#shares.take(job.namespace);
    this.#byNumber.set(number, job);
    return job;
  }

  #reopen(job: Job): Job {
    job.endedAtMs = undefined;
    // Its end freed what was lost, too: from now on what is not there is absent.
    job.isVolatile = false;
    job.lostEpoch = undefined;
    job.settled.clear();
    if (job.hasRow) {
      this.#seams.sql.all(STATEMENTS.jobReopen, job.number);
      this.#seams.space.wrote(job);
    }
    return job;
  }

  #forget(job: Job): void {
    if (this.#byId.delete(job.id)) this.#shares.giveBack(job.namespace);
    this.#byNumber.delete(job.number);
    if (job.hasRow) {
      this.#seams.sql.all(STATEMENTS.jobDelete, job.number);
      this.#seams.space.wrote(job);
    }
    if (job.kind === "call") return;
    this.#tombstones.set(job.id, {
      id: job.id,
      namespace: job.namespace,
      endedAtMs: job.endedAtMs,
    });
    const [oldest] = this.#tombstones.keys();
    if (this.#tombstones.size > TOMBSTONES_MAX && oldest !== undefined) {
      this.#tombstones.delete(oldest);
    }
  }

  /** Up at once, down slowly: memory is asked for before a job needs it, not after. */
  #learn(job: Job): void {
    if (job.workflow === undefined || job.meter.heldHigh === 0) return;
    const key = learnedKey(job.namespace, job.workflow);
    const before = this.#learned.get(key) ?? 0;
    const mark = job.meter.heldHigh;
    const learned = Math.round(Math.max(mark, before + (mark - before) * FORGETTING));
    this.#learned.set(key, learned);
    // Not worth a row while it hardly changes.
    if (Math.abs(learned - before) <= before / 10) return;
    this.#seams.sql.all(STATEMENTS.learnedPut, job.namespace, job.workflow, learned);
    this.#seams.space.wrote(job);
  }
}

function isWritten(job: Job): boolean {
  for (const bucket of job.buckets.values()) {
    for (const entry of bucket.entries.values()) if (!entry.hasRow) return false;
  }
  return true;
}

function learnedKey(namespace: string, workflow: string): string {
  return `${namespace}/${workflow}`;
}
