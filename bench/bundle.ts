/** Fixtures as single modules, with what they import. */
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";

const FIXTURES = fileURLToPath(new URL("./fixtures/", import.meta.url));

const BUNDLE = {
  bundle: true,
  write: false,
  format: "esm",
  target: "es2024",
  platform: "node",
  conditions: ["workerd", "worker", "import"],
  mainFields: ["module", "main"],
  external: ["isola", "node:*", "cloudflare:*"],
  minify: true,
  metafile: true,
  logLevel: "silent",
} as const satisfies BuildOptions;

/** One ES module. CommonJS in it that requires modules of Node gets them from imports. */
export function bundleOf(fixture: string): Promise<string> {
  return bundle({ ...BUNDLE, entryPoints: [join(FIXTURES, fixture)] });
}

/** One ES module of a line that imports fixtures. */
export function bundleOfLine(line: string): Promise<string> {
  return bundle({ ...BUNDLE, stdin: { contents: line, resolveDir: FIXTURES, loader: "ts" } });
}

async function bundle(options: typeof BUNDLE & BuildOptions): Promise<string> {
  const first = await build(options);
  const imports = Object.values(first.metafile.outputs).flatMap((output) => output.imports);
  const required = imports.filter(({ kind, path }) => kind === "require-call" && isBuiltin(path));
  if (required.length === 0) return first.outputFiles[0]?.text ?? "";
  const names = [...new Set(required.map(({ path }) => path))];
  const lines = names.map(
    (name, at) => `import * as node${at} from "node:${name.replace("node:", "")}";`,
  );
  const table = names.map((name, at) => `"${name}": node${at}.default ?? node${at}`);
  const js = `${lines.join("")}
const nodeModules = {${table.join(",")}};
const require = (name) => {
  if (name in nodeModules) return nodeModules[name];
  throw Error(name);
};`;
  const second = await build({ ...options, banner: { js } });
  return second.outputFiles[0]?.text ?? "";
}
