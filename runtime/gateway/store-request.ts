/**
 * Paths and queries of the store's routes, checked by name: what is mistyped is refused, since a
 * `ttlms` that is passed over keeps an object for ever. What the values may be, the store says.
 */
import { IsolaError, type PutOptions, STORE_LIMITS, type StoreFence } from "../contract/index.ts";
import { queryFlag } from "./request-fields.ts";

const encoder = new TextEncoder();

/**
 * The key of an object's path: all that follows `objects/`, decoded once. The path is read as it
 * came, since a URL object would take `..` out of it.
 *
 * @throws IsolaError `KEY_INVALID`.
 */
export function keyOfPath(url: string, query: URLSearchParams): string {
  const path = /^[a-z]+:\/\/[^/?#]*([^?#]*)/i.exec(url)?.[1] ?? url;
  const written = /^(?:\/[^/]*){8}\/objects\/([^]*)$/.exec(path)?.[1] ?? "";
  const named = query.get("key");
  if (written !== "" && named !== null) throw invalid("two keys", "one in the path, or key=");
  // Keys that no path carries: "." and "..", which clients take for steps.
  if (named !== null) return checkLength("key", named);
  try {
    return checkLength("key", decodeURIComponent(written));
  } catch (thrown) {
    if (thrown instanceof IsolaError) throw thrown;
    throw new IsolaError("KEY_INVALID", {
      attempted: "use a key",
      found: "percent-encoding that is no UTF-8",
      required: "keys encoded as encodeURIComponent does",
    });
  }
}

/** Longer names would not fit the header that carries them. Errors: `KEY_INVALID`. */
export function checkLength(what: string, name: string): string {
  const bytes = encoder.encode(name).byteLength;
  if (bytes <= STORE_LIMITS.keyMaxBytes) return name;
  throw new IsolaError("KEY_INVALID", {
    attempted: `use a ${what}`,
    found: `${String(bytes)} bytes`,
    required: `at most ${String(STORE_LIMITS.keyMaxBytes)} bytes of UTF-8`,
  });
}

export function tooLarge(attempted: string, bytes: number, maxBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted,
    found: `${String(bytes)} bytes`,
    required: `at most ${String(maxBytes)} bytes`,
  });
}

/** Errors: `REQUEST_INVALID` naming the first parameter that is not known. */
export function checkQuery(query: URLSearchParams, known: readonly string[]): void {
  for (const name of query.keys()) {
    if (known.includes(name)) continue;
    const required = known.length === 0 ? "no parameters" : known.join(", ");
    throw invalid(`parameter ${JSON.stringify(name.slice(0, 60))}`, required);
  }
}

/** A number, of whatever size and sign; undefined if it is not there. */
export function queryNumber(query: URLSearchParams, name: string): number | undefined {
  const given = query.get(name);
  if (given === null) return undefined;
  const isNumber = /^[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})(e[+-]?\d{1,3})?$/i.test(given);
  if (isNumber && Number.isFinite(Number(given))) return Number(given);
  throw invalid(`${name}=${JSON.stringify(given.slice(0, 60))}`, `${name} to be a number`);
}

/** A number that has to be there. */
export function neededNumber(query: URLSearchParams, name: string): number {
  const value = queryNumber(query, name);
  if (value === undefined) throw invalid(`no ${name}`, `${name}=<number>`);
  return value;
}

/** `ttlMs` and `idleMs`. */
export function timesOf(query: URLSearchParams): { ttlMs?: number; idleMs?: number } {
  const ttlMs = queryNumber(query, "ttlMs");
  const idleMs = queryNumber(query, "idleMs");
  return {
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(idleMs === undefined ? {} : { idleMs }),
  };
}

export const PUT_PARAMETERS: readonly string[] = [
  "key",
  "persist",
  "ttlMs",
  "idleMs",
  "durability",
  "fenceLock",
  "fenceToken",
];

/** Options of a write that stand in the query. */
export function putOptions(query: URLSearchParams): PutOptions {
  const durability = query.get("durability");
  if (durability !== null && durability !== "memory" && durability !== "disk") {
    throw invalid(`durability=${JSON.stringify(durability.slice(0, 60))}`, "memory or disk");
  }
  const fence = fenceOf(query);
  const persist = queryFlag(query, "persist");
  if (persist && durability === "memory") {
    throw invalid("persist=1 with durability=memory", "durability=disk, or none");
  }
  return {
    ...timesOf(query),
    ...(persist ? { persist } : {}),
    ...(durability === null ? {} : { durability }),
    ...(fence === undefined ? {} : { fence }),
  };
}

function fenceOf(query: URLSearchParams): StoreFence | undefined {
  const lock = query.get("fenceLock");
  const token = queryNumber(query, "fenceToken");
  if (lock === null && token === undefined) return undefined;
  if (lock === null || token === undefined) {
    throw invalid("one half of a fence", "fenceLock=<name> and fenceToken=<token>");
  }
  return { lock: checkLength("lock", lock), token };
}

function invalid(found: string, required: string): IsolaError {
  return new IsolaError("REQUEST_INVALID", { attempted: "read the query", found, required });
}
