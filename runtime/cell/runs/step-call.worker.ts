/**
 * What a run has its tenant do, as a call: which version, under which envelope, and where. In this
 * cell by default; through the gateway what must not run here: suspects and what runs in no
 * isolate, namespaces with cells of their own.
 */
import {
  type CallEnvelope,
  PROBATION_SLOT,
  type RouteTarget,
  type RunStepRef,
  blockBoundMs,
  formatTraceparent,
  functionKey,
  newCallId,
  type TraceContext,
  childTrace,
  suspectKey,
} from "../../contract/index.ts";
import type { RunRef } from "../../../workflow/index.ts";
import type { Cell } from "../cell.worker.ts";
import { isElsewhere } from "./targets.worker.ts";

/** A version of a function, asked by a run. */
export interface StepCall {
  readonly run: RunRef;
  readonly name: string;
  /** Undefined: the one that is live now. */
  readonly version: number | undefined;
  /** Workflows from the outermost down to the run's own. */
  readonly chain: readonly string[];
  /** Of the run: the call's span hangs under it. */
  readonly trace: TraceContext;
  readonly step: Omit<RunStepRef, "run" | "call">;
  readonly attempt: number;
  readonly idempotencyKey: string;
  /** Milliseconds since the epoch; 0: the function's own timeout counts from now. */
  readonly deadlineMs: number;
}

export function envelopeOf(cell: Cell, call: StepCall, target: RouteTarget): CallEnvelope {
  const { run, name, chain, step, attempt, idempotencyKey, deadlineMs } = call;
  const own = target.timeoutMs === 0 ? 0 : cell.now() + target.timeoutMs;
  return {
    id: newCallId(cell.random),
    ns: run.namespace,
    fn: name,
    v: target.version,
    dl: deadlineMs === 0 ? own : deadlineMs,
    tp: formatTraceparent(childTrace(call.trace, cell.random)),
    at: attempt,
    ik: printable(idempotencyKey),
    ch: chain.map((one) => functionKey(run.namespace, one)),
    sg: target.secretsGeneration,
    fr: target.reuse === "call" ? 1 : 0,
    mb: blockBoundMs(cell.table.namespace(run.namespace), target),
    rs: { run: run.id, call: "", ...step },
  };
}

/** Whether the gateway has to place it. */
export function mustLeave(
  cell: Cell,
  run: RunRef,
  name: string,
  target: RouteTarget,
  isSuspect: boolean,
): boolean {
  if (isSuspect || target.backend !== "isolate") return true;
  if (isElsewhere(cell, run.namespace)) return true;
  if (cell.bindings.slot === PROBATION_SLOT) return false;
  return cell.suspects.has(suspectKey(run.namespace, name, target.version));
}

/** Keys go into headers: items of a for-each may be named by any text. */
function printable(key: string): string {
  return key
    .toWellFormed()
    .replaceAll(/[^\x21-\x7e]/gu, (character) => encodeURIComponent(character));
}
