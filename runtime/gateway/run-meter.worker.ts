/** Asks the shards how many runs they have, for metrics. */
import type { RunTally } from "../contract/index.ts";
import { askRuns } from "./ask-runs.worker.ts";
import { shardsOf } from "./ask-shard.worker.ts";
import { RunLedger } from "./run-ledger.ts";
import type { GatewayState } from "./state.worker.ts";
import { timeout } from "./system-timers.worker.ts";

/** A shard that does not answer by then counts as down. */
const ANSWER_MS = 1_000;

const ledger = new RunLedger();

/** Never throws. */
export async function countRuns(state: GatewayState): Promise<ReturnType<RunLedger["rows"]>> {
  await Promise.all(
    shardsOf(state).map(async (shard) => ledger.observe(shard, await tallyOf(state, shard))),
  );
  ledger.keep((namespace) => state.table.namespace(namespace) !== undefined);
  return ledger.rows();
}

async function tallyOf(
  state: GatewayState,
  shard: number,
): Promise<readonly RunTally[] | undefined> {
  const bound = timeout(ANSWER_MS);
  const answer = askRuns<"tally">(state, shard, "", { ask: "tally" }).then(
    ({ rows }) => rows,
    () => undefined,
  );
  const first = await Promise.race([answer, bound.elapsed]);
  bound.cancel();
  return first === "elapsed" ? undefined : first;
}
