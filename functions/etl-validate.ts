/** Sorts a batch into records that can be used and those that cannot, which are kept, too. */
import type { Context, FunctionConfig } from "isola";
import { type Part, keep, kept } from "./etl/parts.ts";
import type { Batch } from "./etl/records.ts";
import { validate } from "./etl/validate.ts";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function validateBatch(part: Part, ctx: Context): Promise<Part> {
  const { accepted, rejected } = validate(await kept<Batch>(ctx, "raw", part.key));
  await keep(ctx, "valid", part.key, accepted);
  await keep(ctx, "rejected", part.key, rejected);
  return part;
}
