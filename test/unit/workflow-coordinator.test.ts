/** The coordinator's own part: keys, children, timers, lists, retention, memory, durabilities. */
import { describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { type Flow, flow } from "../../workflow/builder/index.ts";
import { graphOfRun } from "../../workflow/index.ts";
import { CoordinatorWorld, type CoordinatorWorldOptions } from "../support/coordinator-world.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

const FLOWS: Readonly<Record<string, Flow>> = {
  one: flow((dag) => dag.node("a").apply("double")),
  changed: flow((dag) =>
    dag
      .node("a")
      .apply("double")
      .modify((n: number) => n + 1)
      .apply("double"),
  ),
  two: flow((dag) => dag.node("a").apply("double").apply("double")),
  loose: flow((dag) => dag.node("a").apply("double").sleep(1_000).apply("double"), {
    durability: "run",
  }),
  parent: flow((dag) => dag.node("a").invoke("two").apply("double")),
  orphan: flow((dag) => dag.node("a").invoke("missing")),
  sleeper: flow((dag) => dag.node("a").sleep("10m").apply("double")),
  waiter: flow((dag) => dag.node("a").waitForEvent("go")),
  fails: flow((dag) => dag.node("a").apply("double").apply("fail")),
};

const worldOf = (options: Partial<CoordinatorWorldOptions> = {}): CoordinatorWorld =>
  new CoordinatorWorld({
    flows: FLOWS,
    functions: {
      double: (n) => Number(n) * 2,
      fail: () => {
        throw new Error("no");
      },
    },
    ...options,
  });

async function refusal(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

const settle = async (world: CoordinatorWorld): Promise<void> => {
  while (
    (world.wakeAtMs ?? Number.POSITIVE_INFINITY) > world.nowMs + 60_000 &&
    (await idle(world))
  );
};

/** One action, if there is one that is not the timer's. */
async function idle(world: CoordinatorWorld): Promise<boolean> {
  const before = world.nowMs;
  const rest = world.wakeAtMs;
  world.wakeAtMs = undefined;
  const isActive = await world.act();
  world.wakeAtMs ??= rest;
  return isActive || world.nowMs !== before;
}

const call = (world: CoordinatorWorld, session: number, name: string): void => {
  world.tell("0-a", {
    type: "stepCalled",
    session,
    step: `do:${name}-1`,
    operation: { op: "do", retry: { limit: 0, delayMs: 0, backoff: "constant" } },
  });
};
const kinds = (world: CoordinatorWorld): string[] => world.performed.map((effect) => effect.do);

describe("starts", () => {
  it("happen once for an id, and once for a key", async () => {
    const world = worldOf();
    const key = { key: "k", digest: "d" };
    expect(world.start("0-a", "one", 1, key).value).toStrictEqual({ id: "0-a", isNew: true });
    expect(world.start("0-b", "one", 1, key).value).toStrictEqual({ id: "0-a", isNew: false });
    await world.finish(["0-a"]);
    world.crash();
    expect(world.start("0-c", "one", 1, key).value).toStrictEqual({ id: "0-a", isNew: false });
    expect(world.start("0-a", "one", 1).value.isNew).toBe(false);
    expect(world.ledger.size).toBe(1);
    const other = { key: "k", digest: "another body" };
    expect(await refusal(() => world.start("0-d", "one", 2, other))).toBe("KEY_REUSED");
    expect(world.start("0-e", "two", 2, other).value.isNew).toBe(true);
  });

  it("leave nothing to be performed before they are on disk (G9)", async () => {
    const world = worldOf();
    const { position } = world.start("0-a", "one", 1);
    expect(position).toBeGreaterThan(world.log.durable);
    world.crash();
    expect(await refusal(() => world.show("0-a"))).toBe("RUN_NOT_FOUND");
    expect(world.ledger.size).toBe(0);
  });
});

describe("plans", () => {
  it("are checked where they come in: an isolate may hand over anything", async () => {
    const world = worldOf();
    for (const [at, plan] of [null, { format: 1 }, "plan"].entries()) {
      const id = `0-${String(at)}`;
      world.start(id, "one", 1);
      const planned = { type: "planned", plan, pins: {} } as unknown;
      world.tell(id, planned as Parameters<typeof world.tell>[1]);
      await world.finish([id]);
      expect(world.show(id).ended?.error?.code).toBe("PLAN_INVALID");
    }
  });
});

describe("runs of other runs", () => {
  it("are runs of the same shard, and hand their result up", async () => {
    const world = worldOf();
    world.start("0-a", "parent", 1);
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(8);
    expect(world.show("0-a.1").status).toBe("completed");
    const { entries } = world.coordinator.history("default", "0-a");
    expect(entries.find(({ type }) => type === "attemptStarted")?.run).toBe("0-a.1");
    expect(world.jobEnds).toStrictEqual(["0-a.1 completed", "0-a completed"]);
  });

  it("of no workflow fail the step", async () => {
    const world = worldOf();
    world.start("0-a", "orphan", 1);
    await world.finish(["0-a"]);
    expect(world.show("0-a").ended?.error?.code).toBe("FUNCTION_NOT_FOUND");
  });

  it("end with the run that invoked them", async () => {
    const world = worldOf({ flows: { ...FLOWS, two: FLOWS["waiter"] as Flow } });
    world.start("0-a", "parent", 1);
    for (let left = 10; left > 0; left -= 1) await idle(world);
    expect(world.show("0-a.1").status).toBe("waiting");
    world.tell("0-a", { type: "terminate" });
    await world.finish(["0-a", "0-a.1"]);
    expect(world.show("0-a.1").status).toBe("terminated");
    expect(world.show("0-a").status).toBe("terminated");
  });
});

describe("waiting runs", () => {
  it("leave memory, and come back for their timer, across a crash", async () => {
    const world = worldOf({ options: { residentRuns: 1 } });
    const ids = Array.from({ length: 20 }, (_v, at) => `0-${String(at)}`);
    for (const id of ids) world.start(id, "sleeper", 3);
    await settle(world);
    expect(world.coordinator.residents).toBeLessThanOrEqual(1);
    expect(ids.map((id) => world.show(id).status)).toStrictEqual(ids.map(() => "waiting"));
    world.crash();
    expect(world.coordinator.residents).toBe(0);
    await world.finish(ids);
    expect(ids.map((id) => world.output(id))).toStrictEqual(ids.map(() => 6));
    expect(world.nowMs).toBeGreaterThanOrEqual(1_000_000 + 600_000);
  });

  it("come back for an event", async () => {
    const world = worldOf({ options: { residentRuns: 0 } });
    world.start("0-a", "waiter", 0);
    await settle(world);
    expect(world.coordinator.residents).toBe(0);
    world.tell("0-a", { type: "signal", id: "1", name: "go", payload: { value: "yes" } });
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe("yes");
  });
});

describe("durabilities", () => {
  it("step: what is done is not done again after a crash", async () => {
    const world = worldOf();
    world.start("0-a", "sleeper", 1);
    await settle(world);
    const before = world.rows("workflowJournal");
    expect(before).toBeGreaterThan(1);
    world.crash();
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(2);
  });

  it("run: stays in memory while it waits, for nothing else has it", async () => {
    const world = worldOf({ options: { residentRuns: 0 } });
    world.start("0-a", "loose", 1);
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(4);
    expect(world.ledger.get("0-a/a/0")).toBe(1);
  });

  it("run: keeps the start alone, begins anew after a crash, and ends all the same", async () => {
    const world = worldOf();
    world.start("0-a", "loose", 1);
    for (let left = 6; left > 0; left -= 1) await idle(world);
    expect(world.rows("workflowJournal")).toBe(1);
    expect(world.ledger.get("0-a/a/0")).toBe(1);
    world.crash();
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(4);
    expect(world.ledger.get("0-a/a/0")).toBe(2);
  });
});

describe("code", () => {
  it("is run again after a crash, and gets what its journal knows", async () => {
    const world = worldOf();
    world.start("0-a", "code", 1);
    await world.commit();
    call(world, 1, "pay");
    await world.commit();
    const outcome = { ok: true, output: { value: "paid" } } as const;
    world.tell("0-a", { type: "settled", step: "do:pay-1", token: 1, outcome });
    await world.commit();
    expect(kinds(world)).toStrictEqual(["runCode", "dispatch", "answerStep"]);
    world.crash();
    await world.commit();
    call(world, 2, "pay");
    await world.commit();
    world.tell("0-a", { type: "codeEnded", session: 1, outcome });
    expect(world.show("0-a").status).toBe("running");
    world.tell("0-a", { type: "codeEnded", session: 2, outcome });
    await world.commit();
    expect(kinds(world).slice(3)).toStrictEqual(["runCode", "answerStep", "ended"]);
    expect(world.output("0-a")).toBe("paid");
  });

  it("is put out of memory while it waits, and woken by its timer", async () => {
    const world = worldOf({ options: { residentRuns: 0 } });
    world.start("0-a", "code", 1);
    await world.commit();
    const operation = { op: "sleep", forMs: 5_000 } as const;
    world.tell("0-a", { type: "stepCalled", session: 1, step: "sleep:rest-1", operation });
    world.tell("0-a", { type: "codeIdle", session: 1 });
    await world.commit();
    expect(world.show("0-a").status).toBe("waiting");
    expect(world.coordinator.residents).toBe(0);
    while (kinds(world).length < 3 && (await world.act()));
    await world.commit();
    expect(kinds(world)).toStrictEqual(["runCode", "parkCode", "runCode"]);
    expect(world.nowMs).toBe(1_005_000);
  });
});

describe("hooks", () => {
  it("wait for no commit, and are committed with what they were asked about", async () => {
    const world = worldOf();
    world.start("0-a", "changed", 1);
    for (let at = 0; at < 10 && !kinds(world).includes("dispatch"); at += 1) await world.act();
    const { commits } = world;
    const dispatch = world.performed.find((effect) => effect.do === "dispatch");
    const outcome = { ok: true as const, output: { value: 2 } };
    world.tell("0-a", { type: "settled", step: "a/0", token: dispatch?.token ?? 0, outcome });
    await Promise.resolve();
    expect(kinds(world)).toStrictEqual(["plan", "dispatch", "hooks"]);
    expect(world.commits).toBe(commits);
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(6);
  });
});

describe("what is kept", () => {
  it("is so many runs and no more, the oldest leave; young keys hold theirs", async () => {
    const world = worldOf({ options: { keptRuns: 3 } });
    for (let at = 0; at < 6; at += 1) {
      const key = at === 0 ? { key: "k", digest: "d" } : undefined;
      world.start(`0-${String(at)}`, "one", at, key);
      await world.finish([`0-${String(at)}`]);
    }
    const ids = (): string[] => world.coordinator.list("default").runs.map(({ id }) => id);
    expect(ids()).toStrictEqual(["0-5", "0-4", "0-0"]);
    world.crash();
    world.nowMs += 2 * DAY_MS;
    world.start("0-6", "one", 6);
    await world.finish(["0-6"]);
    expect(ids()).toStrictEqual(["0-6", "0-5", "0-4"]);
  });

  it.each([
    ["a short run its journal", "two", 1],
    ["a run that kept none its history and last state", "loose", 0],
  ])("of a finished run is a row, and of %s: little", async (_name, workflow, journals) => {
    const world = worldOf();
    world.start("0-a", workflow, 1);
    await world.finish(["0-a"]);
    expect(Math.sign(world.rows("workflowJournal"))).toBe(journals);
    const bytes = world.bytes(
      `SELECT (SELECT length(request) + ifnull(length(state), 0) + length(ended) FROM workflowRuns)
         + (SELECT ifnull(sum(length(entries)), 0) FROM workflowHistory)
         + (SELECT ifnull(sum(length(event)), 0) FROM workflowJournal) AS n`,
    );
    expect(bytes).toBeLessThan(10_000);
  });

  it("leaves after its time, with everything of it", async () => {
    const world = worldOf({ options: { keptMs: 2 * DAY_MS } });
    world.start("0-a", "one", 1, { key: "k", digest: "d" });
    await world.finish(["0-a"]);
    world.nowMs += DAY_MS;
    world.coordinator.wake();
    expect(world.show("0-a").status).toBe("completed");
    world.nowMs += 2 * DAY_MS;
    world.coordinator.wake();
    expect(await refusal(() => world.show("0-a"))).toBe("RUN_NOT_FOUND");
    const tables = ["workflowRuns", "workflowHistory", "workflowJournal", "workflowKeys"];
    expect(tables.map((table) => world.rows(table))).toStrictEqual([0, 0, 0, 0]);
  });

  it("of a failed run lets it go on", async () => {
    let isBroken = true;
    const world = worldOf({
      functions: {
        double: (n) => Number(n) * 2,
        fail: (n) => {
          if (isBroken) throw new Error("no");
          return n;
        },
      },
    });
    world.start("0-a", "fails", 1);
    await world.finish(["0-a"]);
    expect(world.show("0-a").ended?.error?.step).toBe("a/1");
    world.crash();
    isBroken = false;
    world.tell("0-a", { type: "restart" });
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(2);
    expect(world.ledger.get("0-a/a/0")).toBe(1);
  });
});

describe("lists", () => {
  it("are newest first, by pages, filtered", async () => {
    const world = worldOf();
    for (let at = 0; at < 25; at += 1) world.start(`0-${String(at)}`, at % 5 ? "one" : "fails", at);
    await world.finish(Array.from({ length: 25 }, (_v, at) => `0-${String(at)}`));
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = world.coordinator.list("default", { limit: 10, ...(cursor && { cursor }) });
      seen.push(...page.runs.map(({ id }) => id));
      ({ cursor } = page);
    } while (cursor !== undefined);
    expect(seen).toStrictEqual(Array.from({ length: 25 }, (_v, at) => `0-${String(24 - at)}`));
    const { runs } = world.coordinator.list("default", { status: "failed" });
    expect(runs.map(({ workflow }) => workflow)).toStrictEqual(Array(5).fill("fails"));
    expect(world.coordinator.list("default", { workflow: "fails" }).runs.length).toBe(5);
    expect(world.coordinator.list("another").runs).toStrictEqual([]);
    const bad = { cursor: "x" };
    expect(await refusal(() => world.coordinator.list("default", bad))).toBe("REQUEST_INVALID");
  });

  it("go on after a run, and hold none that began meanwhile", async () => {
    const world = worldOf();
    for (const at of [1, 2, 3]) world.start(`0-${String(at)}`, "one", at);
    const { runs, last } = world.coordinator.list("default", { limit: 2 });
    expect(runs.map(({ number }) => number)).toStrictEqual([3, 2]);
    expect(last).toBe(3);
    world.start("0-4", "one", 4);
    const rest = world.coordinator.list("default", { cursor: String(runs[1]?.number) });
    expect(rest.runs.map(({ id }) => id)).toStrictEqual(["0-1"]);
    expect(rest.last).toBe(4);
  });

  it("look at so many rows at once for what is rare, and say where to go on", async () => {
    const world = worldOf();
    world.start("0-first", "fails", 1);
    const startedAtMs = world.nowMs;
    for (let at = 0; at < 6_000; at += 1) world.start(`0-${String(at)}`, "sleeper", at);
    const page = world.coordinator.list("default", { workflow: "fails" });
    expect(page).toMatchObject({ runs: [], cursor: "1002" });
    const cursor = page.cursor ?? "";
    const rest = world.coordinator.list("default", { workflow: "fails", cursor });
    expect(rest.runs.map(({ id }) => id)).toStrictEqual(["0-first"]);
    expect(rest.cursor).toBeUndefined();
    const sinceMs = startedAtMs + 1;
    expect(world.coordinator.list("default", { sinceMs })).toStrictEqual({ runs: [], last: 6_001 });
  });

  it("give each line of a history an id to go on after", async () => {
    const world = worldOf();
    world.start("0-a", "two", 1);
    await world.finish(["0-a"]);
    const { entries } = world.coordinator.history("default", "0-a");
    for (const [at, { id }] of entries.entries()) {
      const rest = world.coordinator.history("default", "0-a", id);
      expect(rest.entries).toStrictEqual(entries.slice(at + 1));
    }
    const started = entries.filter(({ type }) => type === "stepStarted");
    expect(started.map(({ what }) => what)).toStrictEqual(["apply double", "apply double"]);
    const bad = (): unknown => world.coordinator.history("default", "0-a", "1");
    expect(await refusal(bad)).toBe("REQUEST_INVALID");
  });

  it("count runs by namespace, workflow and status, over crashes and ends", async () => {
    const world = worldOf();
    const counts = (): string[] =>
      world.coordinator.reader
        .tally()
        .map(({ namespace, workflow, status, count }) =>
          [namespace, workflow, status, count].join(" "),
        )
        .sort();
    world.start("0-a", "two", 1);
    world.start("0-b", "waiter", 1);
    world.start("0-c", "fails", 1);
    expect(counts()).toStrictEqual([
      "default fails queued 1",
      "default two queued 1",
      "default waiter queued 1",
    ]);
    await world.finish(["0-a", "0-c"]);
    const ended = ["default fails failed 1", "default two completed 1"];
    expect(counts()).toStrictEqual([...ended, "default waiter waiting 1"]);
    world.tell("0-c", { type: "restart" });
    expect(counts()).toContain("default fails running 1");
    await world.finish(["0-c"]);
    expect(counts()).toContain("default fails failed 2");
    world.crash();
    expect(counts()).toStrictEqual(["default waiter waiting 1"]);
    world.coordinator.endNamespace("default");
    expect(counts()).toStrictEqual([]);
  });

  it("tell of a run as a whole, and leave nothing in memory", async () => {
    const world = worldOf();
    world.start("0-a", "two", 1);
    await world.finish(["0-a"]);
    const { summary, request, state } = world.coordinator.inspect("default", "0-a");
    expect([summary.status, request.workflow]).toStrictEqual(["completed", "two"]);
    expect(graphOfRun(state).nodes).toMatchObject([{ id: "a", phase: "done" }]);
    expect(world.coordinator.residents).toBe(0);
    expect(await refusal(() => world.coordinator.inspect("another", "0-a"))).toBe("RUN_NOT_FOUND");
  });

  it("show histories by pages, and nothing to other namespaces (G6)", async () => {
    const world = worldOf();
    world.start("0-a", "two", 1);
    await world.finish(["0-a"]);
    const { entries, after } = world.coordinator.history("default", "0-a");
    expect(entries.map(({ type }) => type)).toStrictEqual([
      "runStarted",
      "stepStarted",
      "attemptStarted",
      "stepCompleted",
      "stepStarted",
      "attemptStarted",
      "stepCompleted",
      "runEnded",
    ]);
    expect(world.coordinator.history("default", "0-a", after).entries).toStrictEqual([]);
    expect(await refusal(() => world.coordinator.show("another", "0-a"))).toBe("RUN_NOT_FOUND");
    const other = { id: "0-a", namespace: "another" };
    const terminate = { type: "terminate" } as const;
    expect(await refusal(() => world.coordinator.report(other, terminate))).toBe("RUN_NOT_FOUND");
  });
});

describe("what comes late", () => {
  it("from a former opening changes nothing", async () => {
    const world = worldOf();
    world.start("0-a", "one", 1);
    while (world.ledger.size === 0) await world.act();
    const { epoch } = world.coordinator;
    world.crash();
    const outcome = { ok: true, output: { value: "stale" } } as const;
    for (const token of [1, 2, 3]) {
      const ref = { id: "0-a", namespace: "default", epoch };
      world.coordinator.report(ref, { type: "settled", step: "a/0", token, outcome });
    }
    await world.finish(["0-a"]);
    expect(world.output("0-a")).toBe(2);
  });

  it("is settled in the store with the step that it belongs to", async () => {
    const world = worldOf();
    world.start("0-a", "two", 1);
    await world.finish(["0-a"]);
    expect(world.settled).toStrictEqual(["0-a a/0", "0-a a/1"]);
    expect(world.ends).toStrictEqual(["0-a"]);
  });
});
