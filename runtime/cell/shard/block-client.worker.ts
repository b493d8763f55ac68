/**
 * The `Blocks` seam over the block actor: cuts values into its parts.
 *
 * K1 Parts of a value are sent one after the other; a writer holds at most one of them (constant
 *    memory).
 * K2 `finish` compares what is on disk with what was sent: a value is whole or it is none.
 * K3 What fails in the block actor, a full disk above all, ends the operation, not the shard.
 */
import {
  type BlockRef,
  type BlockWriter,
  type Blocks as BlocksSeam,
  IsolaError,
} from "../../contract/index.ts";
import { type Blocks, PART_BYTES } from "./blocks.worker.ts";
import { storageFault } from "./storage-fault.ts";

type BlockStub = DurableObjectStub<Blocks>;

export class BlockClient implements BlocksSeam {
  readonly #stub: () => BlockStub;
  readonly #wrote: (bytes: number) => void;
  #written = 0;

  /** @param stub anew for each operation: a stub does not survive the end of its actor. */
  constructor(stub: () => BlockStub, wrote: (bytes: number) => void) {
    this.#stub = stub;
    this.#wrote = wrote;
  }

  create(epoch: number): BlockWriter {
    this.#written += 1;
    const id = `${String(epoch)}-${String(this.#written)}`;
    return new Writer(id, epoch, this.#stub, this.#wrote);
  }

  async read(ref: BlockRef, start: number, end: number): Promise<Uint8Array> {
    const first = Math.floor(start / PART_BYTES);
    const last = Math.max(first, Math.ceil(end / PART_BYTES) - 1);
    const stub = this.#stub();
    const parts: Promise<Uint8Array>[] = [];
    for (let part = first; part <= last; part += 1) {
      const at = part * PART_BYTES;
      const from = Math.max(0, start - at);
      parts.push(readPart(stub, ref, part, [from, Math.min(PART_BYTES, end - at)]));
    }
    const all = await Promise.all(parts);
    const [only] = all;
    if (only && all.length === 1) return only;
    const bytes = new Uint8Array(end - start);
    let at = 0;
    for (const part of all) {
      bytes.set(part, at);
      at += part.byteLength;
    }
    return bytes;
  }

  async release(ids: readonly string[]): Promise<void> {
    await this.#stub().release(ids);
  }

  sweep(live: ReadonlySet<string>, epoch: number): Promise<number> {
    return this.#stub().sweep([...live], epoch);
  }
}

async function readPart(
  stub: BlockStub,
  ref: BlockRef,
  part: number,
  [start, end]: readonly [number, number],
): Promise<Uint8Array> {
  const attempted = `read a stored value's part ${String(part)}`;
  const isWhole = end - start === PART_BYTES;
  let bytes: Uint8Array | undefined;
  try {
    bytes = await stub.read(ref.id, part, start, isWhole ? PART_BYTES : end);
  } catch (thrown) {
    throw storageFault(thrown, attempted);
  }
  if (bytes?.byteLength === end - start) return bytes;
  throw new IsolaError("DATA_CORRUPT", {
    attempted,
    found: bytes ? `${String(bytes.byteLength)} bytes` : "nothing",
    required: `${String(end - start)} bytes of ${ref.id}`,
  });
}

class Writer implements BlockWriter {
  readonly #id: string;
  readonly #epoch: number;
  readonly #stub: () => BlockStub;
  readonly #wrote: (bytes: number) => void;
  #part: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #parts = 0;
  #sizeBytes = 0;

  constructor(id: string, epoch: number, stub: () => BlockStub, wrote: (bytes: number) => void) {
    this.#id = id;
    this.#epoch = epoch;
    this.#stub = stub;
    this.#wrote = wrote;
  }

  async write(chunk: Uint8Array): Promise<void> {
    let at = 0;
    // A whole part in one buffer of its own is sent as it is.
    while (at < chunk.byteLength) {
      const isWhole = this.#filled === 0 && chunk.byteLength - at >= PART_BYTES;
      if (isWhole) {
        const whole = chunk.subarray(at, at + PART_BYTES);
        at += PART_BYTES;
        await this.#send(whole.byteLength === whole.buffer.byteLength ? whole : whole.slice());
        continue;
      }
      this.#part ??= new Uint8Array(PART_BYTES);
      const taken = Math.min(PART_BYTES - this.#filled, chunk.byteLength - at);
      this.#part.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
      if (this.#filled === PART_BYTES) await this.#sendPart();
    }
  }

  async finish(): Promise<BlockRef> {
    if (this.#filled > 0 || this.#parts === 0) await this.#sendPart();
    const attempted = "store a value's blocks";
    const found = await this.#ask((stub) => stub.sizes(this.#id), attempted);
    if (found.parts !== this.#parts || found.sizeBytes !== this.#sizeBytes) {
      throw new IsolaError("CELL_RESTARTING", {
        attempted,
        found: `${String(found.sizeBytes)} of ${String(this.#sizeBytes)} bytes on disk`,
        retryAfterSeconds: 1,
      });
    }
    return { id: this.#id, sizeBytes: this.#sizeBytes };
  }

  async abort(): Promise<void> {
    this.#part = undefined;
    // What cannot be taken back now is an orphan, and swept.
    await this.#stub()
      .release([this.#id])
      .catch(() => undefined);
  }

  async #sendPart(): Promise<void> {
    const part = this.#part ?? new Uint8Array(0);
    const filled = this.#filled;
    this.#part = undefined;
    this.#filled = 0;
    await this.#send(filled === PART_BYTES ? part : part.slice(0, filled));
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const part = this.#parts;
    this.#parts += 1;
    this.#sizeBytes += bytes.byteLength;
    this.#wrote(bytes.byteLength);
    await this.#ask(
      (stub) => stub.write(this.#id, part, this.#epoch, bytes),
      `store a value's part ${String(part)}`,
    );
  }

  async #ask<T>(ask: (stub: BlockStub) => Promise<T>, attempted: string): Promise<T> {
    try {
      return await ask(this.#stub());
    } catch (thrown) {
      throw storageFault(thrown, attempted);
    }
  }
}
