/**
 * Operations of the store from a cell that does not hold the job's shard. The cell vouches for
 * the job's namespace, within its group; what concerns every namespace is not its to ask.
 */
import {
  IsolaError,
  type RunQuestion,
  type StoreOperationName,
  type StoreRequest,
  shardOfJob,
} from "../contract/index.ts";
import { namespaceNotFound } from "../registry/index.ts";
import { type ShardBody, sendToShard, shardsOf } from "./ask-shard.worker.ts";
import { announcedBytes } from "./job-call.worker.ts";
import { readBytes } from "./request-body.ts";
import { startUpload } from "./shard-upload.worker.ts";
import type { GatewayState } from "./state.worker.ts";

/** What concerns every namespace, and runs, which are asked for from outside alone. */
const REFUSED: ReadonlySet<string> = new Set<StoreOperationName | RunQuestion["call"]["op"]>([
  "usage",
  "endNamespace",
  "startRun",
  "findRun",
]);
const SMALL_MAX_BYTES = 64 * 1024;

/** @param slot of the asking cell; from its socket. */
export async function storeFromCell(
  request: Request,
  slot: number,
  state: GatewayState,
): Promise<Response> {
  const question = request.cf as unknown as StoreRequest | undefined;
  if (!question || !state.sees(slot, question.namespace)) {
    throw namespaceNotFound(question?.namespace ?? "");
  }
  const { shard, job, call } = question;
  const isKnown = shardsOf(state).includes(shard) && (job === "" || shardOfJob(job) === shard);
  if (!isKnown || REFUSED.has(call.op)) {
    throw new IsolaError("JOB_NOT_FOUND", {
      attempted: "open a store job for a cell",
      found: `shard ${String(shard)} with job ${JSON.stringify(job.slice(0, 100))}`,
    });
  }
  const body = await bodyOf(request);
  if (call.op === "createJob" && call.kind === "call") {
    const { namespace } = question;
    state.callJobs.made(slot, state.cells.pidOf(slot), { shard, namespace, job });
  }
  const response = await sendToShard(state, question, body);
  if (call.op === "endJob" && response.ok) state.callJobs.ended(slot, job);
  // The cell has to be done sending before it hears a refusal.
  if (!response.ok && body && "ended" in body) await body.ended;
  return new Response(response.body, { status: response.status, headers: response.headers });
}

/** Ends what calls in cells that died have left in other cells' shards (G4). */
export async function endLostJobs(state: GatewayState): Promise<void> {
  const lost = state.callJobs.takeLost((slot) => state.cells.pidOf(slot));
  const call = { op: "endJob" } as const;
  await Promise.allSettled(
    lost.map(async (job) => {
      const response = await sendToShard(state, { ...job, call });
      await response.body?.cancel();
    }),
  );
}

async function bodyOf(request: Request): Promise<ShardBody | undefined> {
  const { body } = request;
  if (body === null) return undefined;
  const type = request.headers.get("content-type") ?? "application/octet-stream";
  const announced = announcedBytes(request);
  const isStream = announced === undefined || announced > SMALL_MAX_BYTES;
  if (isStream) return { ...startUpload(body, announced), type };
  const attempted = "pass a value on to its shard";
  const limit = { maxBytes: SMALL_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  return { bytes: await readBytes(request, limit), type };
}
