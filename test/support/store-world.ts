/**
 * A shard without workerd for the store: SQLite in memory with explicit commits, a clock that is
 * set, blocks and a cold tier that take a while, and crashes that forget what was not committed.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import {
  type BlockRef,
  type BlockWriter,
  type Blocks,
  type ColdTier,
  IsolaError,
  type Log,
  type Sql,
  type SqlValue,
  type Statement,
  type StoredValue,
  type ValueCodec,
} from "../../runtime/contract/index.ts";
import { type Budgets, Store } from "../../store/index.ts";

export const NAMESPACE = "default";

/** JSON is codec enough: what it would lose is not stored by these tests. */
const codec: ValueCodec = {
  encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)) as unknown,
};

/** Blocks of a disk that survives crashes; `delay` says how many turns each call takes. */
class MemoryBlocks implements Blocks {
  readonly stored = new Map<string, { bytes: Uint8Array; epoch: number }>();
  readonly #delay: () => Promise<void>;
  #next = 0;

  constructor(delay: () => Promise<void>) {
    this.#delay = delay;
  }

  create(epoch: number): BlockWriter {
    const chunks: Uint8Array[] = [];
    return {
      write: async (chunk) => {
        await this.#delay();
        chunks.push(chunk.slice());
      },
      finish: async () => {
        await this.#delay();
        this.#next += 1;
        const id = `b${String(this.#next)}`;
        const bytes = new Uint8Array(Buffer.concat(chunks));
        this.stored.set(id, { bytes, epoch });
        return { id, sizeBytes: bytes.byteLength };
      },
      abort: async () => {
        await this.#delay();
      },
    };
  }

  async read(ref: BlockRef, start: number, end: number): Promise<Uint8Array> {
    await this.#delay();
    const found = this.stored.get(ref.id);
    if (!found) throw new Error(`block ${ref.id} is gone`);
    return found.bytes.subarray(start, end);
  }

  async release(ids: readonly string[]): Promise<void> {
    await this.#delay();
    for (const id of ids) this.stored.delete(id);
  }

  async sweep(live: ReadonlySet<string>, epoch: number): Promise<number> {
    await this.#delay();
    const orphans = [...this.stored].filter(([id, block]) => block.epoch < epoch && !live.has(id));
    for (const [id] of orphans) this.stored.delete(id);
    return orphans.length;
  }
}

class MemoryCold implements ColdTier {
  readonly stored = new Map<string, Uint8Array>();
  readonly #delay: () => Promise<void>;
  /** Refuses every put while set. */
  isDown = false;

  constructor(delay: () => Promise<void>) {
    this.#delay = delay;
  }

  async put(
    key: string,
    sizeBytes: number,
    read: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<void> {
    const bytes = await read(0, sizeBytes);
    await this.#delay();
    if (this.isDown) throw new Error("the bucket does not answer");
    this.stored.set(key, bytes.slice());
  }

  async get(key: string, start: number, end: number): Promise<Uint8Array> {
    await this.#delay();
    const found = this.stored.get(key);
    if (!found) throw new Error(`cold ${key} is gone`);
    return found.subarray(start, end);
  }

  async delete(keys: readonly string[]): Promise<void> {
    await this.#delay();
    for (const key of keys) this.stored.delete(key);
  }

  async *list(): AsyncGenerator<string> {
    await this.#delay();
    yield* this.stored.keys();
  }
}

class CommitLog implements Log {
  position = 1;
  durable = 0;
  #waiting: { position: number; resolve: () => void }[] = [];

  async committed(position: number): Promise<void> {
    if (position <= this.durable) return;
    await new Promise<void>((resolve) => this.#waiting.push({ position, resolve }));
  }

  commit(): void {
    this.durable = this.position;
    this.position += 1;
    const ready = this.#waiting.filter((item) => item.position <= this.durable);
    this.#waiting = this.#waiting.filter((item) => item.position > this.durable);
    for (const { resolve } of ready) resolve();
  }

  /** Nobody of the former life hears of a commit any more. */
  crash(): void {
    this.#waiting = [];
  }
}

export interface WorldOptions {
  readonly budgets?: Partial<Budgets>;
  readonly withCold?: boolean;
  /** How many turns of the queue a call to blocks or the cold tier takes. */
  readonly turns?: () => number;
}

export class StoreWorld {
  nowMs = 1_000_000;
  wakeAtMs: number | undefined;
  readonly blocks: MemoryBlocks;
  readonly cold: MemoryCold | undefined;
  log = new CommitLog();
  store: Store;
  readonly #database = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, StatementSync>();
  readonly #budgets: Partial<Budgets>;
  #isDirty = false;

  constructor(options: WorldOptions = {}) {
    const turns = options.turns ?? (() => 1);
    const delay = async (): Promise<void> => {
      for (let left = turns(); left > 0; left -= 1) await Promise.resolve();
    };
    this.blocks = new MemoryBlocks(delay);
    this.cold = options.withCold === true ? new MemoryCold(delay) : undefined;
    this.#budgets = options.budgets ?? {};
    this.store = this.#open();
  }

  /** Ends the tick: everything written in it is on disk. */
  commit(): void {
    this.store.plan();
    if (this.#isDirty) this.#database.exec("COMMIT");
    this.#isDirty = false;
    this.log.commit();
  }

  /** kill -9: what is not committed is gone, and so is memory; then the actor opens again. */
  crash(): void {
    if (this.#isDirty) this.#database.exec("ROLLBACK");
    this.#isDirty = false;
    this.log.crash();
    this.log = new CommitLog();
    this.store = this.#open();
  }

  /** Commits until nothing moves between tiers any more and garbage is given back. */
  async settle(): Promise<void> {
    let isQuiet = false;
    const quiet = this.store.quiet().then(() => {
      isQuiet = true;
    });
    while (!isQuiet) {
      this.commit();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    await quiet;
    this.commit();
  }

  advance(byMs: number): void {
    this.nowMs += byMs;
    this.store.wake();
  }

  rows(table: string): number {
    const row = this.#database.prepare(`SELECT count(*) AS count FROM ${table}`).get();
    return Number(row?.["count"]);
  }

  #open(): Store {
    const store = new Store(
      {
        sql: this.#sql(),
        log: this.log,
        clock: { now: () => this.nowMs },
        timers: {
          wakeAt: (atMs) => {
            this.wakeAtMs = atMs;
          },
        },
        blocks: this.blocks,
        codec,
        ...(this.cold && { cold: this.cold }),
      },
      this.#budgets,
    );
    return store;
  }

  #sql(): Sql {
    const all = <P extends readonly SqlValue[], R>(
      { query }: Statement<P, R>,
      ...parameters: P
    ): R[] => {
      if (!this.#isDirty && !query.startsWith("SELECT")) {
        this.#database.exec("BEGIN");
        this.#isDirty = true;
      }
      const prepared = this.#statements.get(query) ?? this.#database.prepare(query);
      if (!query.startsWith("CREATE")) this.#statements.set(query, prepared);
      return prepared.all(...parameters) as R[];
    };
    return { all, transaction: (body) => body() };
  }
}

export function text(value: string): StoredValue {
  return { kind: "value", value, sizeBytes: value.length };
}

export function octets(sizeBytes: number, fill = 1): StoredValue {
  return { kind: "bytes", chunks: [new Uint8Array(sizeBytes).fill(fill)], sizeBytes };
}

/** The code that a piece of work is refused with; undefined if it is not. */
export async function refusal(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof IsolaError) return thrown.code;
    throw thrown;
  }
}
