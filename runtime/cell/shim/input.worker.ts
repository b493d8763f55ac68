/** Input of a data function out of an HTTP request (INTERFACE §5). */
import { IsolaError, LIMITS, type PackForm, VALUE_TYPE } from "../../contract/index.ts";

/** Bytes of a body over the limit that are read all the same. */
const DISCARD_MAX_BYTES = 128 * 1024 * 1024;

/** Who can read MessagePack: the cell. */
export interface Unpacker {
  unpack(octets: Uint8Array, form: PackForm): Promise<unknown>;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);

/**
 * Decodes by content type. Errors: 405, `INPUT_MALFORMED`, `BODY_TOO_LARGE`, `MEDIA_UNSUPPORTED`.
 */
export async function readInput(
  request: Request,
  isFromFunction: boolean,
  codec: Unpacker,
): Promise<unknown> {
  const { method } = request;
  if (!METHODS.has(method)) {
    throw new IsolaError("METHOD_NOT_ALLOWED", {
      attempted: "call a data function",
      found: method,
      required: [...METHODS].join(", "),
    });
  }
  if (method === "GET" || method === "HEAD") return readQuery(new URL(request.url));
  const [type = ""] = (request.headers.get("content-type") ?? "").split(";", 1);
  const form = packFormOf(request, type.trim().toLowerCase(), isFromFunction);
  if (form) return codec.unpack(await readBytes(request), form);
  return readBody(request, type.trim().toLowerCase());
}

/** The query as an object; a name that stands twice is a list; undefined without a query. */
function readQuery(url: URL): Record<string, string | string[]> | undefined {
  return readFields(url.searchParams);
}

function readFields(fields: URLSearchParams): Record<string, string | string[]> | undefined {
  const result: Record<string, string | string[]> = {};
  let some = false;
  for (const name of new Set(fields.keys())) {
    const values = fields.getAll(name);
    const value = values.length === 1 ? values[0] : values;
    Object.defineProperty(result, name, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
    some = true;
  }
  return some ? result : undefined;
}

function packFormOf(request: Request, type: string, isFromFunction: boolean): PackForm | undefined {
  if (type === "application/msgpack" || type === "application/x-msgpack") return "msgpack";
  return isFromFunction && isValueType(request) ? "value" : undefined;
}

async function readBody(request: Request, type: string): Promise<unknown> {
  if (isJson(type)) return readJson(await readBytes(request));
  if (type === "application/octet-stream") return readBytes(request);
  if (type.startsWith("text/")) return decodeText(await readBytes(request));
  if (type === "" || type === "application/x-www-form-urlencoded") {
    return readLoose(decodeText(await readBytes(request)));
  }
  throw new IsolaError("MEDIA_UNSUPPORTED", {
    attempted: "read the input of a data function",
    found: `content type ${JSON.stringify(type)}`,
    required: "JSON, MessagePack, octet-stream, text/*, form fields or none",
  });
}

/** Whether the body is a value of another function, if a function made the call. */
export function isValueType(request: Request): boolean {
  return request.headers.get("content-type") === VALUE_TYPE;
}

/** @param type without parameters, in lower case. */
export function isJson(type: string): boolean {
  return type === "application/json" || type.endsWith("+json");
}

/** Errors: `INPUT_MALFORMED`. */
export function readJson(octets: Uint8Array): unknown {
  const text = decodeText(octets);
  return malformedAs("JSON", () => JSON.parse(text) as unknown);
}

/** No content type, or curl's default: JSON if it parses, else form fields, else the string. */
function readLoose(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    if (/^[^=&\s]+=/.test(text)) return readFields(new URLSearchParams(text));
    return text;
  }
}

function malformedAs(form: string, decode: () => unknown): unknown {
  try {
    return decode();
  } catch (thrown) {
    throw new IsolaError("INPUT_MALFORMED", {
      attempted: `read the body as ${form}`,
      found: thrown instanceof Error ? thrown.message : String(thrown),
      required: `${form}, as its content type says`,
    });
  }
}

function decodeText(bytes: Uint8Array): string {
  return malformedAs("UTF-8 text", () => decoder.decode(bytes)) as string;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

async function readBytes(request: Request): Promise<Uint8Array> {
  if (!request.body) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size <= LIMITS.dataBodyMaxBytes) chunks.push(value);
    else chunks.length = 0;
    // Read on within a bound: a client that is still sending sees no answer when it is cut off.
    if (size > LIMITS.dataBodyMaxBytes + DISCARD_MAX_BYTES) await reader.cancel();
  }
  if (size > LIMITS.dataBodyMaxBytes) refuseSize();
  return join(chunks, size);
}

function join(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const [first] = chunks;
  if (chunks.length === 1 && first) return first;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function refuseSize(): never {
  throw new IsolaError("BODY_TOO_LARGE", {
    attempted: "read the input of a data function",
    found: "a body that is larger",
    required: `at most ${LIMITS.dataBodyMaxBytes} bytes`,
  });
}
