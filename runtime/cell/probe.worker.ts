/**
 * The one evaluation of a version before it is registered: no network, placeholder environment.
 * It yields form, entry points and the exported config.
 */
import {
  type Bundle,
  IsolaError,
  LIMITS,
  type ProbeReply,
  type ProbeRequest,
  suspectKey,
  toIsolaError,
} from "../contract/index.ts";
import type { Cell } from "./cell.worker.ts";
import type { Description, IsolaEntry } from "./shim/entry.worker.ts";
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
    return { ok: true, form, entrypoints, config, loadMs: cell.now() - startedAtMs };
  } catch (thrown) {
    return { ok: false, error: loadFailed(request, thrown).toData() };
  } finally {
    writeCrumb(mark, `J ${key}`);
  }
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
