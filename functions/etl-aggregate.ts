/** Sums the films of a batch by genre and decade. */
import type { Context, FunctionConfig } from "isola";
import { aggregate } from "./etl/aggregate.ts";
import { type Part, keep, kept } from "./etl/parts.ts";
import type { Movie } from "./etl/records.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function aggregateBatch(part: Part, ctx: Context): Promise<Part> {
  await keep(
    ctx,
    "sums",
    part.key,
    aggregate(await kept<readonly Movie[]>(ctx, "films", part.key)),
  );
  return part;
}
