/** Record and span of a call within the cell: between functions, or of a run. */
import {
  type CallEnvelope,
  type CallOutcome,
  type CallRecord,
  ERRORS,
  type RouteTarget,
  type RunResult,
  parseTraceparent,
  spanOfRun,
} from "../contract/index.ts";
import { spanOfCall } from "../telemetry/index.ts";
import type { Cell } from "./cell.worker.ts";

export interface CallFacts {
  readonly envelope: CallEnvelope;
  /** Absent: a run made it. */
  readonly caller?: CallEnvelope;
  readonly target: RouteTarget;
  readonly result: RunResult;
  readonly cold: boolean;
  readonly loadMs: number;
  readonly startedAtMs: number;
}

export function recordCall(cell: Cell, ctx: ExecutionContext, facts: CallFacts): void {
  const { envelope, caller, target, result, startedAtMs } = facts;
  const wallMs = cell.now() - startedAtMs;
  const record: CallRecord = {
    callId: envelope.id,
    ...(caller && { parentCallId: caller.id }),
    namespace: envelope.ns,
    function: envelope.fn,
    version: envelope.v,
    backend: target.backend,
    outcome: outcomeOf(result),
    status: result.ok ? 200 : ERRORS[result.error.code].status,
    cold: facts.cold,
    startedAtMs,
    wallMs,
    queueMs: 0,
    loadMs: facts.loadMs,
    runMs: wallMs - facts.loadMs,
    // Values move between isolates of one process: nothing is sent.
    bytesIn: 0,
    bytesOut: 0,
    memoryMb: target.memoryMb,
  };
  cell.telemetry.addCall(ctx, record);
  const own = parseTraceparent(envelope.tp);
  if (!own) return;
  const { rs } = envelope;
  const parent = caller ? parseTraceparent(caller.tp)?.spanId : rs && spanOfRun(rs.run);
  cell.telemetry.addSpan(ctx, spanOfCall(record, own, parent));
}

function outcomeOf(result: RunResult): CallOutcome {
  if (result.ok) return "ok";
  if (result.error.code === "TIMEOUT") return "timeout";
  if (result.error.code === "CONFLICT") return "canceled";
  return result.error.code === "FUNCTION_ERROR" ? "function_error" : "platform_error";
}
