/** Pause, resume, terminate, restart, interruptions, and what comes late: commands to a DAG run. */
import { describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { flow } from "../../workflow/builder/index.ts";
import { NEVER, WorkflowWorld, type WorldOptions } from "../support/workflow-world.ts";

type Define = Parameters<typeof flow>[0];

const FUNCTIONS: WorldOptions["functions"] = {
  double: (n) => Number(n) * 2,
  echo: (value) => value,
  never: () => NEVER,
  fail: () => {
    throw new Error("no");
  },
};

const worldOf = (define: Define, options: WorldOptions = {}): WorkflowWorld =>
  new WorkflowWorld({
    flow: flow(define),
    ...options,
    functions: { ...FUNCTIONS, ...options.functions },
  });

const diamond: Define = (dag) => {
  dag.node("start").apply("echo");
  dag.node("a").apply("double");
  dag.node("b").apply("double");
  dag.node("end", { aggregator: ({ a, b }) => a + b }).apply("echo");
  for (const middle of ["a", "b"]) {
    dag.edge("start", middle);
    dag.edge(middle, "end");
  }
};

function command(world: WorkflowWorld, report: Parameters<WorkflowWorld["report"]>[0]): void {
  world.report(report);
  world.commit();
}

function refusal(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

const actUntil = async (world: WorkflowWorld, isThere: () => boolean): Promise<void> => {
  while (!isThere() && (await world.act()));
};

const dispatches = (world: WorkflowWorld): string[] =>
  world.left("dispatch").map(({ step }) => step);

const saga: Define = (dag) => {
  dag.node("a").apply("double", { compensate: "undo" }).apply("never");
  dag.onFailure(() => "mended");
};

const fixable = (state: { isBroken: boolean }) => ({
  fixable: (value: unknown) => {
    if (state.isBroken) throw new Error("broken");
    return value;
  },
});

describe("joins (G3)", () => {
  it("fire once when both parents end at once and one report comes twice", async () => {
    const world = worldOf(diamond, { input: 1 });
    await actUntil(world, () => dispatches(world).length === 3);
    const reports = world
      .left("dispatch")
      .filter(({ step }) => step !== "start/0")
      .map(({ step, token }) => ({
        type: "settled" as const,
        step,
        token,
        outcome: { ok: true as const, output: { value: 2 } },
      }));
    for (const report of [...reports, ...reports]) world.report(report);
    world.commit();
    await world.finish();
    expect(world.output).toBe(4);
    expect(dispatches(world).filter((step) => step === "end/0")).toStrictEqual(["end/0"]);
  });

  it("get the same inputs again when the process dies before the node has run", async () => {
    const inputs: unknown[] = [];
    const world = worldOf(diamond, {
      input: 1,
      functions: {
        echo: (value) => {
          inputs.push(value);
          return value;
        },
      },
    });
    await actUntil(world, () => dispatches(world).includes("end/0"));
    world.crash();
    await world.finish();
    expect(world.output).toBe(4);
    expect(inputs.at(-1)).toBe(4);
    expect(world.ledger.get("0-1/end/0")).toBe(2);
  });
});

describe("a pause", () => {
  it("lets running steps end, begins nothing, and repeats nothing afterwards", async () => {
    const world = worldOf(diamond, { input: 1 });
    await actUntil(world, () => dispatches(world).length === 3);
    command(world, { type: "pause" });
    expect(world.run.status).toBe("pausing");
    await world.finish();
    expect(world.run.status).toBe("paused");
    expect(dispatches(world)).toStrictEqual(["start/0", "a/0", "b/0"]);
    command(world, { type: "resume" });
    await world.finish();
    expect(world.output).toBe(4);
    expect(dispatches(world)).toStrictEqual(["start/0", "a/0", "b/0", "end/0"]);
  });

  it("does not count in sleeps, nor for events", async () => {
    const world = worldOf((dag) => dag.node("a").sleep(10_000));
    await world.until(2_000);
    command(world, { type: "pause" });
    await world.until(500_000);
    command(world, { type: "timer", key: "a/0" });
    expect(world.run.status).toBe("paused");
    command(world, { type: "resume" });
    await world.until(507_000);
    expect(world.run.status).toBe("waiting");
    await world.finish();
    expect(world.run.status).toBe("completed");
    expect(world.nowMs).toBeGreaterThanOrEqual(508_000);
  });

  it("survives the death of the process", async () => {
    const world = worldOf(diamond, { input: 1 });
    await actUntil(world, () => dispatches(world).length === 3);
    command(world, { type: "pause" });
    world.crash();
    await world.finish();
    expect(world.run.status).toBe("paused");
    command(world, { type: "resume" });
    await world.finish();
    expect(world.output).toBe(4);
  });
});

describe("a termination", () => {
  it.each([
    [true, ["a/0/undo"]],
    [false, []],
  ])("with rollback %s ends what runs and undoes %j", async (rollback, undone) => {
    const world = worldOf(saga, { input: 1, functions: { undo: () => "undone" } });
    await actUntil(world, () => dispatches(world).length === 2);
    command(world, { type: "terminate", rollback });
    // Nothing is undone while an attempt may still work on it.
    expect(dispatches(world).length).toBe(2);
    await world.finish();
    expect(world.run.state.ended?.status).toBe("terminated");
    expect(world.left("cancel").map(({ step }) => step)).toStrictEqual(["a/1"]);
    expect(dispatches(world).slice(2)).toStrictEqual(undone);
    expect(refusal(() => command(world, { type: "terminate" }))).toBe("RUN_STATE");
  });

  it("waits for hooks that are being called", async () => {
    const world = worldOf(
      (dag) =>
        dag
          .node("a")
          .modify((n) => n)
          .apply("double"),
      { input: 1 },
    );
    await actUntil(world, () => world.left("hooks").length === 1);
    command(world, { type: "terminate" });
    expect(world.run.state.ended).toBeUndefined();
    await world.finish();
    expect(world.run.status).toBe("terminated");
    expect(dispatches(world)).toStrictEqual([]);
    command(world, { type: "restart" });
    await world.finish();
    expect(world.output).toBe(2);
  });

  it("and a restart leave one compensation for each step", async () => {
    const world = worldOf(saga, { input: 1, functions: { undo: () => "undone" } });
    await actUntil(world, () => dispatches(world).length === 1);
    command(world, { type: "terminate" });
    await world.finish();
    command(world, { type: "restart" });
    await actUntil(world, () => dispatches(world).includes("a/1"));
    command(world, { type: "terminate", rollback: true });
    await world.finish();
    expect(dispatches(world).filter((step) => step === "a/0/undo").length).toBe(1);
  });

  it("reaches the runs that it invoked", async () => {
    const world = worldOf((dag) => dag.node("a").invoke("child"), {
      functions: { child: () => 1 },
    });
    await actUntil(world, () => world.left("startChild").length === 1);
    command(world, { type: "terminate" });
    await world.finish();
    expect(world.left("terminateChild").map(({ run }) => run)).toStrictEqual(["0-1.1"]);
    expect(world.run.status).toBe("terminated");
  });

  it("waits for the attempt that it ends, across the death of the process", async () => {
    const world = worldOf(saga, { input: 1, functions: { undo: () => "undone" } });
    await actUntil(world, () => dispatches(world).length === 2);
    command(world, { type: "terminate", rollback: true });
    world.crash();
    await world.finish();
    expect(world.run.status).toBe("terminated");
    expect(world.history("stepCompleted")).toContain("a/0/undo");
  });
});

describe("a restart", () => {
  it("goes on from the failed step with what is kept: fix and continue", async () => {
    const state = { isBroken: true };
    const world = worldOf(
      (dag) => {
        dag.node("start").apply("double");
        dag.node("a").apply("fixable");
        dag.node("b").sleep(5_000).apply("double");
        dag.node("end");
        for (const middle of ["a", "b"]) {
          dag.edge("start", middle);
          dag.edge(middle, "end");
        }
      },
      { input: 1, functions: fixable(state) },
    );
    await world.finish();
    expect(world.run.status).toBe("failed");
    state.isBroken = false;
    command(world, { type: "restart" });
    await world.finish();
    expect(world.output).toStrictEqual({ a: 2, b: 4 });
    expect(dispatches(world)).toStrictEqual(["start/0", "a/0", "a/0", "b/1"]);
  });

  it("keeps what ended while the run was failing", async () => {
    const state = { isBroken: true };
    const world = worldOf(
      (dag) => {
        dag.node("start");
        dag.node("a").apply("fixable");
        dag.node("b").apply("never").apply("double");
        dag.edge("start", "a");
        dag.edge("start", "b");
      },
      { input: 1, functions: fixable(state) },
    );
    await actUntil(world, () => world.left("cancel").length === 1);
    const { token = 0 } = world.left("cancel")[0] ?? {};
    const outcome = { ok: true, output: { value: 20 } } as const;
    command(world, { type: "settled", step: "b/0", token, outcome });
    await world.finish();
    expect(world.run.status).toBe("failed");
    state.isBroken = false;
    command(world, { type: "restart" });
    await world.finish();
    expect(world.output).toStrictEqual({ a: 1, b: 40 });
    expect(world.ledger.get("0-1/b/0")).toBe(1);
  });

  it("goes on from a hook that failed", async () => {
    let isBroken = true;
    const world = worldOf(
      (dag) => {
        dag.node("a").apply("double");
        dag.node("b").modify((n) => {
          if (isBroken) throw new Error("broken");
          return n + 1;
        });
        dag.node("c").apply("double");
        dag.edge("a", "b", { forwarder: (n) => n * 10 });
        dag.edge("b", "c");
      },
      { input: 1 },
    );
    await world.finish();
    expect(world.run.status).toBe("failed");
    isBroken = false;
    command(world, { type: "restart" });
    await world.finish();
    expect(world.output).toBe(42);
    expect(dispatches(world)).toStrictEqual(["a/0", "c/0"]);
  });

  it("from a step runs it and all that follows again, under new keys", async () => {
    const world = worldOf(
      (dag) => {
        dag.node("start").apply("double");
        const each = dag.forEachBranch("each", (n) => Array.from({ length: n }, (_v, i) => i), {
          aggregator: (results) => Object.values(results),
        });
        each.node("work").apply("double").apply("echo");
        dag.node("end").apply("echo");
        dag.edge("start", "each");
        dag.edge("each", "end");
      },
      { input: 1 },
    );
    await world.finish();
    expect(world.output).toStrictEqual([0, 2]);
    const before = dispatches(world).length;
    command(world, { type: "restart", from: "each[1].work/1" });
    await world.finish();
    expect(world.output).toStrictEqual([0, 2]);
    expect(dispatches(world).slice(before)).toStrictEqual(["each[1].work/1", "end/0"]);
    expect(world.ledger.get("0-1/end/0~1")).toBe(1);
    expect(refusal(() => command(world, { type: "restart", from: "nowhere/0" }))).toBe(
      "STEP_NOT_FOUND",
    );
  });

  it("is refused for a run that goes on, and for one whose steps were undone", async () => {
    const world = worldOf(
      (dag) => dag.node("a").apply("double", { compensate: "echo" }).apply("fail"),
      { input: 1 },
    );
    expect(refusal(() => command(world, { type: "restart" }))).toBe("RUN_STATE");
    await world.finish();
    expect(world.run.state.ended?.status).toBe("failed");
    expect(refusal(() => command(world, { type: "restart" }))).toBe("RUN_STATE");
  });
});

describe("interruptions (G7)", () => {
  const error = { name: "CellLost", message: "the cell died", code: "CELL_LOST" };

  it("are no retries, keep the key, and make suspects", async () => {
    const world = worldOf((dag) => dag.node("a").apply("double"), { input: 2 });
    await actUntil(world, () => dispatches(world).length === 1);
    world.crash();
    await world.finish();
    const attempts = world.left("dispatch");
    expect(attempts.map(({ attempt, isSuspect }) => [attempt, isSuspect])).toStrictEqual([
      [1, false],
      [1, true],
    ]);
    expect(new Set(attempts.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(world.output).toBe(4);
  });

  it("fail the step after three deaths of the probation cell, with their code", async () => {
    const world = worldOf((dag) => {
      dag.node("a").apply("never", { retry: { limit: 5 }, onFailure: ({ code }) => code });
    });
    for (const deaths of [1, 2, 3]) {
      await actUntil(world, () => dispatches(world).length === deaths);
      const last = world.left("dispatch").at(-1);
      const attempts = [{ step: "a/0", token: last?.token ?? 0 }];
      command(world, { type: "interrupted", where: "probation", attempts, error });
    }
    await world.finish();
    expect(dispatches(world).length).toBe(3);
    expect(world.output).toBe("CELL_LOST");
  });

  it("of an attempt that was repeated already change nothing", async () => {
    const world = worldOf((dag) => dag.node("a").apply("double"), { input: 2 });
    await actUntil(world, () => dispatches(world).length === 1);
    command(world, {
      type: "interrupted",
      where: "probation",
      attempts: [{ step: "a/0", token: 77 }],
      error,
    });
    await world.finish();
    expect(dispatches(world).length).toBe(1);
  });
});

describe("what does not fit", () => {
  it("is refused without a change: commands to a run that has ended", async () => {
    const world = worldOf((dag) => dag.node("a"));
    await world.finish();
    const before = structuredClone(world.run.state);
    const payload = { value: 1 };
    for (const report of [
      { type: "pause" },
      { type: "resume" },
      { type: "terminate" },
      { type: "signal", id: "1", name: "x", payload },
    ] as const) {
      expect(refusal(() => command(world, report))).toBe("RUN_STATE");
    }
    expect(world.run.state).toStrictEqual(before);
  });

  it("is bounded: events that nobody waits for", () => {
    const world = worldOf((dag) => dag.node("a").sleep("1h"));
    const send = (id: number) => () => {
      command(world, { type: "signal", id: String(id), name: "x", payload: { value: id } });
    };
    for (let id = 0; id < 1_000; id += 1) send(id)();
    expect(refusal(send(1_000))).toBe("QUOTA_EXCEEDED");
  });

  it("fails the run: an isolate that answers its hooks with something else", async () => {
    const world = worldOf((dag) => dag.node("a").modify((n) => n));
    await actUntil(world, () => world.left("hooks").length === 1);
    command(world, { type: "hooksReturned", batch: 1, results: [{ names: ["x"] }] });
    await world.finish();
    expect(world.run.state.ended?.error?.code).toBe("HOOK_INVALID");
  });

  it("fails the run: hooks that cannot be called", async () => {
    const world = worldOf((dag) => {
      dag.node("a").modify((n) => n);
      dag.finally(() => undefined);
    });
    await actUntil(world, () => world.left("hooks").length === 1);
    const error = { name: "Timeout", message: "a hook never returned", code: "TIMEOUT" };
    command(world, { type: "hooksFailed", batch: 1, error });
    await world.finish();
    expect(world.run.state.ended?.error?.code).toBe("TIMEOUT");
  });
});

describe("cost", () => {
  it("of a transition does not grow with what happened before (W5)", async () => {
    const world = worldOf(
      (dag) =>
        dag
          .node("a")
          .apply("double")
          .repeat((_n, round) => round < 2_000, { limit: 5_000 }),
      { input: 0, latencyMs: 1 },
    );
    let largest = 0;
    while (await world.act()) {
      const { steps, scopes, undo, queue } = world.run.state;
      largest = Math.max(largest, steps.size + scopes.size + undo.length + queue.length);
    }
    expect(dispatches(world).length).toBe(2_000);
    expect(largest).toBeLessThan(5);
  });
});
