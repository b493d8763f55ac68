/**
 * Sums by genre and decade, of one batch or of the sums of several, and the rows they become.
 * Addition is associative, so batches may come in any order.
 */
import type { Aggregates, GroupRow, Movie, Sums } from "./records.ts";

type Groups = Record<string, Sums>;

export function aggregate(movies: readonly Movie[]): Aggregates {
  return addUp(movies.map(ofMovie));
}

export function addUp(parts: readonly Aggregates[]): Aggregates {
  const total = { genres: {} as Groups, decades: {} as Groups };
  for (const part of parts) {
    addAll(total.genres, part.genres);
    addAll(total.decades, part.decades);
  }
  return total;
}

function ofMovie(movie: Movie): Aggregates {
  const sums: Sums = {
    films: 1,
    budgetUsd: movie.budgetUsd,
    grossUsd: movie.grossUsd,
    imdb: (movie.imdb ?? 0) * 10,
    imdbFilms: movie.imdb === null ? 0 : 1,
    tomatoes: movie.tomatoes ?? 0,
    tomatoesFilms: movie.tomatoes === null ? 0 : 1,
  };
  const decade = `${movie.releasedOn.slice(0, 3)}0s`;
  return { genres: { [movie.genre]: sums }, decades: { [decade]: sums } };
}

function addAll(into: Groups, groups: Readonly<Groups>): void {
  for (const [name, sums] of Object.entries(groups)) into[name] = add(into[name], sums);
}

function add(one: Sums | undefined, other: Sums): Sums {
  if (!one) return other;
  return {
    films: one.films + other.films,
    budgetUsd: one.budgetUsd + other.budgetUsd,
    grossUsd: one.grossUsd + other.grossUsd,
    imdb: one.imdb + other.imdb,
    imdbFilms: one.imdbFilms + other.imdbFilms,
    tomatoes: one.tomatoes + other.tomatoes,
    tomatoesFilms: one.tomatoesFilms + other.tomatoesFilms,
  };
}

/** Rows for the target; a group's key is its kind and name. */
export function groupRows({ genres, decades }: Aggregates): readonly GroupRow[] {
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
