/**
 * A call of a workflow from within: a run that its caller waits for, up to the caller's deadline.
 * The run goes on when nobody waits any more.
 *
 * The run is in a shard of this cell, if there is one; else the gateway begins it. Of an attempt of
 * a step it is begun under a key, in the shard of the attempt's run: an attempt that died and is
 * made again finds the run that it began (G2).
 */
import {
  type CallEnvelope,
  type ErrorData,
  IsolaError,
  LIMITS,
  type RouteTarget,
  type RunReply,
  type RunResult,
  type RunStart,
  type RunStepRef,
  type RunTold,
  homeShard,
  isErrorCode,
  newJobId,
  shardOfJob,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import { forwardCall } from "../forward-call.worker.ts";
import { toWorkflowForm } from "./workflow-form.ts";

export interface WorkflowCall {
  /** Of the call that the workflow would be, were it a plain function. */
  readonly envelope: CallEnvelope;
  readonly target: RouteTarget;
  readonly input: unknown;
  /** The attempt that makes the call; with its key and number, and the call's place under it. */
  readonly attempt?: CallEnvelope & { readonly rs: RunStepRef };
}

/** What an attempt's call of a workflow is known by when the attempt is made again. */
function keyOfCall({ ik, at, rs }: NonNullable<WorkflowCall["attempt"]>): string {
  return `${ik}/${String(at)}/${rs.call}`;
}

/** Never rejects. */
export async function startWorkflow(cell: Cell, call: WorkflowCall): Promise<RunResult> {
  const { target, input, attempt } = call;
  const envelope = attempt
    ? { ...call.envelope, ik: keyOfCall(attempt), rs: attempt.rs }
    : call.envelope;
  try {
    const shard = shardHere(cell, call);
    if (shard === undefined) {
      const request = { name: envelope.fn, input, options: {} };
      return { ...(await forwardCall(cell, envelope, target, request)), logs: [] };
    }
    const start = startOf(cell, shard, call);
    const reply = await cell.bindings.shards.actor(shard).startRun(start, input);
    return { ...answerOf(envelope, reply), logs: [] };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    const parts = { attempted: `call ${envelope.fn}`, found: message };
    return { ok: false, error: new IsolaError("CELL_RESTARTING", parts).toData(), logs: [] };
  }
}

function startOf(cell: Cell, shard: number, { envelope, target, attempt }: WorkflowCall): RunStart {
  const { ns, fn, v, dl, ch } = envelope;
  const waitMs = dl === 0 ? LIMITS.timeoutMaxMs : Math.max(0, dl - cell.now());
  const url = `http://function/${fn}`;
  return {
    id: newJobId(shard, cell.random),
    namespace: ns,
    function: fn,
    version: v,
    retry: target.retry,
    concurrency: target.concurrency,
    retention: target.retention,
    ...(attempt && { key: { key: keyOfCall(attempt), digest: "" } }),
    request: { method: "POST", url, prefix: "", headers: [["traceparent", envelope.tp]] },
    workflow: {
      form: toWorkflowForm(target.form),
      timeoutMs: target.timeoutMs,
      chain: ch.map((one) => one.slice(ns.length + 1)),
      waitMs,
    },
  };
}

/** What the run came to, as the answer of a call. */
export function answerOf(
  { fn }: Pick<CallEnvelope, "fn">,
  reply: RunReply,
): { ok: true; value: unknown } | { ok: false; error: ErrorData } {
  if (!reply.ok) return reply;
  const { result, error, status } = reply.value;
  if (result) return { ok: true, value: result.value };
  if (error) return { ok: false, error: failure(fn, error).toData() };
  if (status === "terminated") return { ok: false, error: terminated(fn, reply.value).toData() };
  return { ok: false, error: late(fn, reply.value).toData() };
}

function failure(name: string, { message, code }: NonNullable<RunTold["error"]>): IsolaError {
  const known = isErrorCode(code) ? code : "FUNCTION_ERROR";
  return new IsolaError(known, { attempted: `call ${name}`, found: message });
}

function terminated(name: string, { id }: RunTold): IsolaError {
  return new IsolaError("RUN_STATE", { attempted: `call ${name}`, found: `${id} was terminated` });
}

function late(name: string, { id }: RunTold): IsolaError {
  return new IsolaError("TIMEOUT", {
    attempted: `call ${name}`,
    found: `no end of the run ${id} within the caller's deadline; it goes on`,
    required: "a run that ends within the deadline of who waits for it",
  });
}

/** The same shard for the same call; of a workflow with a limit its home, if that is here. */
function shardHere(
  { bindings }: Cell,
  { envelope, target, attempt }: WorkflowCall,
): number | undefined {
  const { own, count } = bindings.shards;
  if (target.concurrency > 0) {
    const home = homeShard(envelope.ns, envelope.fn, count);
    return own.includes(home) ? home : undefined;
  }
  if (attempt) {
    const shard = shardOfJob(attempt.rs.run);
    return shard !== undefined && own.includes(shard) ? shard : undefined;
  }
  return own[Number.parseInt(envelope.id.slice(0, 8), 16) % own.length];
}
