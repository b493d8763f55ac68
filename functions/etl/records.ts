/**
 * The shapes that travel between the steps of the film pipeline, and the rules that all share.
 *
 * Source: `movies.json` of vega-datasets, collected in 2010 and 2011 from several sites and joined
 * by title, which is where most of its defects come from.
 */

/** A record as it came: any field may be missing or of the wrong type. */
export type RawMovie = Readonly<Record<string, unknown>>;

/** What no single record shows: gathered by extract, handed to every batch. */
export interface SourceFacts {
  /** Ratings that several films of similar titles share, as `ratingKey` writes them. */
  readonly sharedRatings: readonly string[];
  /** Newest year the source can hold; later ones are two-digit years expanded to the future. */
  readonly newestYear: number;
}

export interface Batch {
  /** Place of the first record in the source, from 0. */
  readonly offset: number;
  readonly records: readonly RawMovie[];
}

/** What the pipeline is asked for. */
export interface EtlRequest {
  /** Where the records are: a JSON array over HTTP that can be read from any byte on. */
  readonly source: string;
  /** Where films, rejects and sums go. */
  readonly sink: string;
  /** @default 500 */
  readonly batchRecords?: number;
}

/** How far the source has been read. */
export interface Checkpoint extends Required<EtlRequest> {
  /** Of the source, when it was opened first. */
  readonly etag: string | null;
  readonly nextByte: number;
  readonly records: number;
  readonly batches: number;
  readonly isEnd: boolean;
}

export const REASONS = [
  "not-a-record",
  "title-missing",
  "date-invalid",
  "budget-unknown",
  "gross-unknown",
  "rating-missing",
  "rating-out-of-range",
] as const;
export type Reason = (typeof REASONS)[number];

export interface Rejection {
  /** Place in the source, from 0. */
  readonly position: number;
  readonly title: string;
  readonly reasons: readonly Reason[];
}

export interface Validated {
  readonly accepted: readonly RawMovie[];
  readonly rejected: readonly Rejection[];
}

/** A clean film. Money in US dollars, dates in ISO 8601, null where the source does not know. */
export interface Movie {
  readonly id: string;
  readonly title: string;
  readonly releasedOn: string;
  readonly genre: string;
  readonly budgetUsd: number;
  readonly grossUsd: number;
  readonly usGrossUsd: number | null;
  readonly runningMinutes: number | null;
  readonly mpaa: string;
  readonly distributor: string | null;
  readonly director: string | null;
  /** 0 to 10. */
  readonly imdb: number | null;
  readonly imdbVotes: number | null;
  /** 0 to 100. */
  readonly tomatoes: number | null;
}

export const CORRECTIONS = [
  "title-number",
  "title-encoding",
  "title-article",
  "title-spaces",
  "year-in-future",
  "us-gross-zero",
  "rating-shared",
  "genre-missing",
  "mpaa-missing",
  "distributor-unknown",
  "director-quotes",
] as const;
export type CorrectionKind = (typeof CORRECTIONS)[number];

export interface Correction {
  readonly kind: CorrectionKind;
  readonly before: string;
  readonly after: string;
}

export interface Cleaned {
  readonly movies: readonly Movie[];
  readonly corrections: readonly Correction[];
}

/** Sums of one group; sums of several batches add up. */
export interface Sums {
  readonly films: number;
  readonly budgetUsd: number;
  readonly grossUsd: number;
  /** Ratings on a scale of 0 to 100, and how many films have one. */
  readonly imdb: number;
  readonly imdbFilms: number;
  readonly tomatoes: number;
  readonly tomatoesFilms: number;
}

/** Sums by genre and by decade ("1990s"). */
export interface Aggregates {
  readonly genres: Readonly<Record<string, Sums>>;
  readonly decades: Readonly<Record<string, Sums>>;
}

export interface GroupRow {
  readonly kind: "genre" | "decade";
  readonly name: string;
  readonly films: number;
  readonly budgetUsd: number;
  readonly grossUsd: number;
  /** Gross per dollar of budget. */
  readonly returnRatio: number;
  readonly imdbMean: number | null;
  readonly tomatoesMean: number | null;
}

export interface Tally {
  readonly name: string;
  readonly count: number;
  readonly example: string;
}

/** The account of a whole run. */
export interface EtlResult {
  readonly recordsIn: number;
  readonly batches: number;
  readonly rejectedRecords: number;
  readonly rejectedBy: readonly Tally[];
  readonly correctedBy: readonly Tally[];
  readonly films: number;
  readonly groups: number;
}

/** The newest year in which the dataset was still collected. */
export const NEWEST_YEAR = 2011;

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

export interface CalendarDate {
  readonly year: number;
  readonly month: number;
  readonly day: number;
}

/** Reads "Jun 12 1998"; undefined if it is no day of the calendar. */
export function parseDate(text: unknown): CalendarDate | undefined {
  const match = typeof text === "string" ? /^([A-Z][a-z]{2}) (\d{2}) (\d{4})$/.exec(text) : null;
  if (!match) return undefined;
  const month = MONTHS.indexOf(match[1] ?? "") + 1;
  const day = Number(match[2]);
  const year = Number(match[3]);
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
  return day >= 1 && day <= days ? { year, month, day } : undefined;
}

/** A field as a finite number that is not negative, else undefined. */
export function amountOf(record: RawMovie, field: string): number | undefined {
  const value = record[field];
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

export function textOf(record: RawMovie, field: string): string | undefined {
  const value = record[field];
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

/** The rating of a record as a key: two films with one key got one film's rating. */
export function ratingKey(record: RawMovie): string | undefined {
  const rating = amountOf(record, "IMDB Rating");
  const votes = amountOf(record, "IMDB Votes");
  return rating === undefined || votes === undefined ? undefined : `${rating}/${votes}`;
}

/** The title as text; the source holds "1941" as a number. */
export function titleOf(record: RawMovie): string | undefined {
  const title = record["Title"];
  return typeof title === "number" ? String(title) : textOf(record, "Title");
}
