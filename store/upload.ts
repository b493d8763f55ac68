/**
 * A value that arrives in chunks: in memory while it is small, then straight to blocks.
 *
 * D1 What has arrived is charged while it arrives, so that many uploads cannot outgrow the budgets.
 * D2 Nothing is stored before `finish`; a body cut short, or an end of the job, leaves nothing.
 */
import {
  type BlockWriter,
  type Durability,
  IsolaError,
  STORE_LIMITS,
  type StoredValue,
} from "../runtime/contract/index.ts";
import type { Guest, Job, Slot } from "./model.ts";
import type { Mover } from "./mover.ts";
import { jobEnded } from "./refusals.ts";
import { type Space, cost, joinChunks } from "./space.ts";

export class Upload implements Guest {
  readonly #space: Space;
  readonly #mover: Mover;
  readonly #job: Job;
  readonly #durability: Durability;
  readonly #memoryMaxBytes: number;
  readonly #slot: Slot;
  #chunks: Uint8Array[] = [];
  #writer: BlockWriter | undefined;
  #state: "open" | "finished" | "used" | "ended" = "open";

  constructor(
    parts: { space: Space; mover: Mover },
    job: Job,
    kind: StoredValue["kind"],
    durability: Durability,
  ) {
    this.#space = parts.space;
    this.#mover = parts.mover;
    this.#job = job;
    this.#durability = durability;
    const { uploadMemoryMaxBytes } = parts.space.budgets;
    const inlineBytes = STORE_LIMITS.inlineMaxBytes;
    this.#memoryMaxBytes = durability === "disk" ? inlineBytes : uploadMemoryMaxBytes;
    // An encoded value in memory would be octets to whoever reads it.
    if (kind === "value") this.#memoryMaxBytes = 0;
    this.#slot = this.#space.newSlot(job, kind, 0);
    job.guests.add(this);
  }

  get sizeBytes(): number {
    return this.#slot.sizeBytes;
  }

  /**
   * One at a time; owns `chunk` from now on. Errors: `STORE_FULL`, `BODY_TOO_LARGE`,
   * `QUOTA_EXCEEDED`, …
   */
  write(chunk: Uint8Array): Promise<void> {
    return this.#mover.during(this.#write(chunk));
  }

  /** `sizeBytes`: what the sender said, if it said something. */
  finish(sizeBytes?: number): Promise<void> {
    return this.#mover.during(this.#finish(sizeBytes));
  }

  /** All of it; what it waits for may wait for it too. */
  whole(chunks: readonly Uint8Array[]): Promise<void> {
    const work = async (): Promise<void> => {
      for (const chunk of chunks) await this.#write(chunk);
      await this.#finish(undefined);
    };
    return this.#mover.during(work());
  }

  async #write(chunk: Uint8Array): Promise<void> {
    try {
      this.#checkOpen();
      this.#space.checkQuota(this.#job, chunk.byteLength);
      if (this.sizeBytes + chunk.byteLength > STORE_LIMITS.objectMaxBytes) throw tooLarge();
      await this.#append(chunk);
    } catch (thrown) {
      await this.abort();
      throw thrown;
    }
  }

  async #finish(sizeBytes: number | undefined): Promise<void> {
    try {
      this.#checkOpen();
      const isCut = sizeBytes !== undefined && sizeBytes !== this.sizeBytes;
      if (isCut) throw cutShort(this.sizeBytes, sizeBytes);
      // An empty value needs a place too.
      if (this.sizeBytes === 0) await this.#append(new Uint8Array(0));
      if (this.#writer) await this.#finishBlocks();
      else await this.#finishMemory();
      this.#state = "finished";
    } catch (thrown) {
      await this.abort();
      throw thrown;
    }
  }

  /** The finished value, held by whoever takes it over; once. */
  takeOver(): Slot {
    if (this.#job.endedAtMs !== undefined) throw jobEnded(this.#job);
    if (this.#state !== "finished") throw cutShort(this.sizeBytes, undefined);
    this.#state = "used";
    this.#job.guests.delete(this);
    return this.#slot;
  }

  /** Drops everything; harmless when it is finished and used, or aborted before. */
  async abort(): Promise<void> {
    if (this.#state === "used") return;
    this.abandon();
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.abort();
  }

  /** The end of the job: its bytes are given back at once, its blocks when the writer looks. */
  abandon(): void {
    this.#state = "ended";
    this.#chunks = [];
    this.#job.guests.delete(this);
    this.#space.free(this.#slot);
  }

  #checkOpen(): void {
    if (this.#job.endedAtMs !== undefined) throw jobEnded(this.#job);
    if (this.#state !== "open") throw cutShort(this.sizeBytes, undefined);
  }

  async #append(chunk: Uint8Array): Promise<void> {
    if (!this.#writer && this.#fitsMemory(chunk)) return;
    await this.#toBlocks(chunk);
  }

  #fitsMemory(chunk: Uint8Array): boolean {
    const bytes = this.sizeBytes + chunk.byteLength;
    if (bytes > this.#memoryMaxBytes) return false;
    const growth = cost(bytes) - this.#slot.charged.memory;
    if (!this.#space.claimMemory(this.#job, growth)) return false;
    this.#space.grow(this.#slot, chunk.byteLength);
    this.#space.charge(this.#slot, "memory", cost(bytes));
    this.#chunks.push(chunk);
    return true;
  }

  async #toBlocks(chunk: Uint8Array): Promise<void> {
    const first = !this.#writer;
    await this.#claimDisk(cost(this.sizeBytes + chunk.byteLength));
    this.#space.grow(this.#slot, chunk.byteLength);
    this.#writer ??= await this.#mover.create();
    const chunks = first ? [...this.#chunks, chunk] : [chunk];
    this.#chunks = [];
    for (const part of chunks) await this.#writer.write(part);
    this.#checkOpen();
    if (first) this.#space.charge(this.#slot, "memory", 0);
  }

  /** Charges the disk up to `bytes`, waiting for colder values to move. */
  async #claimDisk(bytes: number): Promise<void> {
    for (;;) {
      this.#checkOpen();
      const growth = bytes - this.#slot.charged.disk;
      if (growth <= 0) return;
      if (this.#space.fitsDisk(growth)) break;
      await this.#mover.relief(growth, true);
    }
    this.#space.charge(this.#slot, "disk", bytes);
  }

  async #finishBlocks(): Promise<void> {
    if (!this.#writer) return;
    const ref = await this.#writer.finish();
    this.#writer = undefined;
    if (this.#slot.isGone) {
      this.#mover.discard({ blocks: ref.id });
      throw jobEnded(this.#job);
    }
    this.#space.settleBlocks(this.#slot, ref);
  }

  async #finishMemory(): Promise<void> {
    if (this.#durability === "disk") await this.#claimDisk(cost(this.sizeBytes));
    const isSmall = this.sizeBytes <= STORE_LIMITS.inlineMaxBytes;
    const chunks = isSmall ? [joinChunks(this.#chunks)] : this.#chunks;
    this.#chunks = [];
    this.#space.keep(this.#slot, { kind: "bytes", chunks, sizeBytes: this.sizeBytes });
  }
}

function tooLarge(): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "store an object",
    found: `more than ${String(STORE_LIMITS.objectMaxBytes)} bytes`,
    fix: "Cut it into several objects.",
  });
}

function cutShort(sizeBytes: number, expectedBytes: number | undefined): IsolaError {
  return new IsolaError("BODY_INCOMPLETE", {
    attempted: "store an object",
    found: `${String(sizeBytes)} bytes, then the end`,
    ...(expectedBytes === undefined ? {} : { required: `${String(expectedBytes)} bytes` }),
  });
}
