/**
 * Names of the ephemeral store that more than one process has to agree on.
 *
 * A job's id is `<shard>-<32 hex digits>`: it says where the job lives, and a guess at another's is
 * a guess at 128 bits. The job of a run has the run's id; that of a run which another one invoked
 * ends in `.<number>`.
 */
import type { Random } from "./clock.ts";
import { toHex } from "./ids.ts";

export const DEFAULT_BUCKET = "default";

const JOB_ID = /^(0|[1-9]\d{0,3})-[0-9a-f]{32}(?:\.\d{1,16}){0,32}$/;

export function newJobId(shard: number, random: Random): string {
  return `${String(shard)}-${toHex(random.bytes(16))}`;
}

/** The shard that a job's id names; undefined for what is no id. */
export function shardOfJob(id: string): number | undefined {
  const match = JOB_ID.exec(id);
  return match ? Number(match[1]) : undefined;
}

/**
 * The shard that runs of a workflow with a limit start in: one shard knows how many there are. The
 * FNV-1a hash of its name.
 */
export function homeShard(namespace: string, name: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(`${namespace}/${name}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return (hash >>> 0) % shards;
}

/** Slot of the shared cell that holds a shard. */
export function slotOfShard(shard: number, sharedCells: number): number {
  return shard % sharedCells;
}

/** A job has one table of locks: other buckets than the default one put their name before. */
export function lockNameOf(bucket: string, key: string): string {
  return bucket === DEFAULT_BUCKET ? key : `${bucket}/${key}`;
}
