/**
 * Counts words as `word-count` does, by hand: one function calls those that split, count and
 * reduce, and they hand over their data in the job of its call, which ends with it.
 */
import type { Context, FunctionConfig } from "isola";
import type { WordCount } from "./word-count-reduce.ts";

export const config = { timeoutMs: 60_000 } satisfies FunctionConfig;

export default async function wordCountCoordinator(
  text: unknown,
  ctx: Context,
): Promise<WordCount> {
  const keys = await ctx.call<readonly string[]>("word-count-split", text);
  await Promise.all(keys.map((key) => ctx.call("word-count-part", key)));
  return ctx.call<WordCount>("word-count-reduce", keys);
}
