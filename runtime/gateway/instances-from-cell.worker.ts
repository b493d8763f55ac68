/**
 * Instances of workflows in another cell's shard, for a function's binding. The cell vouches for
 * the namespace, within its group; what is asked is read by the shard alone.
 */
import { IsolaError, LIMITS } from "../contract/index.ts";
import { namespaceNotFound } from "../registry/index.ts";
import { sendToShard, shardsOf } from "./ask-shard.worker.ts";
import { readBytes } from "./request-body.ts";
import type { GatewayState } from "./state.worker.ts";

/** @param slot of the asking cell; from its socket. */
export async function instancesFromCell(
  request: Request,
  slot: number,
  state: GatewayState,
): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const namespace = query.get("ns") ?? "";
  if (!state.sees(slot, namespace)) throw namespaceNotFound(namespace);
  const shard = Number(query.get("shard"));
  if (!shardsOf(state).includes(shard)) {
    throw new IsolaError("RUN_NOT_FOUND", {
      attempted: "use an instance of a workflow",
      found: `no shard ${String(shard)}`,
    });
  }
  const bytes = await readBytes(request, {
    maxBytes: LIMITS.callValueMaxBytes,
    attempted: "pass a value on to its shard",
    code: "BODY_TOO_LARGE",
  });
  const question = { shard, call: { op: "askInstance", namespace } } as const;
  const response = await sendToShard(state, question, { bytes, type: "application/octet-stream" });
  return new Response(response.body, { status: response.status, headers: response.headers });
}
