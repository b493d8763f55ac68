/** What arrives as a value, as the store keeps it, and back. */
import {
  IsolaError,
  STORE_LIMITS,
  type StoredValue,
  findUncloneable,
  sizeOfValue,
} from "../../contract/index.ts";

/** A structured value travels as one message with its call around it. */
const STRUCTURED_MAX_BYTES = STORE_LIMITS.wholeMaxBytes - 64 * 1024;

/**
 * Octets stay octets; everything else is a structured value. Errors: `VALUE_INVALID`,
 * `BODY_TOO_LARGE`.
 *
 * It may be anything that came over RPC, capabilities of a tenant's among them, and must not be
 * able to end the actor by the way it is looked at: the store sees only what was looked at here.
 */
export function storedValue(value: unknown): StoredValue {
  let fault: string;
  try {
    const octets = octetsOf(value);
    if (octets) return { kind: "bytes", chunks: [octets], sizeBytes: octets.byteLength };
    // The size first: it refuses what is nested too deeply for any recursion.
    const sizeBytes = sizeOfValue(value, STRUCTURED_MAX_BYTES);
    if (sizeBytes > STRUCTURED_MAX_BYTES) throw tooLarge(sizeBytes);
    const found = value === undefined ? { kind: "nothing", path: "$" } : findUncloneable(value);
    if (!found) return { kind: "value", value, sizeBytes };
    fault = `${found.kind} at ${found.path}`.slice(0, 300);
  } catch (thrown) {
    if (thrown instanceof IsolaError) throw thrown;
    fault = "something that cannot be looked at";
  }
  throw notAValue(fault);
}

export function octetsOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return ofItsOwn(value);
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
}

/**
 * The octets in a buffer that holds nothing else: V8 carries a view's whole buffer, so a view of a
 * larger one would cost more than its size, and tell what lies beside it.
 */
export function ofItsOwn(octets: Uint8Array): Uint8Array {
  return octets.byteLength === octets.buffer.byteLength ? octets : octets.slice();
}

/** What goes out: a structured value as it is, octets in one piece. */
export function plainValue(value: StoredValue): unknown {
  if (value.kind === "value") return value.value;
  const [first] = value.chunks;
  if (first && value.chunks.length === 1) return ofItsOwn(first);
  const octets = new Uint8Array(value.sizeBytes);
  let at = 0;
  for (const chunk of value.chunks) {
    octets.set(chunk, at);
    at += chunk.byteLength;
  }
  return octets;
}

function notAValue(found: string): IsolaError {
  return new IsolaError("VALUE_INVALID", {
    attempted: "store a value",
    found,
    required: "structured-clonable data without functions, or bytes",
  });
}

function tooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "store a structured value",
    found: `about ${String(sizeBytes)} bytes or more`,
    required: `at most ${String(STRUCTURED_MAX_BYTES)} bytes`,
    fix: "Store it as bytes, or cut it into several objects.",
  });
}
