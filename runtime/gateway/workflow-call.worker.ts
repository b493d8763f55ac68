/**
 * A call of a workflow: a run that its caller waits for, as long as `Prefer: wait=` says. The run
 * goes on when nobody waits any more (INTERFACE §6).
 */
import {
  type CallEnvelope,
  IsolaError,
  PUBLIC_HEADERS,
  type RouteTarget,
  type RunStart,
  VALUE_TYPE,
  newJobId,
  shardOfJob,
} from "../contract/index.ts";
import type { FunctionCall } from "./function-call.worker.ts";
import { answerRun } from "./run-answer.worker.ts";
import { type RunAnswer, beginRun, newRunId, sendStart, workflowStart } from "./runs.worker.ts";
import type { GatewayState } from "./state.worker.ts";

/** Seconds that a caller waits who does not say how long. */
const WAIT_DEFAULT_S = 30;
const WAIT_MAX_S = 3_600;
const PREFERENCE = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?/i;

export async function callWorkflow(
  state: GatewayState,
  request: Request,
  call: FunctionCall,
): Promise<Response> {
  const asked = PREFERENCE.exec(request.headers.get("prefer") ?? "")?.[1];
  const waitS = Math.min(Number(asked ?? WAIT_DEFAULT_S), WAIT_MAX_S);
  const { found, body } = await beginRun(state, request, call, waitS * 1_000);
  const answer = answerRun(found, body);
  if (found.version !== undefined)
    answer.headers.set(PUBLIC_HEADERS.version, String(found.version));
  answer.headers.set(PUBLIC_HEADERS.backend, call.target.backend);
  if (asked !== undefined) answer.headers.set("preference-applied", `wait=${String(waitS)}`);
  return answer;
}

/** The same for a function in a cell that holds no shard: values in and out. */
export async function runForCell(
  state: GatewayState,
  request: Request,
  { ns, fn, tp, dl, ch, ik, rs }: CallEnvelope,
  target: RouteTarget,
): Promise<RunAnswer> {
  const waitMs = dl === 0 ? WAIT_MAX_S * 1_000 : Math.max(0, dl - state.clock.now());
  const chain = ch.map((one) => one.slice(ns.length + 1));
  const reading = { accept: VALUE_TYPE, isFromFunction: true };
  const type = request.headers.get("content-type") ?? "";
  const headers = [
    ["content-type", type],
    ["traceparent", tp],
  ] as const;
  const place = { route: { namespace: ns, name: fn }, target };
  const start: RunStart = {
    id: rs && target.concurrency === 0 ? idBeside(state, rs.run) : await newRunId(state, place),
    namespace: ns,
    function: fn,
    version: target.version,
    retry: target.retry,
    concurrency: target.concurrency,
    retention: target.retention,
    // An attempt that died and is made again finds the run that it began.
    ...(rs && { key: { key: ik, digest: "" } }),
    request: { method: "POST", url: "http://function/", prefix: "", headers },
    workflow: workflowStart(target, reading, chain),
  };
  const body = new Uint8Array(await request.arrayBuffer());
  const answer = await sendStart(state, start, body, waitMs);
  const { output, error, status, id } = answer.found;
  if (output || error || status === "terminated") return answer;
  throw new IsolaError("TIMEOUT", {
    attempted: `call ${fn}`,
    found: `no end of the run ${id} within the caller's deadline; it goes on`,
    required: "a run that ends within the deadline of who waits for it",
  });
}

/** In the shard of another run. */
function idBeside(state: GatewayState, run: string): string {
  return newJobId(shardOfJob(run) ?? 0, state.random);
}
