/** Result of a data function as an HTTP response (INTERFACE §5). */
import {
  IsolaError,
  type PackForm,
  VALUE_TYPE,
  encodeJson,
  findUncloneable,
} from "../../contract/index.ts";
import { NativeResponse } from "./natives.worker.ts";

/** Who can write MessagePack: the cell. */
export interface Packer {
  pack(value: unknown, form: PackForm): Promise<Uint8Array<ArrayBuffer>>;
}

const MSGPACK = "application/msgpack";

/** A result in the form that its reader accepts, before it is a response. */
export interface ResultParts {
  readonly status: number;
  readonly type?: string;
  readonly body: string | Uint8Array<ArrayBuffer> | ArrayBuffer | null;
}

/** Errors: `NOT_ACCEPTABLE`, `RESULT_INVALID`, `BODY_TOO_LARGE`. */
export async function writeResult(
  result: unknown,
  request: Request,
  isFromFunction: boolean,
  codec: Packer,
): Promise<Response> {
  if (result instanceof NativeResponse) return result;
  const accept = request.headers.get("accept") ?? "";
  const { status, type, body } = await partsOf(result, accept, isFromFunction, codec);
  return new NativeResponse(body, {
    status,
    ...(type !== undefined && { headers: { "content-type": type } }),
  });
}

/**
 * Errors: `NOT_ACCEPTABLE`, `RESULT_INVALID`, `BODY_TOO_LARGE`.
 *
 * @param accept the header, or nothing.
 */
export async function partsOf(
  result: unknown,
  accept: string,
  isFromFunction: boolean,
  codec: Packer,
): Promise<ResultParts> {
  if (result === undefined) return { status: 204, body: null };
  checkValue(result);
  if (accept === VALUE_TYPE && isFromFunction) {
    checkWhole(result);
    return { status: 200, type: VALUE_TYPE, body: await codec.pack(result, "value") };
  }
  if (result instanceof Uint8Array || result instanceof ArrayBuffer) {
    const body = result as Uint8Array<ArrayBuffer> | ArrayBuffer;
    return { status: 200, type: "application/octet-stream", body };
  }
  if (accept.includes(MSGPACK)) {
    checkWhole(result);
    return { status: 200, type: MSGPACK, body: await codec.pack(result, "msgpack") };
  }
  return { status: 200, type: "application/json", body: encodeJson(result) };
}

/** Refuses what is no value at the top; deeper down the codec of the edge refuses it by path. */
function checkValue(result: unknown): void {
  const kind = kindOfNoValue(result);
  if (kind === undefined) return;
  throw new IsolaError("RESULT_INVALID", {
    attempted: "answer with the function's result",
    found: kind,
    required: "data that can be cloned: no functions, symbols or streams",
  });
}

function kindOfNoValue(result: unknown): string | undefined {
  if (typeof result === "function" || typeof result === "symbol") return `a ${typeof result}`;
  const isStream = result instanceof ReadableStream || result instanceof WritableStream;
  return isStream ? "a stream" : undefined;
}

/** The same all the way down: a function inside of a value would travel as a capability. */
export function checkWhole(value: unknown): void {
  const lost = findUncloneable(value);
  if (!lost) return;
  throw new IsolaError("RESULT_INVALID", {
    attempted: "answer with the function's result",
    found: `${lost.kind} at ${lost.path}`,
    required: "data that can be cloned: no functions, symbols, streams or class instances",
  });
}
