/** Hashes of content: what makes two versions the same. */
import { type Bundle, type ResolvedConfig, toHex } from "../contract/index.ts";

export async function sha256Hex(content: string | Uint8Array): Promise<string> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

/** JSON with the keys of every object sorted, so that equal content has equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== "object" || item === null || Array.isArray(item)) return item;
    const record = item as Record<string, unknown>;
    return Object.fromEntries(
      Object.keys(record)
        .sort()
        .map((key) => [key, record[key]]),
    );
  });
}

/** A bundle as it is stored and hashed: modules by name. */
export function bundleText(bundle: Bundle): string {
  const modules = bundle.modules
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, kind, content }) => ({ name, kind, content }));
  return JSON.stringify({ main: bundle.main, modules });
}

/**
 * Identity of a version: its bundle and everything that configures it, plain environment included.
 */
export function contentHash(bundleHash: string, config: ResolvedConfig): Promise<string> {
  return sha256Hex(canonicalJson({ bundleHash, config }));
}
