/** Cuts a text between words and puts the parts into the job; answers their keys. */
import type { Context, FunctionConfig } from "isola";

export const config = { auth: "internal", egress: "none" } satisfies FunctionConfig;

const PART_CHARACTERS = 64 * 1024;

export default async function split(text: unknown, ctx: Context): Promise<string[]> {
  if (typeof text !== "string") throw new TypeError("send a text as text/plain");
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
