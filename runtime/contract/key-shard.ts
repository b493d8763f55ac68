import { frame } from "./run-call.ts";

/**
 * The shard of the runs that a key of a function names, whoever asks: idempotency keys, and ids of
 * instances that their creator chose.
 */
export async function shardOfKey(
  shards: number,
  namespace: string,
  name: string,
  key: string,
): Promise<number> {
  const octets = frame(`${namespace}/${name}/${key}`, new Uint8Array(0));
  const digest = await crypto.subtle.digest("SHA-256", octets);
  return new DataView(digest).getUint32(0) % shards;
}
