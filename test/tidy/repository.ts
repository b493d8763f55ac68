/** The repository as the rules see it: every tracked kind of text, and TypeScript parsed. */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { type Comment, type EcmaScriptModule, parseSync } from "oxc-parser";

/** A syntax node; the rules ask for few kinds, so the tree stays untyped. */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [property: string]: unknown;
}

interface Import {
  /** As written. */
  readonly specifier: string;
  /** Path in the repository, or undefined for a package or a platform module. */
  readonly target: string | undefined;
  /** `?bundle`: the text of a program, not a module that is linked in. */
  readonly isEmbedded: boolean;
  readonly offset: number;
}

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly program: Node;
  readonly comments: readonly Comment[];
  readonly module: EcmaScriptModule;
  readonly imports: readonly Import[];
}

export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

export interface Repository {
  readonly sources: readonly SourceFile[];
  /** Every text file, sources included, by path. */
  readonly texts: ReadonlyMap<string, string>;
}

export type FileMap = Readonly<Record<string, string>>;

const SKIPPED_FOLDERS = new Set(["node_modules", "dist", ".git", ".wrangler", "results"]);
const SKIPPED_FILES = new Set(["package-lock.json", "LICENSE"]);
const BINARY = /\.(png|jpg|wasm|tgz|gz|ico|woff2|parquet|arrow)$/;
// Deliberately wrong programs, given to the platform to refuse.
const BROKEN = "test/fixtures/broken/";
const SDK_ENTRY = "runtime/sdk/index.ts";

function importsOf(path: string, text: string, module: EcmaScriptModule): Import[] {
  const requests = [
    ...module.staticImports.map((entry) => entry.moduleRequest),
    ...module.staticExports.flatMap((entry) =>
      entry.entries.flatMap((exported) => exported.moduleRequest ?? []),
    ),
    ...module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
      const literal = /^(["'`])([^"'`$]*)\1$/.exec(text.slice(start, end));
      return literal === null ? [] : { value: literal[2] ?? "", start, end };
    }),
  ];
  // An `import("…")` type is no statement, so the module record does not hold it.
  for (const match of text.matchAll(/\bimport\("([^"]+)"\)\./g)) {
    requests.push({ value: match[1] ?? "", start: match.index, end: match.index });
  }
  return requests.map(({ value, start }) => {
    const bare = value.replace(/\?bundle$/, "");
    const relative = bare.startsWith(".")
      ? posix.normalize(posix.join(posix.dirname(path), bare))
      : undefined;
    return {
      specifier: value,
      target: bare === "isola" ? SDK_ENTRY : relative,
      isEmbedded: bare !== value,
      offset: start,
    };
  });
}

function parse(path: string, text: string): SourceFile {
  const { program, comments, module, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message ?? "does not parse"}`);
  return {
    path,
    text,
    program: program as unknown as Node,
    comments,
    module,
    imports: importsOf(path, text, module),
  };
}

export function repositoryOf(files: FileMap): Repository {
  const texts = new Map(Object.entries(files));
  const sources = [...texts]
    .filter(([path]) => path.endsWith(".ts"))
    .map(([path, text]) => parse(path, text));
  return { sources, texts };
}

function readFolder(root: string, folder: string, into: Record<string, string>): void {
  for (const name of readdirSync(join(root, folder)).sort()) {
    const path = posix.join(folder, name);
    if (statSync(join(root, path)).isDirectory()) {
      if (SKIPPED_FOLDERS.has(name) || name.startsWith(".isola")) continue;
      readFolder(root, path, into);
    } else if (!SKIPPED_FILES.has(name) && !BINARY.test(name) && !path.startsWith(BROKEN)) {
      into[path] = readFileSync(join(root, path), "utf8");
    }
  }
}

export function readRepository(root: string): Repository {
  const files: Record<string, string> = {};
  readFolder(root, "", files);
  return repositoryOf(files);
}

export function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let end = text.indexOf("\n"); end !== -1 && end < offset;) {
    end = text.indexOf("\n", end + 1);
    line += 1;
  }
  return line;
}

export function at(source: SourceFile, offset: number, message: string): Finding {
  return { path: source.path, line: lineOf(source.text, offset), message };
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

export function childrenOf(node: Node): Node[] {
  return Object.values(node).flatMap((value: unknown) => {
    if (Array.isArray(value)) return value.filter(isNode);
    return isNode(value) ? [value] : [];
  });
}

/** Every node of a source, parents first. */
export function nodesOf(source: SourceFile): Node[] {
  const found: Node[] = [];
  const pending: Node[] = [source.program];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    found.push(node);
    pending.push(...childrenOf(node));
  }
  return found;
}

/** The named child of a node, if it is a node. */
export function childOf(node: Node, name: string): Node | undefined {
  const child = node[name];
  return isNode(child) ? child : undefined;
}

/** The text of a name or of a string, whichever kind of node carries it. */
export function nameOf(node: Node | undefined): string | undefined {
  const name = node?.["name"] ?? node?.["value"];
  return typeof name === "string" ? name : undefined;
}
