/** A run's history: the same lines under the same ids, wherever they are kept at the moment. */
import { describe, expect, it } from "vitest";
import { type Flow, flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld, type CoordinatorWorldOptions } from "../support/coordinator-world.ts";

const FLOWS: Readonly<Record<string, Flow>> = {
  short: flow((dag) => dag.node("a").apply("double").apply("double")),
  waiter: flow((dag) => dag.node("a").apply("double").waitForEvent("go").apply("double")),
  long: flow((dag) => {
    const node = dag.node("a");
    for (let at = 0; at < 50; at += 1) node.apply("double");
  }),
  wide: flow((dag) => {
    const each = dag.forEachBranch("each", (width: number) => [...Array(width).keys()]);
    each.node("a").apply("double");
  }),
  loose: flow((dag) => dag.node("a").apply("double").sleep(1_000).apply("double"), {
    durability: "run",
  }),
};

const worldOf = (options: CoordinatorWorldOptions["options"] = {}): CoordinatorWorld =>
  new CoordinatorWorld({ flows: FLOWS, functions: { double: (n) => Number(n) * 2 }, options });

/** All of it, by pages, and the same again from each line on. */
function linesOf(world: CoordinatorWorld): string[] {
  const lines: string[] = [];
  for (let after = ""; ;) {
    const page = world.coordinator.history("default", "0-a", after);
    if (page.entries.length === 0) return lines;
    lines.push(...page.entries.map(({ id, type, step = "" }) => `${id} ${type} ${step}`));
    ({ after } = page);
  }
}

const idsOf = (lines: readonly string[]): readonly string[] =>
  lines.map((line) => line.slice(0, line.indexOf(" ")));

describe("a history", () => {
  it.each([
    ["short", 1, {}],
    ["long", 1, {}],
    ["long", 1, { snapshotEvents: 7 }],
    ["wide", 400, {}],
    ["wide", 30, { snapshotEvents: 4 }],
    ["loose", 1, {}],
  ])("grows by lines that stay as they are: %s of %i, %o", async (workflow, input, options) => {
    const world = worldOf(options);
    world.start("0-a", workflow, input);
    let seen: string[] = [];
    while (world.show("0-a").endedAtMs === undefined) {
      await world.act();
      // What is told of a run is on disk.
      await world.commit();
      const now = linesOf(world);
      expect(now.slice(0, seen.length)).toStrictEqual(seen);
      seen = now;
    }
    world.crash();
    expect(linesOf(world)).toStrictEqual(seen);
    expect(new Set(idsOf(seen)).size).toBe(seen.length);
    expect(seen.at(-1)).toContain("runEnded");
  });

  it("is the same of a run that left memory, and after its cell's death", async () => {
    const world = worldOf({ residentRuns: 0 });
    world.start("0-a", "waiter", 1);
    while (world.show("0-a").status !== "waiting") await world.act();
    await world.commit();
    const before = linesOf(world);
    expect(world.coordinator.residents).toBe(0);
    world.crash();
    expect(linesOf(world)).toStrictEqual(before);
    world.tell("0-a", { type: "signal", id: "1", name: "go", payload: { value: 3 } });
    await world.finish(["0-a"]);
    const after = linesOf(world);
    expect(after.slice(0, before.length)).toStrictEqual(before);
    expect(after.length).toBeGreaterThan(before.length);
  });

  it("of a run that begins anew uses no id twice", async () => {
    const world = worldOf();
    world.start("0-a", "loose", 1);
    for (let at = 0; at < 3; at += 1) await world.act();
    await world.commit();
    const before = linesOf(world);
    expect(before.join()).toContain("stepStarted a/1");
    world.crash();
    await world.finish(["0-a"]);
    const after = linesOf(world);
    const known = new Set(before);
    const ids = new Set(idsOf(before));
    expect(after.filter((line) => ids.has(line.split(" ")[0] ?? "") && !known.has(line))).toEqual(
      [],
    );
    expect(after.at(-1)).toContain("runEnded");
  });

  it("goes on behind its end when the run is restarted", async () => {
    const world = worldOf();
    world.start("0-a", "short", 1);
    await world.finish(["0-a"]);
    const before = linesOf(world);
    world.crash();
    world.tell("0-a", { type: "restart", from: "a/1" });
    await world.finish(["0-a"]);
    const after = linesOf(world);
    expect(after.slice(0, before.length)).toStrictEqual(before);
    expect(after.slice(before.length).join()).toContain("runRestarted");
    expect(new Set(idsOf(after)).size).toBe(after.length);
  });
});

describe("on disk", () => {
  it("an open run has its journal alone", async () => {
    const world = worldOf();
    world.start("0-a", "waiter", 1);
    while (world.show("0-a").status !== "waiting") await world.act();
    await world.commit();
    expect(world.rows("workflowHistory")).toBe(0);
    expect(world.rows("workflowJournal")).toBeGreaterThan(0);
  });

  it("a long run that has ended has its history and a state, and little journal", async () => {
    const world = worldOf();
    world.start("0-a", "wide", 400);
    await world.finish(["0-a"]);
    expect(world.rows("workflowJournal")).toBeLessThan(65);
    // Some hundred events a row.
    expect(world.rows("workflowHistory")).toBeLessThan(8);
    expect(linesOf(world).length).toBeGreaterThan(1_200);
  });
});
