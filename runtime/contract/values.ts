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
