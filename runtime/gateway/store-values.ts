/**
 * Values of the store as clients send and get them.
 *
 * Octets stay octets, whatever their type is called. A body of type `application/json` or
 * `application/msgpack` is a structured value, as a function would have put it; it is answered as
 * JSON, or as MessagePack to who accepts that. Between processes values travel under `VALUE_TYPE`.
 * What comes from outside is checked before it is decoded, and bounded in size and depth: the
 * gateway has one thread for everybody.
 */
import { Packr, Unpackr } from "msgpackr";
import { IsolaError, VALUE_TYPE, encodeJson } from "../contract/index.ts";
import { messagePackFault } from "./message-pack-form.ts";

/** Deeper values would exhaust the stack of who walks them. */
const DEPTH_MAX = 256;

const MESSAGE_PACK_TYPES = [
  "application/msgpack",
  "application/x-msgpack",
  "application/vnd.msgpack",
];

/** Between processes: keeps what structured cloning keeps. */
const inner = new Packr({ useRecords: true, moreTypes: true, structuredClone: true });
/** For clients, whose decoders know the standard alone. */
const outer = new Packr({ useRecords: false });
const reader = new Unpackr({ useRecords: false });

export type ValueForm = "bytes" | "json" | "msgpack";

/** What a body is, by its content type. */
export function formOf(headers: { get(name: string): string | null }): ValueForm {
  const type = (headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (type === "application/json") return "json";
  return MESSAGE_PACK_TYPES.includes(type) ? "msgpack" : "bytes";
}

/** A client's value. Errors: `INPUT_MALFORMED`, `VALUE_INVALID`. */
export function readValue(bytes: Uint8Array, form: "json" | "msgpack", attempted: string): unknown {
  const value = form === "json" ? readJsonText(bytes, attempted) : unpack(bytes, attempted);
  const fault = valueFault(value);
  if (fault === undefined) return value;
  const [found, required] = fault;
  throw new IsolaError("VALUE_INVALID", { attempted, found, required });
}

function readJsonText(bytes: Uint8Array, attempted: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch {
    throw new IsolaError("INPUT_MALFORMED", {
      attempted,
      found: "a body that is no JSON",
      fix: "Send JSON, or another content type to store the octets as they are.",
    });
  }
}

function unpack(bytes: Uint8Array, attempted: string): unknown {
  let found = messagePackFault(bytes, DEPTH_MAX);
  if (found === undefined) {
    try {
      return reader.unpack(bytes);
    } catch (thrown) {
      found = thrown instanceof Error ? thrown.message : "no MessagePack";
    }
  }
  throw new IsolaError("INPUT_MALFORMED", {
    attempted,
    found,
    required: "one item of MessagePack",
    fix: "Send MessagePack, or another content type to store the octets as they are.",
  });
}

/** What was found and is required. Level by level, without the stack that it protects. */
function valueFault(value: unknown): readonly [string, string] | undefined {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEPTH_MAX) {
      return [`more than ${String(DEPTH_MAX)} levels`, `at most ${String(DEPTH_MAX)} levels`];
    }
    const objects = level.filter(
      (item): item is object =>
        typeof item === "object" && item !== null && !ArrayBuffer.isView(item),
    );
    // The codec would rename it, without a word.
    if (objects.some((item) => Object.hasOwn(item, "__proto__"))) {
      return ["a key __proto__", "other keys"];
    }
    level = objects.flatMap((item): unknown[] => Object.values(item));
  }
  return undefined;
}

/** A value on its way to a shard. */
export function packValue(value: unknown): { bytes: Uint8Array<ArrayBuffer>; type: string } {
  return { bytes: new Uint8Array(inner.pack(value)), type: VALUE_TYPE };
}

/** How a value is to be answered: JSON, unless MessagePack is accepted at least as much. */
export function acceptedForm(accept: string | null): "inner" | "json" | "msgpack" {
  const weights = new Map<string, number>();
  for (const part of (accept ?? "").toLowerCase().split(",")) {
    const [type = "", ...parameters] = part.split(";").map((text) => text.trim());
    const given = parameters.find((text) => text.startsWith("q="))?.slice(2);
    const weight = given === undefined ? 1 : Number(given);
    weights.set(type, Number.isNaN(weight) ? 0 : weight);
  }
  if ((weights.get(VALUE_TYPE) ?? 0) > 0) return "inner";
  const packed = Math.max(...MESSAGE_PACK_TYPES.map((type) => weights.get(type) ?? 0));
  return packed > 0 && packed >= (weights.get("application/json") ?? 0) ? "msgpack" : "json";
}

export interface ValueBody {
  /** Null: `undefined`, which is no content. */
  readonly body: string | Uint8Array<ArrayBuffer> | null;
  readonly type: string;
}

/** A shard's value for a client. Errors: `NOT_ACCEPTABLE`. */
export function showValue(bytes: Uint8Array, form: "json" | "msgpack"): ValueBody {
  try {
    const value: unknown = inner.unpack(bytes);
    if (value === undefined) return { body: null, type: "" };
    if (form === "msgpack") return packedBody(value);
    return { body: encodeJson(value), type: "application/json" };
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    throw new IsolaError("NOT_ACCEPTABLE", {
      attempted: "answer with a value of the store",
      found: "one nested too deeply",
      required: `a value of fewer levels, or to accept ${VALUE_TYPE}`,
    });
  }
}

/** A value that JSON may not carry, when it is too late to refuse it. */
export function showAnyValue(bytes: Uint8Array, form: "json" | "msgpack"): ValueBody {
  try {
    return showValue(bytes, form);
  } catch (thrown) {
    if (!(thrown instanceof IsolaError)) throw thrown;
    return { body: new Uint8Array(bytes), type: VALUE_TYPE };
  }
}

function packedBody(value: unknown): ValueBody {
  return { body: new Uint8Array(outer.pack(value)), type: "application/msgpack" };
}
