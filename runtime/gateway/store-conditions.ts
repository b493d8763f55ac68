/** Conditions, ranges and ETags of objects (RFC 9110), as the store understands them. Pure. */
import { IsolaError, type StoreRange } from "../contract/index.ts";

interface HeaderSource {
  get(name: string): string | null;
}

/** The ETag of a version: versions are unique within a shard for ever. */
export function etagOf(version: number): string {
  return `"${String(version)}"`;
}

export interface PutConditions {
  readonly ifAbsent?: true;
  readonly ifPresent?: true;
  readonly ifVersion?: number;
}

/** Versions begin above it: a condition on it never holds. */
const NO_VERSION = 0;

/** Conditions of a write. Errors: `REQUEST_INVALID` for those that the store cannot hold. */
export function putConditions(headers: HeaderSource): PutConditions {
  const match = headers.get("if-match")?.trim();
  const noneMatch = headers.get("if-none-match")?.trim();
  if (noneMatch !== undefined && noneMatch !== "*") {
    throw invalid(`If-None-Match: ${noneMatch}`, "If-None-Match: * for a write");
  }
  if (match === undefined) return noneMatch === undefined ? {} : { ifAbsent: true };
  if (match === "*") return noneMatch === undefined ? { ifPresent: true } : contradiction();
  if (noneMatch !== undefined) return contradiction();
  const tags = match.split(",");
  if (tags.length > 1) throw invalid(`If-Match: ${match}`, "one ETag for a write");
  return { ifVersion: versionOf(match) ?? NO_VERSION };
}

/** Refuses conditions where they would be passed over in silence. Errors: `REQUEST_INVALID`. */
export function refuseConditions(headers: HeaderSource, attempted: string): void {
  for (const name of ["if-match", "if-none-match"]) {
    if (headers.get(name) === null) continue;
    throw invalid(name, "no condition here; PUT and compareAndSet take them", attempted);
  }
}

/** Whether a reader has it already, or would not have it. */
export function readVerdict(headers: HeaderSource, version: number): "fine" | "same" | "other" {
  const match = headers.get("if-match");
  if (match !== null && !names(match, version)) return "other";
  const noneMatch = headers.get("if-none-match");
  return noneMatch !== null && names(noneMatch, version) ? "same" : "fine";
}

export function hasReadConditions(headers: HeaderSource): boolean {
  return headers.get("if-match") !== null || headers.get("if-none-match") !== null;
}

function names(list: string, version: number): boolean {
  return list.trim() === "*" || list.split(",").some((tag) => versionOf(tag) === version);
}

function versionOf(tag: string): number | undefined {
  const text = /^\s*(?:W\/)?"(\d{1,15})"\s*$/.exec(tag)?.[1];
  return text === undefined ? undefined : Number(text);
}

/** One range of octets as a header asks for it; undefined: the whole. */
export type WantedRange = { readonly start: number; readonly end?: number } | { last: number };

/**
 * Reads a Range header. Other units and several ranges at once are answered with the whole.
 *
 * @throws IsolaError `RANGE_INVALID` for what is no range.
 */
export function wantedRange(header: string | null): WantedRange | undefined {
  if (header === null) return undefined;
  const set = /^\s*bytes\s*=(.*)$/i.exec(header)?.[1];
  if (set === undefined || set.includes(",")) return undefined;
  const [, first = "", last = ""] = /^\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/.exec(set) ?? [];
  if (first === "" && last === "") throw outside(header, "bytes=<first>-<last>");
  if (first === "") return { last: Number(last) };
  if (last === "") return { start: Number(first) };
  if (Number(last) < Number(first)) throw outside(header, "a last octet not before the first");
  return { start: Number(first), end: Number(last) + 1 };
}

/** The range within an object of this size. Errors: `RANGE_INVALID`. */
export function rangeWithin(wanted: WantedRange, sizeBytes: number): StoreRange {
  const range =
    "last" in wanted
      ? { start: Math.max(0, sizeBytes - wanted.last), end: sizeBytes }
      : { start: wanted.start, end: Math.min(wanted.end ?? sizeBytes, sizeBytes) };
  if (range.start < range.end) return range;
  throw outside("a range beyond the end", `octets within ${String(sizeBytes)}`);
}

function outside(found: string, required: string): IsolaError {
  return new IsolaError("RANGE_INVALID", {
    attempted: "read a range of an object",
    found: found.slice(0, 100),
    required,
  });
}

function contradiction(): never {
  throw invalid("If-Match with If-None-Match", "one of the two");
}

function invalid(found: string, required: string, attempted = "put an object"): IsolaError {
  return new IsolaError("REQUEST_INVALID", { attempted, found: found.slice(0, 100), required });
}
