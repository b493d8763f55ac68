/**
 * Questions about runs, and commands to them, on their way to the shard that keeps them.
 *
 * 1. A cell that restarts is waited for, within a bound: an operator sees no crash.
 * 2. A command whose answer was lost may have been carried out: it is told again, and one that does
 *    not fit any more then was.
 */
import {
  IsolaError,
  type MissingShard,
  REPLAY_LIMITS,
  type ReplayAsk,
  type RunsReplayed,
  type RunAdminQuestion,
  type RunAnswers,
  type RunAsk,
  type RunInfo,
  shardOfJob,
  toIsolaError,
} from "../contract/index.ts";
import { refusalOf, sendToShard, shardsOf, slotOf } from "./ask-shard.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { sleep, timeout } from "./system-timers.worker.ts";

const PATIENCE_MS = 5_000;
const PAUSE_MS = 100;
/** A deploy waits no longer to learn which versions nobody needs. */
const OLDEST_WAIT_MS = 1_000;

type Asked<Ask extends RunAsk["ask"]> = Extract<RunAsk, { readonly ask: Ask }>;

/** Asks once. Errors: what the shard says; `CELL_RESTARTING`, `CELL_LOST`. */
export async function askRuns<Ask extends RunAsk["ask"]>(
  state: GatewayState,
  shard: number,
  namespace: string,
  asked: Asked<Ask>,
): Promise<RunAnswers[Ask]> {
  const question: RunAdminQuestion = { shard, call: { op: "askRuns", namespace } };
  const text = new TextEncoder().encode(JSON.stringify(asked));
  const bytes = text as Uint8Array<ArrayBuffer>;
  const response = await sendToShard(state, question, { bytes, type: "application/json" });
  if (!response.ok) throw await refusalOf(response, `ask for runs (${asked.ask})`);
  return response.json<RunAnswers[Ask]>();
}

/**
 * When the namespace's oldest run that is open began; null: none is. Undefined if a shard does not
 * say at once.
 */
export async function oldestRun(
  state: GatewayState,
  namespace: string,
): Promise<number | null | undefined> {
  const late = timeout(OLDEST_WAIT_MS);
  const asked = Promise.all(
    shardsOf(state).map((shard) => askRuns<"oldest">(state, shard, namespace, { ask: "oldest" })),
  ).catch(() => undefined);
  const answers = await Promise.race([asked, late.elapsed]);
  late.cancel();
  if (!Array.isArray(answers)) return undefined;
  const times = answers.flatMap(({ startedAtMs }) => (startedAtMs === null ? [] : [startedAtMs]));
  return times.length === 0 ? null : Math.min(...times);
}

/** What would become of a workflow's open runs with other code; undefined if there are none. */
export async function replayRuns(
  state: GatewayState,
  replay: ReplayAsk,
): Promise<(RunsReplayed & { readonly missing: number }) | undefined> {
  const { namespace } = replay;
  const asked = { ask: "replay", replay } as const;
  const answers = await Promise.allSettled(
    shardsOf(state).map((shard) => askRuns<"replay">(state, shard, namespace, asked)),
  );
  const told = answers.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const sum = (key: "agreed" | "diverged" | "unchecked"): number =>
    told.reduce((all, one) => all + one[key], 0);
  const report = {
    agreed: sum("agreed"),
    diverged: sum("diverged"),
    unchecked: sum("unchecked"),
    diverging: told.flatMap(({ diverging }) => diverging).slice(0, REPLAY_LIMITS.namedMax),
    missing: answers.length - told.length,
  };
  const { agreed, diverged, unchecked, missing } = report;
  return agreed + diverged + unchecked + missing > 0 ? report : undefined;
}

/** Asks the shard of a run, and again while its cell is away. Errors: `RUN_NOT_FOUND`, … */
export async function askRun<Ask extends RunAsk["ask"]>(
  state: GatewayState,
  namespace: string,
  asked: Asked<Ask> & { readonly run: string },
): Promise<RunAnswers[Ask]> {
  const shard = shardOfRun(state, asked.run);
  const untilMs = state.clock.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await askRuns<Ask>(state, shard, namespace, asked);
    } catch (thrown) {
      if (!isAway(thrown) || state.clock.now() > untilMs) throw thrown;
      await sleep(PAUSE_MS);
    }
  }
}

/** Tells a run something. Errors: those of the command. */
export async function tellRun(
  state: GatewayState,
  namespace: string,
  asked: Asked<"tell">,
): Promise<RunInfo> {
  const shard = shardOfRun(state, asked.run);
  const untilMs = state.clock.now() + PATIENCE_MS;
  for (let wasLost = false; ;) {
    try {
      return await askRuns<"tell">(state, shard, namespace, asked);
    } catch (thrown) {
      if (wasLost && thrown instanceof IsolaError && thrown.code === "RUN_STATE") {
        return askRun<"show">(state, namespace, { ask: "show", run: asked.run });
      }
      if (!isAway(thrown) || state.clock.now() > untilMs) throw thrown;
      wasLost ||= thrown instanceof IsolaError && thrown.code === "CELL_LOST";
      await sleep(PAUSE_MS);
    }
  }
}

/** The cell of the shard is gone, or on its way back. */
export function isAway(thrown: unknown): boolean {
  return (
    thrown instanceof IsolaError &&
    (thrown.code === "CELL_LOST" || thrown.code === "CELL_RESTARTING")
  );
}

export function shardOfRun(state: GatewayState, run: string): number {
  const shard = shardOfJob(run);
  if (shard !== undefined && shardsOf(state).includes(shard)) return shard;
  throw new IsolaError("RUN_NOT_FOUND", {
    attempted: `find the run ${run.slice(0, 100)}`,
    found: "none",
  });
}

export function missingShard(state: GatewayState, shard: number, thrown: unknown): MissingShard {
  const { code, message } = toIsolaError(thrown, "list the runs of a shard");
  return { shard, cell: slotOf(state, shard), code, message };
}
