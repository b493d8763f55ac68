/** Runs whose events, states and results are larger than a row may be. */
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld } from "../support/coordinator-world.ts";

const ITEMS = 1_500;
const DAY_MS = 24 * 60 * 60 * 1_000;

const WIDE = flow((dag) => {
  dag.node("make").modify(() => Array.from({ length: ITEMS }, (_, at) => `${at}:`.padEnd(2_000)));
  dag
    .forEachBranch("each", (items) => items, {})
    .node("one")
    .apply("fill");
  dag.edge("make", "each");
});

describe("a run with more in it than a row may have", () => {
  it("ends, over a crash, and tells its result and history as long as it is kept", async () => {
    const functions = { fill: (item: unknown) => String(item).trim().padEnd(3_000, "x") };
    const world = new CoordinatorWorld({ flows: { wide: WIDE }, functions });
    world.start("0-1", "wide", 1);
    await world.commit();
    for (let actions = 0; actions < ITEMS; actions += 1) await world.act();
    await world.commit();
    world.crash();
    expect(world.rows("workflowPieces")).toBeGreaterThan(0);
    await world.finish(["0-1"]);
    world.crash();
    const output = world.output("0-1") as Record<string, string>;
    expect(Object.keys(output).length).toBe(ITEMS);
    expect(output["7"]).toBe("7:".padEnd(3_000, "x"));
    let steps = 0;
    for (let after = "", isMore = true; isMore;) {
      const page = world.coordinator.history("default", "0-1", after);
      steps += page.entries.filter(({ type }) => type === "stepCompleted").length;
      isMore = page.entries.length > 0;
      ({ after } = page);
    }
    expect(steps).toBe(ITEMS);
    expect(world.coordinator.inspect("default", "0-1").state.ended?.status).toBe("completed");
    world.nowMs += 8 * DAY_MS;
    world.coordinator.wake();
    await world.commit();
    expect(world.rows("workflowPieces")).toBe(0);
  }, 60_000);
});
