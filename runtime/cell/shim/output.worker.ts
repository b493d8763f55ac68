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

/** Errors: `NOT_ACCEPTABLE`, `RESULT_INVALID`. */
export async function writeResult(
  result: unknown,
  request: Request,
  isFromFunction: boolean,
  codec: Packer,
): Promise<Response> {
  if (result instanceof NativeResponse) return result;
  if (result === undefined) return new NativeResponse(null, { status: 204 });
  checkValue(result);
  const accept = request.headers.get("accept") ?? "";
  if (accept === VALUE_TYPE && isFromFunction) {
    checkWhole(result);
    const octets = await codec.pack(result, "value");
    return new NativeResponse(octets, { headers: { "content-type": VALUE_TYPE } });
  }
  if (result instanceof Uint8Array || result instanceof ArrayBuffer) {
    return new NativeResponse(result as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": "application/octet-stream" },
    });
  }
  if (accept.includes(MSGPACK)) {
    checkWhole(result);
    const octets = await codec.pack(result, "msgpack");
    return new NativeResponse(octets, { headers: { "content-type": MSGPACK } });
  }
  return new NativeResponse(encodeJson(result), {
    headers: { "content-type": "application/json" },
  });
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
