/** Adds up the tables of all parts. */
import type { Context, FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

const SHOWN = 10;

export interface WordCount {
  readonly parts: number;
  readonly words: number;
  readonly distinct: number;
  readonly top: readonly (readonly [word: string, count: number])[];
}

export default async function reduce(keys: readonly string[], ctx: Context): Promise<WordCount> {
  const tables = ctx.store.bucket("tables");
  const total = new Map<string, number>();
  let words = 0;
  for (const key of keys) {
    const table = await tables.get<Map<string, number>>(key);
    if (!table) throw new Error(`no table of part ${key} in the job`);
    for (const [word, count] of table) {
      total.set(word, (total.get(word) ?? 0) + count);
      words += count;
    }
  }
  // Counted twice, by tables and by a counter: a part that counted twice, or not, would show.
  const counted = await ctx.store.incr("words", 0);
  if (counted !== words) throw new Error(`${String(words)} words, but ${String(counted)} counted`);
  const ranked = [...total].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1));
  return { parts: keys.length, words, distinct: total.size, top: ranked.slice(0, SHOWN) };
}
