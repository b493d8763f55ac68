/**
 * Events that steps send to other runs: staged with the attempt in the shard of the run that sends,
 * delivered when its step has committed. The id follows from the attempt's key, so that whoever
 * gets one again knows it.
 */
import {
  type InstanceAsk,
  type InstanceReply,
  IsolaError,
  STORE_LIMITS,
  WORKFLOW_LIMITS,
  shardOfJob,
  sizeOfValue,
} from "../../contract/index.ts";
import type { CallbackResult, Mail } from "../../../workflow/index.ts";
import type { Cell } from "../cell.worker.ts";
import type { LiveCall } from "../live-calls.worker.ts";
import { askInstance, askShard } from "./ask-instance.worker.ts";
import { attemptOf, digestOf, keyOf } from "./attempt-place.worker.ts";

/** Refusals that stay what they are. */
const FINAL: ReadonlySet<string> = new Set([
  "FUNCTION_NOT_FOUND",
  "QUOTA_EXCEEDED",
  "REQUEST_INVALID",
  "RUN_NOT_FOUND",
  "RUN_STATE",
  "VALUE_INVALID",
]);
const ENDED: ReadonlySet<string> = new Set(["complete", "errored", "terminated"]);

/**
 * What a function asks of an instance. An event that an attempt of a run sends is staged, if there
 * is somebody to take it now.
 */
export async function askForCall(
  cell: Cell,
  live: LiveCall,
  asked: unknown,
  value: unknown,
): Promise<InstanceReply> {
  const { envelope } = live;
  const attempt = attemptOf(live);
  const { workflow, call } = (asked ?? {}) as Partial<Record<string, unknown>>;
  const { op, id, type } = (call ?? {}) as Partial<Record<string, unknown>>;
  const isEvent = op === "sendEvent" && typeof id === "string" && typeof type === "string";
  if (!attempt || !isEvent || typeof workflow !== "string") {
    return askInstance(cell, envelope, asked, value);
  }
  live.starts += 1;
  const ordinal = String(live.starts);
  checkSize(workflow, value);
  const found = await askInstance(
    cell,
    envelope,
    { workflow, call: { op: "status", id } },
    undefined,
  );
  if (!found.ok) return found;
  if (ENDED.has(found.value.status ?? "")) return { ok: false, error: hasEnded(id).toData() };
  const event = await digestOf(envelope, ["event", keyOf(live, attempt), attempt.call, ordinal]);
  const ask: InstanceAsk = {
    namespace: envelope.ns,
    workflow,
    call: { op: "stageEvent", id, type, event, attempt },
    run: "",
    version: 0,
    form: "dag",
    timeoutMs: 0,
    concurrency: 0,
    retention: { ageMs: 0, runs: 0 },
  };
  return askShard(cell, shardOfJob(attempt.run) ?? 0, ask, value);
}

/** One try. Never rejects. */
export async function deliverEvent(cell: Cell, mail: Mail): Promise<CallbackResult> {
  const { namespace, workflow, instance, type, id, payload } = mail;
  const call = { op: "sendEvent", id: instance, type, event: id };
  const reply = await askInstance(cell, { ns: namespace }, { workflow, call }, payload).catch(
    (thrown: unknown) => (thrown instanceof IsolaError ? refused(thrown) : undefined),
  );
  if (reply?.ok === true) return { ok: true };
  const { code = "CELL_RESTARTING", parts } = reply?.error ?? {};
  const isFinal = FINAL.has(code);
  const message = parts?.found ?? "its shard did not answer";
  if (isFinal) {
    const text = `the event ${type} that a step sent to ${instance} is dropped: ${message}`;
    const line = { callId: id, namespace, function: workflow, version: 0, atMs: cell.now(), text };
    // What carries it belongs to the actor, whose work goes on by itself.
    cell.telemetry.addLogs({ waitUntil: () => undefined }, [{ ...line, level: "error" }]);
  }
  return { ok: false, error: { name: code, message, code }, ...(isFinal && { isFinal }) };
}

function refused(error: IsolaError): InstanceReply {
  return { ok: false, error: error.toData() };
}

function checkSize(workflow: string, value: unknown): void {
  const { sentEventMaxBytes } = WORKFLOW_LIMITS;
  if (sizeOfValue(value, STORE_LIMITS.wholeMaxBytes) <= sentEventMaxBytes) return;
  throw new IsolaError("BODY_TOO_LARGE", {
    attempted: `send an event to ${workflow} in a step`,
    found: "a larger payload",
    required: `at most ${String(sentEventMaxBytes)} bytes`,
  });
}

function hasEnded(id: string): IsolaError {
  return new IsolaError("RUN_STATE", {
    attempted: `send an event to the run ${id}`,
    found: "a run that has ended",
  });
}
