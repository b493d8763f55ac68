/**
 * Random programs in code form under random latencies, crashes, repeated reports and pauses: every
 * run ends (G1) with what the program computes by itself; no step completes twice (G2); a replay
 * of its journal goes the same way and runs nothing.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Run } from "../../workflow/index.ts";
import { type Code, WorkflowCodeWorld } from "../support/workflow-code-world.ts";
import { compute, hasRace, perform, programOf } from "../support/workflow-programs.ts";
import { digest } from "../support/workflow-specs.ts";
import { type Accidents, seededRandom } from "../support/workflow-world.ts";

const RUNS = Number(process.env["ISOLA_RUNS"] ?? 200);
const TIMEOUT_MS = Math.max(60_000, 100 * RUNS);

async function play(world: WorkflowCodeWorld, isDisturbed: boolean): Promise<void> {
  for (let quiet = 0; !world.run.state.ended && quiet < 5;) {
    quiet = (await world.act()) ? 0 : quiet + 1;
    const { pausedAtMs, ending, ended } = world.run.state;
    if (pausedAtMs !== undefined && (quiet > 0 || world.fraction() < 0.1)) {
      world.report({ type: "resume" });
    } else if (isDisturbed && !ending && !ended && world.fraction() < 0.03) {
      if (pausedAtMs === undefined) world.report({ type: "pause" });
    }
    await world.settle();
  }
}

/** Runs the code once more over the journal as it was before its end. */
async function replay(world: WorkflowCodeWorld, code: Code): Promise<unknown> {
  const at = world.journal.findLastIndex(({ type }) => type === "codeEnded");
  const again = new WorkflowCodeWorld(code, { ...world.options, accidents: {} });
  const open = world.journal.slice(0, at);
  again.journal.push(...open);
  again.crash();
  await again.finish();
  // What lost a race may still be tried; what is done, or was never asked for, is not.
  const known = [...Run.fold(open).state.steps.values()];
  const mayRun = new Set(known.filter(({ phase }) => phase !== "done").map(({ id }) => id));
  const ran = again.left("dispatch").map(({ step }) => step);
  expect(ran.filter((step) => !mayRun.has(step))).toStrictEqual([]);
  return again.output;
}

describe("code and its journal agree", () => {
  it.each<[string, Accidents, boolean]>([
    ["when nothing dies", { repeat: 0.1 }, false],
    ["when processes die", { crash: 0.1, repeat: 0.3 }, false],
    ["when processes die and people pause", { crash: 0.05, repeat: 0.3 }, true],
  ])(
    "%s",
    async (_title, accidents, isDisturbed) => {
      const agrees = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const program = programOf(seededRandom(seed), 0);
        const code: Code = async (step, input) => perform(program, step, input);
        const functions = { child: (value: unknown) => digest("child", value) };
        const world = new WorkflowCodeWorld(code, { seed, input: seed, accidents, functions });
        await play(world, isDisturbed);
        const { output } = world;
        const computed = hasRace(program) ? output : await compute(program, seed);
        expect(output).toStrictEqual(computed);
        const completed = world.history("stepCompleted");
        expect(new Set(completed).size).toBe(completed.length);
        expect(Run.fold(world.journal).state).toStrictEqual(world.run.state);
        expect(await replay(world, code)).toStrictEqual(output);
      });
      await expect(fc.assert(agrees, { numRuns: RUNS })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );
});
