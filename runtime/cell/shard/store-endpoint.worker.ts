/**
 * Operations of the store from other processes: `STORE_ROUTE` of the cell's call socket
 * (contract/store-call.ts). What a request says of itself stands in its `cf`, which only the
 * gateway writes; paths belong to functions, so nothing is read from them.
 *
 * W1 Bodies stream both ways in chunks of 1 MiB, a few in flight: constant memory.
 * W2 A body that breaks off, or is not as long as announced, stores nothing.
 * W3 The answer leaves with its head only when the shard has answered: a refusal is never a
 *    success that breaks off.
 * W4 A refusal is sent when the body has been read, within a bound: a sender that is cut off while
 *    it sends reads no answer.
 */
import {
  ERRORS,
  IsolaError,
  type RunQuestion,
  STORE_HEADER,
  STORE_LIMITS,
  type StoreAnswers,
  type StoreCall,
  type StoreOpening,
  type StoreReaderTarget,
  type StoreRequest,
  type StoreResult,
  type StoreTarget,
  type StoreUploadResult,
  VALUE_OPERATIONS,
  VALUE_TYPE,
  storeHeader,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import { decodeValue, encodeValue } from "../value-codec.ts";
import { handleRun, isRunQuestion } from "../runs/run-endpoint.worker.ts";
import { storageFault } from "./storage-fault.ts";
import { octetsOf } from "./stored-value.ts";

type PutCall = StoreCall & { readonly op: "put" };

/** Chunks on their way between the actor and a body. */
const IN_FLIGHT = 4;

/**
 * The operation that a request of the call socket carries; undefined: it is a function's call.
 *
 * @param cf of the request.
 */
export function storeRequestOf(cf: unknown): StoreRequest | RunQuestion | undefined {
  const question = cf as StoreRequest | RunQuestion | undefined;
  return question !== undefined && "call" in question ? question : undefined;
}

/** Never throws; a refusal is `ErrorData` under the status of its code. */
export async function handleStore(
  cell: Cell,
  request: Request,
  asked: StoreRequest | RunQuestion,
  ctx: ExecutionContext,
): Promise<Response> {
  if (isRunQuestion(asked)) return handleRun(cell, request, asked);
  const { shard, namespace, job, call, attempt } = asked;
  const body = request.body ? new RequestBody(request.body) : undefined;
  try {
    const { shards } = cell.bindings;
    if (!shards.own.includes(shard)) throw notHere(shard, cell.bindings.slot);
    const opening: StoreOpening = { namespace, job, ...(attempt && { attempt }) };
    const target = await shards.actor(shard).openStore(opening);
    const result = await perform(target, asked, request, body);
    if (result.ok) return await answerOf(call, result, ctx);
    throw IsolaError.fromData(result.error);
  } catch (thrown) {
    await body?.discard();
    return refusal(storageFault(thrown, "use the store"));
  }
}

async function perform(
  target: StoreTarget,
  { call, ordinal }: StoreRequest,
  request: Request,
  body: RequestBody | undefined,
): Promise<StoreResult> {
  const run = (value: unknown): Promise<StoreResult> => target.run(call, value, ordinal);
  if (!body) return run(bodyless(call));
  const type = request.headers.get("content-type");
  const announced = announcedBytes(request);
  if (type === VALUE_TYPE) return run(await structured(body, announced));
  if (call.op !== "put") return run(await whole(body, announced));
  if (announced !== undefined && announced <= STORE_LIMITS.inlineReadMaxBytes) {
    return run(await whole(body, announced));
  }
  const begin = (sized: PutCall): Promise<StoreUploadResult> => target.upload(sized, ordinal);
  return upload(begin, call, body, announced);
}

/** A body of no octets is one all the same. */
function bodyless(call: StoreCall): Uint8Array | undefined {
  const hasValue = call.op === "put" || call.op === "getPut";
  return hasValue ? new Uint8Array(0) : undefined;
}

function announcedBytes(request: Request): number | undefined {
  const text = request.headers.get("content-length");
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

async function structured(body: RequestBody, announced: number | undefined): Promise<unknown> {
  const octets = await whole(body, announced);
  try {
    return decodeValue(octets);
  } catch (thrown) {
    throw new IsolaError("VALUE_INVALID", {
      attempted: "store a structured value",
      found: `${String(octets.byteLength)} bytes that are none: ${String(thrown).slice(0, 200)}`,
      required: VALUE_TYPE,
    });
  }
}

async function whole(body: RequestBody, announced: number | undefined): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body.chunks()) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > STORE_LIMITS.wholeMaxBytes) throw tooLarge(sizeBytes);
    parts.push(chunk.slice());
  }
  if (announced !== undefined && announced !== sizeBytes) throw cutShort(sizeBytes, announced);
  const octets = new Uint8Array(sizeBytes);
  let at = 0;
  for (const part of parts) {
    octets.set(part, at);
    at += part.byteLength;
  }
  return octets;
}

/** W2: `finish` is said only after the end of a body that did not break off. */
async function upload(
  begin: (call: PutCall) => Promise<StoreUploadResult>,
  call: PutCall,
  body: RequestBody,
  announced: number | undefined,
): Promise<StoreResult> {
  const sizeBytes = call.sizeBytes ?? announced;
  const begun = await begin(sizeBytes === undefined ? call : { ...call, sizeBytes });
  if (!begun.ok) return begun;
  const writes: Promise<boolean>[] = [];
  try {
    for await (const chunk of body.chunks()) {
      // The call takes its copy at once.
      writes.push(succeeds(begun.upload.write(chunk)));
      // What failed, `finish` says.
      if (writes.length >= IN_FLIGHT && (await writes.shift()) === false) break;
    }
  } catch (thrown) {
    dispose(begun.upload);
    throw thrown;
  }
  return begun.upload.finish(sizeBytes);
}

function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

/** Gives a stub back before its invocation ends. */
function dispose(stub: unknown): void {
  (stub as Partial<Disposable>)[Symbol.dispose]?.();
}

/** Bytes of an unwanted body that are read all the same (W4). */
const DISCARD_MAX_BYTES = 128 * 1024 * 1024;

class RequestBody {
  readonly #reader: ReadableStreamBYOBReader;
  #buffer = new Uint8Array(STORE_LIMITS.chunkMaxBytes);
  #hasEnded = false;

  constructor(body: ReadableStream) {
    this.#reader = (body as ReadableStream<Uint8Array>).getReader({ mode: "byob" });
  }

  /** Octets in pieces of up to 1 MiB; the next one takes a piece's place. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    while (!this.#hasEnded) {
      const { value, done } = await this.#read();
      this.#hasEnded = done || !value;
      if (value) this.#buffer = new Uint8Array(value.buffer as ArrayBuffer);
      if (value && value.byteLength > 0) yield value;
    }
  }

  /** Reads what is left. Never rejects. */
  async discard(): Promise<void> {
    let bytes = 0;
    try {
      for await (const chunk of this.chunks()) {
        bytes += chunk.byteLength;
        if (bytes <= DISCARD_MAX_BYTES) continue;
        await this.#reader.cancel();
        return;
      }
    } catch {
      // The sender has gone: nobody reads the answer.
    }
  }

  async #read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    try {
      return await this.#reader.readAtLeast(this.#buffer.byteLength, this.#buffer);
    } catch {
      this.#hasEnded = true;
      throw cutShort(undefined, undefined);
    }
  }
}

async function answerOf(
  call: StoreCall,
  result: StoreResult & { ok: true },
  ctx: ExecutionContext,
): Promise<Response> {
  const { answer, value, reader } = result;
  if (!VALUE_OPERATIONS.includes(call.op)) return Response.json(answer);
  const headers = new Headers({ [STORE_HEADER]: storeHeader(answer) });
  if (reader) return streamed(call, answer as StoreAnswers["get"], reader, { headers, ctx });
  if (value === undefined) return new Response(null, { headers });
  const octets = octetsOf(value);
  headers.set("content-type", octets ? "application/octet-stream" : VALUE_TYPE);
  return new Response((octets ?? encodeValue(value)) as Uint8Array<ArrayBuffer>, { headers });
}

/** The first chunk is read before the head is sent (W3). */
async function streamed(
  call: StoreCall,
  { found }: StoreAnswers["get"],
  reader: StoreReaderTarget,
  { headers, ctx }: { readonly headers: Headers; readonly ctx: ExecutionContext },
): Promise<Response> {
  const wanted = call.op === "get" ? call.range : undefined;
  const { start, end } = wanted ?? { start: 0, end: found?.sizeBytes ?? 0 };
  const first = await reader.read(start, Math.min(end, start + STORE_LIMITS.chunkMaxBytes));
  const { readable, writable } = new FixedLengthStream(end - start);
  headers.set("content-type", "application/octet-stream");
  ctx.waitUntil(pump(reader, first, { start: start + first.byteLength, end }, writable));
  return new Response(readable, { headers });
}

async function pump(
  reader: StoreReaderTarget,
  first: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
  sink: WritableStream<Uint8Array>,
): Promise<void> {
  const writer = sink.getWriter();
  // A client that leaves is no failure of anybody's.
  writer.closed.catch(() => undefined);
  const reads: Promise<Uint8Array>[] = [Promise.resolve(first)];
  let at = start;
  try {
    while (reads.length > 0) {
      while (at < end && reads.length < IN_FLIGHT) {
        const next = Math.min(end, at + STORE_LIMITS.chunkMaxBytes);
        const read = reader.read(at, next);
        read.catch(() => undefined);
        reads.push(read);
        at = next;
      }
      const chunk = await reads.shift();
      if (chunk) await writer.write(chunk);
    }
    await writer.close();
  } catch (thrown) {
    await writer.abort(thrown).catch(() => undefined);
  } finally {
    dispose(reader);
  }
}

function refusal(error: IsolaError): Response {
  return Response.json(error.toData(), { status: ERRORS[error.code].status });
}

function notHere(shard: number, slot: number): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: `ask shard ${String(shard)}`,
    found: `cell ${String(slot)}, which does not hold it`,
    retryAfterSeconds: 1,
  });
}

function tooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "store a value whole",
    found: `more than ${String(sizeBytes)} bytes`,
    required: `at most ${String(STORE_LIMITS.wholeMaxBytes)} bytes`,
  });
}

function cutShort(sizeBytes: number | undefined, announced: number | undefined): IsolaError {
  return new IsolaError("BODY_INCOMPLETE", {
    attempted: "store an object",
    found: `${sizeBytes === undefined ? "fewer" : String(sizeBytes)} bytes, then the end`,
    required: announced === undefined ? "a body that ends" : `${String(announced)} bytes`,
  });
}
