/**
 * The seam between a cell's code and the form it runs in: sockets of the host form, entrypoints
 * of the same Worker in the collapsed form.
 */
import { type ShardActor, assert } from "../contract/index.ts";

/** Where the installation's shards are, as a cell sees it. */
export interface CellShards {
  /** Shards of the installation. */
  readonly count: number;
  /** Those that live in this process; the others are reached through the supply socket. */
  readonly own: readonly number[];
  /** Of an own shard. A stub belongs to the request that asked for it. */
  actor(shard: number): ShardActor;
}

export interface CellBindings {
  readonly slot: number;
  /** Secret of this cell's breadcrumbs; empty where nobody reads stdout. */
  readonly mark: string;
  readonly maxIsolates: number;
  readonly loader: WorkerLoader;
  /** Gateway's supply entrypoint for this slot. */
  readonly supply: Fetcher;
  /** The egress process. */
  readonly egress: Fetcher;
  readonly shards: CellShards;
}

/** @param actors undefined where no shard lives, as in the probation cell. */
export function cellShards(
  actors: DurableObjectNamespace | undefined,
  count: number,
  own: readonly number[],
): CellShards {
  return {
    count,
    own: actors ? own : [],
    actor: (shard) => {
      assert(actors !== undefined, "only an own shard is asked for its actor");
      const id = actors.idFromName(`shard-${String(shard)}`);
      return actors.get(id) as unknown as ShardActor;
    },
  };
}
