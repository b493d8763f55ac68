/**
 * The block actor beside a shard: values over 64 KiB, cut into parts of 1 MiB, in a SQLite file of
 * its own. Append-only: a part is written once, a value goes as a whole.
 *
 * B1 A write is answered after its commit: workerd's output gate holds the answer back until the
 *    part is on disk, so `finish` finds everything synced (S4).
 * B2 What an epoch wrote belongs to that opening of the shard; the next one sweeps what nothing
 *    names (G4).
 * B3 SQLite's file does not shrink by itself: without any value in it, it is made anew.
 * B4 Giving back is done in slices, with the others' turn in between: SQLite walks over every page
 *    of what it frees. A crash half-way leaves orphans (B2).
 */
import { DurableObject } from "cloudflare:workers";
import type { SqlValue, Statement } from "../../contract/index.ts";
import { BLOCK_MIGRATIONS, BLOCK_STATEMENTS } from "./schema.ts";
import { nextTick } from "./system-timers.worker.ts";

/** Octets of one part; only the last one of a value is shorter. */
export const PART_BYTES = 1024 * 1024;

/** Parts freed in one turn: some 10 ms. */
const RELEASE_PARTS = 8;

/** An empty file of this size is made anew. */
const SHRINK_BYTES = 16 * 1024 * 1024;

export class Blocks extends DurableObject {
  /** The largest the file has been: it is that large now. */
  #fileBytes: number;

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env as never);
    this.#migrate();
    this.#fileBytes = ctx.storage.sql.databaseSize;
  }

  write(id: string, part: number, epoch: number, bytes: Uint8Array): void {
    this.#all(BLOCK_STATEMENTS.put, id, part, epoch, bytes);
    this.#fileBytes = Math.max(this.#fileBytes, this.ctx.storage.sql.databaseSize);
  }

  /** How much is there of a value. */
  sizes(id: string): { parts: number; sizeBytes: number } {
    return this.#all(BLOCK_STATEMENTS.sizes, id)[0] ?? { parts: 0, sizeBytes: 0 };
  }

  /** Octets `[start, end)` of one part; undefined if there is none. */
  read(id: string, part: number, start: number, end: number): Uint8Array | undefined {
    const rows =
      start === 0 && end === PART_BYTES
        ? this.#all(BLOCK_STATEMENTS.part, id, part)
        : this.#all(BLOCK_STATEMENTS.cut, start + 1, end - start, id, part);
    const [row] = rows;
    return row && new Uint8Array(row.bytes);
  }

  /** Keeps B4. */
  async release(ids: readonly string[]): Promise<void> {
    let inTurn = 0;
    for (const id of ids) {
      let parts: number;
      do {
        if (inTurn >= RELEASE_PARTS) {
          await nextTick();
          inTurn = 0;
        }
        parts = this.#all(BLOCK_STATEMENTS.removeSome, id, RELEASE_PARTS).length;
        inTurn += Math.max(1, parts);
      } while (parts === RELEASE_PARTS);
    }
    await this.#shrink();
  }

  /** Frees what former epochs wrote and nothing names; answers how many values (B2). */
  async sweep(live: readonly string[], epoch: number): Promise<number> {
    const names = new Set(live);
    const orphans = this.#all(BLOCK_STATEMENTS.former, epoch).filter(({ id }) => !names.has(id));
    await this.release(orphans.map(({ id }) => id));
    return orphans.length;
  }

  /** Octets in use, and octets of the file that can be used again. */
  space(): { usedBytes: number; freeBytes: number } {
    const usedBytes = this.ctx.storage.sql.databaseSize;
    return { usedBytes, freeBytes: Math.max(0, this.#fileBytes - usedBytes) };
  }

  /** Keeps B3. */
  async #shrink(): Promise<void> {
    if (this.#fileBytes < SHRINK_BYTES) return;
    if (this.#all(BLOCK_STATEMENTS.any).length > 0) return;
    this.#fileBytes = 0;
    const emptied = this.ctx.storage.deleteAll();
    this.#migrate();
    await emptied;
    this.#fileBytes = Math.max(this.#fileBytes, this.ctx.storage.sql.databaseSize);
  }

  #migrate(): void {
    for (const query of BLOCK_MIGRATIONS) this.ctx.storage.sql.exec(query);
  }

  #all<P extends readonly SqlValue[], R>({ query }: Statement<P, R>, ...parameters: P): R[] {
    return this.ctx.storage.sql.exec(query, ...parameters).toArray() as R[];
  }
}
