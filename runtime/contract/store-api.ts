/**
 * Shapes of the ephemeral store that functions, HTTP, the command line and the shard share.
 *
 * A `StoredValue` is opaque to the store: octets in chunks, or a structured value as V8 handed it
 * over, with its size. It is encoded only when it leaves the process or memory.
 */
export type Durability = "memory" | "disk";

export const STORE_TIERS = ["memory", "disk", "cold"] as const;
export type StoreTier = (typeof STORE_TIERS)[number];

export type StoredValue =
  | { readonly kind: "bytes"; readonly chunks: readonly Uint8Array[]; readonly sizeBytes: number }
  | { readonly kind: "value"; readonly value: unknown; readonly sizeBytes: number };

/** Whose job it is decides when it ends: with its run, with its call, or when a client says so. */
export type StoreJobKind = "run" | "call" | "client";

/** Optional, as Pocket has them; what former jobs of the same workflow used counts for more. */
export interface StoreJobHints {
  readonly capacityMb?: number;
  readonly peakMbps?: number;
  readonly latencySensitive?: boolean;
  readonly calls?: number;
}

export interface StoreJobRequest {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly kind: StoreJobKind;
  /** Default of its objects, locks and recorded answers. */
  readonly durability: Durability;
  /** Name under which its high-water mark is learned. */
  readonly workflow?: string;
  readonly hints?: StoreJobHints;
}

export interface PutOptions {
  /** Survives the job; implies disk. Default false. */
  readonly persist?: boolean;
  /** Time to live; at least 1. Default none. */
  readonly ttlMs?: number;
  /** Time without a read or write after which it goes. Default none. */
  readonly idleMs?: number;
  readonly ifAbsent?: boolean;
  readonly ifPresent?: boolean;
  readonly ifVersion?: number;
  /** Default: the job's. */
  readonly durability?: Durability;
  /** Refuses with `LOCK_STALE` unless this token holds the lock at this moment. */
  readonly fence?: StoreFence;
}

export interface StoreFence {
  readonly lock: string;
  readonly token: number;
}

/** `stored` is false when a condition was not met; then `version` is what stands there, if any. */
export interface PutResult {
  readonly stored: boolean;
  readonly version?: number;
}

export interface ObjectInfo {
  readonly bucket: string;
  readonly key: string;
  /** Unique within the shard for ever: the ETag. */
  readonly version: number;
  readonly kind: StoredValue["kind"];
  readonly sizeBytes: number;
  readonly persist: boolean;
  readonly durability: Durability;
  readonly tier: StoreTier;
  readonly createdAtMs: number;
  readonly expiresAtMs?: number;
  readonly idleMs?: number;
}

export interface FoundObject {
  readonly info: ObjectInfo;
  readonly value: StoredValue;
}

export interface ListOptions {
  readonly prefix?: string;
  /** The last key of the page before. */
  readonly cursor?: string;
  /** Default and bound: `STORE_LIMITS.listMaxKeys`. */
  readonly limit?: number;
}

export interface ListPage {
  readonly objects: readonly ObjectInfo[];
  /** Absent on the last page. */
  readonly cursor?: string;
  /** Why there may have been more: values that only memory held when the cell died. */
  readonly lost?: string;
}

export interface LockResult {
  readonly acquired: boolean;
  /** Fencing token, growing with every acquisition in the shard; absent if not acquired. */
  readonly token?: number;
  readonly leaseUntilMs: number;
}

export interface TakeLease {
  readonly lease: number;
  readonly leaseUntilMs: number;
}

export type StoreTierBytes = Readonly<Record<StoreTier, number>>;

export interface StoreUsage {
  readonly bytes: StoreTierBytes;
  readonly byteSeconds: StoreTierBytes;
  readonly highWaterBytes: StoreTierBytes;
  /** Each value once, whatever copies it has. */
  readonly heldBytes: number;
  readonly heldHighWaterBytes: number;
  readonly operations: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface StoreJobInfo {
  readonly id: string;
  readonly name: string;
  readonly kind: StoreJobKind;
  readonly durability: Durability;
  readonly createdAtMs: number;
  readonly endedAtMs?: number;
  readonly objects: number;
  readonly buckets: readonly string[];
  /** From former jobs of the workflow, else from hints; absent if neither is known. */
  readonly expectedBytes?: number;
  readonly usage: StoreUsage;
  readonly lost?: string;
}

/** The third tier: an S3-compatible bucket. Absent by default. */
export interface ColdTier {
  /** Stores `sizeBytes` under `key`, reading ranges as it needs them. Overwrites. */
  put(
    key: string,
    sizeBytes: number,
    read: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<void>;
  get(key: string, start: number, end: number): Promise<Uint8Array>;
  delete(keys: readonly string[]): Promise<void>;
  /** Every key under the prefix that this shard was given. */
  list(): AsyncIterable<string>;
}

/** Structured values at the disk and network edges. */
export interface ValueCodec {
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}
