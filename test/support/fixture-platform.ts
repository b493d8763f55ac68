/**
 * A platform whose gateway and cell are the stand-ins in test/fixtures/host: the host's own work
 * with real processes, and nothing else.
 */
import { join } from "node:path";
import { build } from "esbuild";
import type { Platform, PlatformEvent, PlatformOptions } from "../../runtime/host/index.ts";
import {
  type PlatformParts,
  type WorkerName,
  bundleWorker,
  startPlatformWith,
  workerBuildOptions,
} from "../../runtime/host/internal.ts";

export { processesOf } from "./process-list.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The stand-ins, and the real programs of what runs no tenant code. */
export async function bundleFixture(name: WorkerName): Promise<{ code: string }> {
  if (name === "egress" || name === "cold") return bundleWorker(name);
  return bundleEntry(name);
}

async function bundleEntry(name: string): Promise<{ code: string }> {
  const result = await build({
    ...workerBuildOptions(ROOT),
    entryPoints: [`test/fixtures/host/${name}.worker.ts`],
  });
  return { code: result.outputFiles?.[0]?.text ?? "" };
}

export interface FixturePlatform extends Platform {
  readonly events: PlatformEvent[];
  /** Status and text of the stand-in gateway's answer. */
  get(path: string, init?: RequestInit): Promise<{ status: number; text: string }>;
  /** What the host told the gateway, by path. */
  told(): Promise<Readonly<Record<string, readonly unknown[]>>>;
}

export async function startFixturePlatform(
  options: PlatformOptions,
  parts: Partial<PlatformParts> = {},
): Promise<FixturePlatform> {
  const events: PlatformEvent[] = [];
  const platform = await startPlatformWith(
    {
      port: 0,
      adminPort: 0,
      cells: 1,
      logLevel: "debug",
      onEvent: (event) => events.push(event),
      ...options,
    },
    {
      bundle: bundleFixture,
      ...parts,
    },
  );
  const get = async (
    path: string,
    init?: RequestInit,
  ): Promise<{ status: number; text: string }> => {
    const response = await fetch(platform.publicUrl + path, init);
    return { status: response.status, text: await response.text() };
  };
  return {
    publicUrl: platform.publicUrl,
    adminUrl: platform.adminUrl,
    adminToken: platform.adminToken,
    cells: () => platform.cells(),
    stop: () => platform.stop(),
    exited: platform.exited,
    events,
    get,
    told: async () => JSON.parse((await get("/told")).text) as Record<string, unknown[]>,
  };
}
