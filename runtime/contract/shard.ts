/**
 * The seams of a shard: what the actor gives to the components it hosts (coordinator, store).
 *
 * S1 Statements run at once and are seen by later statements; everything written in one tick is
 *    one commit, whichever component wrote it.
 * S2 An effect leaves after the position it depends on is committed (output rule, G9).
 * S3 A failed commit ends the actor: memory is dropped and rebuilt from what is on disk.
 * S4 Blocks are synced before the reference that names them commits, and released after the
 *    commit that drops it; what a crash leaves between the two is swept (G4).
 */
export type SqlValue = string | number | null | Uint8Array;

/** A statement with the types of its parameters and rows; statements live in `schema.ts` files. */
export interface Statement<Parameters extends readonly SqlValue[], Row> {
  readonly query: string;
  /** Never set: carries the types. */
  readonly types?: (parameters: Parameters) => Row;
}

export function statement<Parameters extends readonly SqlValue[], Row = never>(
  query: string,
): Statement<Parameters, Row> {
  return { query };
}

/** The actor's SQLite, synchronous. Blobs come back as `Uint8Array`. */
export interface Sql {
  /** Runs one statement and answers its rows. */
  all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...parameters: P): R[];
  /** Runs `body` as one: all of it or, when it throws, nothing. Part of the tick's commit. */
  transaction<T>(body: () => T): T;
}

/** Group commit of the shard. Positions count commits, from 1; 0 is always committed. */
export interface Log {
  /** The commit that takes what is written now: grows by one whenever a commit begins. */
  readonly position: number;
  /** The last position that is on disk. */
  readonly durable: number;
  /** Resolves once `position` is on disk; rejects when its commit failed and the actor ends. */
  committed(position: number): Promise<void>;
}

/** One component's share of the shard's timer queue. */
export interface Timers {
  /** Wakes the component at `atMs`, replacing what it asked before; undefined: not at all. */
  wakeAt(atMs: number | undefined): void;
}

/** Names bytes in the block actor. */
export interface BlockRef {
  readonly id: string;
  readonly sizeBytes: number;
}

export interface BlockWriter {
  /** Takes a copy or sends it before it resolves; resolving is the back-pressure. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves after everything is synced to disk. */
  finish(): Promise<BlockRef>;
  /** Drops what was written; harmless after `finish` failed. */
  abort(): Promise<void>;
}

/** The append-only block actor beside a shard: values over 64 KiB. */
export interface Blocks {
  /** Begins a value; it belongs to `epoch`, the opening of the shard that writes it. */
  create(epoch: number): BlockWriter;
  /** Bytes `[start, end)`. Several reads may be in flight. */
  read(ref: BlockRef, start: number, end: number): Promise<Uint8Array>;
  /** Frees values; unknown ones are ignored. */
  release(ids: readonly string[]): Promise<void>;
  /** Frees what was written before `epoch` and is not in `live`; answers how many. */
  sweep(live: ReadonlySet<string>, epoch: number): Promise<number>;
}
