/**
 * Takes: reading once under retries.
 *
 * K1 A taken value is hidden from everybody until its lease is decided: acknowledged it is deleted,
 *    returned it is back, and so it is when the lease runs out or the process dies.
 * K2 A put over a taken name wins; the lease then decides nothing any more.
 */
import type { Clock } from "../runtime/contract/index.ts";
import type { Entry, Job, Slot } from "./model.ts";
import { lockStale } from "./refusals.ts";
import type { Serials } from "./serials.ts";
import type { Space } from "./space.ts";
import type { Table } from "./table.ts";
import { Wheel } from "./wheel.ts";

export interface Lease {
  readonly id: number;
  readonly job: Job;
  readonly entry: Entry;
  readonly slot: Slot;
  /** Undefined: as long as the attempt. */
  readonly untilMs: number | undefined;
}

export class Leases {
  readonly wheel = new Wheel<Lease>();
  readonly #leases = new Map<number, Lease>();
  readonly #clock: Clock;
  readonly #serials: Serials;
  readonly #space: Space;
  readonly #table: Table;

  constructor(seams: { clock: Clock; serials: Serials; space: Space; table: Table }) {
    this.#clock = seams.clock;
    this.#serials = seams.serials;
    this.#space = seams.space;
    this.#table = seams.table;
  }

  take(entry: Entry, leaseMs: number | undefined): Lease {
    const untilMs = leaseMs === undefined ? undefined : this.#clock.now() + leaseMs;
    const slot = this.#space.hold(entry.slot);
    const lease = { id: this.#serials.next(), job: entry.bucket.job, entry, slot, untilMs };
    entry.lease = lease.id;
    this.#leases.set(lease.id, lease);
    this.wheel.set(lease, untilMs);
    return lease;
  }

  /** Deletes what was taken. Errors: `LOCK_STALE`. */
  acknowledge(job: Job, id: number): void {
    const lease = this.#live(job, id, "acknowledge");
    const { entry } = lease;
    this.#end(lease);
    if (!entry.isGone) this.#table.remove(entry);
  }

  /** Shows it again. Errors: `LOCK_STALE`. */
  giveBack(job: Job, id: number): void {
    this.#end(this.#live(job, id, "return"));
  }

  /** What the attempt that holds the lease commits or abandons; nothing if it is decided. */
  decide(lease: Lease, isDelivered: boolean): void {
    if (!this.#leases.has(lease.id)) return;
    this.#end(lease);
    if (isDelivered && !lease.entry.isGone) this.#table.remove(lease.entry);
  }

  expire(nowMs: number): void {
    for (const lease of this.wheel.due(nowMs)) if (this.#leases.has(lease.id)) this.#end(lease);
  }

  dropAll(job: Job): void {
    for (const lease of this.#leases.values()) if (lease.job === job) this.#end(lease);
  }

  /** Whether the entry is taken now: a lease that ran out counts no more, swept or not. */
  isTaken(entry: Entry): boolean {
    const lease = entry.lease === undefined ? undefined : this.#leases.get(entry.lease);
    if (!lease) return false;
    if (lease.untilMs === undefined || lease.untilMs > this.#clock.now()) return true;
    this.#end(lease);
    return false;
  }

  #live(job: Job, id: number, verb: string): Lease {
    const lease = this.#leases.get(id);
    if (lease && lease.job === job && this.isTaken(lease.entry)) return lease;
    const found = "none: it ended, and the object with it or back in its place";
    throw lockStale(`${verb} lease ${String(id)}`, found);
  }

  #end(lease: Lease): void {
    this.#leases.delete(lease.id);
    this.wheel.set(lease, undefined);
    if (lease.entry.lease === lease.id) lease.entry.lease = undefined;
    this.#space.release(lease.slot);
  }
}
