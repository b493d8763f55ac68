/** What esbuild does not know of workerd: Node's modules by prefix, and modules kept apart. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import type { OnResolveResult, Plugin } from "esbuild";
import type { BundleModule, ModuleKind } from "../contract/index.ts";

/** Files that stay modules of their own: WebAssembly is compiled, bytes are not text. */
const SEPARATE_KINDS: Readonly<Record<string, ModuleKind>> = { ".wasm": "wasm", ".bin": "data" };
const SEPARATE = /\.(wasm|bin)(\?module)?$/;

/**
 * `fs` and `node:fs` are workerd's own modules, `isola` is the platform's. A `require` of one
 * becomes an import, because an ES module has no `require`.
 */
export function nodeModulesPlugin(isBuiltin: (name: string) => boolean): Plugin {
  return {
    name: "node-modules",
    setup(build) {
      build.onResolve({ filter: /^isola$/ }, () => ({ path: "isola", external: true }));
      build.onResolve({ filter: /^[a-z_]/ }, (args): OnResolveResult | undefined => {
        if (args.namespace === "required" || !isBuiltin(args.path)) return undefined;
        const path = args.path.startsWith("node:") ? args.path : `node:${args.path}`;
        if (args.kind === "require-call" || args.kind === "require-resolve") {
          return { path, namespace: "required" };
        }
        return { path, external: true, sideEffects: false };
      });
      build.onResolve({ filter: /^node:/, namespace: "required" }, (args) => ({
        path: args.path,
        external: true,
      }));
      build.onLoad({ filter: /.*/, namespace: "required" }, (args) => ({
        contents: `import all from ${JSON.stringify(args.path)};\nmodule.exports = all;\n`,
        loader: "js",
      }));
    },
  };
}

/** Collects WebAssembly and binary files in `modules`; the bundle imports them by name. */
export function separateModulesPlugin(modules: Map<string, BundleModule>): Plugin {
  return {
    name: "separate-modules",
    setup(build) {
      build.onResolve({ filter: SEPARATE }, async (args) => {
        if (args.pluginData === "resolving") return undefined;
        const found = await build.resolve(args.path.replace(/\?module$/, ""), {
          kind: args.kind,
          resolveDir: args.resolveDir,
          importer: args.importer,
          pluginData: "resolving",
        });
        if (found.errors.length > 0) return { errors: found.errors, warnings: found.warnings };
        const bytes = await readFile(found.path);
        // The name says what is inside: two files of the same name do not meet.
        const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
        const name = `${hash}-${basename(found.path).replaceAll(/[^\w.-]/g, "_")}`;
        const kind = SEPARATE_KINDS[extname(found.path)] ?? "data";
        modules.set(name, { name, kind, content: bytes.toString("base64") });
        return { path: `./${name}`, external: true, watchFiles: [found.path] };
      });
    },
  };
}
