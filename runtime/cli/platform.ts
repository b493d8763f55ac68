/** Starts a platform in this process; the host does the work. */
import type { Platform } from "../host/index.ts";
import { bucketOf } from "./bucket-options.ts";
import type { CommandContext } from "./command.ts";

export type { Platform } from "../host/index.ts";

export async function startHere(context: CommandContext, isDev: boolean): Promise<Platform> {
  // Loaded only here: every other verb starts faster without it.
  const { startPlatform } = await import("../host/index.ts");
  return startPlatform({
    dataDir: context.dataDir,
    host: context.option("host"),
    port: context.option("port"),
    adminHost: context.option("adminHost"),
    adminPort: context.option("adminPort"),
    cells: context.option("cells"),
    shards: context.option("shards"),
    allowPrivate: context.option("allowPrivate"),
    keyFile: context.option("keyFile"),
    dev: isDev,
    otlpEndpoint: context.option("otlpEndpoint"),
    otlpHeaders: context.option("otlpHeaders"),
    cellMemoryMb: context.option("cellMemoryMb"),
    bucket: bucketOf(context),
    storeRoom: {
      memoryMb: context.option("storeMemoryMb"),
      diskMb: context.option("storeDiskMb"),
      coldMb: context.option("storeColdMb"),
    },
    runs: {
      keptMs: context.option("runAge"),
      keptRuns: context.option("runsKept"),
      callbackLastsMs: context.option("callbackAge"),
    },
    logLevel: context.option("logLevel"),
    onEvent: (event) => context.note(`isola: ${event.process}: ${event.text}`),
  });
}
