/**
 * Several runs in one coordinator, with a crash at each commit in turn, before it and after it:
 * every run ends once, as the plain interpreter says (G1, G9); steps complete once (G2).
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CrashAt, CoordinatorWorld } from "../support/coordinator-world.ts";
import {
  type DagSpec,
  SPEC_FUNCTIONS,
  SpecMaker,
  digest,
  flowOf,
  interpret,
} from "../support/workflow-specs.ts";
import { seededRandom } from "../support/workflow-world.ts";
import { type Flow, flow } from "../../workflow/builder/index.ts";

const RUNS = Number(process.env["ISOLA_RUNS"] ?? 6);
const TIMEOUT_MS = Math.max(60_000, 10_000 * RUNS);
const CHILD: Flow = flow((dag) => {
  dag.node("a").modify((value) => digest("child", value));
});

interface Case {
  readonly specs: readonly DagSpec[];
  readonly flows: Readonly<Record<string, Flow>>;
}

function caseOf(seed: number): Case {
  const fraction = seededRandom(seed);
  const specs = [0, 1, 2].map(() => new SpecMaker(fraction, 0.05).dag(1));
  const named = specs.map((spec, at): [string, Flow] => [`f${String(at)}`, flowOf(spec, false)]);
  return { specs, flows: { child: CHILD, ...Object.fromEntries(named) } };
}

async function play({ specs, flows }: Case, seed: number, crashes: readonly CrashAt[]) {
  const options = { snapshotEvents: 5, residentRuns: 2 };
  const world = new CoordinatorWorld({ flows, functions: SPEC_FUNCTIONS, seed, crashes, options });
  const ids = specs.map((_spec, at) => `0-${String(at)}`);
  for (const [at, id] of ids.entries()) {
    await world.startSurely(id, `f${String(at)}`, seed);
  }
  await world.finish(ids);
  for (const [at, id] of ids.entries()) check(world, id, specs[at], seed);
  return world;
}

function check(world: CoordinatorWorld, id: string, spec: DagSpec | undefined, seed: number): void {
  const expected = spec && interpret(spec, seed);
  const { status } = world.show(id);
  expect({ status, output: world.output(id) }).toStrictEqual({
    status: expected ? "completed" : "failed",
    output: expected?.output,
  });
  const history: string[] = [];
  for (let after = "", isMore = true; isMore;) {
    const page = world.coordinator.history("default", id, after);
    const entries = page.entries.filter(({ type }) => type === "stepCompleted");
    history.push(...entries.map(({ step = "" }) => step));
    isMore = page.entries.length > 0;
    after = page.after;
  }
  expect(new Set(history).size).toBe(history.length);
  expect(expected ? history.sort() : undefined).toStrictEqual(expected?.steps);
}

describe("the coordinator", () => {
  it(
    "brings every run to its end whatever commit a crash comes at",
    async () => {
      const ends = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const one = caseOf(seed);
        const { commits } = await play(one, seed, []);
        const stride = Math.max(1, Math.floor(commits / 25));
        for (let commit = 1; commit <= commits; commit += stride) {
          await play(one, seed, [{ commit, when: "before" }]);
          await play(one, seed, [{ commit, when: "after" }]);
        }
      });
      await expect(fc.assert(ends, { numRuns: RUNS })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );

  it(
    "brings every run to its end through many crashes",
    async () => {
      const ends = fc.asyncProperty(
        fc.nat(2 ** 30),
        fc.array(fc.record({ commit: fc.nat(200), when: fc.constantFrom("before", "after") })),
        async (seed, crashes) => {
          await play(caseOf(seed), seed, crashes);
        },
      );
      await expect(fc.assert(ends, { numRuns: 5 * RUNS })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );
});
