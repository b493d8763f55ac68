/**
 * The nouns of the store in memory: jobs hold buckets, buckets hold entries, an entry names a slot,
 * a slot is one value with its copies in the tiers.
 *
 * V1 An entry has a row exactly if its slot has one: what memory alone holds leaves no trace that
 *    a restart could mistake for the newest version.
 * V2 A slot is charged in a tier for as long as it may have bytes there, and never twice.
 * V3 A slot lives while somebody holds it: an entry, a staged write, a recorded answer, a reader.
 *    The end of its job frees it whoever holds it.
 */
import type {
  BlockRef,
  Durability,
  StoreJobHints,
  StoreJobKind,
  StoreTier,
  StoredValue,
} from "../runtime/contract/index.ts";
import type { Meter } from "./meter.ts";
import type { SortedKeys } from "./sorted-keys.ts";

/** Values that a run itself holds (held.ts): no name that `checkBucket` lets pass. */
export const HELD_BUCKET = "~run";

export interface Slot {
  readonly id: number;
  readonly job: Job;
  readonly kind: StoredValue["kind"];
  /** The value's size; grows while an upload fills it. */
  sizeBytes: number;
  /** The encoding's size, once there is one. */
  storedBytes: number;
  memory: StoredValue | undefined;
  /** Its row in `storeSlots`: the body itself, or where it is. */
  row: "none" | "body" | "blocks" | "cold";
  blocks: BlockRef | undefined;
  cold: string | undefined;
  readonly charged: Record<StoreTier, number>;
  held: number;
  holds: number;
  /** Somebody is copying it from one tier to another. */
  isMoving: boolean;
  isGone: boolean;
  /** The name that holds it, if it is committed. */
  entry: Entry | undefined;
}

/** What a name holds, committed or staged. */
export interface Item {
  readonly slot: Slot;
  readonly version: number;
  readonly persist: boolean;
  /** Promised to be on disk, rather than there for want of memory. */
  readonly durable: boolean;
  readonly createdAtMs: number;
  expiresAtMs: number | undefined;
  idleMs: number | undefined;
  usedAtMs: number;
}

export interface Entry extends Item {
  readonly bucket: Bucket;
  readonly key: string;
  hasRow: boolean;
  /** Set while a reader has taken it: hidden from everybody. */
  lease: number | undefined;
  isGone: boolean;
}

export interface Bucket {
  readonly job: Job;
  readonly name: string;
  readonly entries: Map<string, Entry>;
  readonly keys: SortedKeys;
  hasRow: boolean;
}

export interface Lock {
  readonly job: Job;
  readonly name: string;
  readonly token: number;
  leaseUntilMs: number;
  hasRow: boolean;
}

/** What an immediate operation answered (G2). */
export interface Answer {
  readonly step: string;
  readonly ordinal: number;
  /** The operation and what it was on: a repeated attempt must ask the same. */
  readonly subject: string;
  readonly answer: unknown;
  /** The value that is part of the answer. */
  readonly slot: Slot | undefined;
  /** The answer had a value and a restart took it. */
  readonly isLost: boolean;
  hasRow: boolean;
}

/** Something in progress that the end of its job ends. */
export interface Guest {
  abandon(): void;
}

export interface Job {
  readonly number: number;
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly kind: StoreJobKind;
  readonly durability: Durability;
  readonly workflow: string | undefined;
  readonly hints: StoreJobHints;
  readonly createdAtMs: number;
  readonly meter: Meter;
  readonly buckets: Map<string, Bucket>;
  readonly slots: Set<Slot>;
  /** Slots with a copy in memory, coldest first. */
  readonly residents: Set<Slot>;
  readonly locks: Map<string, Lock>;
  /** By step, then ordinal. */
  readonly answers: Map<string, Map<number, Answer>>;
  /** Answers without a row, to be written before anything that depends on them. */
  readonly unwritten: Set<Answer>;
  readonly guests: Set<Guest>;
  endedAtMs: number | undefined;
  hasRow: boolean;
  /** On disk it says that a restart from now on loses something. */
  isVolatile: boolean;
  lostEpoch: number | undefined;
  /** After a loss: names about which is known what became of them since. */
  readonly settled: Set<string>;
  /** Position of the last commit with something of this job. */
  position: number;
  /** Counts what was written of this job. */
  writes: number;
}

/** When the item goes by itself. */
export function deadlineMs(item: Item): number | undefined {
  const idleAtMs = item.idleMs === undefined ? undefined : item.usedAtMs + item.idleMs;
  if (idleAtMs === undefined) return item.expiresAtMs;
  return item.expiresAtMs === undefined ? idleAtMs : Math.min(item.expiresAtMs, idleAtMs);
}

export function isExpired(item: Item, nowMs: number): boolean {
  const atMs = deadlineMs(item);
  return atMs !== undefined && atMs <= nowMs;
}
