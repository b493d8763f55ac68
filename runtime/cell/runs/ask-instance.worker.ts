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
  const shard = await shardOf(cell, namespace, workflow, call);
  const { version, form, timeoutMs, concurrency } = target;
  const ask: InstanceAsk = {
    namespace,
    workflow,
    call,
    run: newJobId(shard, cell.random),
    version,
    form: toWorkflowForm(form),
    timeoutMs,
    concurrency,
  };
  const { shards } = cell.bindings;
  if (shards.own.includes(shard)) return shards.actor(shard).instance(ask, value);
  return cell.supply.instance(shard, ask, value);
}

async function shardOf(
  { bindings, random }: Cell,
  namespace: string,
  workflow: string,
  call: InstanceCall,
): Promise<number> {
  const { count, own } = bindings.shards;
  if (call.id !== undefined) {
    const known = shardOfJob(call.id);
    if (known !== undefined && known < count) return known;
    return shardOfKey(count, namespace, workflow, call.id);
  }
  const any = Math.floor(random.fraction() * Math.max(own.length, 1));
  return own[any] ?? Math.floor(random.fraction() * count);
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
