/**
 * Runs of all shards as one list, newest first.
 *
 * 1. A cursor holds a place in each shard: what began after the first page is on no later one, and
 *    a run is on one page alone, also if a shard was down meanwhile.
 * 2. A shard that has looked at its share of rows and found less than a page may have more: nothing
 *    older than what it found is told before it was asked again.
 */
import { IsolaError, type RunAnswers, type RunInfo } from "../contract/index.ts";

export type ShardPage = RunAnswers["list"];

/** By shard, the number before which it goes on; undefined: from its newest run. */
export type Places = readonly (number | undefined)[];

export interface MergedPage {
  readonly runs: readonly RunInfo[];
  /** Absent: there is no more. */
  readonly places?: Places;
}

/** @param pages by shard; undefined for one that could not be asked. */
export function mergePages(
  pages: readonly (ShardPage | undefined)[],
  places: Places,
  limit: number,
): MergedPage {
  const heads = pages.map(() => 0);
  const runs: RunInfo[] = [];
  while (runs.length < limit) {
    const shard = newest(pages, heads);
    const run = shard === undefined ? undefined : pages[shard]?.runs[heads[shard] ?? 0];
    if (shard === undefined || !run) break;
    heads[shard] = (heads[shard] ?? 0) + 1;
    const { number: _number, ...info } = run;
    runs.push(info);
  }
  const next = pages.map((page, shard) => placeAfter(page, heads[shard] ?? 0, places[shard]));
  const isMore = pages.some(
    (page, shard) => page && (page.cursor !== undefined || (heads[shard] ?? 0) < page.runs.length),
  );
  return { runs, ...(isMore && { places: next }) };
}

/** The shard whose next run is the newest; undefined if one has to be asked first, or none has. */
function newest(
  pages: readonly (ShardPage | undefined)[],
  heads: readonly number[],
): number | undefined {
  let best: { readonly shard: number; readonly startedAtMs: number } | undefined;
  for (const [shard, page] of pages.entries()) {
    const run = page?.runs[heads[shard] ?? 0];
    if (run === undefined && page?.cursor !== undefined) return undefined;
    if (run && (!best || run.startedAtMs > best.startedAtMs)) {
      best = { shard, startedAtMs: run.startedAtMs };
    }
  }
  return best?.shard;
}

function placeAfter(
  page: ShardPage | undefined,
  taken: number,
  place: number | undefined,
): number | undefined {
  if (!page) return place;
  if (taken === page.runs.length && page.cursor !== undefined) return Number(page.cursor);
  const last = page.runs[taken - 1];
  // Of a shard that gave nothing yet the next page takes what there was now, and nothing younger.
  return last ? last.number : (place ?? page.last + 1);
}

/** `12.-.7`: by shard, a dash for one that was never asked. */
export function formatCursor(places: Places): string {
  return places.map((place) => (place === undefined ? "-" : String(place))).join(".");
}

/** Errors: `REQUEST_INVALID`. */
export function parseCursor(text: string | null, shards: number): Places {
  if (text === null) return Array.from({ length: shards }, () => undefined);
  const parts = text.split(".");
  if (parts.length === shards && parts.every((part) => /^(-|\d{1,15})$/.test(part))) {
    return parts.map((part) => (part === "-" ? undefined : Number(part)));
  }
  throw new IsolaError("REQUEST_INVALID", {
    attempted: "list runs",
    found: `the cursor ${JSON.stringify(text.slice(0, 60))}`,
    required: "the cursor of the page before",
  });
}
