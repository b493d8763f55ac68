/** Which release of Isola this is, and where its workerd lies. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { IsolaError } from "../contract/index.ts";

const require = createRequire(import.meta.url);

/** The package's version. The manifest is two folders up in a checkout and in dist/ alike. */
export async function readRelease(): Promise<string> {
  const text = await readFile(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** Path of the workerd binary. Errors: START_FAILED. */
export function workerdPath(): string {
  try {
    return (require("workerd") as { readonly default: string }).default;
  } catch (error) {
    throw new IsolaError(
      "START_FAILED",
      {
        attempted: "find workerd",
        found: (error as Error).message.split("\n")[0] ?? "nothing",
        required: "the workerd package for this system",
        fix: "npm install, with its install scripts allowed",
      },
      { cause: error },
    );
  }
}
