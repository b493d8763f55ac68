/** Which functions a path holds: a file, a folder with an index, or a folder of both. */
import { readdir, stat } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { IsolaError, checkFunctionName } from "../contract/index.ts";
import { shownPath } from "./shown-path.ts";

export interface FunctionEntry {
  readonly name: string;
  /** Absolute path of the module with the default export. */
  readonly path: string;
}

const EXTENSIONS = [".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs"];
/** Sources that are no functions: tests, declarations, configurations of tools. */
const BESIDE = /\.(test|spec|d|config)\.[a-z]+$/;
const HIDDEN = /^[._]/;

/** Whether a file of this name is a function by itself. */
export function isFunctionFile(name: string): boolean {
  return EXTENSIONS.includes(extname(name)) && !BESIDE.test(name) && !HIDDEN.test(name);
}

/**
 * Functions at `path`, sorted by name.
 *
 * @param name overrides the name of a single function.
 * @throws IsolaError `USAGE` if there is none, `NAME_INVALID`.
 */
export async function findFunctions(path: string, name?: string): Promise<FunctionEntry[]> {
  const absolute = resolve(path);
  const stats = await stat(absolute).catch(() => undefined);
  const shown = shownPath(absolute);
  if (stats === undefined) {
    throw new IsolaError("USAGE", {
      attempted: `find functions at ${shown}`,
      found: "no such file or folder",
      required: "a source file, or a folder of them",
      fix: "check the path; isola init makes a first function",
    });
  }
  const found = stats.isDirectory() ? await inFolder(absolute) : [fileEntry(absolute, name)];
  if (found.length === 0) {
    throw new IsolaError("USAGE", {
      attempted: `find functions in ${shown}`,
      found: "none",
      required: `files *${EXTENSIONS.join(", *")}, or folders with an index; no leading _ or .`,
      fix: "name the file or folder that holds the functions",
    });
  }
  const [only] = found;
  if (name === undefined || only === undefined) return found;
  if (found.length > 1) {
    throw new IsolaError("USAGE", {
      attempted: `use --name ${name}`,
      found: `${String(found.length)} functions in ${shown}`,
      required: "a path that holds one function",
      fix: "deploy the file itself, or leave --name out",
    });
  }
  return [{ ...only, name: checkFunctionName(name) }];
}

function fileEntry(path: string, name: string | undefined): FunctionEntry {
  const extension = extname(path);
  if (!EXTENSIONS.includes(extension)) {
    throw new IsolaError("USAGE", {
      attempted: `use ${shownPath(path)} as a function`,
      found: extension === "" ? "a file without extension" : `a ${extension} file`,
      required: `one of ${EXTENSIONS.join(", ")}`,
      fix: "name a source file, or a folder of them",
    });
  }
  const stem = basename(path, extension);
  const own = stem === "index" ? basename(join(path, "..")) : stem;
  return { name: checkFunctionName(name ?? own), path };
}

async function inFolder(folder: string): Promise<FunctionEntry[]> {
  const index = await indexOf(folder);
  if (index !== undefined) return [{ name: checkFunctionName(basename(folder)), path: index }];
  const entries = await readdir(folder, { withFileTypes: true });
  const found: FunctionEntry[] = [];
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && (await isDirectory(path)));
    if (HIDDEN.test(entry.name) || entry.name === "node_modules") continue;
    if (isFolder) {
      const inner = await indexOf(path);
      if (inner !== undefined) found.push({ name: checkFunctionName(entry.name), path: inner });
    } else if (isFunctionFile(entry.name)) {
      found.push(fileEntry(path, undefined));
    }
  }
  refuseTwins(found);
  return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function refuseTwins(found: readonly FunctionEntry[]): void {
  const seen = new Map<string, string>();
  for (const { name, path } of found) {
    const other = seen.get(name);
    if (other !== undefined) {
      throw new IsolaError("USAGE", {
        attempted: `deploy function ${name}`,
        found: [other, path].map(shownPath).toSorted().join(" and "),
        required: "one source for each name",
        fix: "rename one of them",
      });
    }
    seen.set(name, path);
  }
}

async function indexOf(folder: string): Promise<string | undefined> {
  const names = new Set(await readdir(folder).catch((): string[] => []));
  const index = EXTENSIONS.map((extension) => `index${extension}`).find((name) => names.has(name));
  return index === undefined ? undefined : join(folder, index);
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}
