/**
 * Where values are: memory first, then rows, blocks and the cold tier, under budgets.
 *
 * P1 Nothing enters a tier beyond its budget; what does not fit anywhere is refused (G8).
 * P2 A value leaves memory only when a lower tier has it. A row counts at once, since a failed
 *    commit ends the actor; blocks and cold objects count once they are synced.
 * P3 The coldest leave first. A large one leaves as soon as its blocks are synced, so small ones
 *    may overtake it.
 * P4 Bytes outside of SQLite are given back after the commit that forgets them (mover.ts).
 */
import {
  type Clock,
  type Durability,
  type IsolaError,
  type Log,
  STORE_LIMITS,
  type Sql,
  type StoreTier,
  type StoredValue,
  type ValueCodec,
  assert,
} from "../runtime/contract/index.ts";
import { Bulk } from "./bulk.ts";
import { Meter } from "./meter.ts";
import type { Job, Slot } from "./model.ts";
import { quotaExceeded, storeFull } from "./refusals.ts";
import { type SlotRow, STATEMENTS } from "./schema.ts";
import type { Serials } from "./serials.ts";

/** Values that the creation of a job looks at, to make way for what it is expected to hold. */
const MAKE_WAY_LOOKS_MAX = 256;

/** Bounds that an operator or a test may set; the rest stands in `STORE_LIMITS`. */
export interface Budgets {
  readonly memoryBytes: number;
  readonly jobMemoryBytes: number;
  readonly diskBytes: number;
  readonly coldBytes: number;
  readonly uploadMemoryMaxBytes: number;
  /** All values of a namespace in this shard; 0 = no bound. Beyond: `QUOTA_EXCEEDED`. */
  readonly namespaceBytes: (namespace: string) => number;
}

export interface SpaceSeams {
  readonly sql: Sql;
  readonly log: Log;
  readonly clock: Clock;
  readonly codec: ValueCodec;
  readonly serials: Serials;
}

/** What the neighbours do when a value moves. */
export interface SpaceHooks {
  /** The job gets its row before anything that refers to it. */
  record(job: Job): void;
  /** The slot has a row now: so must its name (V1). */
  named(slot: Slot): void;
  /** A large value has to leave memory. */
  spill(slot: Slot): void;
  /** Blocks or a cold object that nothing names any more. */
  discard(what: { readonly blocks: string } | { readonly cold: string }): void;
}

export class Space {
  readonly meter: Meter;
  /** Free bytes of the volume beyond the reserve; the actor keeps it up to date. */
  diskFreeBytes = Number.POSITIVE_INFINITY;
  readonly #seams: SpaceSeams;
  readonly #budgets: Budgets;
  readonly #hooks: SpaceHooks;
  readonly #namespaces = new Map<string, Meter>();
  /** Slots with a copy in memory, and slots on disk: coldest first. */
  readonly #memory = new Set<Slot>();
  readonly #disk = new Set<Slot>();
  readonly #bulk = new Bulk<undefined, number>((_, ids) => {
    this.#seams.sql.all(STATEMENTS.slotDeleteMany, ids);
  });

  constructor(seams: SpaceSeams, budgets: Budgets, hooks: SpaceHooks) {
    this.#seams = seams;
    this.#budgets = budgets;
    this.#hooks = hooks;
    this.meter = new Meter(seams.clock.now());
  }

  get budgets(): Budgets {
    return this.#budgets;
  }

  meterOf(namespace: string): Meter {
    const known = this.#namespaces.get(namespace);
    if (known) return known;
    const made = new Meter(this.#seams.clock.now(), this.meter);
    this.#namespaces.set(namespace, made);
    return made;
  }

  namespaces(): ReadonlyMap<string, Meter> {
    return this.#namespaces;
  }

  /** Disk slots, coldest first, for the cold tier. */
  diskSlots(): Iterable<Slot> {
    return this.#disk;
  }

  memorySlots(): Iterable<Slot> {
    return this.#memory;
  }

  /** Drops copies that have another below, so that what a job is expected to hold fits. */
  makeWay(job: Job, bytes: number): void {
    const wantedBytes = Math.min(bytes, this.#budgets.jobMemoryBytes);
    let looks = 0;
    for (const slot of this.#memory) {
      if (this.fitsMemory(job, wantedBytes) || looks >= MAKE_WAY_LOOKS_MAX) return;
      looks += 1;
      if (slot.row !== "none") this.#dropMemory(slot);
    }
  }

  /** A value without a place yet, held once by the caller. Errors: `QUOTA_EXCEEDED`. */
  newSlot(job: Job, kind: StoredValue["kind"], sizeBytes: number): Slot {
    this.checkQuota(job, sizeBytes);
    const slot = emptySlot(this.#seams.serials.next(), job, kind);
    job.slots.add(slot);
    this.grow(slot, sizeBytes);
    return slot;
  }

  checkQuota(job: Job, bytes: number): void {
    const quota = this.#budgets.namespaceBytes(job.namespace);
    if (quota === 0) return;
    const held = this.meterOf(job.namespace).held + bytes;
    if (held <= quota) return;
    throw quotaExceeded(
      `store ${String(bytes)} bytes in namespace ${job.namespace}`,
      `${String(held)} of ${String(quota)} bytes in its shard`,
    );
  }

  /** The value grows; charging a tier for it is the caller's. */
  grow(slot: Slot, bytes: number): void {
    slot.sizeBytes += bytes;
    slot.held += bytes;
    slot.job.meter.hold(bytes);
  }

  /** Places a value without waiting; undefined if that cannot be done now. */
  tryPlace(job: Job, value: StoredValue, durability: Durability): Slot | undefined {
    const costBytes = cost(value.sizeBytes);
    const isSmall = value.sizeBytes <= STORE_LIMITS.inlineMaxBytes;
    if (!isSmall && durability === "disk") return undefined;
    this.checkQuota(job, value.sizeBytes);
    if (durability === "memory" && this.claimMemory(job, costBytes)) {
      const resident = this.newSlot(job, value.kind, value.sizeBytes);
      this.keep(resident, value);
      return resident;
    }
    if (!isSmall || !this.fitsDisk(costBytes)) return undefined;
    const slot = this.newSlot(job, value.kind, value.sizeBytes);
    this.charge(slot, "disk", costBytes);
    // Its row is written when it gets a name: a step's puts are one commit with its result.
    if (durability === "disk" && this.claimMemory(job, costBytes)) this.keep(slot, value);
    else this.#writeBody(slot, value);
    return slot;
  }

  /** Holds a copy in memory, for which room was claimed. */
  keep(slot: Slot, value: StoredValue): void {
    slot.memory = value;
    this.charge(slot, "memory", cost(slot.sizeBytes));
    this.#memory.add(slot);
    slot.job.residents.add(slot);
  }

  charge(slot: Slot, tier: StoreTier, bytes: number): void {
    const change = bytes - slot.charged[tier];
    if (change === 0) return;
    slot.charged[tier] = bytes;
    slot.job.meter.charge(tier, change, this.#seams.clock.now());
  }

  /** Moves colder values down until `bytes` fit in memory; false if they cannot be made to. */
  claimMemory(job: Job, bytes: number): boolean {
    const { memoryBytes, jobMemoryBytes } = this.#budgets;
    const jobOver = (): boolean => job.meter.used.memory + bytes > jobMemoryBytes;
    const shardOver = (): boolean => this.meter.used.memory + bytes > memoryBytes;
    if (bytes > memoryBytes || bytes > jobMemoryBytes) return false;
    if (jobOver()) this.#evict(job.residents, jobOver);
    if (shardOver()) this.#evict(this.#memory, shardOver);
    return !jobOver() && !shardOver();
  }

  fitsMemory(job: Job, bytes: number): boolean {
    return (
      job.meter.used.memory + bytes <= this.#budgets.jobMemoryBytes &&
      this.meter.used.memory + bytes <= this.#budgets.memoryBytes
    );
  }

  fitsDisk(bytes: number): boolean {
    return this.meter.used.disk + bytes <= this.#budgets.diskBytes && bytes <= this.diskFreeBytes;
  }

  fitsCold(bytes: number): boolean {
    return this.meter.used.cold + bytes <= this.#budgets.coldBytes;
  }

  full(): IsolaError {
    const { disk, cold } = this.meter.used;
    const found = `${String(disk)} bytes on disk, ${String(cold)} in the cold tier, no room left`;
    // The operator learns what has run out: the volume, or what the store may use of it.
    const isVolume = this.diskFreeBytes < this.#budgets.diskBytes - disk;
    return storeFull(found, isVolume ? "DISK_FULL" : "STORE_FULL");
  }

  /** The slot gets a row if it has none; room on disk was charged when it was placed. */
  ensureRow(slot: Slot): void {
    if (slot.row !== "none") return;
    assert(slot.memory && slot.sizeBytes <= STORE_LIMITS.rowMaxBytes, "small values get rows");
    this.#writeBody(slot, slot.memory);
  }

  /** The slot's blocks are synced: they take the place of its copy in memory. */
  settleBlocks(slot: Slot, ref: { readonly id: string; readonly sizeBytes: number }): void {
    slot.blocks = ref;
    slot.storedBytes = ref.sizeBytes;
    this.#writeRow(slot, "blocks", null);
    this.charge(slot, "disk", cost(ref.sizeBytes));
    this.#dropMemory(slot);
  }

  /** The cold tier has the value: the copies above it go. */
  settleCold(slot: Slot, key: string, sizeBytes: number): void {
    const { blocks } = slot;
    slot.cold = key;
    slot.blocks = undefined;
    slot.storedBytes = sizeBytes;
    this.#writeRow(slot, "cold", null);
    this.charge(slot, "cold", cost(sizeBytes));
    this.charge(slot, "disk", 0);
    this.#disk.delete(slot);
    this.#dropMemory(slot);
    if (blocks) this.#hooks.discard({ blocks: blocks.id });
  }

  /** A slot found on disk when the shard opens; nobody holds it yet. */
  restore(row: SlotRow, job: Job): Slot {
    const kind = row.kind === "bytes" ? "bytes" : "value";
    const slot = emptySlot(row.id, job, kind);
    slot.holds = 0;
    slot.storedBytes = row.storedBytes;
    slot.cold = row.cold ?? undefined;
    slot.blocks = row.blocks === null ? undefined : { id: row.blocks, sizeBytes: row.storedBytes };
    slot.row = rowOf(slot);
    job.slots.add(slot);
    this.grow(slot, row.sizeBytes);
    this.charge(slot, slot.row === "cold" ? "cold" : "disk", cost(row.storedBytes));
    if (slot.row !== "cold") this.#disk.add(slot);
    return slot;
  }

  hold(slot: Slot): Slot {
    slot.holds += 1;
    return slot;
  }

  release(slot: Slot): void {
    slot.holds -= 1;
    if (slot.holds <= 0) this.free(slot);
  }

  /** Frees many slots: their rows go together (bulk.ts). */
  inBulk(work: () => void): void {
    this.#bulk.run(work);
  }

  /** Gives back every byte, whoever holds the slot (V3). */
  free(slot: Slot): void {
    if (slot.isGone) return;
    slot.isGone = true;
    this.charge(slot, "memory", 0);
    this.charge(slot, "disk", 0);
    this.charge(slot, "cold", 0);
    slot.job.meter.hold(-slot.held);
    slot.job.slots.delete(slot);
    slot.job.residents.delete(slot);
    this.#memory.delete(slot);
    this.#disk.delete(slot);
    slot.memory = undefined;
    if (slot.row !== "none") {
      if (!this.#bulk.take(undefined, slot.id)) {
        this.#seams.sql.all(STATEMENTS.slotDelete, slot.id);
      }
      this.wrote(slot.job);
    }
    if (slot.blocks) this.#hooks.discard({ blocks: slot.blocks.id });
    if (slot.cold !== undefined) this.#hooks.discard({ cold: slot.cold });
  }

  /** The job has a row from now on. */
  record(job: Job): void {
    this.#hooks.record(job);
  }

  /** Answers about the job wait for the commit that is being filled now. */
  wrote(job: Job): void {
    job.position = this.#seams.log.position;
    job.writes += 1;
  }

  touch(slot: Slot): void {
    if (slot.memory) {
      reinsert(this.#memory, slot);
      reinsert(slot.job.residents, slot);
    }
    if (this.#disk.has(slot)) reinsert(this.#disk, slot);
  }

  /** The value if memory or a row has it; undefined if it has to be fetched. */
  loadNow(slot: Slot): StoredValue | undefined {
    this.touch(slot);
    if (slot.memory) return slot.memory;
    if (slot.row !== "body") return undefined;
    const value = this.decode(slot, this.readBody(slot));
    if (this.fitsMemory(slot.job, cost(slot.sizeBytes))) this.keep(slot, value);
    return value;
  }

  readBody(slot: Slot): Uint8Array {
    const row = this.#seams.sql.all(STATEMENTS.slotBody, slot.id)[0];
    assert(row, "a slot with a body has its row");
    return row.body;
  }

  encode(value: StoredValue): readonly Uint8Array[] {
    return value.kind === "bytes" ? value.chunks : [this.#seams.codec.encode(value.value)];
  }

  decode(slot: Slot, bytes: Uint8Array): StoredValue {
    const { sizeBytes } = slot;
    if (slot.kind === "bytes") return { kind: "bytes", chunks: [bytes], sizeBytes };
    return { kind: "value", value: this.#seams.codec.decode(bytes), sizeBytes };
  }

  #evict(slots: Iterable<Slot>, isOver: () => boolean): void {
    for (const slot of slots) {
      if (!isOver()) return;
      if (slot.row !== "none") this.#dropMemory(slot);
      else if (slot.sizeBytes > STORE_LIMITS.inlineMaxBytes) this.#hooks.spill(slot);
      else this.#evictSmall(slot);
    }
  }

  #evictSmall(slot: Slot): void {
    const { memory } = slot;
    if (!memory || slot.isMoving) return;
    if (slot.charged.disk === 0 && !this.fitsDisk(cost(slot.sizeBytes))) {
      this.#hooks.spill(slot);
      return;
    }
    this.#writeBody(slot, memory);
    this.#dropMemory(slot);
  }

  #dropMemory(slot: Slot): void {
    if (slot.isMoving) return;
    slot.memory = undefined;
    this.charge(slot, "memory", 0);
    this.#memory.delete(slot);
    slot.job.residents.delete(slot);
  }

  #writeBody(slot: Slot, value: StoredValue): void {
    const body = joinChunks(this.encode(value));
    slot.storedBytes = body.byteLength;
    this.#writeRow(slot, "body", body);
    this.charge(slot, "disk", cost(body.byteLength));
    this.#disk.add(slot);
  }

  #writeRow(slot: Slot, row: "body" | "blocks" | "cold", body: Uint8Array | null): void {
    const { job } = slot;
    this.#hooks.record(job);
    this.#seams.sql.all(
      STATEMENTS.slotPut,
      slot.id,
      job.number,
      slot.kind,
      slot.sizeBytes,
      slot.storedBytes,
      body,
      slot.blocks?.id ?? null,
      slot.cold ?? null,
    );
    slot.row = row;
    if (row !== "cold") this.#disk.add(slot);
    this.wrote(job);
    this.#hooks.named(slot);
  }
}

/** What a value of that size costs a tier. */
export function cost(sizeBytes: number): number {
  return sizeBytes + STORE_LIMITS.overheadBytes;
}

export function joinChunks(chunks: readonly Uint8Array[]): Uint8Array {
  const [first] = chunks;
  if (chunks.length === 1 && first) return first;
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

function emptySlot(id: number, job: Job, kind: StoredValue["kind"]): Slot {
  return {
    id,
    job,
    kind,
    sizeBytes: 0,
    storedBytes: 0,
    memory: undefined,
    row: "none",
    blocks: undefined,
    cold: undefined,
    charged: { memory: 0, disk: 0, cold: 0 },
    held: 0,
    holds: 1,
    isMoving: false,
    isGone: false,
    entry: undefined,
  };
}

function rowOf(slot: Slot): Slot["row"] {
  if (slot.cold !== undefined) return "cold";
  return slot.blocks ? "blocks" : "body";
}

function reinsert<T>(set: Set<T>, item: T): void {
  if (set.delete(item)) set.add(item);
}
