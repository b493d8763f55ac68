/** Record and span of a call between functions. */
import {
  type CallEnvelope,
  type CallOutcome,
  type RouteTarget,
  type RunResult,
  parseTraceparent,
} from "../contract/index.ts";
import type { Cell } from "./cell.worker.ts";

export interface SubCallFacts {
  readonly envelope: CallEnvelope;
  readonly caller: CallEnvelope;
  readonly target: RouteTarget;
  readonly result: RunResult;
  readonly cold: boolean;
  readonly loadMs: number;
  readonly startedAtMs: number;
}

export function recordSubCall(cell: Cell, ctx: ExecutionContext, facts: SubCallFacts): void {
  const { envelope, caller, target, result, startedAtMs } = facts;
  const endedAtMs = cell.now();
  const outcome = outcomeOf(result);
  cell.telemetry.addCall(ctx, {
    callId: envelope.id,
    parentCallId: caller.id,
    namespace: envelope.ns,
    function: envelope.fn,
    version: envelope.v,
    backend: target.backend,
    outcome,
    status: result.ok ? 200 : 500,
    cold: facts.cold,
    startedAtMs,
    wallMs: endedAtMs - startedAtMs,
    queueMs: 0,
    loadMs: facts.loadMs,
    runMs: endedAtMs - startedAtMs - facts.loadMs,
    bytesIn: 0,
    bytesOut: 0,
    memoryMb: target.memoryMb,
  });
  const own = parseTraceparent(envelope.tp);
  const parent = parseTraceparent(caller.tp);
  if (!own || !own.sampled) return;
  cell.telemetry.addSpan(ctx, {
    traceId: own.traceId,
    spanId: own.spanId,
    ...(parent ? { parentSpanId: parent.spanId } : {}),
    name: `call ${envelope.fn}`,
    kind: "internal",
    startedAtMs,
    endedAtMs,
    ...(result.ok ? {} : { error: result.error.code }),
    attributes: {
      "isola.namespace": envelope.ns,
      "isola.function": envelope.fn,
      "isola.version": envelope.v,
      "isola.call_id": envelope.id,
      "isola.cold": facts.cold,
    },
  });
}

function outcomeOf(result: RunResult): CallOutcome {
  if (result.ok) return "ok";
  if (result.error.code === "TIMEOUT") return "timeout";
  return result.error.code === "FUNCTION_ERROR" ? "function_error" : "platform_error";
}
