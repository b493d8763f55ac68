/** What no single record shows. */
import { NEWEST_YEAR, type RawMovie, type SourceFacts, ratingKey, titleOf } from "./records.ts";
import { looksAlike } from "./titles.ts";

export function factsOf(records: readonly RawMovie[]): SourceFacts {
  return { sharedRatings: sharedRatings(records), newestYear: NEWEST_YEAR };
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
