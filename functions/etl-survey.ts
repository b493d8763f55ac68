/** Reads all batches for what no single record shows, and keeps it for those that clean them. */
import type { Context, FunctionConfig } from "isola";
import { keep, kept, keyOf } from "./etl/parts.ts";
import type { Batch, Checkpoint, RawMovie } from "./etl/records.ts";
import { factsOf } from "./etl/survey.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function survey(extracted: Checkpoint, ctx: Context): Promise<Checkpoint> {
  const records: RawMovie[] = [];
  for (let batch = 0; batch < extracted.batches; batch += 1) {
    records.push(...(await kept<Batch>(ctx, "raw", keyOf(batch))).records);
  }
  await keep(ctx, "facts", "all", factsOf(records));
  return extracted;
}
