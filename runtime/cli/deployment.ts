/** From entries to live versions; shared by deploy, start and dev. */
import type { IsolaClient } from "../client/index.ts";
import { type DeployResult, type FunctionConfig, IsolaError } from "../contract/index.ts";
import { type BuiltFunction, bundleFunction } from "./bundle.ts";
import { inParallel } from "./in-parallel.ts";
import type { FunctionEntry } from "./functions-folder.ts";

/** Requests at once: a deploy waits for the platform more than it works. */
export const DEPLOYS_AT_ONCE = 4;
const BUILDS_AT_ONCE = 8;

/** Builds everything; the first error ends it before anything is deployed. */
export async function buildAll(entries: readonly FunctionEntry[]): Promise<BuiltFunction[]> {
  return inParallel(BUILDS_AT_ONCE, entries, bundleFunction);
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
  try {
    return await client.deploy(
      built.name,
      {
        main: built.bundle.main,
        ...(hasConfig ? { config } : {}),
        ...(traffic === undefined ? {} : { traffic }),
      },
      built.bundle.modules,
      { dryRun },
    );
  } catch (error) {
    throw naming(built.name, error);
  }
}

/** Of a folder of functions, whoever reads the error wants to know which one it was. */
function naming(name: string, error: unknown): unknown {
  if (!(error instanceof IsolaError)) return error;
  const { attempted } = error.parts;
  if (attempted.split(/\W+/).includes(name)) return error;
  const parts = { ...error.parts, attempted: `deploy ${name}: ${attempted}` };
  return new IsolaError(error.code, parts, { cause: error });
}
