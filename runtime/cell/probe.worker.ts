/**
 * The one evaluation of a version before it is registered: no network, placeholder environment.
 * It yields form, entry points and the exported config.
 */
import {
  type Bundle,
  type ErrorData,
  IsolaError,
  LIMITS,
  type ProbeReply,
  type ProbeRequest,
  suspectKey,
  toIsolaError,
} from "../contract/index.ts";
import type { Cell } from "./cell.worker.ts";
import type { Description, IsolaEntry } from "./shim/entry.worker.ts";
import type { FlowChecked } from "./shim/flow-calls.worker.ts";
import { writeCrumb } from "./stdout.worker.ts";
import { workerCode } from "./worker-code.worker.ts";

export async function probe(cell: Cell, request: ProbeRequest): Promise<ProbeReply> {
  let bundle: Bundle;
  try {
    bundle = await cell.supply.bundle(request.bundleHash, false);
  } catch (thrown) {
    return { ok: false, error: toIsolaError(thrown, `load ${request.name}`).toData() };
  }
  const key = suspectKey(request.namespace, request.name, 0);
  const code = workerCode({
    bundle,
    mark: cell.bindings.mark,
    compatibilityDate: request.compatibilityDate,
    compatibilityFlags: request.compatibilityFlags,
    env: Object.fromEntries(request.envNames.map((name) => [name, ""])),
    outbound: null,
  });
  const startedAtMs = cell.now();
  const { mark } = cell.bindings;
  writeCrumb(mark, `I ${key}`);
  try {
    const entry = cell.bindings.loader.load(code).getEntrypoint<IsolaEntry>("IsolaEntry");
    const described: Promise<Description> = entry.describe();
    const description = await Promise.race([described, scheduler.wait(LIMITS.probeTimeoutMs)]);
    if (!description) return { ok: false, error: tooSlow(request).toData() };
    if (!description.ok) return description;
    const { form, entrypoints, config } = description;
    if (form === "flow") {
      const again = cell.bindings.loader.load(code).getEntrypoint<IsolaEntry>("IsolaEntry");
      const error = await flowFault(request, entry, again);
      if (error) return { ok: false, error };
    }
    return { ok: true, form, entrypoints, config, loadMs: cell.now() - startedAtMs };
  } catch (thrown) {
    return { ok: false, error: loadFailed(request, thrown).toData() };
  } finally {
    writeCrumb(mark, `J ${key}`);
  }
}

/**
 * Why the definition of a workflow is refused, if it is. It is evaluated twice in one isolate and
 * once more in another: what differs depends on more than the request. One that reads the request
 * can be checked only when there is one: then it is that the run fails.
 */
async function flowFault(
  request: ProbeRequest,
  ...entries: readonly Fetcher<IsolaEntry>[]
): Promise<ErrorData | undefined> {
  const hashes = new Set<string>();
  for (const entry of entries) {
    const checked: Promise<FlowChecked> = entry.checkFlow();
    const check = await Promise.race([checked, scheduler.wait(LIMITS.probeTimeoutMs)]);
    if (!check) return tooSlow(request).toData();
    if (!check.ok) return check.error;
    if (check.hash !== undefined) hashes.add(check.hash);
  }
  return hashes.size > 1 ? impure(request).toData() : undefined;
}

function impure({ name }: ProbeRequest): IsolaError {
  return new IsolaError("PLAN_INVALID", {
    attempted: `evaluate the workflow ${name} in two isolates`,
    found: "two different plans",
    required: "a definition that depends on its request alone",
  });
}

function tooSlow(request: ProbeRequest): IsolaError {
  return new IsolaError("PROBE_TIMEOUT", {
    attempted: `load ${request.name}`,
    found: `modules that are not evaluated after ${LIMITS.probeTimeoutMs} ms`,
    required: "modules that do not wait or compute at their top level",
  });
}

function loadFailed(request: ProbeRequest, thrown: unknown): IsolaError {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new IsolaError("LOAD_FAILED", {
    attempted: `load ${request.name}`,
    found: message.slice(0, 2_000),
    required: "modules that load",
  });
}
