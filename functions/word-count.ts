/**
 * Counts words: an extract, transform, load whose data goes through the store, not through calls.
 *
 * Extract cuts the text into parts and puts each into the call's job; `word-count-part` transforms
 * one part, found by its key in the job that it shares; load adds the tables up. The job, and all
 * that is still in it, ends with the call.
 *
 * Input: a text. Result: the most frequent words.
 */
import type { Context, FunctionConfig } from "isola";

export const config = { timeoutMs: 60_000 } satisfies FunctionConfig;

const PART_CHARACTERS = 64 * 1024;
const SHOWN = 10;

export interface WordCount {
  readonly parts: number;
  readonly words: number;
  readonly distinct: number;
  readonly top: readonly (readonly [word: string, count: number])[];
}

export default async function wordCount(text: unknown, ctx: Context): Promise<WordCount> {
  if (typeof text !== "string") throw new TypeError("send a text as text/plain");
  const keys = await extract(text, ctx);
  await Promise.all(keys.map((key) => ctx.call("word-count-part", key)));
  return load(keys, ctx);
}

async function extract(text: string, ctx: Context): Promise<string[]> {
  const parts = ctx.store.bucket("parts");
  const keys: string[] = [];
  const puts: Promise<unknown>[] = [];
  for (let at = 0; at < text.length;) {
    const end = partEnd(text, at);
    const key = String(keys.length).padStart(6, "0");
    keys.push(key);
    puts.push(parts.put(key, text.slice(at, end)));
    at = end;
  }
  await Promise.all(puts);
  return keys;
}

/** Behind the first gap after a part's length: no word is cut. */
function partEnd(text: string, start: number): number {
  const gap = /\s/g;
  gap.lastIndex = start + PART_CHARACTERS;
  return gap.test(text) ? gap.lastIndex : text.length;
}

async function load(keys: readonly string[], ctx: Context): Promise<WordCount> {
  const tables = ctx.store.bucket("tables");
  const total = new Map<string, number>();
  for (const key of keys) {
    const table = await tables.get<Map<string, number>>(key);
    for (const [word, count] of table ?? []) total.set(word, (total.get(word) ?? 0) + count);
  }
  const ranked = [...total].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1));
  const words = await ctx.store.incr("words", 0);
  return { parts: keys.length, words, distinct: total.size, top: ranked.slice(0, SHOWN) };
}
