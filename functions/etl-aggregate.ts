/**
 * Step 4 of the film pipeline: sums by genre and decade, of one batch (`movies`) or of the sums
 * of several (`partials`). Addition is associative, so batches may come in any order.
 */
import type { FunctionConfig } from "isola";
import type { AggregateInput, Aggregates, Movie, Sums } from "./etl/records.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

type Groups = Record<string, Sums>;

export default function aggregate(input: AggregateInput): Aggregates {
  const total = { genres: {} as Groups, decades: {} as Groups };
  const parts = "partials" in input ? input.partials : input.movies.map(ofMovie);
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
