/** What each operation of a DAG does, run to its end without accidents. */
import { describe, expect, it } from "vitest";
import { flow } from "../../workflow/builder/index.ts";
import { NEVER, WorkflowWorld, type WorldOptions } from "../support/workflow-world.ts";

const FUNCTIONS: WorldOptions["functions"] = {
  double: (n) => Number(n) * 2,
  increment: (n) => Number(n) + 1,
  echo: (value) => value,
  fail: () => {
    throw new Error("no");
  },
};

async function ended(
  define: Parameters<typeof flow>[0],
  options: WorldOptions = {},
): Promise<WorkflowWorld> {
  const world = new WorkflowWorld({
    flow: flow(define),
    ...options,
    functions: { ...FUNCTIONS, ...options.functions },
  });
  await world.finish();
  expect(world.run.state.ended).toBeTruthy();
  return world;
}

const output = async (...args: Parameters<typeof ended>): Promise<unknown> =>
  (await ended(...args)).output;

type Define = Parameters<typeof flow>[0];

const parity = (names: string[]) => (dag: Parameters<Define>[0]) => {
  dag.node("start");
  const { even, odd } = dag.conditionalBranch("parity", ["even", "odd"], () => names as "even"[], {
    aggregator: (results) => ({ ran: results }),
  });
  even.node("x").apply("double");
  odd.node("x").apply("increment");
  dag.edge("start", "parity");
};

const each = (concurrency?: number) => (dag: Parameters<Define>[0]) => {
  dag.node("start");
  const items = dag.forEachBranch("each", (n) => Array.from({ length: n }, (_v, i) => i), {
    aggregator: (results) => Object.values(results),
    ...(concurrency !== undefined && { concurrency }),
  });
  items
    .node("work")
    .apply("double")
    .modify((n) => n + 1);
  dag.edge("start", "each");
};

const flaky = (failures: number) => ({
  flaky: (value: unknown, { attempt }: { attempt: number }) => {
    if (attempt <= failures) throw new Error(`attempt ${String(attempt)}`);
    return value;
  },
});

const slow = (_input: unknown, { attempt }: { attempt: number }) =>
  attempt === 1 ? NEVER : `attempt ${String(attempt)}`;

const waitOneHour = (onFailure?: () => string) => (dag: Parameters<Define>[0]) =>
  dag.node("a").waitForEvent("x", { timeout: "1h", ...(onFailure && { onFailure }) });

describe("chains", () => {
  it("hands each operation's result to the next", async () => {
    const result = await output(
      (dag) =>
        dag
          .syncNode()
          .apply("double")
          .modify((n) => n + 1)
          .apply("double"),
      { input: 5 },
    );
    expect(result).toBe(22);
  });

  it("calls no hooks when there are none, and one call for those of one transition", async () => {
    const plain = await ended((dag) => dag.node("a").apply("double").apply("double"), { input: 1 });
    expect(plain.left("hooks").length).toBe(0);
    const hooked = await ended(
      (dag) => {
        dag
          .node("a")
          .modify((n) => n + 1)
          .modify((n) => n + 1)
          .apply("double");
        dag
          .node("b", { aggregator: (inputs) => inputs.a })
          .modify((n) => -n)
          .apply("echo");
        dag.edge("a", "b", { forwarder: (n) => n * 10 });
      },
      { input: 1 },
    );
    expect(hooked.output).toBe(-60);
    expect(hooked.left("hooks").map(({ calls }) => calls.map((call) => call.hook))).toStrictEqual([
      ["a/0/modify", "a/1/modify"],
      ["a>b/forwarder", "b/aggregator", "b/0/modify"],
    ]);
  });

  it("loops with what it made, until the condition says so", async () => {
    const result = await output(
      (dag) =>
        dag
          .node("a")
          .apply("double")
          .repeat((n) => n < 100, { limit: 10 })
          .apply("increment"),
      { input: 3 },
    );
    expect(result).toBe(193);
  });

  it("fails a loop that goes round more often than its limit", async () => {
    const world = await ended(
      (dag) =>
        dag
          .node("a")
          .apply("increment")
          .repeat(() => true, { limit: 4 }),
      { input: 0 },
    );
    expect(world.run.state.ended?.error?.code).toBe("LOOP_LIMIT");
    expect(world.history("stepCompleted").length).toBe(4);
  });
});

describe("edges and joins", () => {
  it("give a node the one value, or an object of them by parent", async () => {
    const result = await output(
      (dag) => {
        dag.node("start");
        dag.node("a").apply("double");
        dag.node("b").apply("increment");
        dag.node("end");
        dag.edge("start", "a");
        dag.edge("start", "b");
        dag.edge("a", "end");
        dag.edge("b", "end");
      },
      { input: 4 },
    );
    expect(result).toStrictEqual({ a: 8, b: 5 });
  });

  it("carry no data when they only order", async () => {
    const result = await output(
      (dag) => {
        dag.node("start");
        dag.node("a").apply("double");
        dag.node("end").modify((value) => value ?? "nothing");
        dag.edge("start", "a");
        dag.edge("a", "end", { execution: true });
      },
      { input: 4 },
    );
    expect(result).toBe("nothing");
  });

  it("answer every end by its name", async () => {
    const result = await output(
      (dag) => {
        dag.node("start");
        dag.node("a").apply("double");
        dag.node("b").apply("increment");
        dag.edge("start", "a");
        dag.edge("start", "b");
      },
      { input: 1 },
    );
    expect(result).toStrictEqual({ a: 2, b: 2 });
  });
});

describe("branches", () => {
  it.each([
    [[], { ran: {} }],
    [["odd"], { ran: { odd: 4 } }],
    [["odd", "even"], { ran: { even: 6, odd: 4 } }],
  ])("that a condition takes run: %j", async (names, expected) => {
    expect(await output(parity(names), { input: 3 })).toStrictEqual(expected);
  });

  it("that do not exist fail the run, with the names there are", async () => {
    const world = await ended(parity(["prime"]), { input: 3 });
    const { error } = world.run.state.ended ?? {};
    expect(error?.code).toBe("HOOK_INVALID");
    expect(error?.message.includes("even, odd")).toBeTruthy();
  });

  it.each([0, 1, 7])("of a for-each run once for each of %i items", async (n) => {
    const expected = Array.from({ length: n }, (_v, i) => 2 * i + 1);
    expect(await output(each(), { input: n })).toStrictEqual(expected);
  });

  it("of a for-each run at most as many at once as it says", async () => {
    let open = 0;
    let most = 0;
    const double = async (n: unknown) => {
      open += 1;
      most = Math.max(most, open);
      await Promise.resolve();
      open -= 1;
      return Number(n) * 2;
    };
    const world = new WorkflowWorld({ flow: flow(each(3)), functions: { double }, input: 20 });
    let widest = 0;
    while (await world.act()) widest = Math.max(widest, world.run.state.steps.size);
    expect((world.output as unknown[]).length).toBe(20);
    expect(widest).toBe(3);
  });

  it("of a for-each over too much, or over nothing that can be split, fail the run", async () => {
    const wide = await ended(each(), { input: 10_001 });
    expect(wide.run.state.ended?.error?.code).toBe("FAN_OUT_TOO_WIDE");
    const none = await ended((dag) => dag.forEachBranch("each", (n) => n).node("a"), { input: 7 });
    expect(none.run.state.ended?.error?.code).toBe("HOOK_INVALID");
  });

  it("may be whole DAGs, in one another", async () => {
    const result = await output(
      (dag) => {
        const inner = dag.newDag();
        inner.node("a").apply("double");
        inner.node("b").apply("increment");
        inner.edge("a", "b");
        const outer = dag.newDag();
        outer.subDag("inner", inner);
        dag.node("start").modify((n) => n + 1);
        dag.subDag("outer", outer);
        dag.edge("start", "outer");
      },
      { input: 1 },
    );
    expect(result).toBe(5);
  });
});

describe("failures", () => {
  const retry = { limit: 3, delayMs: 100, backoff: "exponential" } as const;

  it("are tried again with back-off under one key", async () => {
    const world = await ended((dag) => dag.node("a").apply("flaky", { retry }), {
      input: 7,
      functions: flaky(3),
      latencyMs: 1,
    });
    expect(world.output).toBe(7);
    expect([...world.ledger]).toStrictEqual([["0-1/a/0", 4]]);
    expect(
      world.nowMs >= 1_000 + 100 + 200 + 400 && world.nowMs < 1_000 + 1.1 * 700 + 20,
    ).toBeTruthy();
  });

  it("end the run with the step and its last error", async () => {
    const world = await ended((dag) => dag.node("a").apply("flaky", { retry }), {
      functions: flaky(4),
    });
    const { status, error } = world.run.state.ended ?? {};
    expect(status).toBe("failed");
    expect([error?.message, error?.step]).toStrictEqual(["attempt 4", "a/0"]);
  });

  it("that no attempt can mend are not tried again", async () => {
    const world = await ended((dag) => dag.node("a").apply("missing", { retry }));
    expect(world.ledger.get("0-1/a/0")).toBe(1);
  });

  it("may be mended by the step, or by the whole", async () => {
    const step = await output(
      (dag) =>
        dag
          .node("a")
          .apply("fail", {
            onFailure: (error, input: number) => `${error.message} ${String(input)}`,
          })
          .modify((text) => `${text}!`),
      { input: 7 },
    );
    expect(step).toBe("no 7!");
    const whole = await output((dag) => {
      dag.node("a").apply("fail");
      dag.onFailure(({ step: name }) => ({ failed: name }));
    });
    expect(whole).toStrictEqual({ failed: "a/0" });
  });

  it("of hooks fail the run at their place", async () => {
    const world = await ended((dag) => {
      dag.node("a").modify(() => {
        throw new TypeError("bad");
      });
    });
    const { error } = world.run.state.ended ?? {};
    expect([error?.name, error?.message, error?.step]).toStrictEqual([
      "TypeError",
      "bad",
      "a/0/modify",
    ]);
  });

  it("of a definition fail the run", async () => {
    const world = await ended((dag) => {
      dag.edge("a", "b");
    });
    expect(world.run.state.ended?.error?.code).toBe("PLAN_INVALID");
  });

  it("of one branch end its siblings, and leave nothing under way", async () => {
    const world = await ended(
      (dag) => {
        dag.node("start");
        dag.node("a").apply("fail");
        dag.node("b").sleep("10m").apply("double");
        dag.edge("start", "a");
        dag.edge("start", "b");
      },
      { input: 1 },
    );
    expect(world.run.state.ended?.status).toBe("failed");
    expect(world.run.state.steps.size).toBe(0);
    expect(world.history("stepCanceled")).toStrictEqual(["b/0"]);
    expect(
      world.nowMs < 10_000 || world.left("clearTimer").some(({ key }) => key === "b/0"),
    ).toBeTruthy();
  });

  it("undo what was done, newest first, and tell finally how it ended", async () => {
    const undone: unknown[] = [];
    let state = "";
    const undo = (name: string) => (value: unknown) => {
      undone.push([name, value]);
    };
    await ended(
      (dag) => {
        dag
          .node("a")
          .apply("double", { compensate: "undo-double" })
          .apply("increment", { compensate: { function: "undo-increment" } })
          .apply("fail", { compensate: "undo-fail" });
        dag.finally((how) => {
          state = how;
        });
      },
      {
        input: 3,
        functions: {
          "undo-double": undo("double"),
          "undo-increment": undo("increment"),
          "undo-fail": undo("fail"),
        },
      },
    );
    const error = { name: "Error", message: "no", step: "a/2" };
    expect(undone).toStrictEqual([
      ["fail", { input: 7, error }],
      ["increment", { input: 6, output: 7, error }],
      ["double", { input: 3, output: 6, error }],
    ]);
    expect(state).toBe("failed");
  });

  it("of a compensation stop the rollback, and are recorded", async () => {
    const world = await ended(
      (dag) => {
        dag.node("a").apply("double", { compensate: "fail" }).apply("fail");
      },
      { input: 1 },
    );
    expect(world.run.state.ended?.error?.step).toBe("a/1");
    expect(world.run.state.ended?.rollbackError?.step).toBe("a/0/undo");
  });
});

describe("waits", () => {
  it("sleep, and keep the value", async () => {
    const world = await ended(
      (dag) =>
        dag
          .node("a")
          .sleep("10m")
          .sleep((n) => n * 1_000)
          .sleep(() => new Date(0)),
      { input: 60 },
    );
    expect(world.output).toBe(60);
    expect(world.nowMs >= 1_000 + 600_000 + 60_000).toBeTruthy();
  });

  it("take events that come, or came before, each once and in order", async () => {
    const world = new WorkflowWorld({
      flow: flow((dag) => {
        dag.node("a").waitForEvent("approval").sleep(1_000).waitForEvent("approval");
      }),
    });
    const send = (id: string, payload: unknown) => {
      world.report({ type: "signal", id, name: "approval", payload: { value: payload } });
      world.commit();
    };
    send("1", "early");
    send("1", "early, again");
    await world.until(1_500);
    send("2", "in the sleep");
    await world.finish();
    expect(world.output).toBe("in the sleep");
  });

  it("for events that do not come fail in time, or are mended", async () => {
    const failed = await ended(waitOneHour());
    expect(failed.run.state.ended?.error?.code).toBe("TIMEOUT");
    expect(failed.nowMs >= 3_600_000 && failed.nowMs < 3_700_000).toBeTruthy();
    expect(await output(waitOneHour(() => "nobody"))).toBe("nobody");
  });

  it("for other workflows get their results", async () => {
    const world = await ended((dag) => dag.node("a").invoke("child"), {
      input: 2,
      functions: { child: (n) => Number(n) + 40 },
    });
    expect(world.output).toBe(42);
    expect(world.left("startChild")[0]?.chain).toStrictEqual(["flow"]);
  });

  it("for workflows that invoke themselves without end are refused", async () => {
    const chain = ["flow", "flow", "flow", "flow", "flow", "flow", "flow"];
    const world = await ended((dag) => dag.node("a").invoke("flow"), { chain });
    expect(world.run.state.ended?.error?.code).toBe("CALL_LOOP");
  });

  it("for an attempt end at its timeout; a late answer does not count", async () => {
    const world = new WorkflowWorld({
      flow: flow((dag) => {
        dag.node("a").apply("slow", { timeoutMs: 50, retry: { limit: 1, delayMs: 10 } });
      }),
      functions: { slow },
    });
    while (world.left("cancel").length === 0) await world.act();
    const [first] = world.left("dispatch");
    expect(world.nowMs).toBe(first?.deadlineMs);
    const late = { ok: true, output: { value: "late" } } as const;
    world.report({ type: "settled", step: "a/0", token: first?.token ?? 0, outcome: late });
    await world.finish();
    expect(world.output).toBe("attempt 2");
    expect(world.left("commitStore").some(({ token }) => token === first?.token)).toBe(false);
  });

  it("for the run end at its own timeout", async () => {
    const world = await ended((dag) => dag.node("a").sleep("1h"), { timeoutMs: 5_000 });
    expect(world.run.state.ended?.error?.code).toBe("TIMEOUT");
    expect(world.nowMs >= 6_000).toBeTruthy();
  });
});
