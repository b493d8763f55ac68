/**
 * Random DAGs under random latencies, crashes, repeated and lost reports and pauses, against a
 * plain interpreter: every run ends, once, as the interpreter says (G1); each step completes once,
 * whatever is repeated (G2); joins fire once, or the steps behind them would come twice (G3); when
 * a run fails, what was begun and can be undone is undone, newest first, once.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Run } from "../../workflow/index.ts";
import {
  type DagSpec,
  SPEC_FUNCTIONS,
  SpecMaker,
  flowOf,
  interpret,
} from "../support/workflow-specs.ts";
import { type Accidents, WorkflowWorld, seededRandom, valueOf } from "../support/workflow-world.ts";

const RUNS = Number(process.env["ISOLA_RUNS"] ?? 200);
const TIMEOUT_MS = Math.max(60_000, 100 * RUNS);
const CALM: Accidents = { repeat: 0.1 };
const ROUGH: Accidents = { crash: 0.1, repeat: 0.3, lose: 0.02 };

interface Case {
  readonly spec: DagSpec;
  readonly mends: boolean;
  readonly world: WorkflowWorld;
}

function caseOf(seed: number, failing: number, accidents: Accidents): Case {
  const fraction = seededRandom(seed);
  const spec = new SpecMaker(fraction, failing).dag(0);
  const mends = fraction() < 0.3;
  const flow = flowOf(spec, mends);
  const options = { flow, functions: SPEC_FUNCTIONS, input: seed, seed, accidents };
  return { spec, mends, world: new WorkflowWorld(options) };
}

/** Pauses now and then, and goes on later. */
function disturb(world: WorkflowWorld): void {
  if (world.fraction() > 0.03 || world.run.state.pausedAtMs !== undefined) return;
  if (world.run.state.ending || world.run.state.ended) return;
  world.report({ type: "pause" });
  world.commit();
}

async function play(world: WorkflowWorld, isDisturbed: boolean): Promise<void> {
  for (let quiet = 0; !world.run.state.ended && quiet < 5;) {
    quiet = (await world.act()) ? 0 : quiet + 1;
    if (isDisturbed) disturb(world);
    const isPaused = world.run.state.pausedAtMs !== undefined;
    if (isPaused && (quiet > 0 || world.fraction() < 0.1)) {
      world.report({ type: "resume" });
      world.commit();
    }
  }
}

function check({ spec, mends, world }: Case, seed: number): void {
  const { state } = world.run;
  expect(state.ended, `seed ${String(seed)}: ${world.run.status}`).toBeDefined();
  expect(world.left("end").length).toBe(1);
  expect(state.steps.size).toBe(0);
  const completed = world.history("stepCompleted").sort();
  expect(new Set(completed).size).toBe(completed.length);
  const expected = interpret(spec, seed);
  const unhappy = mends
    ? { status: "completed", output: "mended", steps: undefined }
    : { status: "failed", output: undefined, steps: undefined };
  expect({
    status: state.ended?.status,
    output: valueOf(state.ended?.output),
    steps: expected && completed,
  }).toStrictEqual(expected ? { status: "completed", ...expected } : unhappy);
  expect(undoneOf(world)).toStrictEqual(expected ? [] : compensatedOf(world).reverse());
  expect(Run.fold(world.journal).state).toStrictEqual(state);
}

const UNDO = "/undo";

/** Steps that were undone, in that order. */
const undoneOf = (world: WorkflowWorld): string[] =>
  world
    .history("stepCompleted")
    .flatMap((step) => (step.endsWith(UNDO) ? [step.slice(0, -UNDO.length)] : []));

/** Steps with a compensation, in the order of their first attempts. */
function compensatedOf(world: WorkflowWorld): string[] {
  const attempts = world.left("dispatch").filter(({ operation }) => "compensate" in operation);
  return [...new Set(attempts.map(({ step }) => step))];
}

describe("a run and the interpreter agree", () => {
  it.each([
    ["when nothing fails", 0, CALM, false],
    ["when steps fail", 0.05, CALM, false],
    ["when processes die", 0, ROUGH, false],
    ["when steps fail, processes die and people pause", 0.05, ROUGH, true],
  ])(
    "%s",
    async (_title, failing, accidents, isDisturbed) => {
      const agrees = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const one = caseOf(seed, failing, accidents);
        await play(one.world, isDisturbed);
        check(one, seed);
      });
      await expect(fc.assert(agrees, { numRuns: RUNS })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );
});

describe("the journal", () => {
  it(
    "tells the live state at every prefix",
    async () => {
      const tells = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const { world } = caseOf(seed, 0.05, CALM);
        while (!world.run.state.ended && (await world.act())) {
          expect(Run.fold(structuredClone(world.journal)).state).toStrictEqual(world.run.state);
        }
      });
      await expect(fc.assert(tells, { numRuns: Math.ceil(RUNS / 20) })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );

  it(
    "may be replaced by a snapshot of the state wherever no hooks are called",
    async () => {
      const goesOn = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const one = caseOf(seed, 0, CALM);
        while (!one.world.run.state.ended && (await one.world.act())) {
          if (!one.world.run.canBeSnapshot) continue;
          one.world.run = new Run(structuredClone(one.world.run.state));
        }
        check(one, seed);
      });
      await expect(fc.assert(goesOn, { numRuns: Math.ceil(RUNS / 5) })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );
});
