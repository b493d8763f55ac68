/** One text, and so one hash, for plans that say the same. */
import { toHex } from "../../runtime/contract/index.ts";

/** JSON with the keys of every object in order and without undefined fields. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== "object" || item === null || Array.isArray(item)) return item;
    const fields = item as Readonly<Record<string, unknown>>;
    const keys = Object.keys(fields).sort();
    return Object.fromEntries(keys.map((key) => [key, fields[key]]));
  });
}

/** SHA-256 of the canonical text, in hex: plans are stored once by it. */
export async function planHash(plan: unknown): Promise<string> {
  const text = new TextEncoder().encode(canonicalJson(plan));
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", text)));
}
