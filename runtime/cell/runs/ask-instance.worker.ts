/**
 * Instances of workflows, on the way from a function's binding to the shard that keeps them: in
 * this cell, or through the gateway in another one's.
 */
import {
  type CallEnvelope,
  INSTANCE_ID,
  type InstanceAsk,
  type InstanceCall,
  type InstanceQuestion,
  type InstanceReply,
  IsolaError,
  isWorkflow,
  homeShard,
  newJobId,
  shardOfJob,
  shardOfKey,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import { targetOf } from "./targets.worker.ts";
import { toWorkflowForm } from "./workflow-form.ts";

const OPERATIONS: ReadonlySet<unknown> = new Set<InstanceCall["op"]>([
  "create",
  "get",
  "status",
  "pause",
  "resume",
  "delete",
  "terminate",
  "restart",
  "sendEvent",
  "events",
]);
const ID_MAX_CHARACTERS = 512;

/** @param asked by a tenant's isolate. Errors: `FUNCTION_NOT_FOUND`, `REQUEST_INVALID`. */
export async function askInstance(
  cell: Cell,
  { ns: namespace }: Pick<CallEnvelope, "ns">,
  asked: unknown,
  value: unknown,
): Promise<InstanceReply> {
  const { workflow, call } = checked(asked);
  await cell.routing();
  const target = await targetOf(cell, { namespace, name: workflow, version: undefined });
  if (!isWorkflow(target.form)) throw noWorkflow(workflow, namespace);
  const { version, form, timeoutMs, concurrency, retention } = target;
  const [shard, other] = await shardsOf(cell, { namespace, workflow, concurrency, call });
  const ask: InstanceAsk = {
    namespace,
    workflow,
    call,
    run: newJobId(shard, cell.random),
    version,
    form: toWorkflowForm(form),
    timeoutMs,
    concurrency,
    retention,
  };
  const reply = await askShard(cell, shard, ask, value);
  if (reply.ok || other === undefined || reply.error.code !== "RUN_NOT_FOUND") return reply;
  return askShard(cell, other, { ...ask, run: newJobId(other, cell.random) }, value);
}

export function askShard(
  cell: Cell,
  shard: number,
  ask: InstanceAsk,
  value: unknown,
): Promise<InstanceReply> {
  const { shards } = cell.bindings;
  if (shards.own.includes(shard)) return shards.actor(shard).instance(ask, value);
  return cell.supply.instance(shard, ask, value);
}

/** Where it is, and where it is if the workflow had a limit, or had none, when it was created. */
async function shardsOf(
  { bindings, random }: Cell,
  {
    namespace,
    workflow,
    concurrency,
    call,
  }: Pick<InstanceAsk, "namespace" | "workflow" | "concurrency" | "call">,
): Promise<readonly [shard: number, other?: number]> {
  const { count, own } = bindings.shards;
  const home = homeShard(namespace, workflow, count);
  if (call.id !== undefined) {
    const known = shardOfJob(call.id);
    if (known !== undefined && known < count) return [known];
    const byKey = await shardOfKey(count, namespace, workflow, call.id);
    return concurrency > 0 ? [home, byKey] : [byKey, home];
  }
  if (concurrency > 0) return [home];
  const any = Math.floor(random.fraction() * Math.max(own.length, 1));
  return [own[any] ?? Math.floor(random.fraction() * count)];
}

function checked(asked: unknown): InstanceQuestion {
  const { workflow, call } = (asked ?? {}) as Partial<Record<string, unknown>>;
  const { op, id, type } = (call ?? {}) as Partial<Record<string, unknown>>;
  const isId = typeof id === "string" && id.length <= ID_MAX_CHARACTERS;
  const isNew = op === "create" && (id === undefined || (isId && INSTANCE_ID.test(id)));
  const isFit =
    typeof workflow === "string" &&
    OPERATIONS.has(op) &&
    (op === "create" ? isNew : isId) &&
    (op !== "sendEvent" || typeof type === "string");
  if (isFit) return asked as InstanceQuestion;
  throw new IsolaError("REQUEST_INVALID", {
    attempted: "use an instance of a workflow",
    found: "a question that is none",
    required: "the methods of a binding",
  });
}

function noWorkflow(name: string, namespace: string): IsolaError {
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `use the workflow ${name}`,
    found: `a function of namespace ${namespace} that is no workflow`,
  });
}
