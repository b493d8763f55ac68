/** Step 1 of the film pipeline: text → batches of records, and what no single record shows. */
import type { FunctionConfig } from "isola";
import {
  type Batch,
  NEWEST_YEAR,
  type RawMovie,
  type SourceFacts,
  ratingKey,
  titleOf,
} from "./etl/records.ts";
import { looksAlike } from "./etl/titles.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

const BATCH_RECORDS = 500;

export interface Extracted {
  readonly recordsIn: number;
  readonly batches: readonly Batch[];
  readonly facts: SourceFacts;
}

export default function extract(text: string): Extracted {
  const parsed: unknown = JSON.parse(text);
  if (!Array.isArray(parsed)) throw new TypeError("the source must be a JSON array of records");
  const records = parsed as readonly RawMovie[];
  const batches: Batch[] = [];
  for (let offset = 0; offset < records.length; offset += BATCH_RECORDS) {
    batches.push({ offset, records: records.slice(offset, offset + BATCH_RECORDS) });
  }
  const facts = { sharedRatings: sharedRatings(records), newestYear: NEWEST_YEAR };
  return { recordsIn: records.length, batches, facts };
}

/**
 * Keys of ratings that several films of similar titles share: the source joined ratings by title,
 * so a film and its remake got the same rating from the same number of votes.
 */
function sharedRatings(records: readonly RawMovie[]): readonly string[] {
  const titlesByKey = new Map<string, string[]>();
  for (const record of records) {
    const key = typeof record === "object" && record !== null ? ratingKey(record) : undefined;
    if (key === undefined) continue;
    titlesByKey.set(key, [...(titlesByKey.get(key) ?? []), titleOf(record) ?? ""]);
  }
  return [...titlesByKey]
    .filter(([, titles]) => titles.some((one, at) => titles.slice(0, at).some(alikeTo(one))))
    .map(([key]) => key);
}

const alikeTo =
  (one: string) =>
  (other: string): boolean =>
    looksAlike(one, other);
