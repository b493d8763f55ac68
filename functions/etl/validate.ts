/**
 * Which records can be used, and why the others cannot.
 *
 * The target relates money and opinion, so a film needs a title, a day, a budget, a gross and at
 * least one rating. The source writes 0 where it does not know a gross.
 */
import {
  type Batch,
  type RawMovie,
  type Reason,
  type Rejection,
  type Validated,
  amountOf,
  parseDate,
  titleOf,
} from "./records.ts";

type Rule = (record: RawMovie) => boolean;

const isPositive = (record: RawMovie, field: string): boolean => (amountOf(record, field) ?? 0) > 0;
const isKnown = (record: RawMovie, field: string): boolean =>
  record[field] !== null && record[field] !== undefined;
const isWithin = (record: RawMovie, field: string, most: number): boolean =>
  !isKnown(record, field) || (amountOf(record, field) ?? most + 1) <= most;

/** What a record must fulfil. Titles may be numbers ("1941"): cleaning makes them text. */
const RULES: readonly (readonly [Reason, Rule])[] = [
  ["title-missing", (record) => titleOf(record) !== undefined],
  ["date-invalid", (record) => parseDate(record["Release Date"]) !== undefined],
  ["budget-unknown", (record) => isPositive(record, "Production Budget")],
  ["gross-unknown", (record) => isPositive(record, "Worldwide Gross")],
  [
    "rating-missing",
    (record) => isKnown(record, "IMDB Rating") || isKnown(record, "Rotten Tomatoes Rating"),
  ],
  [
    "rating-out-of-range",
    (record) =>
      isWithin(record, "IMDB Rating", 10) && isWithin(record, "Rotten Tomatoes Rating", 100),
  ],
];

export function validate(batch: Batch): Validated {
  const accepted: RawMovie[] = [];
  const rejected: Rejection[] = [];
  for (const [index, record] of batch.records.entries()) {
    const reasons = reasonsAgainst(record);
    if (reasons.length === 0) accepted.push(record);
    else rejected.push({ position: batch.offset + index, title: shownTitle(record), reasons });
  }
  return { accepted, rejected };
}

function reasonsAgainst(record: unknown): readonly Reason[] {
  if (typeof record !== "object" || record === null || Array.isArray(record)) {
    return ["not-a-record"];
  }
  return RULES.filter(([, holds]) => !holds(record as RawMovie)).map(([reason]) => reason);
}

function shownTitle(record: RawMovie | null): string {
  return (record === null ? undefined : titleOf(record)) ?? "(no title)";
}
