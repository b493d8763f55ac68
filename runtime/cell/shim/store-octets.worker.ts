/**
 * Large octets between a function and the store: chunks of 1 MiB, several in flight, so that the
 * way's delay is hidden and memory stays constant.
 */
import {
  IsolaError,
  type PutResult,
  STORE_LIMITS,
  type StoreCall,
  type StoreRange,
  type StoreReaderTarget,
  type StoreResult,
  type StoreUploadTarget,
  isErrorCode,
} from "../../contract/index.ts";
import type { StoreFound, StoreLink } from "./store-link.worker.ts";

const CHUNK_BYTES = STORE_LIMITS.chunkMaxBytes;
/** Chunks on their way at once. */
const WINDOW = 4;

type PutCall = StoreCall & { readonly op: "put" };
type Octets = Uint8Array<ArrayBuffer>;

/** Octets as the store keeps them; undefined for a structured value. */
export function octetsOf(value: unknown): Octets | undefined {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!(value instanceof Uint8Array)) return undefined;
  const { buffer, byteOffset, byteLength } = value;
  // A class of its own, as Node's Buffer is, may cut without copying.
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, byteLength) : undefined;
}

export async function uploadOctets(
  link: StoreLink,
  call: PutCall,
  octets: Octets,
): Promise<PutResult> {
  const sizeBytes = octets.byteLength;
  if (sizeBytes <= CHUNK_BYTES) return (await link.run<"put">(call, compact(octets))).answer;
  return uploading(link, { ...call, sizeBytes }, async (send) => {
    for (let at = 0; at < sizeBytes; at += CHUNK_BYTES) {
      await send(octets.slice(at, at + CHUNK_BYTES));
    }
  });
}

export function uploadStream(
  link: StoreLink,
  call: PutCall,
  stream: ReadableStream<unknown>,
): Promise<PutResult> {
  const reader = stream.getReader();
  return uploading(link, call, async (send) => {
    let buffer = new Uint8Array(CHUNK_BYTES);
    let filled = 0;
    const flush = async (): Promise<void> => {
      const full = filled === CHUNK_BYTES ? buffer : buffer.slice(0, filled);
      buffer = new Uint8Array(CHUNK_BYTES);
      filled = 0;
      await send(full);
    };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        let rest = chunkOf(value);
        while (rest.byteLength > 0) {
          // A chunk of the right size goes as it is.
          if (filled === 0 && rest.byteLength === CHUNK_BYTES) {
            await send(compact(rest));
            break;
          }
          const part = rest.subarray(0, CHUNK_BYTES - filled);
          buffer.set(part, filled);
          filled += part.byteLength;
          rest = rest.subarray(part.byteLength);
          if (filled === CHUNK_BYTES) await flush();
        }
      }
      if (filled > 0) await flush();
    } catch (thrown) {
      await reader.cancel(thrown).catch(() => undefined);
      throw thrown;
    }
  });
}

/** Runs one upload: `send` waits while too many chunks are on their way. */
async function uploading(
  link: StoreLink,
  call: PutCall,
  fill: (send: (chunk: Octets) => Promise<void>) => Promise<void>,
): Promise<PutResult> {
  const opened = await link.upload(call);
  if (!opened.ok) throw link.refused(opened.error);
  const { upload } = opened;
  const flight = new Flight(upload);
  try {
    await fill((chunk) => flight.send(chunk));
    await flight.landed();
    const result = await finished(link, upload, call.sizeBytes);
    if (!result.ok) throw link.refused(result.error);
    return result.answer as PutResult;
  } catch (thrown) {
    throw flight.isRefused ? refusedWrite(link, thrown) : thrown;
  } finally {
    dispose(opened);
  }
}

async function finished(
  link: StoreLink,
  upload: StoreUploadTarget,
  sizeBytes: number | undefined,
): Promise<StoreResult> {
  try {
    return await upload.finish(sizeBytes);
  } catch (thrown) {
    throw link.broken("put", thrown);
  }
}

/** A write that fails names the code in its message. */
function refusedWrite(link: StoreLink, thrown: unknown): unknown {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = message.split(/[^A-Z_]+/).find(isErrorCode);
  if (code === undefined) return link.broken("put", thrown);
  return link.refused(new IsolaError(code, { attempted: "put", found: message }).toData());
}

class Flight {
  isRefused = false;
  readonly #upload: StoreUploadTarget;
  readonly #writes: Promise<void>[] = [];

  constructor(upload: StoreUploadTarget) {
    this.#upload = upload;
  }

  async send(chunk: Octets): Promise<void> {
    const write = this.#upload.write(chunk);
    // Looked at in its turn; until then it is nobody's unhandled rejection.
    write.catch(() => undefined);
    this.#writes.push(write);
    if (this.#writes.length >= WINDOW) await this.#first();
  }

  async landed(): Promise<void> {
    while (this.#writes.length > 0) await this.#first();
  }

  async #first(): Promise<void> {
    try {
      await this.#writes.shift();
    } catch (thrown) {
      this.isRefused = true;
      throw thrown;
    }
  }
}

/** Reads the whole object into one array. */
export async function readOctets(
  link: StoreLink,
  reader: StoreReaderTarget,
  sizeBytes: number,
): Promise<Octets> {
  try {
    if (sizeBytes > STORE_LIMITS.wholeMaxBytes) throw tooLarge(sizeBytes);
    const whole = new Uint8Array(sizeBytes);
    let at = 0;
    for await (const chunk of chunksOf(link, reader, { start: 0, end: sizeBytes })) {
      whole.set(chunk, at);
      at += chunk.byteLength;
    }
    return whole;
  } finally {
    dispose(reader);
  }
}

/** What `get` found as a stream; undefined if nothing. */
export function streamOctets(
  link: StoreLink,
  { answer, value, reader }: StoreFound<"get">,
  range: StoreRange | undefined,
): ReadableStream<Uint8Array> | undefined {
  const { found } = answer;
  if (!found) return undefined;
  if (found.kind !== "bytes") {
    throw link.refused(
      new IsolaError("RANGE_INVALID", {
        attempted: `stream ${found.key}`,
        found: "a structured value",
        required: "octets",
        fix: "get it.",
      }).toData(),
    );
  }
  const { start, end } = range ?? { start: 0, end: found.sizeBytes };
  const chunks = reader ? chunksOf(link, reader, { start, end }) : only(value as Octets);
  const chunkBytes = Math.max(1, Math.min(CHUNK_BYTES, end - start));
  return new ReadableStream(byteSource(chunks, chunkBytes), { highWaterMark: 0 });
}

function byteSource(
  chunks: AsyncGenerator<Uint8Array, void, void>,
  chunkBytes: number,
): UnderlyingByteSource {
  return {
    type: "bytes",
    // workerd's own choice, 4 KiB, is what a reader that brings no buffer would get at once.
    autoAllocateChunkSize: chunkBytes,
    async pull(controller) {
      const { done, value: chunk } = await chunks.next();
      if (done !== true && chunk.byteLength > 0) controller.enqueue(chunk);
      else controller.close();
    },
    async cancel() {
      await chunks.return(undefined);
    },
  };
}

async function* only(octets: Octets): AsyncGenerator<Uint8Array, void, void> {
  yield octets;
}

/** The chunks of a range in order, several asked for ahead. */
async function* chunksOf(
  link: StoreLink,
  reader: StoreReaderTarget,
  { start, end }: StoreRange,
): AsyncGenerator<Uint8Array, void, void> {
  const reads: Promise<Uint8Array>[] = [];
  let asked = start;
  try {
    for (;;) {
      while (reads.length < WINDOW && asked < end) {
        const until = Math.min(asked + CHUNK_BYTES, end);
        const read = reader.read(asked, until);
        read.catch(() => undefined);
        reads.push(read);
        asked = until;
      }
      const next = reads.shift();
      if (!next) return;
      yield await next;
    }
  } catch (thrown) {
    throw link.broken("read", thrown);
  } finally {
    dispose(reader);
  }
}

function chunkOf(value: unknown): Octets {
  const octets = octetsOf(value);
  if (octets) return octets;
  if (ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  throw new IsolaError("VALUE_INVALID", {
    attempted: "store a stream",
    found: `a chunk that is a ${typeof value}`,
    required: "octets",
    fix: "Pipe text through a TextEncoderStream.",
  });
}

/** A view alone: with a part of a buffer the whole of it would travel. */
function compact(octets: Octets): Octets {
  return octets.byteLength === octets.buffer.byteLength ? octets : octets.slice();
}

function tooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "read an object whole",
    found: `${String(sizeBytes)} bytes`,
    required: `at most ${String(STORE_LIMITS.wholeMaxBytes)} bytes`,
    fix: "Stream it.",
  });
}

/** Lets go of what is held at the other end. */
function dispose(stub: object): void {
  (stub as Partial<Disposable>)[Symbol.dispose]?.();
}
