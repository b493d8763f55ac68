/** Jobs of a namespace in every shard; a shard that is down is named, not passed over. */
import { type StoreJobInfo, type StoreJobList, toIsolaError } from "../contract/index.ts";
import { askShard, shardsOf, slotOf } from "./ask-shard.worker.ts";
import type { GatewayState } from "./state.worker.ts";

export async function listJobs(state: GatewayState, namespace: string): Promise<StoreJobList> {
  const answers = await Promise.all(
    shardsOf(state).map(async (shard) => {
      const question = { shard, namespace, job: "", call: { op: "jobs" } } as const;
      return askShard<"jobs">(state, question).then(
        ({ answer }) => ({ jobs: answer.jobs, missing: [] }),
        (thrown: unknown) => ({ jobs: [], missing: [missingShard(state, shard, thrown)] }),
      );
    }),
  );
  const items = answers
    .flatMap(({ jobs }): readonly StoreJobInfo[] => jobs)
    .toSorted((a, b) => a.createdAtMs - b.createdAtMs);
  return { items, missing: answers.flatMap(({ missing }) => missing) };
}

function missingShard(
  state: GatewayState,
  shard: number,
  thrown: unknown,
): StoreJobList["missing"][number] {
  const { code, message } = toIsolaError(thrown, "list the jobs of a shard");
  return { shard, cell: slotOf(state, shard), code, message };
}
