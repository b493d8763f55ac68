/**
 * The program of one isolate: shim first, then the tenant's modules under `app/`.
 *
 * The main module imports the shim before the tenant, so that the shim has what it needs of the
 * isolate before tenant code can replace it. `isola` is supplied here; a bare name resolves
 * within the importing module's folder only, so each folder of the bundle gets an alias.
 */
import { type Bundle, type BundleModule, isolateMark } from "../contract/index.ts";
import shimCode from "./shim/entry.worker.ts?bundle";
import sdkCode from "../sdk/index.ts?bundle";

export interface ProgramOptions {
  readonly bundle: Bundle;
  /** The cell's own; the isolate gets its part of it. */
  readonly mark: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly env: Record<string, unknown>;
  /** Null: no network at all. */
  readonly outbound: Fetcher | null;
}

type LoaderModules = WorkerLoaderWorkerCode["modules"];

/** Flags that the platform itself needs in every isolate. */
const PLATFORM_FLAGS = ["nodejs_als", "enable_request_signal"];
/** From this date on workerd turns the Node APIs on by itself, `nodejs_als` among them. */
const NODE_DEFAULT_DATE = "2026-08-04";

export function workerCode(options: ProgramOptions): WorkerLoaderWorkerCode {
  const modules: LoaderModules = {
    "isola-main.js": { js: mainModule(options.bundle.main) },
    "isola-shim.js": { js: markedShim(options.mark) },
  };
  const usesSdk = options.bundle.modules.some(namesSdk);
  if (usesSdk) modules["isola"] = { js: sdkCode };
  for (const module of options.bundle.modules) {
    modules[`app/${module.name}`] = loaderModule(module);
    if (!usesSdk) continue;
    for (const [alias, depth] of aliasFolders(module.name)) {
      modules[alias] = { js: `export * from "${"../".repeat(depth)}isola";` };
    }
  }
  return {
    compatibilityDate: options.compatibilityDate,
    compatibilityFlags: flagsFor(options.compatibilityDate, options.compatibilityFlags),
    mainModule: "isola-main.js",
    modules,
    env: options.env,
    globalOutbound: options.outbound,
  };
}

/** Most functions take types of it only; workerd compiles what lies in an isolate, used or not. */
function namesSdk({ kind, content }: BundleModule): boolean {
  return (kind === "js" || kind === "cjs") && /["'`]isola["'`]/.test(content);
}

function mainModule(main: string): string {
  return [
    `import { IsolaEntry, adopt, httpEntry } from "./isola-shim.js";`,
    `import * as user from ${JSON.stringify(`./app/${main}`)};`,
    "adopt(user);",
    "export { IsolaEntry, httpEntry };",
  ].join("\n");
}

function markedShim(mark: string): string {
  return shimCode.replace("__ISOLA_MARK__", isolateMark(mark));
}

function loaderModule(module: BundleModule): LoaderModules[string] {
  switch (module.kind) {
    case "js":
      return { js: module.content };
    case "cjs":
      return { cjs: module.content };
    case "text":
      return { text: module.content };
    case "json":
      return { json: JSON.parse(module.content) as unknown };
    case "wasm":
      return { wasm: bytesOf(module.content) };
    case "data":
      return { data: bytesOf(module.content) };
  }
}

function bytesOf(base64: string): ArrayBuffer {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}

function* aliasFolders(moduleName: string): Generator<[alias: string, depth: number]> {
  const folders = ["app", ...moduleName.split("/").slice(0, -1)];
  yield [`${folders.join("/")}/isola`, folders.length];
}

function flagsFor(date: string, flags: readonly string[]): string[] {
  const needed = PLATFORM_FLAGS.filter(
    (flag) =>
      flag !== "nodejs_als" || (date < NODE_DEFAULT_DATE && !flags.includes("nodejs_compat")),
  );
  return [...new Set([...flags, ...needed])];
}
