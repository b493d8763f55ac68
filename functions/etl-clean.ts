/** Brings the usable records of a batch into one notation, and keeps every change it made. */
import type { Context, FunctionConfig } from "isola";
import { clean } from "./etl/clean.ts";
import { type Part, keep, kept } from "./etl/parts.ts";
import type { RawMovie, SourceFacts } from "./etl/records.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function cleanBatch(part: Part, ctx: Context): Promise<Part> {
  const records = await kept<readonly RawMovie[]>(ctx, "valid", part.key);
  const { movies, corrections } = clean(records, await kept<SourceFacts>(ctx, "facts", "all"));
  await keep(ctx, "films", part.key, movies);
  await keep(ctx, "corrections", part.key, corrections);
  return part;
}
