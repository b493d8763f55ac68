/**
 * One seed of the shard's simulation: random DAGs and a program in code form, whose steps use the
 * store, killed at random points. Throws if one of the guarantees does not hold; also run by the
 * mutation check, over sources that lack a line.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { IsolaError } from "../../runtime/contract/index.ts";
import { type Flow, flow } from "../../workflow/builder/index.ts";
import { type AttemptBody, RunWorld, type RunWorldOptions } from "./run-world.ts";
import { NAMESPACE, refusal, text } from "./store-world.ts";
import { compute, hasRace, perform, programOf } from "./workflow-programs.ts";
import {
  type DagSpec,
  SPEC_FUNCTIONS,
  SpecMaker,
  digest,
  flowOf,
  interpret,
} from "./workflow-specs.ts";
import { seededRandom } from "./workflow-world.ts";

const B = "default";
const KEPT = "kept";
const CHILD: Flow = flow((dag) => {
  dag.node("a").modify((value) => digest("child", value));
});
/** Within which the process dies: most cases have about as many points. */
const POINTS = 160;
/** The attempt is over, or the run with it. */
const OVER: ReadonlySet<string> = new Set(["ATTEMPT_ENDED", "JOB_ENDED"]);
const DAY_MS = 24 * 60 * 60 * 1_000;

interface Case {
  readonly options: RunWorldOptions;
  readonly runs: readonly {
    readonly id: string;
    readonly workflow: string;
    readonly spec?: DagSpec;
    readonly isAnew: boolean;
    expected(): Promise<
      { readonly output: unknown; readonly steps?: readonly string[] } | undefined
    >;
  }[];
}

function caseOf(seed: number, kills: readonly number[]): Case {
  const fraction = seededRandom(seed);
  const specs = [0, 1].map(() => new SpecMaker(fraction, 0.05).dag(1));
  const program = programOf(fraction, 0);
  const durabilities = specs.map(() => (fraction() < 0.25 ? "run" : "step"));
  const flows = Object.fromEntries(
    specs.map((spec, at) => [`f${String(at)}`, flowOf(spec, false, durabilities[at])]),
  );
  const dags = specs.map((spec, at) => ({
    id: idOf(at),
    workflow: `f${String(at)}`,
    spec,
    isAnew: durabilities[at] === "run",
    expected: async () => {
      const expected = interpret(spec, seed);
      return (
        expected && { output: expected.output, ...(expected.steps && { steps: expected.steps }) }
      );
    },
  }));
  const code = {
    id: idOf(specs.length),
    workflow: "code",
    isAnew: false,
    expected: async () => (hasRace(program) ? undefined : { output: await compute(program, seed) }),
  };
  return {
    options: {
      flows: { child: CHILD, ...flows },
      codes: { code: async (step, input) => perform(program, step, input) },
      functions: SPEC_FUNCTIONS,
      seed,
      kills,
      // Every value by reference in half of the cases, none in the others.
      inlineMaxBytes: fraction() < 0.5 ? 0 : 65_536,
    },
    runs: [...dags, code],
  };
}

function idOf(at: number): string {
  return `0-${String(at).padStart(32, "0")}`;
}

/** Kills at up to four of the points that a case has, by its seed. */
export function killsOf(seed: number): number[] {
  const fraction = seededRandom(seed + 1);
  const count = Math.floor(fraction() * 5);
  return Array.from({ length: count }, () => 1 + Math.floor(fraction() * POINTS));
}

/** What a seed came to. */
interface Played {
  /** At which the process could have died. */
  readonly points: number;
  /** Values that were made again. */
  readonly remade: number;
}

export async function playSeed(
  seed: number,
  kills: readonly number[] = killsOf(seed),
): Promise<Played> {
  const { options, runs } = caseOf(seed, kills);
  const world = new RunWorld(options);
  world.body = bodyOf(world);
  for (const { id, workflow } of runs) await world.start(id, workflow, seed);
  await world.finish(runs.map(({ id }) => id));
  const { points } = world;
  for (const run of runs) await check(world, run);
  equal(world.faults[0], undefined);
  await checkLate(world);
  await checkFreed(
    world,
    runs.map(({ id }) => id),
  );
  return { points, remade: world.remade.length };
}

/** Counts once, puts, reads its own, takes what another step left; then does its work. */
function bodyOf(world: RunWorld): AttemptBody {
  return async ({ run, effect, attempt }, work) => {
    const { step } = effect;
    const job = { id: run.id, namespace: run.namespace };
    // Somebody who does not hear that the attempt is over: here anew, below with what it has.
    const late = (put: () => unknown): void => {
      world.later(async () => {
        if (!world.settled.some((one) => one.attempt === attempt)) return;
        const code = await refusal(put);
        ok(code !== undefined && OVER.has(code), `${step} puts nothing when it is over (G2)`);
      }, 200);
    };
    late(async () => world.jobs.session(job, attempt).put(KEPT, "late", text(step)));
    if (world.fraction() < 0.2) return work();
    world.used.add(`${run.id} ${step}`);
    const session = world.jobs.session(job, attempt);
    late(async () => session.put(KEPT, "late", text(step)));
    equal((await session.increment(B, `count/${step}`)).value, 1, `${step} counts once (G2)`);
    await world.pause();
    const [waiting] = session.list("tokens", { limit: 1 }).value.objects;
    const taken = waiting && session.take("tokens", waiting.key).value;
    const token = await taken?.reader.whole();
    taken?.reader.release();
    await world.pause();
    await session.put("tokens", step, text(step));
    const found = token?.kind === "value" ? String(token.value) : "";
    await session.put(KEPT, step, text(found), { persist: true });
    await world.pause();
    const own = (await session.get(KEPT, step)).value?.value;
    equal(own?.kind === "value" ? own.value : undefined, found, `${step} reads its own (G2)`);
    const made = work();
    await world.pause();
    return made;
  };
}

async function check(world: RunWorld, run: Case["runs"][number]): Promise<void> {
  const { id, isAnew } = run;
  const { status } = world.coordinator.show(NAMESPACE, id);
  const expected = await run.expected();
  if (run.spec) equal(status, expected ? "completed" : "failed", `${id} ends as it should (G1)`);
  else equal(status, "completed", `${id} ends as it should (G1)`);
  if (expected) deepEqual(await world.output(id), expected.output, `${id} answers what it should`);
  const told = historyOf(world, id);
  // What began anew says so by telling its steps again.
  const completed = isAnew ? [...new Set(told)] : told;
  equal(new Set(completed).size, completed.length, `steps of ${id} complete once (G2, G3)`);
  if (expected?.steps) deepEqual([...completed].sort(), expected.steps, `${id} takes its steps`);
  const { kept, taken } = await keptOf(world, id);
  for (const step of completed) {
    if (!world.used.has(`${id} ${step}`)) continue;
    ok(kept.has(step), `${step} of ${id} is there with its result (G2)`);
  }
  if (!isAnew) {
    const known = new Set(completed);
    for (const step of kept) ok(known.has(step), `${step} of ${id} is there with its result only`);
    equal(new Set(taken).size, taken.length, `each token of ${id} is taken once (G2)`);
    for (const step of taken) ok(known.has(step), `a token of ${id} is of a step that committed`);
  }
}

function historyOf(world: RunWorld, id: string): string[] {
  const steps: string[] = [];
  for (let after = "", isMore = true; isMore;) {
    const page = world.coordinator.history(NAMESPACE, id, after);
    for (const { type, step = "" } of page.entries) if (type === "stepCompleted") steps.push(step);
    isMore = page.entries.length > 0 && page.after !== after;
    ({ after } = page);
  }
  return steps;
}

async function keptOf(
  world: RunWorld,
  id: string,
): Promise<{ kept: Set<string>; taken: string[] }> {
  const kept = new Set<string>();
  const taken: string[] = [];
  if (!world.store.jobs(NAMESPACE).some((job) => job.id === id)) return { kept, taken };
  const client = world.store.session(NAMESPACE, id);
  for (const { key } of client.list(KEPT).value.objects) {
    kept.add(key);
    const found = (await client.get(KEPT, key)).value?.value;
    if (found?.kind === "value" && found.value !== "") taken.push(String(found.value));
  }
  return { kept, taken };
}

/** What died with its process writes nothing through a later one. */
async function checkLate(world: RunWorld): Promise<void> {
  for (const { run, attempt } of [...world.lost, ...world.settled]) {
    const code = await refusal(() => world.jobs.session(run, attempt));
    equal(code, "ATTEMPT_ENDED", `a late attempt of ${attempt.step} is refused`);
  }
}

/** When no run is kept any more, what was persisted is left; then nothing at all (G4). */
async function checkFreed(world: RunWorld, ids: readonly string[]): Promise<void> {
  for (const { id, endedAtMs } of world.store.jobs(NAMESPACE)) {
    const { status } = world.coordinator.show(NAMESPACE, id);
    equal(endedAtMs === undefined, status === "failed", `the job of ${id} ends with its run (G4)`);
  }
  world.nowMs += 8 * DAY_MS;
  // A process that dies meanwhile does it again.
  for (let tries = 0; tries < 5; tries += 1) {
    world.coordinator.wake();
    await world.settle();
    for (const id of ids) destroyKept(world, id);
    await world.settle();
  }
  for (const id of ids) equal(world.coordinator.find(id), undefined, `${id} is no longer kept`);
  await world.settle();
  await world.store.quiet();
  await world.settle();
  deepEqual(world.store.usage().bytes, { memory: 0, disk: 0, cold: 0 }, "all bytes are given back");
  equal(world.blocks.stored.size, 0, "no block is left");
  for (const table of ["storeSlots", "storeObjects", "storeAnswers", "storeJobs"]) {
    equal(world.rows(table), 0, `no row of ${table} is left`);
  }
}

function destroyKept(world: RunWorld, id: string): void {
  try {
    world.store.destroyBucket(NAMESPACE, id, KEPT);
  } catch (thrown) {
    ok(thrown instanceof IsolaError, String(thrown));
  }
}
