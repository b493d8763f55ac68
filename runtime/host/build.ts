/**
 * Writes dist/: the command line, the worker programs, the SDK, the client and their types.
 * `npm run build`; also run by `npm install` in a clone and by `npm pack`. `--workers` writes the
 * worker programs only: what wrangler needs.
 */
import { spawn } from "node:child_process";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";
import { WORKER_ENTRIES, type WorkerName, buildWorker } from "./worker-bundle.ts";

/** True: a missing entry fails the build. False: it is named and skipped. */
const ENTRIES_REQUIRED = false;

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const DIST = join(ROOT, "dist");
const strict = ENTRIES_REQUIRED || process.argv.includes("--strict");

/** Programs for Node. Dependencies stay imports: an installed package has them beside it. */
const NODE_ENTRIES: readonly { entry: string; out: string; options: BuildOptions }[] = [
  { entry: "runtime/cli/main.ts", out: "cli/isola.js", options: { target: "node24" } },
  { entry: "runtime/client/index.ts", out: "client/index.js", options: { target: "node20" } },
  // Runs on whatever Node the system has, so it is plain and old.
  { entry: "runtime/cli/launch.ts", out: "cli/main.js", options: { target: "node18" } },
];

const SDK_ENTRY = "runtime/sdk/index.ts";
const TYPED_ENTRIES = [SDK_ENTRY, "runtime/client/index.ts"];

function isPresent(entry: string): boolean {
  if (existsSync(join(ROOT, entry))) return true;
  if (strict) throw new Error(`build: the entry ${entry} is missing; every entry is required`);
  console.log(`build: ${entry} is missing, skipped`);
  return false;
}

async function buildNodePrograms(): Promise<void> {
  for (const { entry, out, options } of NODE_ENTRIES) {
    if (!isPresent(entry)) continue;
    await build({
      absWorkingDir: ROOT,
      entryPoints: [entry],
      outfile: join(DIST, out),
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      charset: "utf8",
      legalComments: "none",
      logLevel: "warning",
      ...options,
    });
  }
  const launcher = join(DIST, "cli/main.js");
  if (existsSync(launcher)) await chmod(launcher, 0o755);
}

async function buildSdk(): Promise<void> {
  if (!isPresent(SDK_ENTRY)) return;
  await build({
    absWorkingDir: ROOT,
    entryPoints: [SDK_ENTRY],
    outfile: join(DIST, "sdk/index.js"),
    bundle: true,
    platform: "neutral",
    format: "esm",
    target: "es2024",
    external: ["cloudflare:*", "node:*"],
    legalComments: "none",
    logLevel: "warning",
  });
}

async function buildWorkers(): Promise<void> {
  await mkdir(join(DIST, "workers"), { recursive: true });
  for (const name of Object.keys(WORKER_ENTRIES) as WorkerName[]) {
    if (!isPresent(WORKER_ENTRIES[name])) continue;
    const { code } = await buildWorker(ROOT, name);
    await writeFile(join(DIST, "workers", `${name}.js`), code);
  }
}

async function buildTypes(): Promise<void> {
  const entries = TYPED_ENTRIES.filter(isPresent);
  if (entries.length === 0) return;
  const cache = join(ROOT, "node_modules/.cache/isola");
  await mkdir(cache, { recursive: true });
  const config = {
    extends: join(ROOT, "tsconfig.shared.json"),
    compilerOptions: {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      stripInternal: true,
      rootDir: ROOT,
      outDir: join(DIST, "types"),
    },
    files: ["runtime/contract/web-globals.d.ts", ...entries].map((entry) => join(ROOT, entry)),
    include: [],
  };
  const configFile = join(cache, "tsconfig.types.json");
  await writeFile(configFile, JSON.stringify(config, undefined, 2));
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  await new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, [tsc, "-p", configFile], { stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (status) => {
      if (status === 0) resolve();
      else reject(new Error(`build: tsc ended with status ${String(status)}`));
    });
  });
}

if (process.argv.includes("--workers")) {
  await buildWorkers();
} else {
  await rm(DIST, { recursive: true, force: true });
  await Promise.all([buildNodePrograms(), buildSdk(), buildWorkers(), buildTypes()]);
}
console.log("build: dist/ written");
