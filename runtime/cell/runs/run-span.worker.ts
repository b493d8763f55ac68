/** The span of a run: its calls, and the runs that it invoked, hang under it. */
import { type Span, parseTraceparent, traceOfRun } from "../../contract/index.ts";
import type { Ended, RunRef, RunRequest } from "../../../workflow/index.ts";
import { NAMESPACE_ATTRIBUTE } from "../../telemetry/index.ts";

export interface RunFacts {
  readonly run: RunRef;
  readonly request: RunRequest;
  readonly ended: Ended;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
}

export function spanOfRun({ run, request, ended, ...times }: RunFacts): Span {
  const traceparent = request.headers["traceparent"];
  const { traceId, spanId, sampled } = traceOfRun(run.id, traceparent);
  const parent = parseTraceparent(traceparent)?.spanId;
  return {
    traceId,
    spanId,
    ...(parent !== undefined && { parentSpanId: parent }),
    name: request.workflow,
    kind: "internal",
    ...times,
    ...(ended.status === "completed" ? {} : { error: ended.error?.code ?? ended.status }),
    ...(sampled ? {} : { sampled: false }),
    attributes: {
      [NAMESPACE_ATTRIBUTE]: run.namespace,
      "isola.function": request.workflow,
      "isola.run_id": run.id,
      "isola.run_status": ended.status,
    },
  };
}
