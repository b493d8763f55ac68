/**
 * Values between functions and people.
 *
 * A `Value` is structured-clonable data without functions, streams and shared memory. Inside the
 * platform V8 carries it; JSON carries it to people, and refuses what it would silently change:
 * maps, sets, big integers, NaN, infinities, binary inside of objects. Dates become ISO strings,
 * as every JSON API writes them.
 */
import { IsolaError } from "./errors.ts";

export type Value = unknown;

/** Path and kind of the first thing in `value` that JSON would lose; undefined if there is none. */
export function findUnjsonable(value: Value): { path: string; kind: string } | undefined {
  return search(value, "$", new Set());
}

/** JSON text of a value. Errors: `NOT_ACCEPTABLE` with path and kind. */
export function encodeJson(value: Value): string {
  const lost = findUnjsonable(value);
  if (lost) {
    throw new IsolaError("NOT_ACCEPTABLE", {
      attempted: "answer with JSON",
      found: `${lost.kind} at ${lost.path}`,
      required: "null, booleans, finite numbers, strings, arrays, plain objects, dates",
    });
  }
  return JSON.stringify(value) ?? "null";
}

function search(
  value: unknown,
  path: string,
  open: Set<object>,
): { path: string; kind: string } | undefined {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? undefined : { path, kind: String(value) };
    case "bigint":
    case "symbol":
    case "function":
      return { path, kind: typeof value };
    case "object":
      return value === null ? undefined : searchObject(value, path, open);
    default:
      return undefined;
  }
}

function searchObject(
  value: object,
  path: string,
  open: Set<object>,
): { path: string; kind: string } | undefined {
  if (open.has(value)) return { path, kind: "a cycle" };
  if (value instanceof Date) return undefined;
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === Object.prototype || prototype === null;
  if (!plain && !Array.isArray(value))
    return { path, kind: value.constructor?.name ?? "an object" };
  open.add(value);
  for (const [key, item] of Object.entries(value)) {
    const lost = search(item, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`, open);
    if (lost) return lost;
  }
  open.delete(value);
  return undefined;
}

interface Found {
  readonly path: string;
  readonly kind: string;
}

/**
 * Path and kind of the first thing in `value` that is no `Value`; undefined if there is none.
 * Paths are made on the way back only: almost every value is one.
 */
export function findUncloneable(value: Value): Found | undefined {
  const found = searchUncloneable(value, new Set());
  return found && { ...found, path: `$${found.path}` };
}

function searchUncloneable(value: unknown, seen: Set<object>): Found | undefined {
  if (typeof value === "function" || typeof value === "symbol") {
    return { path: "", kind: typeof value };
  }
  if (ArrayBuffer.isView(value) && !(value.buffer instanceof ArrayBuffer)) {
    return { path: "", kind: "shared memory" };
  }
  if (typeof value !== "object" || value === null || isLeaf(value) || seen.has(value)) {
    return undefined;
  }
  seen.add(value);
  if (Array.isArray(value)) return searchEach(value.keys(), (key) => value[key], seen);
  if (value instanceof Set) return searchEach(value, (item) => item, seen);
  if (value instanceof Map) {
    return (
      searchEach(value.keys(), (key) => key, seen) ??
      searchEach(value.keys(), (key) => value.get(key), seen)
    );
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    return { path: "", kind: value.constructor?.name ?? "an object" };
  }
  const fields = value as Readonly<Record<string, unknown>>;
  return searchEach(Object.keys(fields), (key) => fields[key], seen);
}

function searchEach<K>(
  keys: Iterable<K>,
  itemOf: (key: K) => unknown,
  seen: Set<object>,
): Found | undefined {
  for (const key of keys) {
    const found = searchUncloneable(itemOf(key), seen);
    if (!found) continue;
    const step = typeof key === "string" ? `.${key}` : `[${typeof key === "number" ? key : "…"}]`;
    return { path: step + found.path, kind: found.kind };
  }
  return undefined;
}

/** Objects that V8 carries as they are. */
function isLeaf(value: object): boolean {
  return (
    ArrayBuffer.isView(value) ||
    value instanceof ArrayBuffer ||
    value instanceof Date ||
    value instanceof Error ||
    value instanceof RegExp
  );
}
