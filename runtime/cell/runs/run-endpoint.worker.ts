/** Runs, as the gateway asks for them on the cell's call socket (contract/run-call.ts). */
import {
  ERRORS,
  IsolaError,
  RUN_BODY_MAX_BYTES,
  type RunAdminQuestion,
  type RunAsk,
  type RunQuestion,
  type RunStart,
  type StoreRequest,
  frame,
  unframe,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import { storageFault } from "../shard/storage-fault.ts";

const OPERATIONS: ReadonlySet<string> = new Set(["startRun", "findRun", "askRuns"]);

export function isRunQuestion(
  asked: StoreRequest | RunQuestion | RunAdminQuestion,
): asked is RunQuestion | RunAdminQuestion {
  return OPERATIONS.has(asked.call.op);
}

/** Never throws; a refusal is `ErrorData` under the status of its code. */
export async function handleRun(
  cell: Cell,
  request: Request,
  { shard, call }: RunQuestion | RunAdminQuestion,
): Promise<Response> {
  try {
    const { shards, slot } = cell.bindings;
    if (!shards.own.includes(shard)) throw notHere(shard, slot);
    const actor = shards.actor(shard);
    if (call.op === "askRuns") {
      const answered = await actor.askRuns(call.namespace, await request.json<RunAsk>());
      if (!answered.ok) throw IsolaError.fromData(answered.error);
      return Response.json(answered.value);
    }
    if (call.op === "findRun") {
      const found = await actor.findRun(call.id);
      if (!found.ok) throw IsolaError.fromData(found.error);
      return new Response(frame(found.value, found.body ?? new Uint8Array(0)));
    }
    const { head, body } = unframe(new Uint8Array(await request.arrayBuffer()));
    if (body.byteLength > RUN_BODY_MAX_BYTES) throw tooLarge(body.byteLength);
    const started = await actor.startRun(head as RunStart, body);
    if (!started.ok) throw IsolaError.fromData(started.error);
    return Response.json(started.value);
  } catch (thrown) {
    const error = storageFault(thrown, "use a run");
    return Response.json(error.toData(), { status: ERRORS[error.code].status });
  }
}

function notHere(shard: number, slot: number): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: `ask shard ${String(shard)} for a run`,
    found: `cell ${String(slot)}, which does not hold it`,
    retryAfterSeconds: 1,
  });
}

function tooLarge(sizeBytes: number): IsolaError {
  return new IsolaError("BODY_TOO_LARGE", {
    attempted: "start a run",
    found: `a body of ${String(sizeBytes)} bytes`,
    required: `at most ${String(RUN_BODY_MAX_BYTES)} bytes`,
  });
}
