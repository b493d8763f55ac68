/**
 * The ephemeral store as functions see it: intermediate data beside the functions that use it.
 *
 * Everything here throws an Error with `code` of the catalogue; branch on it (`errorCode`). Beside
 * those named per operation any of them may throw `KEY_INVALID` (a key or bucket name that is
 * none), `JOB_NOT_FOUND`, `JOB_ENDED`, `ATTEMPT_ENDED` (the call is over), `CONFLICT` (the context
 * of another call), `CELL_RESTARTING` (the shard is opening again) and `DISK_FULL`.
 */
import type {
  Durability,
  ListOptions,
  ListPage,
  ObjectInfo,
  PutOptions,
  PutResult,
  StoreFence,
  StoreJobHints,
  StoreJobInfo,
} from "../contract/index.ts";

export interface StreamOptions {
  /** Octets `[start, end)`. @default the whole object */
  readonly range?: { readonly start: number; readonly end: number };
  /** Takes the object, as `take` does. @default false */
  readonly take?: boolean;
}

export interface LockOptions {
  /** Milliseconds after which the lock is free again by itself; 1 to 86,400,000 (a day). */
  readonly leaseMs: number;
  /** Milliseconds to wait while somebody else holds it. @default 0: not at all */
  readonly waitMs?: number;
}

/**
 * A lock that is held. It may be given as `fence` of a put: the put is refused with `LOCK_STALE`
 * once another holds the lock.
 */
export interface StoreLock extends StoreFence {
  readonly leaseUntil: Date;
  /** Holds it for `leaseMs` from now. @throws Error `LOCK_STALE` if it is not held any more. */
  renew(leaseMs: number): Promise<void>;
  /** @throws Error `LOCK_STALE` if it is not held any more. */
  unlock(): Promise<void>;
}

/** Objects by key: 1 to 1,024 bytes of UTF-8 without control characters; `/` is as any other. */
export interface StoreBucket {
  /**
   * Stores a value under a key, over whatever is there.
   *
   * @param value anything structured-clonable but undefined, without functions, up to 32 MiB;
   * `Uint8Array` and `ArrayBuffer`, up to 64 GiB, are kept as octets; a `ReadableStream` of bytes
   * is read to its end and stored only then, with constant memory.
   * @param options `persist`: survives the job, implies `durability: "disk"` (default false);
   * `ttlMs`: milliseconds to live, at least 1 (default: as long as the job); `idleMs`: without a
   * read or write (default: any); `ifAbsent`, `ifPresent`, `ifVersion`: stored only if so;
   * `durability`: `"memory"` or `"disk"` (default: the job's); `fence`: a lock that must be held.
   * @returns `stored`, false if a condition did not hold, and the `version` that stands there.
   * @throws Error `VALUE_INVALID`, `BODY_TOO_LARGE`, `STORE_FULL`, `QUOTA_EXCEEDED`, `LOCK_STALE`.
   */
  put(key: string, value: unknown, options?: PutOptions): Promise<PutResult>;
  /**
   * The value, or undefined if there is none; octets as `Uint8Array`.
   *
   * @throws Error `VALUE_LOST` if memory alone held it and its cell ended; `BODY_TOO_LARGE` above
   * 32 MiB: `stream` it.
   */
  get<Stored = unknown>(key: string): Promise<Stored | undefined>;
  /**
   * The octets as a byte stream with constant memory, or undefined if there is no object. What is
   * read is what stood there when it was opened, also if the key is overwritten meanwhile.
   *
   * @throws Error `RANGE_INVALID` outside of the object, or for a value that is no octets;
   * `VALUE_LOST`.
   */
  // oxlint-disable-next-line typescript/no-unnecessary-type-arguments -- authors' default is any
  stream(key: string, options?: StreamOptions): Promise<ReadableStream<Uint8Array> | undefined>;
  /**
   * Reads once: hidden from everybody from now on, gone when the call answers without an error
   * (status below 400), back where it was when it fails, is ended or dies with its cell. What a
   * called function took is decided with its caller.
   *
   * @throws Error `VALUE_LOST`, `BODY_TOO_LARGE`.
   */
  take<Stored = unknown>(key: string): Promise<Stored | undefined>;
  /** @returns whether there was something. */
  delete(key: string): Promise<boolean>;
  /** Whether there is an object; counts as a use of it. @throws Error `VALUE_LOST`. */
  has(key: string): Promise<boolean>;
  /** What is known of the object without reading it. @throws Error `VALUE_LOST`. */
  stat(key: string): Promise<ObjectInfo | undefined>;
  /**
   * Objects in the order of their keys, a page at a time.
   *
   * @param options `prefix` of the keys (default: all); `cursor` of the page before (default: from
   * the start); `limit`, 1 to 1,000 (default 1,000).
   * @returns `cursor` is absent on the last page; `lost` says why there may have been more.
   */
  list(options?: ListOptions): Promise<ListPage>;
  /**
   * Adds to a number, 0 if there is none; atomic.
   *
   * @param by default 1; a fraction makes it a float.
   * @returns the sum. @throws Error `COUNTER_INVALID`.
   */
  incr(key: string, by?: number): Promise<number>;
  /** `incr` by the negative. */
  decr(key: string, by?: number): Promise<number>;
  /** Stores a value, up to 32 MiB, and returns the one before it; atomic. */
  getPut<Stored = unknown>(key: string, value: unknown): Promise<Stored | undefined>;
  /**
   * Stores `next` if the value equals `expected`, compared by content; atomic.
   *
   * @param expected undefined: if there is none.
   */
  compareAndSet(
    key: string,
    expected: unknown,
    next: unknown,
    options?: PutOptions,
  ): Promise<PutResult>;
  /** Sets both times anew; what is absent is taken off. @returns whether there is an object. */
  expire(
    key: string,
    times: { readonly ttlMs?: number; readonly idleMs?: number },
  ): Promise<boolean>;
  /** Removes the bucket with everything in it, persisted or not. */
  destroy(): Promise<void>;
}

export interface StoreJobOptions {
  /** For listings. @default the function's name */
  readonly name?: string;
  /** Of its objects and locks where they say nothing. @default "memory" */
  readonly durability?: Durability;
  readonly hints?: StoreJobHints;
}

/**
 * A job: the scope of data. As a bucket it is its bucket `default`.
 *
 * `ctx.store` is the job of this call, shared with the functions it calls and gone when the
 * outermost call has ended: answered, its response's stream and its `waitUntil` done (the latter
 * for up to 60 s). A response's stream may read on from what was opened before the response was
 * returned. Outside of runs every operation takes effect at once; only `take` waits.
 */
export interface StoreJob extends StoreBucket {
  /** Another bucket. Names: letters, digits, `.`, `_`, `-`, up to 63. */
  bucket(name: string): StoreBucket;
  /**
   * Takes a lock of the job by name.
   *
   * @returns undefined if somebody else holds it for longer than `waitMs`.
   * @throws Error `VALUE_INVALID`, `QUOTA_EXCEEDED`.
   */
  lock(name: string, options: LockOptions): Promise<StoreLock | undefined>;
  /** Buckets, objects, and bytes by tier. */
  info(): Promise<StoreJobInfo>;
  /** Another job of this namespace, by id; found or not is told by its first operation. */
  job(id: string): StoreJob;
  /** Makes a job that lives until `end`, or a DELETE over HTTP; `info` tells its id. */
  createJob(options?: StoreJobOptions): Promise<StoreJob>;
  /**
   * Ends a job made by `createJob` or a client: everything in it that is not persisted is gone.
   *
   * @throws Error `CONFLICT` for a job of a call or run, which ends with it.
   */
  end(): Promise<void>;
}
