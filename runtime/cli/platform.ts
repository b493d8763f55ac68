/** Starts a platform in this process; the host does the work. */
import { availableParallelism } from "node:os";
import type { CommandContext } from "./command.ts";

/** What the host's `startPlatform` gives. */
export interface RunningHost {
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  /** Drains within the bound, then ends every process. */
  stop(): Promise<void>;
  /** Settles when the platform has ended, for whatever reason. */
  readonly exited: Promise<unknown>;
}

interface Host {
  startPlatform(this: void, options: Readonly<Record<string, unknown>>): Promise<RunningHost>;
}

export async function startHost(context: CommandContext, isDev: boolean): Promise<RunningHost> {
  const { startPlatform } = (await import(
    new URL("../host/index.ts", import.meta.url).href
  )) as Host;
  return startPlatform({
    dataDir: context.dataDir,
    host: context.option("host"),
    port: context.option("port"),
    adminHost: context.option("adminHost"),
    adminPort: context.option("adminPort"),
    cells: context.option("cells") ?? Math.max(1, availableParallelism() - 1),
    shards: context.option("shards"),
    allowPrivate: context.option("allowPrivate"),
    keyFile: context.option("keyFile"),
    dev: isDev,
    otlpEndpoint: context.option("otlpEndpoint") ?? "",
    otlpHeaders: context.option("otlpHeaders") ?? "",
    cellMemoryMb: context.option("cellMemoryMb"),
    logLevel: context.option("logLevel"),
  });
}
