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
  type ScopeStartOptions,
  type ScopeStartResult,
  type ScopeStep,
  isWorkflow,
  homeShard,
  newJobId,
  shardOfJob,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import type { LiveCall } from "../live-calls.worker.ts";
import { attemptOf, digestOf, keyOf } from "./attempt-place.worker.ts";
import { targetOf } from "./targets.worker.ts";
import { toWorkflowForm } from "./workflow-form.ts";

/** What a tenant's isolate asks. */
export interface AsyncCall {
  readonly name: unknown;
  readonly input: unknown;
  readonly options: ScopeStartOptions;
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
  await cell.routing();
  const { ns: namespace } = live.envelope;
  const target = await targetOf(cell, {
    namespace,
    name: String(name),
    version: options.version,
  });
  const place = await placeOf(cell, live, {
    ordinal,
    shard: shardFor(cell, namespace, String(name), target),
    under: checkedStep(live, name, options.under),
  });
  const { shard } = place;
  const start = startOf(live.envelope, String(name), target, place);
  const { shards } = cell.bindings;
  const reply: RunReply = shards.own.includes(shard)
    ? await shards.actor(shard).startRun(start, input)
    : await cell.supply.start({ shard, start }, input);
  return reply.ok ? { ok: true, id: reply.value.id } : reply;
}

function startOf(
  { tp, ns: namespace }: CallEnvelope,
  name: string,
  { version, retry, form, timeoutMs, concurrency, retention }: RouteTarget,
  { id, by }: StartPlace,
): RunStart {
  const url = `http://function/${name}`;
  return {
    id,
    namespace,
    function: name,
    version,
    retry,
    concurrency,
    retention,
    request: { method: "POST", url, prefix: "", headers: [["traceparent", tp]] },
    byFunction: by,
    ...(isWorkflow(form) && { workflow: { form: toWorkflowForm(form), timeoutMs, chain: [] } }),
  };
}

/** Where it is to be, what it is called, and with what it is to begin. */
interface StartPlace {
  readonly shard: number;
  readonly id: string;
  readonly by: NonNullable<RunStart["byFunction"]>;
}

interface StartWish {
  /** Which start of its call it is. */
  readonly ordinal: number;
  /** Outside of runs. */
  readonly shard: number;
  /** In the code of a workflow. */
  readonly under: ScopeStep | undefined;
}

/** A2 */
async function placeOf(
  cell: Cell,
  live: LiveCall,
  { ordinal, shard: ownShard, under }: StartWish,
): Promise<StartPlace> {
  const { codeShard, envelope } = live;
  if (codeShard !== undefined && under) {
    const { step, token, key } = under;
    const digest = await digestOf(envelope, [key, String(under.ordinal)]);
    const by = { session: { call: envelope.id, step, token } };
    return { shard: codeShard, id: `${String(codeShard)}-${digest}`, by };
  }
  const attempt = attemptOf(live);
  if (!attempt) {
    return { shard: ownShard, id: newJobId(ownShard, cell.random), by: {} };
  }
  const shard = shardOfJob(attempt.run) ?? 0;
  const digest = await digestOf(envelope, [keyOf(live, attempt), attempt.call, String(ordinal)]);
  return { shard, id: `${String(shard)}-${digest}`, by: { attempt } };
}

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

/**
 * A session of code goes from its beginning again: what it starts outside of a step would start
 * again. @param under whatever a tenant's isolate says.
 */
function checkedStep(
  { codeShard }: Pick<LiveCall, "codeShard">,
  name: unknown,
  under: unknown,
): ScopeStep | undefined {
  if (codeShard === undefined) return undefined;
  const { step, token, key, ordinal } = (under ?? {}) as Partial<Record<string, unknown>>;
  const isStep = typeof step === "string" && typeof token === "number";
  if (isStep && typeof key === "string" && typeof ordinal === "number") {
    return { step, token, key, ordinal };
  }
  throw inCode(name);
}

function inCode(name: unknown): IsolaError {
  return new IsolaError("CONFLICT", {
    attempted: `start ${JSON.stringify(name)} from the code of a workflow`,
    found: "a run that repeats its code after each interruption",
    required: "a step that starts it once",
    fix: "Call it within step.do.",
  });
}
