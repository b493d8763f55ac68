/**
 * What a run knows of the functions that it names: from the cell's routing table, or asked of the
 * gateway where that does not hold it: versions that are live no more, and namespaces with cells of
 * their own, whose runs are in shards of shared cells all the same.
 */
import { IsolaError, type RouteTarget, isWorkflow, pickTarget } from "../../contract/index.ts";
import type { ChildEffect, RunRef, WorkflowKind } from "../../../workflow/index.ts";
import { type Cell, currentCell } from "../cell.worker.ts";
import { pauseBefore } from "./gateway-attempt.worker.ts";
import { NOT_RUN } from "./run-errors.ts";
import { toWorkflowForm } from "./workflow-form.ts";

export interface TargetName {
  readonly namespace: string;
  readonly name: string;
  /** Undefined: the one that is live now. */
  readonly version: number | undefined;
}

/** How long an answer of the gateway is taken for true: secrets change meanwhile, versions not. */
const KEPT_MS = 10_000;
const KEPT_MAX = 1_000;

const kept = new Map<string, { readonly target: RouteTarget; readonly untilMs: number }>();

/**
 * @throws IsolaError `FUNCTION_NOT_FOUND`, `VERSION_NOT_FOUND`, `FUNCTION_QUARANTINED`,
 *   `CELL_RESTARTING`.
 */
export async function targetOf(cell: Cell, wanted: TargetName): Promise<RouteTarget> {
  const target = liveTarget(cell, wanted) ?? (await askedTarget(cell, wanted));
  if (!target.quarantined) return target;
  throw new IsolaError("FUNCTION_QUARANTINED", {
    attempted: `call ${wanted.name} in a run`,
    found: `version ${String(target.version)} in quarantine`,
    retryAfterSeconds: 60,
  });
}

/** As the cell's table has it. */
export function liveTarget(
  cell: Cell,
  { namespace, name, version }: TargetName,
): RouteTarget | undefined {
  const route = cell.table.route(namespace, name);
  if (!route) return undefined;
  if (version === undefined) return pickTarget(route, cell.random.fraction());
  return route.targets.find((one) => one.version === version);
}

/** The namespace has cells of its own: nothing of it runs here. */
export function isElsewhere(cell: Cell, namespace: string): boolean {
  return cell.table.namespace(namespace) === undefined;
}

async function askedTarget(cell: Cell, wanted: TargetName): Promise<RouteTarget> {
  const { namespace, name, version } = wanted;
  await cell.routing();
  const live = liveTarget(cell, wanted);
  if (live) return live;
  // A change of routing may be on its way here still: the gateway knows.
  const key = `${namespace}/${name}@${String(version)}`;
  const known = kept.get(key);
  if (known && known.untilMs > cell.now()) return known.target;
  const target = await cell.supply.target(namespace, name, version);
  if (kept.size >= KEPT_MAX) kept.clear();
  kept.set(key, { target, untilMs: cell.now() + KEPT_MS });
  return target;
}

/** What is known of a workflow that a run invokes, without asking anybody. */
export function describeWorkflow(
  namespace: string,
  { workflow: name, pin, version }: ChildEffect,
): WorkflowKind | "ask" | undefined {
  const cell = currentCell();
  if (pin) {
    const { form, timeoutMs } = pin;
    // Its limit is that of now, as of every start.
    const live = cell && liveTarget(cell, { namespace, name, version: undefined });
    return (
      form && {
        form,
        version: pin.version,
        ...(timeoutMs > 0 && { timeoutMs }),
        ...(live && { concurrency: live.concurrency, retention: live.retention }),
      }
    );
  }
  const target = cell && liveTarget(cell, { namespace, name, version });
  return target ? kindOf(target) : "ask";
}

/** The same, of whoever knows; undefined if it is no workflow. */
export async function askForWorkflow(
  { namespace }: RunRef,
  { workflow, version }: ChildEffect,
): Promise<WorkflowKind | undefined> {
  const cell = currentCell();
  for (;;) {
    try {
      return cell && kindOf(await targetOf(cell, { namespace, name: workflow, version }));
    } catch (thrown) {
      if (!(thrown instanceof IsolaError) || !NOT_RUN.has(thrown.code)) return undefined;
      await pauseBefore(thrown.toData());
    }
  }
}

function kindOf(target: RouteTarget): WorkflowKind | undefined {
  const { form, version, timeoutMs, concurrency, retention } = target;
  if (!isWorkflow(form)) return undefined;
  const bounds = { concurrency, retention, ...(timeoutMs > 0 && { timeoutMs }) };
  return { form: toWorkflowForm(form), version, ...bounds };
}
