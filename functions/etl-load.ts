/**
 * Loads a batch into the sink, with its rejects. The sink knows batches by their keys and films by
 * title and day, so an attempt that is made again after a crash loads nothing twice. It may be
 * away for a while: then the step is retried.
 */
import type { Context, FunctionConfig } from "isola";
import { type Part, kept, send } from "./etl/parts.ts";
import type { Movie, Rejection } from "./etl/records.ts";

export const config = {
  auth: "internal",
  timeoutMs: 5_000,
  retry: { limit: 8, delayMs: 100, backoff: "exponential" },
} satisfies FunctionConfig;

export default async function load({ key, sink }: Part, ctx: Context): Promise<number> {
  const films = await kept<readonly Movie[]>(ctx, "films", key);
  const rejected = await kept<readonly Rejection[]>(ctx, "rejected", key);
  await send(`${sink}/batches/${key}`, { films, rejected });
  return films.length;
}
