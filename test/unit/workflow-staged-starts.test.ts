/** Runs that an attempt asks for begin in the commit of its step, or never (G2). */
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld, type CoordinatorWorldOptions } from "../support/coordinator-world.ts";

const FLOWS = {
  asks: flow((dag) =>
    dag.node("a").apply("ask", { retry: { limit: 2, delayMs: 10, backoff: "constant" } }),
  ),
  asked: flow((dag) => dag.node("a").apply("work")),
};

type Start = ReturnType<NonNullable<CoordinatorWorldOptions["takeStarts"]>>[number];

/** The attempt asks for a run of its own step's id, and fails as often as it is said. */
function worldOf(failures: number, options: Partial<CoordinatorWorldOptions> = {}) {
  const staged = new Map<string, Start[]>();
  let left = failures;
  const world: CoordinatorWorld = new CoordinatorWorld({
    flows: FLOWS,
    functions: {
      ask: (_input, { step, attempt }) => {
        const start = { id: `0-of-${step}`, namespace: "default", workflow: "asked" };
        const rest = { form: "dag", input: { value: attempt }, revision: 1 } as const;
        staged.set(step, [{ ...start, ...rest, query: {}, headers: {} }]);
        left -= 1;
        if (left >= 0) throw new Error("not yet");
        return attempt;
      },
      work: (n) => n,
    },
    takeStarts: (_run, step) => {
      const starts = staged.get(step) ?? [];
      staged.delete(step);
      return starts;
    },
    ...options,
  });
  return world;
}

const ids = (world: CoordinatorWorld): string[] =>
  world.coordinator.list("default").runs.map(({ id }) => id);

describe("a run that an attempt asks for", () => {
  it("begins with the commit of its step", async () => {
    const world = worldOf(0);
    world.start("0-a", "asks", 1);
    await world.finish(["0-a"]);
    expect(ids(world)).toStrictEqual(["0-of-a/0", "0-a"]);
    await world.finish(["0-of-a/0"]);
    expect(world.output("0-of-a/0")).toBe(1);
  });

  it("does not begin for an attempt that fails, and once for one that is repeated", async () => {
    const world = worldOf(2);
    world.start("0-a", "asks", 1);
    await world.finish(["0-a"]);
    await world.finish(["0-of-a/0"]);
    expect(world.output("0-of-a/0")).toBe(3);
    expect(ids(world)).toHaveLength(2);
    const failing = worldOf(9);
    failing.start("0-a", "asks", 1);
    await failing.finish(["0-a"]);
    expect(ids(failing)).toStrictEqual(["0-a"]);
  });

  it("begins once, at whichever commit a crash comes", async () => {
    for (let commit = 1; commit < 16; commit += 1) {
      for (const when of ["before", "after"] as const) {
        const world = worldOf(1, { crashes: [{ commit, when }] });
        await world.startSurely("0-a", "asks", 1);
        await world.finish(["0-a"]);
        await world.finish(["0-of-a/0"]);
        expect(ids(world), `${when} ${String(commit)}`).toHaveLength(2);
      }
    }
  });
});
