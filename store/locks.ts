/**
 * Locks with leases and fencing tokens.
 *
 * L1 At any moment at most one token holds a lock; a lease that ran out holds nothing.
 * L2 Tokens grow with every acquisition in the shard, over restarts too: whoever lost its lease,
 *    by time or by a restart, has a lower token than its successor.
 * L3 Locks are as durable as their job: those of a memory job are gone after a restart.
 */
import {
  type Clock,
  type LockResult,
  STORE_LIMITS,
  type Sql,
  type StoreFence,
} from "../runtime/contract/index.ts";
import type { Job, Lock } from "./model.ts";
import { lockStale, quotaExceeded } from "./refusals.ts";
import { type LockRow, STATEMENTS } from "./schema.ts";
import type { Serials } from "./serials.ts";
import type { Space } from "./space.ts";
import { Wheel } from "./wheel.ts";

interface LockSeams {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly space: Space;
  readonly serials: Serials;
}

export class Locks {
  readonly wheel = new Wheel<Lock>();
  readonly #seams: LockSeams;

  constructor(seams: LockSeams) {
    this.#seams = seams;
  }

  /** Errors: `QUOTA_EXCEEDED`. */
  lock(job: Job, name: string, leaseMs: number): LockResult {
    const holder = this.#holder(job, name);
    if (holder) return { acquired: false, leaseUntilMs: holder.leaseUntilMs };
    if (job.locks.size >= STORE_LIMITS.locksPerJob) {
      throw quotaExceeded(`lock ${name}`, `${String(job.locks.size)} locks in the job`);
    }
    const leaseUntilMs = this.#seams.clock.now() + leaseMs;
    const lock: Lock = {
      job,
      name,
      token: this.#seams.serials.next(),
      leaseUntilMs,
      hasRow: false,
    };
    job.locks.set(name, lock);
    this.#keep(lock);
    return { acquired: true, token: lock.token, leaseUntilMs };
  }

  /** Errors: `LOCK_STALE`. */
  renew(job: Job, name: string, token: number, leaseMs: number): LockResult {
    const lock = this.#held(job, name, token, "renew");
    lock.leaseUntilMs = this.#seams.clock.now() + leaseMs;
    this.#keep(lock);
    return { acquired: true, token, leaseUntilMs: lock.leaseUntilMs };
  }

  /** Errors: `LOCK_STALE`. */
  unlock(job: Job, name: string, token: number): void {
    this.#drop(this.#held(job, name, token, "unlock"));
  }

  /** Errors: `LOCK_STALE`. */
  check(job: Job, fence: StoreFence | undefined): void {
    if (fence) this.#held(job, fence.lock, fence.token, "write under");
  }

  expire(nowMs: number): void {
    for (const lock of this.wheel.due(nowMs)) {
      if (lock.job.locks.get(lock.name) !== lock) continue;
      if (lock.leaseUntilMs <= nowMs) this.#drop(lock);
      else this.wheel.set(lock, lock.leaseUntilMs);
    }
  }

  dropAll(job: Job): void {
    for (const lock of job.locks.values()) this.#drop(lock);
  }

  restore(row: LockRow, job: Job): void {
    const lock: Lock = { ...row, job, hasRow: true };
    job.locks.set(lock.name, lock);
    this.wheel.set(lock, lock.leaseUntilMs);
  }

  #holder(job: Job, name: string): Lock | undefined {
    const lock = job.locks.get(name);
    if (!lock || lock.leaseUntilMs > this.#seams.clock.now()) return lock;
    this.#drop(lock);
    return undefined;
  }

  #held(job: Job, name: string, token: number, verb: string): Lock {
    const lock = this.#holder(job, name);
    if (lock?.token === token) return lock;
    const found = lock ? "another holder" : "no holder: the lease ended, or it was unlocked";
    throw lockStale(`${verb} lock ${JSON.stringify(name)} with token ${String(token)}`, found);
  }

  #keep(lock: Lock): void {
    const { job } = lock;
    this.wheel.set(lock, lock.leaseUntilMs);
    if (job.durability !== "disk") return;
    this.#seams.space.record(job);
    this.#seams.sql.all(STATEMENTS.lockPut, job.number, lock.name, lock.token, lock.leaseUntilMs);
    lock.hasRow = true;
    this.#seams.space.wrote(job);
  }

  #drop(lock: Lock): void {
    lock.job.locks.delete(lock.name);
    this.wheel.set(lock, undefined);
    if (!lock.hasRow) return;
    this.#seams.sql.all(STATEMENTS.lockDelete, lock.job.number, lock.name);
    this.#seams.space.wrote(lock.job);
  }
}
