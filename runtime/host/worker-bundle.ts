/**
 * The worker programs as single ES modules. A checkout bundles them when they are asked for, so
 * an edit needs no build; an installed package reads what `build.ts` wrote.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, type Plugin, build } from "esbuild";

/** Entry file of each worker program, relative to the root of the checkout. */
export const WORKER_ENTRIES = {
  gateway: "runtime/gateway/entry.worker.ts",
  cell: "runtime/cell/entry.worker.ts",
  egress: "runtime/gateway/egress.worker.ts",
  cold: "runtime/gateway/cold.worker.ts",
  collapsed: "runtime/collapsed/entry.worker.ts",
} as const;

export type WorkerName = keyof typeof WORKER_ENTRIES;

export interface WorkerBundle {
  readonly name: WorkerName;
  /** One ES module; its only imports are `cloudflare:`, `workerd:` and `node:` modules. */
  readonly code: string;
}

const HERE = dirname(fileURLToPath(import.meta.url));

/** The checkout's root, or undefined where only the built package is present. */
const CHECKOUT = import.meta.url.endsWith(".ts") ? join(HERE, "../..") : undefined;

/** Options every program for workerd shares, tenant shims included. */
export function workerBuildOptions(root: string): BuildOptions {
  return {
    absWorkingDir: root,
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "import"],
    external: ["cloudflare:*", "workerd:*", "node:*"],
    loader: { ".html": "text", ".css": "text", ".txt": "text" },
    charset: "utf8",
    legalComments: "none",
    logLevel: "silent",
    plugins: [embedPlugin(root)],
  };
}

/**
 * `import code from "./shim.worker.ts?bundle"` gives the bundled module as a string: how a cell
 * carries the shim and the SDK that it hands to tenant isolates. There, `isola` stays an import.
 */
function embedPlugin(root: string): Plugin {
  return {
    name: "embed",
    setup(context) {
      context.onResolve({ filter: /\?bundle$/ }, (args) => ({
        // Relative, so that a build says nothing of the machine that made it.
        path: relative(root, join(args.resolveDir, args.path.slice(0, -"?bundle".length))),
        namespace: "embed",
      }));
      context.onLoad({ filter: /.*/, namespace: "embed" }, async (args) => {
        const options = workerBuildOptions(root);
        const result = await build({
          ...options,
          metafile: true,
          // Each isolate holds a copy of this text; names stay, for the stacks that show them.
          minifySyntax: true,
          minifyWhitespace: true,
          entryPoints: [args.path],
          external: [...(options.external ?? []), "isola"],
        });
        const code = result.outputFiles?.[0]?.text ?? "";
        const watchFiles = Object.keys(result.metafile?.inputs ?? {}).map((f) => join(root, f));
        return { contents: code, loader: "text", watchFiles };
      });
    },
  };
}

/** Bundles a worker program from the sources at `root`. */
export async function buildWorker(root: string, name: WorkerName): Promise<WorkerBundle> {
  const result = await build({
    ...workerBuildOptions(root),
    entryPoints: [WORKER_ENTRIES[name]],
  });
  return { name, code: result.outputFiles?.[0]?.text ?? "" };
}

/** The program of a worker: bundled now in a checkout, prebuilt in an installed package. */
export async function bundleWorker(name: WorkerName): Promise<WorkerBundle> {
  if (CHECKOUT !== undefined && existsSync(join(CHECKOUT, WORKER_ENTRIES[name]))) {
    return buildWorker(CHECKOUT, name);
  }
  return { name, code: await readFile(join(HERE, "../workers", `${name}.js`), "utf8") };
}
