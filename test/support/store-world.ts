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
  type Sql,
  type SqlValue,
  type Statement,
  type StoredValue,
  type ValueCodec,
} from "../../runtime/contract/index.ts";
import { type Budgets, Store } from "../../store/index.ts";
import { CommitLog } from "./commit-log.ts";

export const NAMESPACE = "default";

/** JSON is codec enough: what it would lose is not stored by these tests. */
const codec: ValueCodec = {
  encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)) as unknown,
};

/** One life of the actor, from an opening to a crash: afterwards nothing of it goes on. */
export class Life {
  isOver = false;
  readonly #turns: () => number;

  constructor(turns: () => number) {
    this.#turns = turns;
  }

  /** Takes some turns of the queue; for ever, if the life ends meanwhile. */
  async delay(): Promise<void> {
    for (let left = this.#turns(); left > 0; left -= 1) await Promise.resolve();
    if (this.isOver) await new Promise(() => {});
  }
}

export class BlockDisk {
  readonly stored = new Map<string, { bytes: Uint8Array; epoch: number }>();
  written = 0;
}

/** Blocks as one life sees them; the disk below survives. */
export class MemoryBlocks implements Blocks {
  readonly #disk: BlockDisk;
  readonly #delay: () => Promise<void>;

  constructor(disk: BlockDisk, life: Life) {
    this.#disk = disk;
    this.#delay = () => life.delay();
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
        this.#disk.written += 1;
        const id = `b${String(this.#disk.written)}`;
        const bytes = new Uint8Array(Buffer.concat(chunks));
        this.#disk.stored.set(id, { bytes, epoch });
        return { id, sizeBytes: bytes.byteLength };
      },
      abort: async () => {
        await this.#delay();
      },
    };
  }

  async read(ref: BlockRef, start: number, end: number): Promise<Uint8Array> {
    await this.#delay();
    const found = this.#disk.stored.get(ref.id);
    if (!found) throw new Error(`block ${ref.id} is gone`);
    return found.bytes.subarray(start, end);
  }

  async release(ids: readonly string[]): Promise<void> {
    await this.#delay();
    for (const id of ids) this.#disk.stored.delete(id);
  }

  async sweep(live: ReadonlySet<string>, epoch: number): Promise<number> {
    await this.#delay();
    const orphans = [...this.#disk.stored].filter(
      ([id, block]) => block.epoch < epoch && !live.has(id),
    );
    for (const [id] of orphans) this.#disk.stored.delete(id);
    return orphans.length;
  }
}

class ColdDisk {
  readonly stored = new Map<string, Uint8Array>();
  /** Refuses every put while set. */
  isDown = false;
}

class MemoryCold implements ColdTier {
  readonly #disk: ColdDisk;
  readonly #delay: () => Promise<void>;

  constructor(disk: ColdDisk, life: Life) {
    this.#disk = disk;
    this.#delay = () => life.delay();
  }

  async put(
    key: string,
    sizeBytes: number,
    read: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<void> {
    const bytes = await read(0, sizeBytes);
    await this.#delay();
    if (this.#disk.isDown) throw new Error("the bucket does not answer");
    this.#disk.stored.set(key, bytes.slice());
  }

  async get(key: string, start: number, end: number): Promise<Uint8Array> {
    await this.#delay();
    const found = this.#disk.stored.get(key);
    if (!found) throw new Error(`cold ${key} is gone`);
    return found.subarray(start, end);
  }

  async delete(keys: readonly string[]): Promise<void> {
    await this.#delay();
    for (const key of keys) this.#disk.stored.delete(key);
  }

  async *list(): AsyncGenerator<string> {
    await this.#delay();
    yield* this.#disk.stored.keys();
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
  readonly blocks = new BlockDisk();
  readonly cold: ColdDisk | undefined;
  log = new CommitLog();
  store: Store;
  readonly #database = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, StatementSync>();
  readonly #budgets: Partial<Budgets>;
  readonly #turns: () => number;
  #life: Life;
  #isDirty = false;

  constructor(options: WorldOptions = {}) {
    this.#turns = options.turns ?? (() => 1);
    this.#life = new Life(this.#turns);
    this.cold = options.withCold === true ? new ColdDisk() : undefined;
    this.#budgets = options.budgets ?? {};
    this.store = this.#open();
    this.commit();
  }

  /** Ends the tick: everything written in it is on disk. */
  commit(): void {
    this.store.plan();
    if (this.#isDirty) this.#database.exec("COMMIT");
    this.#isDirty = false;
    this.log.commit();
  }

  /**
   * kill -9: what is not committed is gone, and so is memory; then the actor opens again, unless
   * it is killed while it opens.
   */
  crash(diesOpening = false): void {
    if (this.#isDirty) this.#database.exec("ROLLBACK");
    this.#isDirty = false;
    this.log.crash();
    this.log = new CommitLog();
    this.#life.isOver = true;
    this.#life = new Life(this.#turns);
    this.store = this.#open();
    if (diesOpening) this.crash();
    else this.commit();
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
        blocks: new MemoryBlocks(this.blocks, this.#life),
        codec,
        ...(this.cold && { cold: new MemoryCold(this.cold, this.#life) }),
      },
      this.#budgets,
    );
    return store;
  }

  #sql(): Sql {
    const life = this.#life;
    const all = <P extends readonly SqlValue[], R>(
      { query }: Statement<P, R>,
      ...parameters: P
    ): R[] => {
      if (life.isOver) throw new Error("a life that is over writes nothing");
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
