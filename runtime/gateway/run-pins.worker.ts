/** The versions of functions with which a run goes on: fix and continue. */
import {
  IsolaError,
  type RestartVersions,
  type RouteTarget,
  type RunPin,
  isWorkflow,
  pickTarget,
} from "../contract/index.ts";
import type { AdminCall } from "./admin-route.worker.ts";
import { type Field, optional } from "./request-fields.ts";

const VERSION_MAX = 2 ** 31;

/** `"latest"`, or an object of function and version. */
export function versionsField(): Field<RestartVersions> & { readonly isOptional: true } {
  return optional({
    required: '"latest", or an object of versions by function: numbers or "latest"',
    isOptional: false,
    parse: (value) => {
      if (value === "latest") return value;
      if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
      return Object.values(value).every(isVersion) ? (value as RestartVersions) : undefined;
    },
  });
}

function isVersion(value: unknown): boolean {
  if (value === "latest") return true;
  const isNumber = typeof value === "number" && Number.isInteger(value);
  return isNumber && value > 0 && value < VERSION_MAX;
}

/**
 * @param pinned what the run is pinned to.
 * @throws IsolaError `FUNCTION_NOT_FOUND`, `VERSION_NOT_FOUND`, `REQUEST_INVALID`.
 */
export async function pinsOf(
  call: AdminCall,
  pinned: Readonly<Record<string, number>>,
  versions: RestartVersions,
): Promise<Readonly<Record<string, RunPin>>> {
  const { table } = call.state;
  // What is no more stays as it is: its steps may be over.
  const live = Object.keys(pinned).filter((name) => table.route(call.namespace, name));
  const wanted =
    versions === "latest"
      ? live.map((name) => [name, "latest"] as const)
      : Object.entries(versions);
  const pins: Record<string, RunPin> = {};
  for (const [name, version] of wanted) {
    if (!Object.hasOwn(pinned, name)) throw notPinned(name, pinned);
    pins[name] = await targetOf(call, name, version);
  }
  return pins;
}

/** The function that a run is of, as it is now. Errors: as `pinsOf`. */
export async function targetOf(
  call: AdminCall,
  name: string,
  version: number | "latest",
): Promise<RunPin> {
  return pinOfTarget(await routedTarget(call, name, version));
}

/** The live version, or one that is still kept. */
async function routedTarget(
  { state, namespace }: AdminCall,
  name: string,
  version: number | "latest",
): Promise<RouteTarget> {
  const route = state.table.route(namespace, name);
  const target =
    version === "latest"
      ? route && pickTarget(route, state.random.fraction())
      : route?.targets.find((one) => one.version === version);
  if (target) return target;
  if (version !== "latest" && route) {
    return state.registry.read("versionTarget", { namespace, name, version });
  }
  throw new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `find ${name} for a run`,
    found: "no such function any more",
  });
}

function pinOfTarget({ version, retry, timeoutMs, form }: RouteTarget): RunPin {
  const pin = { version, retry, timeoutMs };
  return isWorkflow(form) ? { ...pin, form: form === "workflow" ? "code" : "dag" } : pin;
}

function notPinned(name: string, pinned: Readonly<Record<string, number>>): IsolaError {
  return new IsolaError("REQUEST_INVALID", {
    attempted: "restart a run",
    found: `a version of ${JSON.stringify(name.slice(0, 60))}, which the run does not call`,
    required: Object.keys(pinned).join(", ") || "no versions",
  });
}
