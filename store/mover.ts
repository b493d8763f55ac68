/**
 * What moves between tiers while others go on: large values to blocks, anything to the cold tier
 * and back, and the giving back of what nothing names any more.
 *
 * O1 A move decides nothing: when its copy is synced it looks whether the slot is still there, and
 *    otherwise drops the copy.
 * O2 Blocks and cold objects are given back after the commit that forgets them; a crash between
 *    the two leaves orphans, which the next opening sweeps (G4).
 * O3 Nothing is written outside of SQLite before the opening is on disk: an epoch is used once, so
 *    what another epoch wrote is an orphan unless something names it.
 */
import {
  type BlockRef,
  type BlockWriter,
  type Blocks,
  type ColdTier,
  type Log,
  STORE_LIMITS,
  type StoredValue,
  assert,
} from "../runtime/contract/index.ts";
import type { Slot } from "./model.ts";
import { jobEnded } from "./refusals.ts";
import { type Space, cost, joinChunks } from "./space.ts";

/** How many values are on their way at once. */
const MOVES_MAX = 16;

interface Garbage {
  readonly position: number;
  readonly blocks?: string;
  readonly cold?: string;
}

export class Mover {
  /** Moves and releases that failed; what they left is swept at the next opening. */
  failures = 0;
  readonly #space: Space;
  readonly #blocks: Blocks;
  readonly #cold: ColdTier | undefined;
  readonly #log: Log;
  readonly #epoch: number;
  readonly #opened: Promise<void>;
  readonly #moves = new Set<Promise<boolean>>();
  /** Of uploads, and how many of them wait for room: all waiting wait for nobody. */
  readonly #writes = new Set<Promise<boolean>>();
  #waiting = 0;
  #garbage: Garbage[] = [];
  #collecting: Promise<void> | undefined;

  constructor(space: Space, seams: MoverSeams, epoch: number) {
    this.#space = space;
    this.#blocks = seams.blocks;
    this.#cold = seams.cold;
    this.#log = seams.log;
    this.#epoch = epoch;
    this.#opened = seams.log.committed(seams.log.position);
    // Who writes hears of its failure; the actor ends anyway.
    this.#opened.catch(() => {});
  }

  /** A writer of blocks of this epoch, once the epoch is on disk (O3). */
  async create(): Promise<BlockWriter> {
    await this.#opened;
    return this.#blocks.create(this.#epoch);
  }

  /** Begins to move a value out of memory; it stays readable meanwhile. */
  spill(slot: Slot): void {
    if (slot.isMoving || slot.isGone || !slot.memory || this.#moves.size >= MOVES_MAX) return;
    const isLarge = slot.sizeBytes > STORE_LIMITS.inlineMaxBytes;
    const isCharged = slot.charged.disk > 0;
    if (isLarge && (isCharged || this.#space.fitsDisk(cost(slot.sizeBytes)))) {
      this.#start(slot, () => this.#toBlocks(slot));
    } else if (this.#canCool(slot)) this.#start(slot, () => this.#toCold(slot));
  }

  /**
   * Resolves when something has moved, so that asking for room again may succeed. Errors:
   * `STORE_FULL` when nothing can move any more.
   */
  async relief(bytes: number, isWrite = false): Promise<void> {
    if (isWrite) this.#waiting += 1;
    try {
      if (this.#moves.size === 0) this.#coolDown(bytes);
      if (this.#isStuck()) throw this.#space.full();
      const hasHelped = await Promise.race([...this.#moves, ...this.#writes]);
      if (!hasHelped && this.#isStuck()) throw this.#space.full();
    } finally {
      if (isWrite) this.#waiting -= 1;
    }
  }

  /**
   * A write of an upload: when it is done, what it holds may move. It says when it waits itself.
   */
  during<T>(work: Promise<T>): Promise<T> {
    const write = work.then(
      () => true,
      () => true,
    );
    this.#writes.add(write);
    void write.then(() => this.#writes.delete(write));
    return work;
  }

  /** The whole value. The caller holds the slot. Errors: `JOB_ENDED`. */
  async load(slot: Slot): Promise<StoredValue> {
    const now = this.#space.loadNow(slot);
    if (now) return now;
    const bytes = await this.range(slot, 0, slot.storedBytes);
    const value = this.#space.decode(slot, bytes);
    const costBytes = cost(slot.sizeBytes);
    const isAbsent = slot.memory === undefined && !slot.isGone;
    if (isAbsent && this.#space.fitsMemory(slot.job, costBytes)) this.#space.keep(slot, value);
    return value;
  }

  /** Stored octets `[start, end)`. The caller holds the slot. Errors: `JOB_ENDED`. */
  async range(slot: Slot, start: number, end: number): Promise<Uint8Array> {
    if (slot.isGone) throw jobEnded(slot.job);
    this.#space.touch(slot);
    if (slot.memory) return cut(this.#space.encode(slot.memory), start, end);
    if (slot.row === "body") return this.#space.readBody(slot).subarray(start, end);
    const { blocks, cold } = slot;
    try {
      if (blocks) return await this.#blocks.read(blocks, start, end);
      assert(this.#cold && cold !== undefined, "a slot without memory has a place below");
      return await this.#cold.get(cold, start, end);
    } catch (thrown) {
      if (slot.isGone) throw jobEnded(slot.job);
      // It moved down while it was read: the other tier has it.
      if (slot.blocks !== blocks) return this.range(slot, start, end);
      throw thrown;
    }
  }

  /** Gives back blocks or a cold object once what was written so far is on disk. */
  discard(what: { readonly blocks: string } | { readonly cold: string }): void {
    this.#garbage.push({ position: this.#log.position, ...what });
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
  }

  /** Frees what former openings left behind; runs once, before the first write of this one. */
  async sweep(liveBlocks: ReadonlySet<string>, liveCold: ReadonlySet<string>): Promise<void> {
    try {
      await this.#blocks.sweep(liveBlocks, this.#epoch);
      if (!this.#cold) return;
      const orphans: string[] = [];
      // Keys carry the epoch that wrote them: those of this one are not orphans.
      const own = `${String(this.#epoch)}-`;
      for await (const key of this.#cold.list()) {
        if (!liveCold.has(key) && !key.startsWith(own)) orphans.push(key);
      }
      if (orphans.length > 0) await this.#cold.delete(orphans);
    } catch {
      this.failures += 1;
    }
  }

  /** Resolves when nothing moves and nothing waits to be given back. */
  async quiet(): Promise<void> {
    while (this.#moves.size > 0 || this.#collecting) {
      await Promise.all([...this.#moves, this.#collecting]);
    }
  }

  #isStuck(): boolean {
    return this.#moves.size === 0 && this.#writes.size <= this.#waiting;
  }

  #coolDown(bytes: number): void {
    let cooling = 0;
    for (const slot of this.#space.diskSlots()) {
      if (cooling >= bytes || this.#moves.size >= MOVES_MAX) return;
      if (!this.#canCool(slot)) continue;
      cooling += slot.charged.disk;
      this.#start(slot, () => this.#toCold(slot));
    }
  }

  #canCool(slot: Slot): boolean {
    const isFree = !slot.isMoving && !slot.isGone && slot.cold === undefined;
    return isFree && this.#cold !== undefined && this.#space.fitsCold(cost(slot.sizeBytes));
  }

  #start(slot: Slot, move: () => Promise<void>): void {
    slot.isMoving = true;
    const moving = move().then(
      () => true,
      () => {
        // Freed while it moved: its bytes are room as well.
        if (slot.isGone) return true;
        this.failures += 1;
        return false;
      },
    );
    this.#moves.add(moving);
    void moving.then(() => this.#moves.delete(moving));
  }

  async #toBlocks(slot: Slot): Promise<void> {
    const { memory } = slot;
    assert(memory, "what is spilled is in memory");
    this.#space.charge(slot, "disk", cost(slot.sizeBytes));
    const writer = await this.create();
    let ref: BlockRef;
    try {
      for (const chunk of this.#space.encode(memory)) await writer.write(chunk);
      ref = await writer.finish();
    } catch (thrown) {
      slot.isMoving = false;
      if (!slot.isGone) this.#space.charge(slot, "disk", 0);
      await writer.abort();
      throw thrown;
    }
    slot.isMoving = false;
    if (slot.isGone) this.discard({ blocks: ref.id });
    else this.#space.settleBlocks(slot, ref);
  }

  async #toCold(slot: Slot): Promise<void> {
    assert(this.#cold, "only a configured tier takes values");
    this.#space.charge(slot, "cold", cost(slot.sizeBytes));
    const source = this.#source(slot);
    const key = `${String(this.#epoch)}-${String(slot.id)}`;
    try {
      await this.#opened;
      await this.#cold.put(key, source.sizeBytes, source.read);
    } catch (thrown) {
      slot.isMoving = false;
      if (!slot.isGone) this.#space.charge(slot, "cold", 0);
      throw thrown;
    }
    slot.isMoving = false;
    if (slot.isGone) this.discard({ cold: key });
    else this.#space.settleCold(slot, key, source.sizeBytes);
  }

  /** The encoding, wherever the slot is now. */
  #source(slot: Slot): {
    sizeBytes: number;
    read: (start: number, end: number) => Promise<Uint8Array>;
  } {
    const { blocks } = slot;
    if (blocks) {
      const read = (start: number, end: number) => this.#blocks.read(blocks, start, end);
      return { sizeBytes: blocks.sizeBytes, read };
    }
    const chunks =
      slot.memory === undefined ? [this.#space.readBody(slot)] : this.#space.encode(slot.memory);
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    return { sizeBytes, read: async (start, end) => cut(chunks, start, end) };
  }

  async #collect(): Promise<void> {
    while (this.#garbage.length > 0) {
      const position = this.#log.position;
      try {
        await this.#log.committed(position);
      } catch {
        // The actor ends; the next opening sweeps.
        return;
      }
      const ready = this.#garbage.filter((item) => item.position <= position);
      this.#garbage = this.#garbage.filter((item) => item.position > position);
      await this.#giveBack(ready);
    }
  }

  async #giveBack(ready: readonly Garbage[]): Promise<void> {
    const blocks = ready.flatMap((item) => item.blocks ?? []);
    const cold = ready.flatMap((item) => item.cold ?? []);
    try {
      if (blocks.length > 0) await this.#blocks.release(blocks);
      if (cold.length > 0) await this.#cold?.delete(cold);
    } catch {
      this.failures += 1;
    }
  }
}

export interface MoverSeams {
  readonly blocks: Blocks;
  readonly cold: ColdTier | undefined;
  readonly log: Log;
}

/** Octets `[start, end)` of chunks, copied only where they span several. */
function cut(chunks: readonly Uint8Array[], start: number, end: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const chunk of chunks) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, chunk.byteLength);
    if (from < to) parts.push(chunk.subarray(from, to));
    at += chunk.byteLength;
    if (at >= end) break;
  }
  return joinChunks(parts);
}
