/** Reads `isola.toml` of the working directory. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TomlError, parse } from "smol-toml";
import { type ConfigFile, IsolaError, checkConfigFile } from "../contract/index.ts";

const NAME = "isola.toml";

/**
 * The file's checked content, or undefined where there is none.
 *
 * @throws IsolaError `USAGE` with file and line.
 */
export function readConfigFile(folder: string): ConfigFile | undefined {
  let text: string;
  try {
    text = readFileSync(join(folder, NAME), "utf8");
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === "ENOENT") return undefined;
    throw error;
  }
  return parseConfigFile(text, NAME);
}

/** @param path as it is shown in messages. */
export function parseConfigFile(text: string, path: string): ConfigFile {
  let parsed: unknown;
  try {
    parsed = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = "malformed"] = error.message
      .replace(/^Invalid TOML document: /, "")
      .split("\n");
    throw new IsolaError("USAGE", {
      attempted: `read ${path}`,
      found: `line ${String(error.line)}, column ${String(error.column)}: ${reason}`,
      required: "a TOML document",
      fix: `correct ${path}`,
      location: { file: path, line: error.line, column: error.column },
    });
  }
  const lines = lineNumbers(text);
  return checkConfigFile(path, parsed, (key) => lines.get(key));
}

/**
 * Line of every table and key, from 1. The parser does not say; a scan of headers and
 * assignments finds what people write, and only messages depend on it.
 */
function lineNumbers(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  let section = "";
  for (const [index, line] of text.split("\n").entries()) {
    const header = /^\s*\[([^[\]]+)\]/.exec(line)?.[1];
    const key = header ?? /^\s*([\w."'-]+(?:\s*\.\s*[\w"'-]+)*)\s*=/.exec(line)?.[1];
    if (key === undefined) continue;
    const plain = key.replaceAll(/["'\s]/g, "");
    if (header !== undefined) section = plain;
    const full = header === undefined && section !== "" ? `${section}.${plain}` : plain;
    // A dotted key names tables, too: `functions.hello.timeoutMs = 1`.
    const parts = full.split(".");
    for (let count = 1; count <= parts.length; count++) {
      const name = parts.slice(0, count).join(".");
      if (!lines.has(name)) lines.set(name, index + 1);
    }
  }
  return lines;
}
