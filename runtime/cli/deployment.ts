/** From entries to live versions; shared by deploy, start and dev. */
import type { IsolaClient } from "../client/index.ts";
import type { DeployResult, FunctionConfig } from "../contract/index.ts";
import { type BuiltFunction, bundleFunction } from "./bundle.ts";
import type { FunctionEntry } from "./functions-folder.ts";

/** Builds at once; the first error ends it before anything is deployed. */
export async function buildAll(entries: readonly FunctionEntry[]): Promise<BuiltFunction[]> {
  return Promise.all(entries.map((entry) => bundleFunction(entry)));
}

export async function deployBuilt(
  client: IsolaClient,
  built: BuiltFunction,
  options: {
    readonly config?: FunctionConfig;
    readonly traffic?: number | undefined;
    readonly dryRun?: boolean;
  } = {},
): Promise<DeployResult> {
  const { config, traffic, dryRun = false } = options;
  const hasConfig = config !== undefined && Object.keys(config).length > 0;
  return client.deploy(
    built.name,
    {
      main: built.bundle.main,
      ...(hasConfig ? { config } : {}),
      ...(traffic === undefined ? {} : { traffic }),
    },
    built.bundle.modules,
    { dryRun },
  );
}
