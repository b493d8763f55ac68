/** The release: from package.json, which lies two folders up in a checkout and in a package. */
import { readFileSync } from "node:fs";

const manifest = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
) as { readonly version: string };

export const VERSION = manifest.version;
