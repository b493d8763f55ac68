/** Runs beyond the limit of their workflow: who waits, who begins next, what reaches who waits. */
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { CoordinatorWorld } from "../support/coordinator-world.ts";

const FLOWS = {
  waiter: flow((dag) => dag.node("a").waitForEvent("go")),
  free: flow((dag) => dag.node("a").waitForEvent("go")),
  parent: flow((dag) => dag.node("a").invoke("waiter")),
  loose: flow((dag) => dag.node("a").waitForEvent("go"), { durability: "run" }),
};
const NEVER_MS = 3_600_000;

/** At most two runs of `waiter`, unless the test changes the table. */
function worldOf(concurrency: Record<string, number> = { waiter: 2 }): CoordinatorWorld {
  return new CoordinatorWorld({ flows: FLOWS, concurrency });
}

/** Goes on until nothing but a wait of a day is left. */
async function rest(world: CoordinatorWorld): Promise<void> {
  const untilMs = world.nowMs + NEVER_MS;
  for (;;) {
    const wakeAtMs = world.wakeAtMs;
    if (wakeAtMs !== undefined && wakeAtMs > untilMs) world.wakeAtMs = undefined;
    const isActive = await world.act();
    world.wakeAtMs ??= wakeAtMs;
    if (!isActive) return;
  }
}

const statuses = (world: CoordinatorWorld, ids: readonly string[]): string[] =>
  ids.map((id) => world.show(id).status);

const go = (world: CoordinatorWorld, id: string): void => {
  world.tell(id, { type: "signal", id: `go ${id}`, name: "go", payload: { value: 1 } });
};

const entries = (world: CoordinatorWorld, id: string): string[] =>
  world.coordinator.history("default", id).entries.map(({ type }) => type);

const IDS = ["0-a", "0-b", "0-c", "0-d"] as const;

async function started(world: CoordinatorWorld, workflow = "waiter"): Promise<CoordinatorWorld> {
  for (const id of IDS) world.start(id, workflow, 1);
  await rest(world);
  return world;
}

describe("a workflow with a limit", () => {
  it("has so many runs under way; the oldest that waits begins as one ends", async () => {
    const world = await started(worldOf());
    expect(statuses(world, IDS)).toStrictEqual(["waiting", "waiting", "queued", "queued"]);
    go(world, "0-b");
    await rest(world);
    expect(statuses(world, IDS)).toStrictEqual(["waiting", "completed", "waiting", "queued"]);
    for (const id of IDS) if (world.show(id).status !== "completed") go(world, id);
    await rest(world);
    expect(statuses(world, IDS)).toStrictEqual(IDS.map(() => "completed"));
    expect(entries(world, "0-d").slice(0, 2)).toStrictEqual(["runQueued", "runStarted"]);
  });

  it("keeps its queue over a crash, in order", async () => {
    const world = await started(worldOf());
    world.crash();
    await rest(world);
    expect(statuses(world, IDS)).toStrictEqual(["waiting", "waiting", "queued", "queued"]);
    go(world, "0-a");
    await rest(world);
    expect(statuses(world, IDS)).toStrictEqual(["completed", "waiting", "waiting", "queued"]);
  });

  it("leaves other workflows and other namespaces alone", async () => {
    const world = await started(worldOf());
    world.start("0-e", "free", 1);
    const { coordinator } = world;
    const other = { input: { value: 1 }, query: {}, headers: {}, revision: 1 } as const;
    const request = { ...other, workflow: "waiter", form: "dag", concurrency: 2 } as const;
    coordinator.start({ ...request, id: "0-f", namespace: "other" });
    await rest(world);
    expect(world.show("0-e").status).toBe("waiting");
    expect(coordinator.show("other", "0-f").status).toBe("waiting");
    expect(coordinator.endNamespace("default").value).toBe(5);
    await rest(world);
    world.start("0-g", "waiter", 1);
    await rest(world);
    expect(world.show("0-g").status).toBe("waiting");
  });

  it("lets go who waits when the limit grows or is lifted, and keeps to a lower one", async () => {
    const limits: Record<string, number> = { waiter: 1 };
    const world = await started(worldOf(limits));
    limits["waiter"] = 3;
    world.start("0-e", "waiter", 1);
    await rest(world);
    const ids = [...IDS, "0-e"];
    const three = ["waiting", "waiting", "waiting", "queued", "queued"];
    expect(statuses(world, ids)).toStrictEqual(three);
    limits["waiter"] = 1;
    world.start("0-f", "waiter", 1);
    go(world, "0-a");
    await rest(world);
    expect(statuses(world, ["0-b", "0-c", "0-d"])).toStrictEqual(["waiting", "waiting", "queued"]);
    limits["waiter"] = 0;
    world.start("0-g", "waiter", 1);
    await rest(world);
    const all = [...ids, "0-f", "0-g"];
    expect(new Set(statuses(world, all))).toStrictEqual(new Set(["completed", "waiting"]));
  });

  it("holds for runs that others invoke, too", async () => {
    const world = worldOf({ waiter: 1 });
    for (const id of ["0-a", "0-b"]) world.start(id, "parent", 1);
    await rest(world);
    expect(statuses(world, ["0-a.1", "0-b.1"])).toStrictEqual(["waiting", "queued"]);
    go(world, "0-a.1");
    await rest(world);
    expect(statuses(world, ["0-a", "0-b.1"])).toStrictEqual(["completed", "waiting"]);
    world.tell("0-b", { type: "terminate" });
    await rest(world);
    expect(statuses(world, ["0-b", "0-b.1"])).toStrictEqual(["terminated", "terminated"]);
  });
});

describe("a run that waits for a place", () => {
  it("keeps events until it has begun, and hears commands", async () => {
    const world = await started(worldOf());
    go(world, "0-c");
    world.tell("0-d", { type: "pause" });
    await rest(world);
    world.crash();
    await rest(world);
    expect(statuses(world, ["0-c", "0-d"])).toStrictEqual(["queued", "queued"]);
    go(world, "0-a");
    await rest(world);
    expect(statuses(world, ["0-c", "0-d"])).toStrictEqual(["completed", "paused"]);
    world.tell("0-d", { type: "resume" });
    go(world, "0-d");
    await rest(world);
    expect(world.show("0-d").status).toBe("completed");
  });

  it("is terminated without having begun, and cannot go on from nothing", async () => {
    const world = await started(worldOf());
    world.tell("0-c", { type: "terminate", rollback: true });
    await rest(world);
    expect(statuses(world, IDS)).toStrictEqual(["waiting", "waiting", "terminated", "queued"]);
    expect(entries(world, "0-c")).toStrictEqual(["runQueued", "runTerminating", "runEnded"]);
    const restart = (): void => world.tell("0-c", { type: "restart" });
    expect(restart).toThrow("the status terminated");
    go(world, "0-a");
    await rest(world);
    expect(world.show("0-d").status).toBe("waiting");
  });

  it("has its timeout from when it begins", async () => {
    const world = worldOf({ waiter: 1 });
    const base = { namespace: "default", workflow: "waiter", form: "dag" } as const;
    const rest_ = { input: { value: 1 }, query: {}, headers: {}, revision: 1 } as const;
    const request = { ...base, ...rest_, timeoutMs: 10_000, concurrency: 1 };
    world.coordinator.start({ ...request, id: "0-a" });
    world.coordinator.start({ ...request, id: "0-b" });
    const beganMs = world.nowMs;
    await world.finish(["0-a", "0-b"]);
    expect(statuses(world, ["0-a", "0-b"])).toStrictEqual(["failed", "failed"]);
    expect((world.show("0-b").endedAtMs ?? 0) - beganMs).toBeGreaterThanOrEqual(20_000);
  });

  it("costs no memory, and begins once under durability run as well", async () => {
    const world = new CoordinatorWorld({
      flows: FLOWS,
      concurrency: { loose: 1 },
      options: { residentRuns: 1 },
    });
    for (let at = 0; at < 50; at += 1) world.start(`0-${String(at)}`, "loose", at);
    await rest(world);
    expect(world.coordinator.residents).toBe(1);
    world.crash();
    await rest(world);
    for (let at = 0; at < 50; at += 1) {
      go(world, `0-${String(at)}`);
      await rest(world);
      if (at % 10 === 0) world.crash();
      await rest(world);
    }
    const all = Array.from({ length: 50 }, (_, at) => `0-${String(at)}`);
    expect(new Set(statuses(world, all))).toStrictEqual(new Set(["completed"]));
    const starts = all.map((id) => entries(world, id).filter((one) => one === "runQueued").length);
    expect(starts.reduce((sum, one) => sum + one, 0)).toBe(49);
  });
});
