/**
 * Bundles functions with esbuild into the modules that workerd loads. Tenant code is read and
 * transformed here, never evaluated.
 */
import { isBuiltin } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { type BuildContext, type BuildFailure, type BuildOptions, type BuildResult } from "esbuild";
import { context as openContext } from "esbuild";
import { type Bundle, type BundleModule, IsolaError, LIMITS } from "../contract/index.ts";
import { buildError } from "./build-error.ts";
import { nodeModulesPlugin, separateModulesPlugin } from "./bundle-plugins.ts";
import { shownPath } from "./shown-path.ts";
import type { FunctionEntry } from "./functions-folder.ts";

export interface BuiltFunction {
  readonly name: string;
  readonly entry: string;
  readonly bundle: Bundle;
  readonly bytes: number;
  /** Absolute paths of the files it was made of, packages left out. */
  readonly inputs: readonly string[];
  readonly warnings: readonly string[];
  /** Source map of the main module: JSON. It stays here, it is not part of the bundle. */
  readonly sourceMap: string;
  /** Folder to which the map's sources are relative. */
  readonly root: string;
}

/** Builds one function as often as asked, each time only what changed. */
export interface Bundler {
  /** Errors: `BUILD_FAILED` with location, `EXPORT_INVALID`, `BUNDLE_TOO_LARGE`. */
  build(): Promise<BuiltFunction>;
  close(): Promise<void>;
}

/** Options that make a module run in workerd; the same for every way of building. */
function buildOptions(entry: FunctionEntry, modules: Map<string, BundleModule>) {
  const root = dirname(entry.path);
  return {
    // Paths in the output are relative to the function: the same code has the same hash wherever
    // the command is run.
    absWorkingDir: root,
    entryPoints: [entry.path],
    outfile: join(root, `${entry.name}.js`),
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    target: "es2024",
    platform: "neutral",
    conditions: ["workerd", "worker", "browser", "import"],
    mainFields: ["browser", "module", "main"],
    external: ["cloudflare:*", "workerd:*"],
    loader: { ".txt": "text", ".html": "text", ".sql": "text" },
    define: { "process.env.NODE_ENV": '"production"' },
    sourcemap: "external",
    sourcesContent: false,
    charset: "utf8",
    legalComments: "none",
    logLevel: "silent",
    plugins: [nodeModulesPlugin(isBuiltin), separateModulesPlugin(modules)],
  } as const satisfies BuildOptions;
}

export async function openBundler(entry: FunctionEntry): Promise<Bundler> {
  const modules = new Map<string, BundleModule>();
  const options = buildOptions(entry, modules);
  const context: BuildContext<typeof options> = await openContext(options);
  return {
    build: async () => {
      modules.clear();
      try {
        return collect(entry, await context.rebuild(), modules);
      } catch (error) {
        if (!isBuildFailure(error)) throw error;
        throw await buildError(entry.name, error, options.absWorkingDir);
      }
    },
    close: () => context.dispose(),
  };
}

/** Builds a function once. */
export async function bundleFunction(entry: FunctionEntry): Promise<BuiltFunction> {
  const bundler = await openBundler(entry);
  try {
    return await bundler.build();
  } finally {
    await bundler.close();
  }
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && Array.isArray((error as Partial<BuildFailure>).errors);
}

type Built = BuildResult<{ write: false; metafile: true }>;

function collect(
  entry: FunctionEntry,
  result: Built,
  separate: ReadonlyMap<string, BundleModule>,
): BuiltFunction {
  const root = dirname(entry.path);
  const main = `${entry.name}.js`;
  const code = result.outputFiles.find((file) => basename(file.path) === main)?.text ?? "";
  const sourceMap = result.outputFiles.find((file) => file.path.endsWith(".map"))?.text ?? "";
  const output = Object.entries(result.metafile.outputs).find(([path]) => path === main)?.[1];
  // A workflow may be its module's only class, under a name.
  const isNamed = output?.exports.some((name) => name === "default" || /^[A-Z]/u.test(name));
  if (output !== undefined && isNamed !== true) {
    throw missingDefault(entry, output.exports);
  }
  const modules = [{ name: main, kind: "js" as const, content: code }, ...separate.values()];
  const bytes = modules.reduce((sum, module) => sum + byteLength(module), 0);
  if (bytes > LIMITS.bundleMaxBytes) throw tooLarge(entry, bytes, result.metafile);
  return {
    name: entry.name,
    entry: entry.path,
    bundle: { main, modules },
    bytes,
    inputs: Object.keys(result.metafile.inputs)
      .filter((path) => !path.includes("node_modules/") && !path.includes(":"))
      .map((path) => resolve(root, path)),
    warnings: result.warnings.map((warning) => warning.text),
    sourceMap,
    root,
  };
}

function byteLength(module: BundleModule): number {
  const isBase64 = module.kind === "wasm" || module.kind === "data";
  return Buffer.byteLength(module.content, isBase64 ? "base64" : "utf8");
}

function missingDefault(entry: FunctionEntry, exports: readonly string[]): IsolaError {
  const shown = shownPath(entry.path);
  return new IsolaError("EXPORT_INVALID", {
    attempted: `build function ${entry.name}`,
    found: `${shown} without a default export (it exports ${exports.join(", ") || "nothing"})`,
    required: "a default export: a function, an object with fetch, or a WorkerEntrypoint class",
    fix: "add `export default`; name a file with a leading _ if it is no function",
    location: { file: shown, line: 1, column: 1 },
  });
}

function tooLarge(entry: FunctionEntry, bytes: number, metafile: Built["metafile"]): IsolaError {
  const largest = Object.entries(metafile.inputs)
    .sort(([, a], [, b]) => b.bytes - a.bytes)
    .slice(0, 3)
    .map(([path, input]) => `${path} (${String(input.bytes)} bytes)`);
  return new IsolaError("BUNDLE_TOO_LARGE", {
    attempted: `build function ${entry.name}`,
    found: `${String(bytes)} bytes; largest inputs: ${largest.join(", ")}`,
    required: `at most ${String(LIMITS.bundleMaxBytes)} bytes`,
  });
}
