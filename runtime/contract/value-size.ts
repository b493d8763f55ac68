/**
 * What a structured value costs, without serializing it.
 *
 * The estimate follows what V8 holds in memory, since that is what a budget of memory bounds: an
 * empty object is small on a wire and large in a heap. It is at least what V8 serializes the value
 * to, and for what people store at most 12 times that. The worst are sets of nothing but zeros of
 * the type bigint, 2 octets each on a wire: below 40 times; only the holes of a sparse array, which
 * no wire carries, count for more.
 */
import { IsolaError } from "./errors.ts";

/** Nesting that every recursion over a value bears; beyond: `VALUE_INVALID`. */
const VALUE_MAX_DEPTH = 500;

const COST = { scalar: 4, whole: 16, text: 8, object: 24, field: 8, special: 40 } as const;
const ARRAY_LOOK_MAX = 8 * 1024 * 1024;
const NOT_LATIN = /[^\0-\u00ff]/;

/**
 * Bytes of a value. Errors: `VALUE_INVALID` if it is nested too deeply.
 *
 * @param maxBytes beyond it the answer is more than that, and what is left is not looked at: a
 * sparse array of a billion holes takes nobody's time.
 */
export function sizeOfValue(value: unknown, maxBytes = Number.POSITIVE_INFINITY): number {
  if (typeof value !== "object" || value === null) return COST.whole + sizeOfScalar(value);
  const seen = new Set<object>([value]);
  let sizeBytes = COST.whole + sizeOfHead(value, seen);
  if (sizeBytes > maxBytes) return sizeBytes;
  const levels: Iterator<unknown>[] = [itemsOf(value)];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const next = level.next();
    if (next.done === true) {
      levels.pop();
      continue;
    }
    const item: unknown = next.value;
    const isObject = typeof item === "object" && item !== null;
    if (!isObject || seen.has(item)) {
      sizeBytes += sizeOfScalar(item);
    } else {
      seen.add(item);
      sizeBytes += sizeOfHead(item, seen);
      if (levels.length >= VALUE_MAX_DEPTH) throw tooDeep();
      if (sizeBytes <= maxBytes) levels.push(itemsOf(item));
    }
    if (sizeBytes > maxBytes) return sizeBytes;
  }
  return sizeBytes;
}

function sizeOfScalar(value: unknown): number {
  if (typeof value === "string") return COST.text + sizeOfText(value);
  if (typeof value === "bigint") return COST.special + sizeOfBigInt(value);
  return COST.scalar;
}

/** Latin-1 takes a byte a character, anything else two. */
function sizeOfText(text: string): number {
  return NOT_LATIN.test(text) ? text.length * 2 : text.length;
}

/** Found by doubling: a number of millions of digits takes a few shifts, not one for each. */
function sizeOfBigInt(value: bigint): number {
  const whole = value < 0n ? -value : value;
  let bits = 64;
  while (whole >> BigInt(bits) > 0n) bits *= 2;
  return bits / 8;
}

/** The object itself, with its keys but without what they hold. */
function sizeOfHead(value: object, seen: Set<object>): number {
  if (ArrayBuffer.isView(value)) {
    const { buffer } = value;
    // A view keeps all of its buffer alive, which V8 carries as a whole.
    if (seen.has(buffer)) return COST.special;
    seen.add(buffer);
    return COST.special + COST.object + buffer.byteLength;
  }
  if (value instanceof ArrayBuffer) return COST.special + value.byteLength;
  if (Array.isArray(value)) return COST.object + value.length * COST.field + sizeOfExtras(value);
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

/** Keys of an array that are no places: V8 carries them, too. They come after the places. */
function sizeOfExtras(array: readonly unknown[]): number {
  // So large that it costs enough without them.
  if (array.length > ARRAY_LOOK_MAX) return 0;
  let places = 0;
  for (let at = 0; at < array.length; at += 1) if (at in array) places += 1;
  // Keys take fifteen times as long as values: almost no array needs them.
  if (Object.values(array).length === places) return 0;
  let sizeBytes = 0;
  for (const key of Object.keys(array).slice(places)) sizeBytes += COST.field + sizeOfText(key);
  return sizeBytes;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function itemsOf(value: object): Iterator<unknown> {
  if (value instanceof Set) return value.values();
  if (value instanceof Map) return bothOf(value);
  if (Array.isArray(value) || isPlain(value)) return Object.values(value).values();
  return causeOf(value);
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
