/**
 * The store of a shard: opens what is on disk, keeps jobs, hands out sessions, does what is due.
 *
 * R1 An opening finds everything that was on disk, counts it again, and frees what nobody names:
 *    staged values, jobs of calls, blocks and cold objects without a reference (G4).
 * R2 Errors of the catalogue leave the store as it was. Anything else thrown here is a bug or a
 *    failing disk: the actor must end and open again (S3).
 */
import {
  type Blocks,
  type Clock,
  type ColdTier,
  type IsolaError,
  type Log,
  STORE_LIMITS,
  type Sql,
  type StoreJobInfo,
  type StoreJobRequest,
  type StoreUsage,
  type Timers,
  type ValueCodec,
} from "../runtime/contract/index.ts";
import { Answers } from "./answers.ts";
import type { DecisionParts } from "./decisions.ts";
import { heldGone, heldSession, keepHeld } from "./held.ts";
import { Jobs } from "./jobs.ts";
import { Leases } from "./leases.ts";
import { Locks } from "./locks.ts";
import { HELD_BUCKET, type Job, type Slot } from "./model.ts";
import { Mover } from "./mover.ts";
import { checkBucket, jobEnded } from "./refusals.ts";
import { MIGRATIONS, STATEMENTS, migrationStatement } from "./schema.ts";
import { Serials } from "./serials.ts";
import { type Reply, Session } from "./session.ts";
import { type Budgets, Space } from "./space.ts";
import { Table } from "./table.ts";

export interface StoreSeams {
  readonly sql: Sql;
  readonly log: Log;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly blocks: Blocks;
  readonly codec: ValueCodec;
  readonly cold?: ColdTier;
}

/** Budgets of one shard where nothing else is said. */
export const DEFAULT_BUDGETS: Budgets = {
  memoryBytes: STORE_LIMITS.memoryBytes,
  jobMemoryBytes: STORE_LIMITS.jobMemoryBytes,
  diskBytes: STORE_LIMITS.diskBytes,
  coldBytes: STORE_LIMITS.coldBytes,
  uploadMemoryMaxBytes: STORE_LIMITS.uploadMemoryMaxBytes,
  namespaceBytes: () => 0,
};

export class Store {
  /** Resolves when orphans of former openings are freed; nothing has to wait for it. */
  readonly swept: Promise<void>;
  /** Committed before anything leaves: the opening itself. */
  readonly openedPosition: number;
  readonly epoch: number;
  readonly #seams: StoreSeams;
  readonly #space: Space;
  readonly #mover: Mover;
  readonly #table: Table;
  readonly #jobs: Jobs;
  readonly #parts: DecisionParts;

  /** Opens synchronously: in the first tick of the actor, before its first answer. */
  constructor(seams: StoreSeams, budgets: Partial<Budgets> = {}) {
    this.#seams = seams;
    const { sql, clock } = seams;
    migrate(sql);
    const serials = new Serials(sql);
    this.epoch = serials.epoch;
    const hooks = {
      record: (job: Job) => {
        this.#jobs.record(job);
      },
      named: (slot: Slot) => {
        this.#table.named(slot);
      },
      spill: (slot: Slot) => {
        this.#mover.spill(slot);
      },
      discard: (what: { blocks: string } | { cold: string }) => {
        this.#mover.discard(what);
      },
    };
    const space = new Space({ ...seams, serials }, { ...DEFAULT_BUDGETS, ...budgets }, hooks);
    const mover = new Mover(space, { ...seams, cold: seams.cold }, serials.epoch);
    const answers = new Answers(sql, space);
    const table = new Table({ sql, clock, space, answers, epoch: serials.epoch });
    const locks = new Locks({ sql, clock, space, serials });
    const leases = new Leases({ clock, serials, space, table });
    this.#space = space;
    this.#mover = mover;
    this.#table = table;
    this.#jobs = new Jobs({ sql, clock, serials, space }, { table, locks, leases, answers });
    this.#parts = { clock, space, mover, table, answers, locks, leases, serials };
    this.swept = this.#open();
    this.openedPosition = seams.log.position;
    this.wake();
  }

  /** Idempotent for an open job. Errors: `ALREADY_EXISTS`, `STORE_FULL`, `KEY_INVALID`. */
  createJob(request: StoreJobRequest): Reply<StoreJobInfo> {
    return this.#reply(this.#jobs.create(request));
  }

  /** G4; idempotent while the job is known. Errors: `JOB_NOT_FOUND`, `JOB_ENDED`. */
  endJob(namespace: string, id: string): Reply<StoreJobInfo> {
    const job = this.#jobs.find(namespace, id);
    this.#jobs.end(job);
    return this.#reply(job);
  }

  /** Errors: `JOB_NOT_FOUND`, `JOB_ENDED`. */
  job(namespace: string, id: string): Reply<StoreJobInfo> {
    return this.#reply(this.#jobs.find(namespace, id));
  }

  jobs(namespace: string): readonly StoreJobInfo[] {
    return this.#jobs.list(namespace).map((job) => this.#jobs.info(job));
  }

  /** A client of the job: everything takes effect at once. Errors: `JOB_NOT_FOUND`, … */
  session(namespace: string, id: string): Session {
    return new Session(this.#parts, this.#jobs.find(namespace, id));
  }

  /**
   * An attempt of a step: commit or abort it. Errors: `JOB_NOT_FOUND`, `JOB_ENDED`.
   *
   * @param isStrict what it puts goes to disk, whatever it asks for.
   */
  attempt(namespace: string, id: string, step: string, isStrict = false): Session {
    const job = this.#jobs.find(namespace, id);
    if (job.endedAtMs !== undefined) throw jobEnded(job);
    return new Session(this.#parts, job, { step, isStrict });
  }

  /** The values that a run holds by reference (held.ts). Errors: `JOB_NOT_FOUND`. */
  holder(namespace: string, id: string, step?: string): Session {
    return heldSession(this.#parts, this.#jobs.find(namespace, id), step);
  }

  /** That value outlives the job; false if it is gone. Errors: `JOB_NOT_FOUND`. */
  keepHeld(namespace: string, id: string, key: string): boolean {
    return keepHeld(this.#parts, this.#jobs.find(namespace, id), key);
  }

  /** Frees what the run holds by reference. Errors: `JOB_NOT_FOUND`. */
  dropHeld(namespace: string, id: string): void {
    const bucket = this.#jobs.find(namespace, id).buckets.get(HELD_BUCKET);
    if (bucket) this.#table.destroy(bucket);
  }

  /** What is said of a reference that leads to nothing. Errors: `JOB_NOT_FOUND`. */
  heldGone(namespace: string, id: string, key: string): IsolaError {
    return heldGone(this.#jobs.find(namespace, id), key);
  }

  /** Like `createJob`, also for one that has ended: a run may go on after its end. */
  reopenJob(request: StoreJobRequest): Reply<StoreJobInfo> {
    return this.#reply(this.#jobs.create(request, true));
  }

  /** Jobs of runs, open and ended. */
  runJobs(): readonly { readonly namespace: string; readonly id: string; isOpen: boolean }[] {
    return this.#jobs.ofKind("run").map(({ namespace, id, endedAtMs }) => ({
      namespace,
      id,
      isOpen: endedAtMs === undefined,
    }));
  }

  /** A bucket that is there also while it is empty. */
  createBucket(namespace: string, id: string, bucket: string): Reply<StoreJobInfo> {
    const job = this.#jobs.find(namespace, id);
    if (job.endedAtMs !== undefined) throw jobEnded(job);
    if (!job.buckets.has(checkBucket(bucket))) this.#table.checkRoom(job, bucket);
    this.#table.keepBucket(job, bucket);
    return this.#reply(job);
  }

  /** Removes the bucket and everything in it, persisted or not. */
  destroyBucket(namespace: string, id: string, name: string): Reply<StoreJobInfo> {
    const job = this.#jobs.find(namespace, id);
    const bucket = job.buckets.get(checkBucket(name));
    if (bucket) this.#table.destroy(bucket);
    if (job.lostEpoch !== undefined) job.settled.add(name);
    return this.#reply(job);
  }

  /** Does what is due and says when it wants to be woken next. */
  wake(): void {
    const nowMs = this.#seams.clock.now();
    this.#table.expire(nowMs);
    this.#parts.locks.expire(nowMs);
    this.#parts.leases.expire(nowMs);
    this.plan();
  }

  /** The actor calls it at the end of a tick, before the commit. */
  plan(): void {
    for (const job of this.#table.emptied) this.#jobs.collect(job);
    this.#table.emptied.clear();
    const wheels = [this.#table.wheel, this.#parts.locks.wheel, this.#parts.leases.wheel];
    let atMs: number | undefined;
    for (const wheel of wheels) {
      const nextMs = wheel.nextAtMs();
      if (nextMs !== undefined && (atMs === undefined || nextMs < atMs)) atMs = nextMs;
    }
    this.#seams.timers.wakeAt(atMs);
  }

  /** Writes what memory alone holds, before the runtime evicts the actor. */
  async writeBack(): Promise<void> {
    for (const slot of this.#space.memorySlots()) {
      // A call's job dies with its call, sooner than the actor.
      if (slot.row !== "none" || slot.job.kind === "call") continue;
      if (slot.sizeBytes <= STORE_LIMITS.inlineMaxBytes) this.#space.ensureRow(slot);
      else this.#mover.spill(slot);
    }
    await this.#mover.quiet();
    this.#jobs.markWritten();
  }

  /** Free bytes of the volume beyond the reserve; below what is asked, puts get `DISK_FULL`. */
  set diskFreeBytes(bytes: number) {
    this.#space.diskFreeBytes = Math.max(0, bytes);
  }

  usage(): StoreUsage {
    return this.#space.meter.usage(this.#seams.clock.now());
  }

  usageByNamespace(): ReadonlyMap<string, StoreUsage> {
    const nowMs = this.#seams.clock.now();
    return new Map(
      [...this.#space.namespaces()].map(([name, meter]) => [name, meter.usage(nowMs)]),
    );
  }

  stats(): { jobs: number; objects: number; failedMoves: number } {
    return {
      jobs: this.#jobs.count,
      objects: this.#table.count,
      failedMoves: this.#mover.failures,
    };
  }

  /** Resolves when nothing moves between tiers. */
  async quiet(): Promise<void> {
    await this.swept;
    await this.#mover.quiet();
  }

  /** Reads everything back (R1). The sweep of blocks goes on in the background. */
  #open(): Promise<void> {
    const { sql, clock } = this.#seams;
    sql.all(STATEMENTS.jobsLose);
    sql.all(STATEMENTS.objectsSweep);
    sql.all(STATEMENTS.slotsSweep);
    for (const row of sql.all(STATEMENTS.jobAll)) this.#jobs.restore(row);
    for (const row of sql.all(STATEMENTS.bucketAll)) {
      const job = this.#jobs.byNumber(row.job);
      if (job) this.#table.bucket(job, row.bucket).hasRow = true;
    }
    const slots = new Map<number, Slot>();
    for (const row of sql.all(STATEMENTS.slotAll)) {
      const job = this.#jobs.byNumber(row.job);
      if (job) slots.set(row.id, this.#space.restore(row, job));
    }
    const nowMs = clock.now();
    for (const row of sql.all(STATEMENTS.objectAll)) {
      const job = this.#jobs.byNumber(row.job);
      const slot = slots.get(row.slot);
      if (!job || !slot) continue;
      this.#table.restore(job, row.bucket, row.key, {
        slot,
        version: row.version,
        persist: row.persist === 1,
        durable: row.durable === 1,
        createdAtMs: row.createdAtMs,
        expiresAtMs: row.expiresAtMs ?? undefined,
        idleMs: row.idleMs ?? undefined,
        // When it was last used is not written: its idle time begins anew.
        usedAtMs: nowMs,
      });
    }
    this.#openRest(slots);
    this.#jobs.sweep();
    const all = [...slots.values()].filter((slot) => !slot.isGone);
    const blocks = new Set(all.flatMap((slot) => slot.blocks?.id ?? []));
    return this.#mover.sweep(blocks, new Set(all.flatMap((slot) => slot.cold ?? [])));
  }

  #openRest(slots: ReadonlyMap<number, Slot>): void {
    const { sql } = this.#seams;
    for (const row of sql.all(STATEMENTS.lockAll)) {
      const job = this.#jobs.byNumber(row.job);
      if (job) this.#parts.locks.restore(row, job);
    }
    for (const row of sql.all(STATEMENTS.answerAll)) {
      const job = this.#jobs.byNumber(row.job);
      const slot = row.slot === null ? undefined : slots.get(row.slot);
      if (job) this.#parts.answers.restore(row, job, slot);
    }
    for (const row of sql.all(STATEMENTS.learnedAll)) {
      this.#jobs.restoreLearned(row.namespace, row.workflow, row.bytes);
    }
  }

  #reply(job: Job): Reply<StoreJobInfo> {
    return { value: this.#jobs.info(job), position: job.position };
  }
}

/** Runs the migrations that this file has not had. */
function migrate(sql: Sql): void {
  const isNew = sql.all(STATEMENTS.settingsTable).length === 0;
  const done = isNew ? 0 : (sql.all(STATEMENTS.settingGet, "migrations")[0]?.value ?? 0);
  for (const statements of MIGRATIONS.slice(done)) {
    for (const query of statements) sql.all(migrationStatement(query));
  }
  if (done < MIGRATIONS.length) sql.all(STATEMENTS.settingPut, "migrations", MIGRATIONS.length);
}
