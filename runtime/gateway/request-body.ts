/**
 * Request bodies with a bound: refused by their announced length, and again while they are read.
 */
import { IsolaError, LIMITS } from "../contract/index.ts";

/** Bytes of an unwanted body that are read all the same. */
export const DISCARD_MAX_BYTES = 128 * 1024 * 1024;

export interface BodyLimit {
  readonly maxBytes: number;
  readonly attempted: string;
  readonly code: "BODY_TOO_LARGE" | "BUNDLE_TOO_LARGE";
}

/**
 * The whole body, at most `maxBytes` of it.
 *
 * @throws IsolaError with the limit's code; `endedEarly` (`INPUT_MALFORMED`) if the client ended it
 *   early.
 */
export async function readBytes(
  request: { readonly headers: Headers; readonly body: ReadableStream | null },
  limit: BodyLimit,
  endedEarly: () => IsolaError = () => malformed(limit.attempted, "a body that ended early"),
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(request.headers.get("content-length") ?? "0");
  if (request.body === null) return new Uint8Array(0);
  if (announced > limit.maxBytes) {
    await discardBody(request);
    throw tooLarge(limit, `${announced} bytes`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = request.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.byteLength;
      // Read on to the end, so that the client gets to the answer.
      if (bytes > limit.maxBytes + DISCARD_MAX_BYTES) break;
      if (bytes <= limit.maxBytes) chunks.push(value);
      else chunks.length = 0;
    }
  } catch {
    await reader.cancel().catch(() => undefined);
    throw endedEarly();
  }
  if (bytes > limit.maxBytes) {
    await reader.cancel().catch(() => undefined);
    throw tooLarge(limit, `more than ${limit.maxBytes} bytes`);
  }
  return joinChunks(chunks, bytes);
}

/**
 * Reads what nobody wants of a body, within a bound: a client that is still sending when the
 * connection closes sees a broken pipe in place of the answer.
 */
export async function discardBody(request: {
  readonly body: ReadableStream | null;
  readonly bodyUsed?: boolean;
}): Promise<void> {
  if (request.body === null || request.bodyUsed === true || request.body.locked) return;
  const reader = request.body.getReader();
  try {
    for (let bytes = 0; bytes <= DISCARD_MAX_BYTES;) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes += value.byteLength;
    }
    await reader.cancel();
  } catch {
    // The client left; there is nobody to answer.
  }
}

/** Below this the runtime itself reads what a refused request still sends. */
const DISCARD_MIN_BYTES = 32 * 1024;

/** The same for a call that is refused before it has a taker; costs small bodies nothing. */
export async function discardRefused(request: Request): Promise<void> {
  const announced = Number(request.headers.get("content-length") ?? "0");
  if (announced > DISCARD_MIN_BYTES) await discardBody(request);
}

/** Errors: `MEDIA_UNSUPPORTED`, `BODY_TOO_LARGE`, `INPUT_MALFORMED`. No body is an empty object. */
export async function readJson(
  request: { readonly headers: Headers; readonly body: ReadableStream | null },
  attempted: string,
): Promise<unknown> {
  const maxBytes = LIMITS.adminBodyMaxBytes;
  const bytes = await readBytes(request, { maxBytes, attempted, code: "BODY_TOO_LARGE" });
  if (bytes.length === 0) return {};
  const type = (request.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") {
    throw new IsolaError("MEDIA_UNSUPPORTED", {
      attempted,
      found: type === "" ? "no content type" : `content type ${JSON.stringify(type)}`,
      required: "application/json",
      fix: "send JSON and say so in the content type",
    });
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch {
    throw malformed(attempted, "a body that is no JSON");
  }
}

function malformed(attempted: string, found: string): IsolaError {
  return new IsolaError("INPUT_MALFORMED", { attempted, found });
}

function joinChunks(chunks: readonly Uint8Array[], bytes: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

function tooLarge(limit: BodyLimit, found: string): IsolaError {
  return new IsolaError(limit.code, {
    attempted: limit.attempted,
    found,
    required: `at most ${limit.maxBytes} bytes`,
  });
}
