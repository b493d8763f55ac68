/**
 * What a session sees and changes: the table itself, or an attempt's overlay over it.
 *
 * U1 An attempt reads its own writes; nobody else does before it commits (G2).
 * U2 Commit and abort are each one synchronous step: nobody sees half of them, and what they write
 *    is part of the tick's commit, with the step's result.
 * U3 A name that the attempt has staged is staged for all its operations, immediate ones too.
 */
import type { Clock } from "../runtime/contract/index.ts";
import type { Lease, Leases } from "./leases.ts";
import { type Item, type Job, isExpired } from "./model.ts";
import { leased } from "./refusals.ts";
import { SortedKeys } from "./sorted-keys.ts";
import type { Space } from "./space.ts";
import type { Table } from "./table.ts";

/** A taken value: `lease` is undefined where the attempt itself had staged it. */
export interface Taken {
  readonly item: Item;
  readonly lease: Lease | undefined;
}

export interface Surface {
  /** What stands there for this session. Errors: `VALUE_LOST`. */
  current(bucket: string, key: string): Item | undefined;
  /** The same for a decision: refuses what another one has taken. Errors: `CONFLICT`. */
  decidable(bucket: string, key: string): Item | undefined;
  put(bucket: string, key: string, item: Item): void;
  /** Whether there was something. */
  remove(bucket: string, key: string): boolean;
  retime(
    bucket: string,
    key: string,
    expiresAtMs: number | undefined,
    idleMs: number | undefined,
  ): boolean;
  take(bucket: string, key: string, leaseMs: number | undefined): Taken | undefined;
  /** Visible names from the first after `after` on, in order. */
  names(bucket: string, prefix: string, after: string | undefined): Iterable<[string, Item]>;
}

export interface SurfaceSeams {
  readonly clock: Clock;
  readonly space: Space;
  readonly table: Table;
  readonly leases: Leases;
}

export class TableSurface implements Surface {
  readonly #seams: SurfaceSeams;
  readonly #job: Job;

  constructor(seams: SurfaceSeams, job: Job) {
    this.#seams = seams;
    this.#job = job;
  }

  current(bucket: string, key: string): Item | undefined {
    const entry = this.#seams.table.find(this.#job, bucket, key);
    return entry && this.#seams.leases.isTaken(entry) ? undefined : entry;
  }

  decidable(bucket: string, key: string): Item | undefined {
    const entry = this.#seams.table.find(this.#job, bucket, key);
    if (entry && this.#seams.leases.isTaken(entry)) throw leased(bucket, key);
    return entry;
  }

  put(bucket: string, key: string, item: Item): void {
    this.#seams.table.checkRoom(this.#job, bucket, key);
    this.#seams.table.put(this.#job, bucket, key, item);
  }

  remove(bucket: string, key: string): boolean {
    const { table, leases } = this.#seams;
    const entry = table.peek(this.#job, bucket, key);
    const isVisible = entry !== undefined && !leases.isTaken(entry);
    if (entry) table.remove(entry);
    else table.settle(this.#job, bucket, key);
    return isVisible;
  }

  retime(
    bucket: string,
    key: string,
    expiresAtMs: number | undefined,
    idleMs: number | undefined,
  ): boolean {
    const entry = this.#seams.table.find(this.#job, bucket, key);
    if (!entry || this.#seams.leases.isTaken(entry)) return false;
    this.#seams.table.retime(entry, expiresAtMs, idleMs);
    return true;
  }

  take(bucket: string, key: string, leaseMs: number | undefined): Taken | undefined {
    const entry = this.#seams.table.find(this.#job, bucket, key);
    if (!entry || this.#seams.leases.isTaken(entry)) return undefined;
    return { item: entry, lease: this.#seams.leases.take(entry, leaseMs) };
  }

  *names(bucketName: string, prefix: string, after: string | undefined): Generator<[string, Item]> {
    const bucket = this.#job.buckets.get(bucketName);
    if (!bucket) return;
    const nowMs = this.#seams.clock.now();
    for (const key of namesFrom(bucket.keys, prefix, after)) {
      const entry = bucket.entries.get(key);
      const isVisible = entry && !isExpired(entry, nowMs) && !this.#seams.leases.isTaken(entry);
      if (entry && isVisible) yield [key, entry];
    }
  }
}

type Write =
  | { readonly kind: "put"; readonly item: Item }
  | { readonly kind: "delete" }
  | {
      readonly kind: "expire";
      readonly expiresAtMs: number | undefined;
      readonly idleMs: number | undefined;
    };

interface Staged {
  readonly bucket: string;
  readonly key: string;
  write: Write | undefined;
  /** Held until the attempt is decided. */
  lease: Lease | undefined;
}

export class Overlay implements Surface {
  readonly #seams: SurfaceSeams;
  readonly #job: Job;
  readonly #below: TableSurface;
  readonly #staged = new Map<string, Staged>();
  readonly #keys = new Map<string, SortedKeys>();

  constructor(seams: SurfaceSeams, job: Job) {
    this.#seams = seams;
    this.#job = job;
    this.#below = new TableSurface(seams, job);
  }

  isStaged(bucket: string, key: string): boolean {
    return this.#staged.has(`${bucket}\0${key}`);
  }

  current(bucket: string, key: string): Item | undefined {
    const staged = this.#staged.get(`${bucket}\0${key}`);
    if (!staged) return this.#below.current(bucket, key);
    const { write } = staged;
    if (write?.kind === "expire") {
      const below = this.#below.current(bucket, key);
      return below && this.#alive({ ...below, ...times(write) });
    }
    return write?.kind === "put" ? this.#alive(write.item) : undefined;
  }

  decidable(bucket: string, key: string): Item | undefined {
    return this.current(bucket, key);
  }

  put(bucket: string, key: string, item: Item): void {
    this.#seams.table.checkRoom(this.#job, bucket, key);
    this.#seams.space.hold(item.slot);
    this.#write(bucket, key, { kind: "put", item });
  }

  remove(bucket: string, key: string): boolean {
    const staged = this.#staged.get(`${bucket}\0${key}`);
    const entry = this.#seams.table.peek(this.#job, bucket, key);
    const isBelow = entry !== undefined && !this.#seams.leases.isTaken(entry);
    const { write } = staged ?? {};
    const isHere = write?.kind === "put" && this.#alive(write.item) !== undefined;
    const isThere = isHere || (isBelow && (!write || write.kind === "expire"));
    this.#write(bucket, key, { kind: "delete" });
    return isThere;
  }

  retime(
    bucket: string,
    key: string,
    expiresAtMs: number | undefined,
    idleMs: number | undefined,
  ): boolean {
    const item = this.current(bucket, key);
    if (!item) return false;
    const staged = this.#staged.get(`${bucket}\0${key}`);
    if (staged?.write?.kind === "put") {
      const usedAtMs = this.#seams.clock.now();
      staged.write = { kind: "put", item: { ...item, expiresAtMs, idleMs, usedAtMs } };
    } else this.#write(bucket, key, { kind: "expire", expiresAtMs, idleMs });
    return true;
  }

  take(bucket: string, key: string): Taken | undefined {
    const item = this.current(bucket, key);
    if (!item) return undefined;
    const staged = this.#staged.get(`${bucket}\0${key}`);
    if (staged?.write?.kind === "put") {
      // Held for the reader, who releases it.
      this.#seams.space.hold(item.slot);
      this.#write(bucket, key, { kind: "delete" });
      return { item, lease: undefined };
    }
    const taken = this.#below.take(bucket, key, undefined);
    if (!taken) return undefined;
    this.#seams.space.hold(taken.item.slot);
    this.#write(bucket, key, undefined).lease = taken.lease;
    return taken;
  }

  *names(bucket: string, prefix: string, after: string | undefined): Generator<[string, Item]> {
    const own = namesFrom(this.#keys.get(bucket) ?? new SortedKeys(), prefix, after);
    const below = this.#below.names(bucket, prefix, after);
    let mine = own.next();
    let theirs = below.next();
    while (!mine.done || !theirs.done) {
      const isMine = !mine.done && (theirs.done || mine.value <= theirs.value[0]);
      if (!isMine && !theirs.done) {
        yield theirs.value;
        theirs = below.next();
        continue;
      }
      if (mine.done) return;
      const key = mine.value;
      if (!theirs.done && theirs.value[0] === key) theirs = below.next();
      const item = this.#staged.has(`${bucket}\0${key}`) ? this.current(bucket, key) : undefined;
      if (item) yield [key, item];
      mine = own.next();
    }
  }

  /** Makes everything staged visible (U2). */
  commit(): void {
    const { table, leases, clock, space } = this.#seams;
    for (const { bucket, key, write, lease } of this.#staged.values()) {
      if (lease) leases.decide(lease, true);
      if (write?.kind === "put") {
        if (isExpired(write.item, clock.now())) this.#below.remove(bucket, key);
        else table.put(this.#job, bucket, key, write.item);
        space.release(write.item.slot);
      } else if (write?.kind === "delete") this.#below.remove(bucket, key);
      else if (write) {
        const entry = table.peek(this.#job, bucket, key);
        if (entry) table.retime(entry, write.expiresAtMs, write.idleMs);
      }
    }
    this.#clear();
  }

  /** Leaves no trace; what was taken is back. */
  abort(): void {
    for (const { write, lease } of this.#staged.values()) {
      if (lease) this.#seams.leases.decide(lease, false);
      if (write?.kind === "put") this.#seams.space.release(write.item.slot);
    }
    this.#clear();
  }

  #clear(): void {
    this.#staged.clear();
    this.#keys.clear();
  }

  #write(bucket: string, key: string, write: Write | undefined): Staged {
    const id = `${bucket}\0${key}`;
    const staged = this.#staged.get(id) ?? { bucket, key, write: undefined, lease: undefined };
    if (!this.#staged.has(id)) {
      this.#staged.set(id, staged);
      const keys = this.#keys.get(bucket) ?? new SortedKeys();
      this.#keys.set(bucket, keys);
      keys.add(key);
    }
    if (staged.write?.kind === "put") this.#seams.space.release(staged.write.item.slot);
    staged.write = write;
    return staged;
  }

  #alive(item: Item): Item | undefined {
    return isExpired(item, this.#seams.clock.now()) ? undefined : item;
  }
}

function times(write: Write & { kind: "expire" }): Pick<Item, "expiresAtMs" | "idleMs"> {
  return { expiresAtMs: write.expiresAtMs, idleMs: write.idleMs };
}

function* namesFrom(
  keys: SortedKeys,
  prefix: string,
  after: string | undefined,
): Generator<string, undefined> {
  const isAfter = after !== undefined && after >= prefix;
  for (const key of keys.from(isAfter ? after : prefix, isAfter)) {
    if (!key.startsWith(prefix)) return;
    yield key;
  }
}
