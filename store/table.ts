/**
 * The object table: which name holds which slot, in memory and, where the slot has one, in a row.
 *
 * T1 One entry per name; replacing it releases the value before.
 * T2 What a restart finds is the newest version or nothing: a name that memory alone holds has no
 *    row, and its job says on disk that a restart loses something (V1, G5).
 * T3 After a loss, a name about which nothing is known since is refused with `VALUE_LOST`, not
 *    reported as absent.
 */
import { type Clock, STORE_LIMITS, type Sql } from "../runtime/contract/index.ts";
import type { Answers } from "./answers.ts";
import { Bulk } from "./bulk.ts";
import {
  HELD_BUCKET,
  type Bucket,
  type Entry,
  type Item,
  type Job,
  type Slot,
  deadlineMs,
  isExpired,
} from "./model.ts";
import { quotaExceeded, storeFull, valueLost } from "./refusals.ts";
import { STATEMENTS } from "./schema.ts";
import { Shares } from "./shares.ts";
import { SortedKeys } from "./sorted-keys.ts";
import type { Space } from "./space.ts";
import { Wheel } from "./wheel.ts";

export interface TableSeams {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly space: Space;
  readonly answers: Answers;
  readonly epoch: number;
}

export class Table {
  readonly wheel = new Wheel<Entry>();
  /** Ended jobs of which a bucket got empty: perhaps nothing persisted is left. */
  readonly emptied = new Set<Job>();
  #count = 0;
  readonly #shares = new Shares();
  readonly #bulk = new Bulk<Bucket, string>(({ job, name }, keys) => {
    this.#seams.sql.all(STATEMENTS.objectDeleteMany, job.number, name, keys);
  });
  readonly #seams: TableSeams;

  constructor(seams: TableSeams) {
    this.#seams = seams;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Refuses a name that a put could not add; one that is there may change. Without a key: a bucket.
   * Errors: `STORE_FULL`, `QUOTA_EXCEEDED`.
   */
  checkRoom(job: Job, bucketName: string, key?: string): void {
    if (key !== undefined && job.buckets.get(bucketName)?.entries.has(key) === true) return;
    if (this.#count >= STORE_LIMITS.objectsPerShard) {
      throw storeFull(`${String(this.#count)} objects in the shard`, "STORE_FULL");
    }
    const taken = this.#shares.of(job.namespace);
    if (taken >= STORE_LIMITS.objectsPerNamespace) {
      throw quotaExceeded(
        "store an object",
        `${String(taken)} objects of the namespace in a shard`,
      );
    }
    const isNew = !job.buckets.has(bucketName);
    if (isNew && job.buckets.size >= STORE_LIMITS.bucketsPerJob) {
      const found = `${String(job.buckets.size)} buckets in the job`;
      throw quotaExceeded(`open bucket ${bucketName}`, found);
    }
  }

  bucket(job: Job, name: string): Bucket {
    const known = job.buckets.get(name);
    if (known) return known;
    const made = { job, name, entries: new Map(), keys: new SortedKeys(), hasRow: false };
    job.buckets.set(name, made);
    return made;
  }

  /** A bucket that is there also while it is empty. */
  keepBucket(job: Job, name: string): void {
    const bucket = this.bucket(job, name);
    if (bucket.hasRow || !job.hasRow) return;
    bucket.hasRow = true;
    this.#seams.sql.all(STATEMENTS.bucketInsert, job.number, name);
    this.#seams.space.wrote(job);
  }

  /** The entry, taken or not; what has expired goes first. Errors: `VALUE_LOST`. */
  find(job: Job, bucketName: string, key: string): Entry | undefined {
    const entry = job.buckets.get(bucketName)?.entries.get(key);
    if (entry && isExpired(entry, this.#seams.clock.now())) {
      this.remove(entry);
      return undefined;
    }
    if (!entry && !isSettled(job, bucketName, key)) throw valueLost(job, bucketName, key);
    return entry;
  }

  /** Like `find`, for those who change the name whatever it held. */
  peek(job: Job, bucketName: string, key: string): Entry | undefined {
    const entry = job.buckets.get(bucketName)?.entries.get(key);
    if (!entry || !isExpired(entry, this.#seams.clock.now())) return entry;
    this.remove(entry);
    return undefined;
  }

  /** Names the item's slot; the entry holds it. Never refuses: `checkRoom` did. */
  put(job: Job, bucketName: string, key: string, item: Item): Entry {
    const bucket = this.bucket(job, bucketName);
    const old = bucket.entries.get(key);
    const { space } = this.#seams;
    const { slot } = item;
    const entry: Entry = {
      ...item,
      bucket,
      key,
      hasRow: old?.hasRow ?? false,
      lease: undefined,
      isGone: false,
    };
    space.hold(slot);
    slot.entry = entry;
    bucket.entries.set(key, entry);
    if (old) this.#retire(old);
    else {
      bucket.keys.add(key);
      this.#count += 1;
      this.#shares.take(job.namespace);
    }
    if (slot.row !== "none") this.#writeRow(entry);
    else if (item.durable) space.ensureRow(slot);
    else this.#beVolatile(entry);
    this.wheel.set(entry, deadlineMs(entry));
    this.settle(job, bucketName, key);
    return entry;
  }

  remove(entry: Entry): void {
    const { bucket, key } = entry;
    if (entry.isGone) return;
    bucket.entries.delete(key);
    bucket.keys.remove(key);
    this.#count -= 1;
    this.#shares.giveBack(bucket.job.namespace);
    this.#retire(entry);
    if (entry.hasRow) this.#deleteRow(entry);
    this.settle(bucket.job, bucket.name, key);
    const isLeft = bucket.entries.size > 0 || bucket.job.endedAtMs === undefined;
    if (!isLeft) this.emptied.add(bucket.job);
  }

  /** From now on it is known what became of the name (T3). */
  settle(job: Job, bucket: string, key: string): void {
    if (job.lostEpoch !== undefined) job.settled.add(`${bucket}\0${key}`);
  }

  retime(entry: Entry, expiresAtMs: number | undefined, idleMs: number | undefined): void {
    entry.expiresAtMs = expiresAtMs;
    entry.idleMs = idleMs;
    entry.usedAtMs = this.#seams.clock.now();
    this.wheel.set(entry, deadlineMs(entry));
    if (entry.hasRow) this.#writeRow(entry);
  }

  /** A slot got a row: so does its name (V1), after the answers that belong to it (A1). */
  named(slot: Slot): void {
    if (slot.entry) this.#writeRow(slot.entry);
  }

  /** Removes what is due. Idle times move on with every use, so some are not. */
  expire(nowMs: number): void {
    this.inBulk(() => {
      for (const entry of this.wheel.due(nowMs)) {
        if (entry.isGone) continue;
        if (isExpired(entry, nowMs)) this.remove(entry);
        else this.wheel.set(entry, deadlineMs(entry));
      }
    });
  }

  /** Removes many entries: their rows go together (bulk.ts). Nothing is put meanwhile. */
  inBulk(work: () => void): void {
    this.#seams.space.inBulk(() => this.#bulk.run(work));
  }

  destroy(bucket: Bucket): void {
    const { job, name } = bucket;
    this.inBulk(() => {
      for (const entry of bucket.entries.values()) this.remove(entry);
    });
    this.dropBucket(bucket);
    if (job.lostEpoch !== undefined) job.settled.add(name);
  }

  dropBucket(bucket: Bucket): void {
    bucket.job.buckets.delete(bucket.name);
    if (!bucket.hasRow) return;
    bucket.hasRow = false;
    this.#seams.sql.all(STATEMENTS.bucketDelete, bucket.job.number, bucket.name);
    this.#seams.space.wrote(bucket.job);
  }

  /** An entry found on disk when the shard opens. */
  restore(job: Job, bucketName: string, key: string, item: Item): void {
    const bucket = this.bucket(job, bucketName);
    const entry: Entry = { ...item, bucket, key, hasRow: true, lease: undefined, isGone: false };
    this.#seams.space.hold(item.slot).entry = entry;
    bucket.entries.set(key, entry);
    bucket.keys.add(key);
    this.#count += 1;
    this.#shares.take(job.namespace);
    this.wheel.set(entry, deadlineMs(entry));
  }

  #retire(entry: Entry): void {
    entry.isGone = true;
    this.wheel.set(entry, undefined);
    if (entry.slot.entry === entry) entry.slot.entry = undefined;
    this.#seams.space.release(entry.slot);
  }

  #beVolatile(entry: Entry): void {
    const { job } = entry.bucket;
    if (entry.hasRow) this.#deleteRow(entry);
    // Who refers to what a run holds knows that it was there: no other name is in doubt.
    if (entry.bucket.name === HELD_BUCKET) return;
    if (job.isVolatile || !job.hasRow) return;
    job.isVolatile = true;
    this.#seams.sql.all(STATEMENTS.jobVolatile, this.#seams.epoch, job.number);
    this.#seams.space.wrote(job);
  }

  #writeRow(entry: Entry): void {
    const { bucket, key } = entry;
    const { job } = bucket;
    this.#seams.space.record(job);
    this.#seams.answers.flush(job);
    entry.hasRow = true;
    this.#seams.sql.all(
      STATEMENTS.objectPut,
      job.number,
      bucket.name,
      key,
      entry.slot.id,
      entry.version,
      entry.persist ? 1 : 0,
      entry.durable ? 1 : 0,
      entry.createdAtMs,
      entry.expiresAtMs ?? null,
      entry.idleMs ?? null,
    );
    this.#seams.space.wrote(job);
  }

  #deleteRow(entry: Entry): void {
    const { bucket, key } = entry;
    this.#seams.answers.flush(bucket.job);
    entry.hasRow = false;
    if (!this.#bulk.take(bucket, key)) {
      this.#seams.sql.all(STATEMENTS.objectDelete, bucket.job.number, bucket.name, key);
    }
    this.#seams.space.wrote(bucket.job);
  }
}

function isSettled(job: Job, bucket: string, key: string): boolean {
  if (job.lostEpoch === undefined) return true;
  return job.settled.has(bucket) || job.settled.has(`${bucket}\0${key}`);
}
