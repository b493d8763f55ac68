/** Dead letters: runs that failed are kept longest, listed by themselves, started again once. */
import { describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld, type CoordinatorWorldOptions } from "../support/coordinator-world.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
const FLOWS = {
  picky: flow((dag) => dag.node("a").apply("picky")),
  one: flow((dag) => dag.node("a").apply("picky")),
};

function worldOf(options: Partial<CoordinatorWorldOptions> = {}) {
  const state = { isBroken: true };
  const picky = (n: unknown): unknown => {
    if (state.isBroken && Number(n) < 0) throw new Error("no");
    return n;
  };
  const world = new CoordinatorWorld({ flows: FLOWS, functions: { picky }, ...options });
  return { world, state };
}

async function ran(world: CoordinatorWorld, id: string, input: number, more = {}): Promise<void> {
  world.start(id, "picky", input, undefined, more);
  await world.finish([id]);
}

const listed = (world: CoordinatorWorld, filter = {}): string[] =>
  world.coordinator.list("default", filter).runs.map(({ id }) => id);

function refusal(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

describe("dead letters", () => {
  it("are the runs that failed and were not replayed", async () => {
    const { world, state } = worldOf();
    await ran(world, "0-a", 1);
    await ran(world, "0-b", -1);
    await ran(world, "0-c", -2);
    expect(listed(world, { isDeadOnly: true })).toStrictEqual(["0-c", "0-b"]);
    state.isBroken = false;
    await ran(world, "0-d", -1, { replayOf: "0-b" });
    expect(listed(world, { isDeadOnly: true })).toStrictEqual(["0-c"]);
    expect(listed(world, { status: "failed" })).toStrictEqual(["0-c", "0-b"]);
    expect(world.show("0-b").replayedAs).toBe("0-d");
    expect(world.show("0-d")).toMatchObject({ status: "completed", replayOf: "0-b" });
    expect(world.coordinator.list("default").runs.find(({ id }) => id === "0-b")).toMatchObject({
      replayedAs: "0-d",
      error: { message: "no" },
    });
  });

  it("that fail again are dead letters of their own", async () => {
    const { world } = worldOf();
    await ran(world, "0-a", -1);
    await ran(world, "0-b", -1, { replayOf: "0-a" });
    expect(listed(world, { isDeadOnly: true })).toStrictEqual(["0-b"]);
  });

  it("are replayed once under an id, across a crash", async () => {
    const { world } = worldOf();
    await ran(world, "0-a", -1);
    const again = { replayOf: "0-a" };
    expect(world.start("0-b", "picky", -1, undefined, again).value.isNew).toBe(true);
    await world.commit();
    world.crash();
    expect(world.start("0-b", "picky", -1, undefined, again).value.isNew).toBe(false);
    await world.finish(["0-b"]);
    expect(listed(world)).toStrictEqual(["0-b", "0-a"]);
  });

  it("are of their namespace, and failed", async () => {
    const { world } = worldOf();
    await ran(world, "0-a", 1);
    const again = { replayOf: "0-a" };
    expect(refusal(() => world.start("0-b", "picky", 1, undefined, again))).toBe("RUN_STATE");
    const missing = { replayOf: "0-x" };
    expect(refusal(() => world.start("0-b", "picky", 1, undefined, missing))).toBe("RUN_NOT_FOUND");
    const foreign = { ...again, namespace: "other" };
    expect(refusal(() => world.start("0-b", "picky", 1, undefined, foreign))).toBe("RUN_NOT_FOUND");
    expect(listed(world)).toStrictEqual(["0-a"]);
  });

  it("outlast runs that completed after them, when there are too many", async () => {
    const { world } = worldOf({ options: { keptRuns: 3, keptMs: 30 * DAY_MS } });
    await ran(world, "0-a", -1);
    await ran(world, "0-b", 1);
    await ran(world, "0-c", -2);
    for (const id of ["0-d", "0-e", "0-f"]) await ran(world, id, 1);
    expect(listed(world)).toStrictEqual(["0-f", "0-c", "0-a"]);
  });
});
