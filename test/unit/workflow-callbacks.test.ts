/** Callbacks of ended runs: owed with the end's commit, made until taken or given up. */
import { describe, expect, it } from "vitest";
import { WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import { type Flow, flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld, type CoordinatorWorldOptions } from "../support/coordinator-world.ts";

const FLOWS: Readonly<Record<string, Flow>> = {
  one: flow((dag) => dag.node("a").apply("double")),
  fails: flow((dag) => dag.node("a").apply("fail")),
};
const CALLBACK = { url: "https://receiver.example/", egress: "public" } as const;
const OPTIONS = { callbackDelayMs: 1_000, callbackDelayMaxMs: 8_000, callbackLastsMs: 60_000 };
const DOWN = { ok: false, error: { name: "Error", message: "no connection" } } as const;

interface Told {
  readonly run: string;
  readonly attempt: number;
  readonly atMs: number;
}

type Receiver = NonNullable<CoordinatorWorldOptions["receiver"]>;

/** A world whose callbacks are answered so; what it was told is written down. */
function worldOf(
  answer: Receiver,
  options: Partial<CoordinatorWorldOptions> = {},
): { world: CoordinatorWorld; told: Told[] } {
  const told: Told[] = [];
  const world: CoordinatorWorld = new CoordinatorWorld({
    flows: FLOWS,
    functions: {
      double: (n) => Number(n) * 2,
      fail: () => {
        throw new Error("no");
      },
    },
    options: OPTIONS,
    receiver: (run, attempt) => {
      told.push({ run, attempt, atMs: world.nowMs });
      return answer(run, attempt);
    },
    ...options,
  });
  return { world, told };
}

/** Goes on until no callback is owed. */
async function untilTold(world: CoordinatorWorld, actions = 500): Promise<void> {
  for (let left = actions; left > 0; left -= 1) {
    // A crash at this commit brings back what was taken off before it.
    await world.commit();
    if (world.rows("workflowCallbacks") === 0) return;
    await world.act();
  }
}

const callbackLines = (world: CoordinatorWorld, id: string) =>
  world.coordinator
    .history("default", id)
    .entries.filter(({ type }) => type.startsWith("callback"));

describe("a callback", () => {
  it("is made once when its receiver takes it, and the history says so", async () => {
    const { world, told } = worldOf(() => ({ ok: true }));
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    await untilTold(world);
    expect(told.map(({ run, attempt }) => [run, attempt])).toStrictEqual([["0-a", 1]]);
    expect(callbackLines(world, "0-a")).toMatchObject([{ type: "callbackDelivered", attempt: 1 }]);
    world.crash();
    await world.commit();
    expect(told).toHaveLength(1);
  });

  it("tells of runs that fail, too", async () => {
    const { world, told } = worldOf(() => ({ ok: true }));
    world.start("0-a", "fails", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    await untilTold(world);
    expect(told).toHaveLength(1);
  });

  it("is made again with delays that grow, until it is taken", async () => {
    const { world, told } = worldOf((_run, attempt) => (attempt < 5 ? DOWN : { ok: true }));
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    await untilTold(world);
    expect(told.map(({ attempt }) => attempt)).toStrictEqual([1, 2, 3, 4, 5]);
    const delays = told.slice(1).map(({ atMs }, index) => atMs - (told[index]?.atMs ?? 0));
    for (const [index, least] of [1_000, 2_000, 4_000, 8_000].entries()) {
      expect(delays[index]).toBeGreaterThanOrEqual(least);
      expect(delays[index]).toBeLessThan(least * 1.1 + 50);
    }
    expect(callbackLines(world, "0-a").at(-1)).toMatchObject({ type: "callbackDelivered" });
  });

  it("is given up after its time, and its run says so", async () => {
    const { world, told } = worldOf(() => DOWN);
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    const endedAtMs = world.show("0-a").endedAtMs ?? 0;
    await untilTold(world);
    expect(told.length).toBeGreaterThan(5);
    expect((told.at(-1)?.atMs ?? 0) - endedAtMs).toBeLessThanOrEqual(60_050);
    const last = callbackLines(world, "0-a").at(-1);
    expect(last).toMatchObject({ type: "callbackGivenUp", error: { message: "no connection" } });
    expect(last?.retryAtMs).toBeUndefined();
  });

  it("is given up at once when no other attempt can end differently", async () => {
    const { world, told } = worldOf(() => ({ ...DOWN, isFinal: true }));
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    await untilTold(world);
    expect(told).toHaveLength(1);
    expect(callbackLines(world, "0-a")).toMatchObject([{ type: "callbackGivenUp", attempt: 1 }]);
  });

  it("waits as long as its receiver asks, within the longest delay", async () => {
    const { world, told } = worldOf((_run, attempt) =>
      attempt === 1 ? { ...DOWN, retryAfterMs: 5_000 } : { ok: true },
    );
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    await untilTold(world);
    expect((told[1]?.atMs ?? 0) - (told[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(5_000);
  });

  it("is made again after a crash, if nobody has said that it was taken (G1)", async () => {
    let isDown = true;
    const { world, told } = worldOf(() => (isDown ? undefined : { ok: true }));
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    while (told.length === 0) await world.act();
    world.crash();
    isDown = false;
    await untilTold(world);
    expect(told.map(({ run, attempt }) => [run, attempt])).toStrictEqual([
      ["0-a", 1],
      ["0-a", 1],
    ]);
    expect(world.rows("workflowCallbacks")).toBe(0);
  });

  it("is owed from the end's commit on, at whichever commit a crash comes (G1)", async () => {
    for (let commit = 1; commit < 14; commit += 1) {
      for (const when of ["before", "after"] as const) {
        const { world, told } = worldOf(() => ({ ok: true }), { crashes: [{ commit, when }] });
        do {
          world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
          await world.commit();
        } while (world.coordinator.list("default").runs.length === 0);
        await world.finish(["0-a"]);
        await untilTold(world);
        expect(told.length, `${when} commit ${String(commit)}`).toBeGreaterThan(0);
        expect(world.rows("workflowCallbacks")).toBe(0);
      }
    }
  });

  it("goes with its namespace", async () => {
    const { world, told } = worldOf(() => DOWN);
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    world.coordinator.endNamespace("default");
    await world.commit();
    expect(world.rows("workflowCallbacks")).toBe(0);
    expect(told.length).toBeLessThanOrEqual(1);
  });

  it("of a run that goes on after its end is told at the next one", async () => {
    const { world, told } = worldOf(() => undefined);
    world.start("0-a", "fails", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    world.tell("0-a", { type: "restart" });
    expect(world.rows("workflowCallbacks")).toBe(0);
    await world.finish(["0-a"]);
    expect(world.rows("workflowCallbacks")).toBe(1);
    expect(told.length).toBeLessThanOrEqual(2);
  });

  it("keeps its run although newer ones are beyond what is kept", async () => {
    const options = { ...OPTIONS, keptRuns: 2 };
    const { world } = worldOf(() => undefined, { options });
    world.start("0-a", "one", 1, undefined, { callback: CALLBACK });
    await world.finish(["0-a"]);
    // Keys are no reason to keep runs any more, a day later.
    world.nowMs += 25 * 60 * 60 * 1_000;
    for (const id of ["0-b", "0-c", "0-d"]) {
      world.start(id, "one", 1);
      await world.finish([id]);
    }
    expect(world.show("0-a").status).toBe("completed");
    expect(() => world.show("0-b")).toThrow("0-b");
  });
});

describe("receivers that never answer", () => {
  it("hold up their own namespace alone", async () => {
    const { world, told } = worldOf((run) => (run.startsWith("0-good") ? { ok: true } : undefined));
    const slow = { namespace: "slow", callback: CALLBACK };
    for (let at = 0; at < 40; at += 1) world.start(`0-bad${String(at)}`, "one", 1, undefined, slow);
    for (let at = 0; at < 3; at += 1) {
      world.start(`0-good${String(at)}`, "one", 1, undefined, { callback: CALLBACK });
    }
    for (let left = 400; left > 0; left -= 1) await world.act();
    const bad = told.filter(({ run }) => run.startsWith("0-bad"));
    expect(bad).toHaveLength(WORKFLOW_LIMITS.callbacksAtOncePerNamespace);
    expect(new Set(told.map(({ run }) => run)).size).toBe(bad.length + 3);
  });
});
