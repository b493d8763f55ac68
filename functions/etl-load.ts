/**
 * Step 5 of the film pipeline: films and sums → rows for the target.
 *
 * A film's key is its title and day, a group's its kind and name: loading twice equals loading
 * once. A key that comes twice in one run is reported, and the film with more votes stays.
 */
import type { FunctionConfig } from "isola";
import type { Aggregates, GroupRow, LoadInput, Movie, Sums, Tables } from "./etl/records.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default function load({ movies, aggregates }: LoadInput): Tables {
  const byId = new Map<string, Movie>();
  const duplicates: string[] = [];
  for (const movie of movies) {
    const known = byId.get(movie.id);
    if (known) duplicates.push(movie.id);
    if (!known || (movie.imdbVotes ?? 0) > (known.imdbVotes ?? 0)) byId.set(movie.id, movie);
  }
  return { movies: [...byId.values()], groups: groupRows(aggregates), duplicates };
}

function groupRows({ genres, decades }: Aggregates): readonly GroupRow[] {
  return [
    ...Object.entries(genres).map(([name, sums]) => groupRow("genre", name, sums)),
    ...Object.entries(decades).map(([name, sums]) => groupRow("decade", name, sums)),
  ].sort((a, b) => (a.kind + a.name < b.kind + b.name ? -1 : 1));
}

function groupRow(kind: GroupRow["kind"], name: string, sums: Sums): GroupRow {
  return {
    kind,
    name,
    films: sums.films,
    budgetUsd: sums.budgetUsd,
    grossUsd: sums.grossUsd,
    returnRatio: rounded(sums.grossUsd / sums.budgetUsd, 100),
    imdbMean: sums.imdbFilms === 0 ? null : rounded(sums.imdb / sums.imdbFilms, 10),
    tomatoesMean: sums.tomatoesFilms === 0 ? null : rounded(sums.tomatoes / sums.tomatoesFilms, 10),
  };
}

function rounded(value: number, parts: number): number {
  return Math.round(value * parts) / parts;
}
