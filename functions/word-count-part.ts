/** Counts the words of one part, which it takes out of the job, and leaves its table there. */
import type { Context, FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

export default async function countPart(key: string, ctx: Context): Promise<string> {
  // Taken, not read: the part is gone once this call has answered, and back if it fails.
  const text = await ctx.store.bucket("parts").take<string>(key);
  if (text === undefined) throw new TypeError(`no part ${key} in the job`);
  const table = new Map<string, number>();
  let words = 0;
  for (const [word] of text.toLowerCase().matchAll(/[\p{L}\p{N}]+/gu)) {
    table.set(word, (table.get(word) ?? 0) + 1);
    words += 1;
  }
  await ctx.store.bucket("tables").put(key, table);
  await ctx.store.incr("words", words);
  return key;
}
