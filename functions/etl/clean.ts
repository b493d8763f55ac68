/**
 * Usable records → films in one notation, and every change made.
 *
 * A guess is never written as a fact: what cannot be repaired becomes null.
 */
import {
  type Cleaned,
  type Correction,
  type CorrectionKind,
  type Movie,
  type RawMovie,
  type SourceFacts,
  amountOf,
  parseDate,
  ratingKey,
  textOf,
  titleOf,
} from "./records.ts";
import { articleFirst, repairEncoding, singleSpaces, slugOf } from "./titles.ts";

export function clean(records: readonly RawMovie[], facts: SourceFacts): Cleaned {
  const corrections: Correction[] = [];
  const cleaner = new Cleaner(facts, corrections);
  return { movies: records.map((record) => cleaner.clean(record)), corrections };
}

class Cleaner {
  readonly #facts: SourceFacts;
  readonly #shared: ReadonlySet<string>;
  readonly #corrections: Correction[];

  constructor(facts: SourceFacts, corrections: Correction[]) {
    this.#facts = facts;
    this.#shared = new Set(facts.sharedRatings);
    this.#corrections = corrections;
  }

  clean(record: RawMovie): Movie {
    const title = this.#title(record);
    const releasedOn = this.#date(record, title);
    const imdbIsOwn = this.#hasOwnRating(record, title);
    return {
      id: `${slugOf(title)}-${releasedOn}`,
      title,
      releasedOn,
      genre: this.#genre(record, title),
      budgetUsd: amountOf(record, "Production Budget") ?? 0,
      grossUsd: amountOf(record, "Worldwide Gross") ?? 0,
      usGrossUsd: this.#usGross(record, title),
      runningMinutes: amountOf(record, "Running Time min") ?? null,
      mpaa: this.#mpaa(record, title),
      distributor: this.#distributor(record, title),
      director: this.#director(record),
      imdb: imdbIsOwn ? (amountOf(record, "IMDB Rating") ?? null) : null,
      imdbVotes: imdbIsOwn ? (amountOf(record, "IMDB Votes") ?? null) : null,
      tomatoes: amountOf(record, "Rotten Tomatoes Rating") ?? null,
    };
  }

  #note(kind: CorrectionKind, before: string, after: string): void {
    if (before !== after) this.#corrections.push({ kind, before, after });
  }

  #title(record: RawMovie): string {
    const text = titleOf(record) ?? "";
    if (typeof record["Title"] === "number") this.#note("title-number", text, JSON.stringify(text));
    const encoded = repairEncoding(text);
    this.#note("title-encoding", text, encoded);
    const ordered = articleFirst(encoded);
    this.#note("title-article", encoded, ordered);
    const spaced = singleSpaces(ordered);
    this.#note("title-spaces", ordered, spaced);
    return spaced;
  }

  #date(record: RawMovie, title: string): string {
    const date = parseDate(record["Release Date"]);
    if (!date) throw new TypeError(`an unvalidated record: ${title} has no release date`);
    const year = date.year > this.#facts.newestYear ? date.year - 100 : date.year;
    this.#note("year-in-future", `${title}: ${date.year}`, `${title}: ${year}`);
    const [month, day] = [date.month, date.day].map((part) => String(part).padStart(2, "0"));
    return `${year}-${month}-${day}`;
  }

  #genre(record: RawMovie, title: string): string {
    const genre = textOf(record, "Major Genre");
    if (genre === undefined) this.#note("genre-missing", `${title}: null`, `${title}: unknown`);
    return genre === undefined ? "unknown" : slugOf(genre);
  }

  #usGross(record: RawMovie, title: string): number | null {
    const gross = amountOf(record, "US Gross") ?? null;
    if (gross !== 0) return gross;
    this.#note("us-gross-zero", `${title}: 0`, `${title}: null`);
    return null;
  }

  #mpaa(record: RawMovie, title: string): string {
    const rating = textOf(record, "MPAA Rating");
    if (rating !== undefined && rating !== "Open") return rating;
    this.#note("mpaa-missing", `${title}: ${rating ?? "null"}`, `${title}: Not Rated`);
    return "Not Rated";
  }

  #distributor(record: RawMovie, title: string): string | null {
    const name = textOf(record, "Distributor");
    if (name !== "Distributor Unknown") return name ?? null;
    this.#note("distributor-unknown", `${title}: ${name}`, `${title}: null`);
    return null;
  }

  #director(record: RawMovie): string | null {
    const name = textOf(record, "Director");
    if (name === undefined) return null;
    const plain = name.replaceAll('""', '"');
    this.#note("director-quotes", name, plain);
    return plain;
  }

  #hasOwnRating(record: RawMovie, title: string): boolean {
    const key = ratingKey(record);
    if (key === undefined || !this.#shared.has(key)) return true;
    this.#note("rating-shared", `${title}: ${key}`, `${title}: null`);
    return false;
  }
}
