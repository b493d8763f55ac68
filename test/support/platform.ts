/**
 * A platform of a test's own, with the real gateway and cells, in one of two forms: `host` (every
 * process) or `collapsed` (one Worker under `wrangler dev`). Free ports, a folder of its own, and
 * nothing left when it stops.
 */
import { mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { bundleFunction, nodeFetch } from "../../runtime/cli/internal.ts";
import { IsolaClient } from "../../runtime/client/index.ts";
import type {
  BundleModule,
  DeployResult,
  FunctionConfig,
  PlatformStatus,
} from "../../runtime/contract/index.ts";
import { type PlatformOptions, startPlatform } from "../../runtime/host/index.ts";
import { type Answer, type CallInit, HttpCaller } from "./http-calls.ts";
import { processesOf } from "./process-list.ts";
import { writeFiles } from "./temporary-folder.ts";
import { until } from "./until.ts";
import { startWrangler } from "./wrangler-dev.ts";

const PACKAGES = join(import.meta.dirname, "../../node_modules");

export type PlatformForm = "host" | "collapsed";

/** Form of the platforms of a test file that another one runs in the other form. */
export const FORM: PlatformForm =
  process.env["ISOLA_TEST_FORM"] === "collapsed" ? "collapsed" : "host";

/** Source of a function: JavaScript as it is deployed, or files that are bundled first. */
export type Source = string | { readonly main: string; readonly files: Record<string, string> };

export interface DeployOptions {
  readonly namespace?: string;
  readonly traffic?: number;
}

export interface TestPlatform {
  readonly form: PlatformForm;
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  /** Everything on disk: the data directory, and sources that were bundled. */
  readonly folder: string;
  /** Of the host form. */
  readonly dataDir: string;
  readonly client: IsolaClient;
  /** Calls over connections that are kept alive. */
  readonly http: HttpCaller;
  /** @returns once the next call gets the version. */
  deploy(
    name: string,
    source: Source,
    config?: FunctionConfig,
    options?: DeployOptions,
  ): Promise<DeployResult>;
  /** `target`: `name[.namespace][/path][?query]`. */
  call(target: string, init?: CallInit): Promise<Answer>;
  status(): Promise<PlatformStatus>;
  /** Waits until no call is in flight or queued. */
  idle(withinMs?: number): Promise<void>;
  stop(): Promise<void>;
}

interface Started {
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  stop(): Promise<void>;
}

export interface TestPlatformOptions extends Omit<PlatformOptions, "dataDir"> {
  /** Where its folder is made. @default the system's temporary folder */
  readonly parentFolder?: string;
}

export async function startTestPlatform(
  { parentFolder = tmpdir(), ...options }: TestPlatformOptions = {},
  form: PlatformForm = "host",
): Promise<TestPlatform> {
  const folder = realpathSync(mkdtempSync(join(parentFolder, "isola-e2e-")));
  // Where the packages that sources import are looked for.
  symlinkSync(PACKAGES, join(folder, "node_modules"));
  try {
    const started = await (form === "host"
      ? startPlatform({
          cells: 1,
          logLevel: "error",
          ...options,
          port: 0,
          adminPort: 0,
          dataDir: join(folder, "data"),
        })
      : startWrangler(folder));
    return testPlatform(form, started, folder);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The platform of a test file: starts before its tests, ends after them. */
export function usePlatform(
  options: TestPlatformOptions = {},
  form: PlatformForm = "host",
): () => TestPlatform {
  let platform: TestPlatform | undefined;
  beforeAll(async () => {
    platform = await startTestPlatform(options, form);
  }, 60_000);
  afterAll(() => platform?.stop(), 60_000);
  return () => {
    if (!platform) throw new Error("the platform has not started");
    return platform;
  };
}

function testPlatform(form: PlatformForm, started: Started, folder: string): TestPlatform {
  const { publicUrl, adminUrl, adminToken } = started;
  const client = new IsolaClient({
    url: adminUrl,
    publicUrl,
    token: adminToken,
    fetch: nodeFetch,
  });
  const http = new HttpCaller(publicUrl);
  const status = (): Promise<PlatformStatus> => client.status();
  return {
    form,
    publicUrl,
    adminUrl,
    adminToken,
    folder,
    dataDir: join(folder, "data"),
    client,
    http,
    deploy: async (name, source, config, { namespace, traffic } = {}) => {
      const target = namespace === undefined ? client : client.in(namespace);
      const bundle = await bundleOf(name, source, folder);
      const metadata = {
        main: bundle.main,
        ...(config === undefined ? {} : { config }),
        ...(traffic === undefined ? {} : { traffic }),
      };
      return target.deploy(name, metadata, bundle.modules);
    },
    call: (target, init) => http.call(`/function/${target}`, init),
    status,
    idle: async (withinMs = 5_000) => {
      await until(async () => {
        const { inFlight, queued } = await status();
        return inFlight === 0 && queued === 0;
      }, withinMs);
    },
    stop: async () => {
      http.close();
      await started.stop();
      const left = processesOf(folder);
      rmSync(folder, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`processes ${left.join(", ")} are left`);
    },
  };
}

interface Built {
  readonly main: string;
  readonly modules: readonly BundleModule[];
}

async function bundleOf(name: string, source: Source, folder: string): Promise<Built> {
  if (typeof source === "string") {
    return { main: "main.js", modules: [{ name: "main.js", kind: "js", content: source }] };
  }
  const root = join(folder, "sources", name);
  writeFiles(root, source.files);
  const { bundle } = await bundleFunction({ name, path: join(root, source.main) });
  return bundle;
}

export async function pause(delayMs: number): Promise<void> {
  await new Promise((go) => setTimeout(go, delayMs));
}
