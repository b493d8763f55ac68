/**
 * A run that a function starts, where its cell does not hold the shard. The cell vouches for the
 * namespace, within its group.
 */
import {
  IsolaError,
  RUN_BODY_MAX_BYTES,
  type RunQuestion,
  type RunStartAsked,
  frame,
  shardOfJob,
  unframe,
} from "../contract/index.ts";
import { namespaceNotFound } from "../registry/index.ts";
import { refusalOf, sendToShard, shardsOf } from "./ask-shard.worker.ts";
import { readBytes } from "./request-body.ts";
import type { GatewayState } from "./state.worker.ts";

/** An input, and what is said of it. */
const FRAME_MAX_BYTES = RUN_BODY_MAX_BYTES + 64 * 1024;

/** @param slot of the asking cell; from its socket. Errors: those of the start. */
export async function startFromCell(
  request: Request,
  slot: number,
  state: GatewayState,
): Promise<Response> {
  const attempted = "start a run for a function";
  const limit = { maxBytes: FRAME_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  const { head, body } = unframe(await readBytes(request, limit));
  const { shard, start } = head as RunStartAsked;
  if (!state.sees(slot, start.namespace)) throw namespaceNotFound(start.namespace);
  if (shardOfJob(start.id) !== shard || !shardsOf(state).includes(shard)) {
    throw new IsolaError("RUN_NOT_FOUND", { attempted, found: `the shard ${String(shard)}` });
  }
  const question: RunQuestion = { shard, call: { op: "startRun" } };
  const sent = { bytes: frame(start, body), type: "application/octet-stream" };
  const response = await sendToShard(state, question, sent);
  if (!response.ok) throw await refusalOf(response, "startRun");
  const told = unframe(new Uint8Array(await response.arrayBuffer()));
  return Response.json(told.head);
}
