/**
 * What a structured value costs, without serializing it.
 *
 * The estimate follows what V8 holds in memory, since that is what a budget of memory bounds: an
 * empty object is small on a wire and large in a heap. It is at least what V8 serializes the value
 * to, and at most 32 times that (an array of empty objects is the worst case).
 */
import { IsolaError } from "./errors.ts";

/** Nesting that every recursion over a value bears; beyond: `VALUE_INVALID`. */
const VALUE_MAX_DEPTH = 500;

const COST = { scalar: 8, string: 8, object: 24, field: 8, special: 40, buffer: 16 } as const;

interface Level {
  readonly items: Iterator<unknown>;
}

/** Bytes of a value. Errors: `VALUE_INVALID` if it is nested too deeply. */
export function sizeOfValue(value: unknown): number {
  if (typeof value !== "object" || value === null) return sizeOfScalar(value);
  const seen = new Set<object>();
  let sizeBytes = sizeOfHead(value, seen);
  const levels: Level[] = [{ items: itemsOf(value) }];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const next = level.items.next();
    if (next.done === true) {
      levels.pop();
      continue;
    }
    const item: unknown = next.value;
    if (typeof item !== "object" || item === null) {
      sizeBytes += sizeOfScalar(item);
    } else if (!seen.has(item)) {
      sizeBytes += sizeOfHead(item, seen);
      if (levels.length >= VALUE_MAX_DEPTH) throw tooDeep();
      levels.push({ items: itemsOf(item) });
    } else sizeBytes += COST.scalar;
  }
  return sizeBytes;
}

function sizeOfScalar(value: unknown): number {
  if (typeof value === "string") return COST.string + sizeOfText(value);
  if (typeof value === "bigint") return COST.special + sizeOfBigInt(value);
  return COST.scalar;
}

/** Latin-1 takes a byte a character, anything else two; what is not looked at counts as two. */
function sizeOfText(text: string): number {
  if (text.length > 1_024) return text.length * 2;
  for (let at = 0; at < text.length; at += 1) {
    if (text.charCodeAt(at) > 0xff) return text.length * 2 + COST.scalar;
  }
  return text.length;
}

/** Digits are counted in steps, not written out: a large one would cost more than it is worth. */
function sizeOfBigInt(value: bigint): number {
  let rest = value < 0n ? -value : value;
  let sizeBytes = 0;
  for (; rest > 0n; rest >>= 4_096n) sizeBytes += 512;
  return sizeBytes;
}

/** The object itself, with its keys but without what they hold. */
function sizeOfHead(value: object, seen: Set<object>): number {
  seen.add(value);
  if (ArrayBuffer.isView(value)) {
    const { buffer } = value;
    // A view keeps all of its buffer alive, which V8 carries as a whole.
    if (seen.has(buffer)) return COST.special;
    seen.add(buffer);
    return COST.special + COST.buffer + buffer.byteLength;
  }
  if (value instanceof ArrayBuffer) return COST.buffer + COST.special + value.byteLength;
  if (Array.isArray(value)) return COST.object + value.length * COST.field;
  if (value instanceof Map) return COST.special + value.size * COST.field * 4;
  if (value instanceof Set) return COST.special + value.size * COST.field * 2;
  if (value instanceof Error) {
    return COST.special * 4 + sizeOfText(value.message) * 2 + (value.stack?.length ?? 0) * 2;
  }
  if (value instanceof RegExp) return COST.special + sizeOfText(value.source) * 2;
  // A date; anything else is no value, and refused.
  if (!isPlain(value)) return COST.special;
  let sizeBytes: number = COST.object;
  for (const key of Object.keys(value)) sizeBytes += COST.field + sizeOfText(key);
  return sizeBytes;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function itemsOf(value: object): Iterator<unknown> {
  if (Array.isArray(value)) return value.values();
  if (value instanceof Set) return value.values();
  if (value instanceof Map) return bothOf(value);
  if (!isPlain(value)) return causeOf(value);
  return Object.values(value).values();
}

function* bothOf(map: ReadonlyMap<unknown, unknown>): Generator {
  for (const [key, item] of map) {
    yield key;
    yield item;
  }
}

function* causeOf(value: object): Generator {
  if (value instanceof Error) yield value.cause;
}

function tooDeep(): IsolaError {
  return new IsolaError("VALUE_INVALID", {
    attempted: "store a value",
    found: `one that is nested more than ${String(VALUE_MAX_DEPTH)} deep`,
    required: `at most ${String(VALUE_MAX_DEPTH)} levels`,
    fix: "Flatten it, or store it as bytes.",
  });
}
