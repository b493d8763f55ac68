/**
 * The film pipeline, composed by hand: extract, then validate, clean and aggregate batch by
 * batch side by side, then merge and load. Records travel between the functions as values.
 *
 * Input: the text of the source (`Content-Type: text/plain`). Result: an `EtlResult`.
 */
import type { Context, FunctionConfig } from "isola";
import type { Extracted } from "../etl-extract.ts";
import {
  type Aggregates,
  type Batch,
  CORRECTIONS,
  type Cleaned,
  type EtlResult,
  REASONS,
  type SourceFacts,
  type Tables,
  type Tally,
  type Validated,
} from "./records.ts";

export const config = { timeoutMs: 60_000 } satisfies FunctionConfig;

interface Part {
  readonly validated: Validated;
  readonly cleaned: Cleaned;
  readonly sums: Aggregates;
}

export default async function etl(text: unknown, ctx: Context): Promise<EtlResult> {
  if (typeof text !== "string") throw new TypeError("send the source as text/plain");
  const { recordsIn, batches, facts } = await ctx.call<Extracted>("etl-extract", text);
  const parts = await Promise.all(batches.map((batch) => transform(batch, facts, ctx)));
  const partials = parts.map(({ sums }) => sums);
  const aggregates = await ctx.call<Aggregates>("etl-aggregate", { partials });
  const movies = parts.flatMap(({ cleaned }) => cleaned.movies);
  const tables = await ctx.call<Tables>("etl-load", { movies, aggregates });
  const rejected = parts.flatMap(({ validated }) => validated.rejected);
  const corrections = parts.flatMap(({ cleaned }) => cleaned.corrections);
  return {
    recordsIn,
    batches: batches.length,
    rejectedRecords: rejected.length,
    rejectedBy: REASONS.map((name) => {
      const all = rejected.filter(({ reasons }) => reasons.includes(name));
      return { name, count: all.length, example: `#${all[0]?.position} ${all[0]?.title}` };
    }).filter(isPresent),
    correctedBy: CORRECTIONS.map((name) => {
      const all = corrections.filter(({ kind }) => kind === name);
      return { name, count: all.length, example: `${all[0]?.before} → ${all[0]?.after}` };
    }).filter(isPresent),
    tables,
  };
}

async function transform(batch: Batch, facts: SourceFacts, ctx: Context): Promise<Part> {
  const validated = await ctx.call<Validated>("etl-validate", { batch, facts });
  const cleaned = await ctx.call<Cleaned>("etl-clean", { records: validated.accepted, facts });
  const sums = await ctx.call<Aggregates>("etl-aggregate", { movies: cleaned.movies });
  return { validated, cleaned, sums };
}

const isPresent = ({ count }: Tally): boolean => count > 0;
