/**
 * Runs that functions start and do not wait for: `ctx.callAsync`.
 *
 * A1 The id is answered when the run is on disk, in a shard of this cell if it has one.
 * A2 Within an attempt of a run it is staged instead, in that run's shard: it begins in the commit
 *    of the step, or never (G2). Its id follows from the attempt's key and from which start of the
 *    attempt it is, so that a step that is made again starts the same run.
 */
import {
  type CallEnvelope,
  IsolaError,
  type RouteTarget,
  type RunReply,
  type RunStart,
  type RunStepRef,
  type ScopeCallOptions,
  type ScopeStartResult,
  callUnder,
  isWorkflow,
  homeShard,
  newJobId,
  shardOfJob,
  toHex,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import type { LiveCall } from "../live-calls.worker.ts";
import { targetOf } from "./targets.worker.ts";
import { toWorkflowForm } from "./workflow-form.ts";

const ID_BYTES = 16;

/** What a tenant's isolate asks. */
export interface AsyncCall {
  readonly name: unknown;
  readonly input: unknown;
  readonly options: Pick<ScopeCallOptions, "version">;
}

/**
 * Errors: `FUNCTION_NOT_FOUND`, `VERSION_NOT_FOUND`, `FUNCTION_QUARANTINED`, `QUEUE_FULL`,
 * `DISK_FULL`, `BODY_TOO_LARGE`, `ATTEMPT_ENDED`, `QUOTA_EXCEEDED`, `CELL_RESTARTING`.
 */
export async function callAsync(
  cell: Cell,
  live: LiveCall,
  { name, input, options }: AsyncCall,
): Promise<ScopeStartResult> {
  live.starts += 1;
  const ordinal = live.starts;
  if (live.codeShard !== undefined) throw inCode(name);
  await cell.routing();
  const { ns: namespace } = live.envelope;
  const target = await targetOf(cell, {
    namespace,
    name: String(name),
    version: options.version,
  });
  const attempt = attemptOf(live);
  const shard =
    (attempt && shardOfJob(attempt.run)) ?? shardFor(cell, namespace, String(name), target);
  const id = attempt
    ? `${String(shard)}-${await digestOf(live, attempt, ordinal)}`
    : newJobId(shard, cell.random);
  const start = startOf(live.envelope, String(name), target, { id, attempt });
  const { shards } = cell.bindings;
  const reply: RunReply = shards.own.includes(shard)
    ? await shards.actor(shard).startRun(start, input)
    : await cell.supply.start({ shard, start }, input);
  return reply.ok ? { ok: true, id: reply.value.id } : reply;
}

function startOf(
  { tp, ns: namespace }: CallEnvelope,
  name: string,
  { version, retry, form, timeoutMs, concurrency }: RouteTarget,
  { id, attempt }: { readonly id: string; readonly attempt: RunStepRef | undefined },
): RunStart {
  const url = `http://function/${name}`;
  return {
    id,
    namespace,
    function: name,
    version,
    retry,
    concurrency,
    request: { method: "POST", url, prefix: "", headers: [["traceparent", tp]] },
    byFunction: { ...(attempt && { attempt }) },
    ...(isWorkflow(form) && { workflow: { form: toWorkflowForm(form), timeoutMs, chain: [] } }),
  };
}

/** Of the run that the call works for, however deep it is called. */
function attemptOf({ caller, envelope, number }: LiveCall): RunStepRef | undefined {
  if (!caller) return envelope.rs;
  const above = attemptOf(caller);
  return above && { ...callUnder(above, number), run: above.run };
}

/** The key of the attempt, where it is known: it is the same for every attempt of the step. */
async function digestOf(
  live: LiveCall,
  { run, step, token, call }: RunStepRef,
  ordinal: number,
): Promise<string> {
  let root = live;
  while (root.caller) root = root.caller;
  const isAttempt = root.envelope.rs?.call === "";
  const key = isAttempt ? root.envelope.ik : `${run} ${step} ${String(token)}`;
  const text = new TextEncoder().encode(`callAsync\n${key}\n${call}\n${String(ordinal)}`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  return toHex(digest.subarray(0, ID_BYTES));
}

/** The home of a workflow with a limit; any of this cell otherwise. */
function shardFor(
  { bindings, random }: Cell,
  namespace: string,
  name: string,
  { concurrency }: RouteTarget,
): number {
  const { own, count } = bindings.shards;
  if (concurrency > 0) return homeShard(namespace, name, count);
  const any = own[Math.floor(random.fraction() * own.length)];
  return any ?? Math.floor(random.fraction() * count);
}

/** A session of code goes from its beginning again: what it starts there would start again. */
function inCode(name: unknown): IsolaError {
  return new IsolaError("CONFLICT", {
    attempted: `start ${JSON.stringify(name)} from the code of a workflow`,
    found: "a run that repeats its code after each interruption",
    required: "a step that starts it once",
    fix: "step.invoke waits for it; the binding of a workflow creates it under an id.",
  });
}
