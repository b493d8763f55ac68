/** The code form: steps by name, replays, divergence, waits without a session, rollbacks. */
import { describe, expect, it } from "vitest";
import { type Code, WorkflowCodeWorld } from "../support/workflow-code-world.ts";
import { NEVER, type WorldOptions } from "../support/workflow-world.ts";

async function ended(code: Code, options: WorldOptions = {}): Promise<WorkflowCodeWorld> {
  const world = new WorkflowCodeWorld(code, options);
  await world.finish();
  expect(world.run.state.ended, world.run.status).toBeDefined();
  return world;
}

const actUntil = async (world: WorkflowCodeWorld, isThere: () => boolean): Promise<void> => {
  while (!isThere() && (await world.act()));
};

const order: Code = async (step, input) => {
  const paid = await step.do("pay", () => Number(input) * 2);
  await step.sleep("rest", 1_000);
  const shipped = await step.do("ship", () => Number(paid) + 1);
  return [paid, shipped];
};

const race: Code = async (step) => {
  const first = await Promise.race([
    step.sleep("long", 600_000).then(() => "slept"),
    step.waitForEvent("event", "go", 3_600_000).then(() => "event"),
  ]);
  const then = await step.do("then", () => first);
  await step.sleep("rest", 1_000_000);
  return [first, then];
};

const diverged = async (changed: Code): Promise<string | undefined> => {
  const world = new WorkflowCodeWorld(order, { input: 1 });
  await actUntil(world, () => world.history("stepStarted").includes("sleep:rest-1"));
  world.code = changed;
  world.crash();
  const before = world.ledger.size;
  await world.finish();
  const { error } = world.run.state.ended ?? {};
  expect(error?.code).toBe("PLAN_DIVERGED");
  expect(world.ledger.size).toBe(before);
  return error?.message;
};

describe("steps of code", () => {
  it("run one after another, each once", async () => {
    const world = await ended(order, { input: 4 });
    expect(world.output).toStrictEqual([8, 9]);
    expect([...world.ledger.values()]).toStrictEqual([1, 1]);
    expect(world.left("runCode").length).toBeGreaterThanOrEqual(1);
  });

  it("are known by name and how often it was used", async () => {
    const world = await ended(async (step) => {
      const results: unknown[] = [];
      for (let at = 0; at < 3; at += 1) results.push(await step.do("same", () => at));
      return results;
    });
    expect(world.output).toStrictEqual([0, 1, 2]);
    expect([...world.ledger.keys()]).toStrictEqual([
      "0-1/do:same-1",
      "0-1/do:same-2",
      "0-1/do:same-3",
    ]);
  });

  it("run side by side", async () => {
    const world = await ended(async (step) =>
      Promise.all(
        Array.from({ length: 20 }, async (_v, at) => step.do(`s${String(at)}`, () => at)),
      ),
    );
    expect(world.output).toStrictEqual(Array.from({ length: 20 }, (_v, at) => at));
  });

  it("are tried again, and their last error can be caught", async () => {
    const world = await ended(async (step) => {
      try {
        return await step.do(
          "fails",
          ({ attempt }) => {
            throw new Error(`attempt ${String(attempt)}`);
          },
          { retry: { limit: 2, delayMs: 10, backoff: "constant" } },
        );
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(world.output).toBe("attempt 3");
  });

  it("fail the run when nobody catches", async () => {
    const world = await ended(async (step) =>
      step.do("fails", () => {
        throw Object.assign(new Error("never again"), { isFinal: true });
      }),
    );
    expect(world.run.state.ended?.error?.message).toBe("never again");
    expect([...world.ledger.values()]).toStrictEqual([1]);
  });

  it("wait for events and other workflows", async () => {
    const world = new WorkflowCodeWorld(
      async (step) => [
        await step.waitForEvent("approval", "go"),
        await step.invoke("sub", "child", 20),
      ],
      { functions: { child: (n) => Number(n) + 1 } },
    );
    world.report({ type: "signal", id: "1", name: "go", payload: { value: "yes" } });
    await world.finish();
    expect(world.output).toStrictEqual(["yes", 21]);
  });
});

describe("replays", () => {
  it("answer from the journal after the process died: nothing runs twice", async () => {
    const world = new WorkflowCodeWorld(order, { input: 1 });
    await actUntil(world, () => world.history("stepCompleted").includes("sleep:rest-1"));
    world.crash();
    await world.finish();
    expect(world.output).toStrictEqual([2, 3]);
    expect(world.ledger.get("0-1/do:pay-1")).toBe(1);
  });

  it("make an attempt that was in flight again under its key, at once", async () => {
    let isFirst = true;
    const world = new WorkflowCodeWorld(async (step) =>
      step.do("slow", () => {
        const answer = isFirst ? NEVER : "done";
        isFirst = false;
        return answer;
      }),
    );
    await actUntil(world, () => world.ledger.size === 1);
    const atMs = world.nowMs;
    world.crash();
    await world.finish();
    expect(world.output).toBe("done");
    expect(world.ledger.get("0-1/do:slow-1")).toBe(2);
    expect(world.nowMs - atMs).toBeLessThan(1_000);
  });

  it("decide races as they were decided", async () => {
    const world = new WorkflowCodeWorld(race);
    await world.until(2_000);
    world.report({ type: "signal", id: "1", name: "go", payload: { value: 1 } });
    await world.settle();
    await actUntil(world, () => world.history("stepCompleted").includes("do:then-1"));
    expect(world.nowMs).toBeLessThan(10_000);
    await world.until(700_000);
    world.crash();
    await world.finish();
    expect(world.output).toStrictEqual(["event", "event"]);
  });

  it("wake code that was put out of memory in a long wait", async () => {
    const world = new WorkflowCodeWorld(order, { input: 1 });
    await actUntil(world, () => world.history("stepStarted").includes("sleep:rest-1"));
    world.report({ type: "codeIdle", session: world.run.state.code?.session ?? 0 });
    await world.settle();
    expect(world.left("parkCode").length).toBe(1);
    expect(world.run.status).toBe("waiting");
    await world.finish();
    expect(world.output).toStrictEqual([2, 3]);
    expect(world.left("runCode").length).toBeGreaterThan(1);
  });
});

const untilThePast: Code = async (step) => {
  await step.sleep("past", -1).catch((error: Error) => step.do("caught", () => error.message));
  return step.do("after", () => "after");
};

describe("sleeps until a time", () => {
  it("fail when it has passed, and can be caught", async () => {
    const world = await ended(untilThePast);
    expect(world.output).toBe("after");
    expect([...world.ledger.keys()]).toContain("0-1/do:caught-1");
  });

  it("are over when it passed while the process was dead", async () => {
    let forMs = 1_000;
    const world = new WorkflowCodeWorld(async (step) => {
      await step.sleep("until", forMs);
      return step.do("after", () => "after");
    });
    await actUntil(world, () => world.history("stepStarted").includes("sleep:until-1"));
    forMs = -5_000;
    world.crash();
    await world.finish();
    expect(world.output).toBe("after");
  });
});

describe("code that ends its process again and again", () => {
  it("fails its run, once it was lost often without finishing a step", async () => {
    const world = new WorkflowCodeWorld(async (step) => step.do("never", () => NEVER));
    for (let lost = 0; lost < 20 && !world.run.state.ended; lost += 1) {
      await world.settle();
      world.crash();
    }
    await world.settle();
    expect(world.run.state.ended?.error?.code).toBe("INSTANCE_LOST");
    expect(world.left("runCode").length).toBe(11);
  });

  it("is innocent where its sessions last", async () => {
    const world = new WorkflowCodeWorld(async (step) => {
      await step.sleep("rest", 10_000_000);
      return step.do("never", () => NEVER);
    });
    for (let lost = 1; lost < 20; lost += 1) {
      await world.until(lost * 100_000);
      world.crash();
    }
    await world.settle();
    expect(world.run.state.ended).toBeUndefined();
  });
});

describe("code that goes another way than its journal", () => {
  it("is stopped before anything new runs: a step renamed", async () => {
    const message = await diverged(async (step) => step.do("charge", () => 1));
    expect(message).toContain("expected the step do:pay-1, found the step do:charge-1");
  });

  it("is stopped: a step left out", async () => {
    const message = await diverged(async (step) => {
      await step.sleep("rest", 1_000);
      return step.do("ship", () => 1);
    });
    expect(message).toContain("do:pay-1");
  });

  it("is stopped: a step of another kind", async () => {
    const message = await diverged(async (step) => {
      await step.do("pay", () => 1);
      await step.waitForEvent("rest", "go");
    });
    expect(message).toContain("sleep:rest-1");
  });

  it("is stopped: an end before its steps", async () => {
    expect(await diverged(async () => Promise.resolve(1))).toContain("do:pay-1");
  });

  it("goes on where only lengths of sleeps differ, or steps are new behind", async () => {
    const world = new WorkflowCodeWorld(order, { input: 1 });
    await actUntil(world, () => world.history("stepStarted").includes("sleep:rest-1"));
    world.code = async (step) => {
      await step.do("pay", () => 0);
      await step.sleep("rest", 5);
      return step.do("new", () => "new");
    };
    world.crash();
    await world.finish();
    expect(world.output).toBe("new");
  });
});

describe("calls that an isolate has no right to", () => {
  it.each<[string, unknown]>([
    ["do:x-1", { op: "apply", function: "f" }],
    ["do:x-1", { op: "do" }],
    ["do:x-1", { op: "do", retry: { limit: -1, delayMs: 0, backoff: "constant" } }],
    ["do:x-1", null],
    ["sleep:x-1", { op: "sleep", forMs: Number.NaN }],
    ["event:x-1", { op: "event", type: "", timeoutMs: 1 }],
    ["invoke:x-1", { op: "invoke", workflow: "No Name" }],
    [`do:${"x".repeat(300)}-1`, { op: "sleep", forMs: 1 }],
  ])("fail the run: %s %j", async (step, operation) => {
    const world = new WorkflowCodeWorld(async () => new Promise(() => {}));
    await world.settle();
    const call = { type: "stepCalled", session: 1, step, operation } as const;
    world.report(call as Parameters<typeof world.report>[0]);
    await world.settle();
    expect(world.run.state.ended?.error?.code).toMatch(/^(PLAN|REQUEST)_INVALID$/);
  });
});

describe("commands to code", () => {
  it("pause between steps, and go on", async () => {
    const world = new WorkflowCodeWorld(order, { input: 1 });
    await actUntil(world, () => world.ledger.size === 1);
    world.report({ type: "pause" });
    await world.settle();
    await world.finish();
    expect(world.run.status).toBe("paused");
    expect(world.history("stepStarted")).toStrictEqual(["do:pay-1"]);
    world.report({ type: "resume" });
    await world.settle();
    await world.finish();
    expect(world.output).toStrictEqual([2, 3]);
    expect([...world.ledger.values()]).toStrictEqual([1, 1]);
  });

  it("terminate, and undo newest first, also across the death of the process", async () => {
    const undone: unknown[] = [];
    const code: Code = async (step) => {
      for (const name of ["a", "b", "c"]) {
        await step.do(name, () => name, {
          rollback: (given) => {
            undone.push((given as { output: unknown }).output);
          },
        });
      }
      await step.sleep("rest", 1_000_000);
    };
    const world = new WorkflowCodeWorld(code);
    await actUntil(world, () => world.history("stepStarted").includes("sleep:rest-1"));
    world.report({ type: "terminate", rollback: true });
    await actUntil(world, () => undone.length === 1);
    world.crash();
    await world.finish();
    expect(world.run.status).toBe("terminated");
    expect([...new Set(undone)]).toStrictEqual(["c", "b", "a"]);
  });

  it("restart from a step, with what was before it", async () => {
    const world = await ended(order, { input: 1 });
    world.report({ type: "restart", from: "do:ship-1" });
    await world.settle();
    await world.finish();
    expect(world.output).toStrictEqual([2, 3]);
    expect([...world.ledger]).toStrictEqual([
      ["0-1/do:pay-1", 1],
      ["0-1/do:ship-1", 1],
      ["0-1/do:ship-1~1", 1],
    ]);
  });

  it("restart from the step that failed", async () => {
    let isBroken = true;
    const world = await ended(async (step) => {
      const first = await step.do("first", () => 1);
      return step.do(
        "broken",
        () => {
          if (isBroken) throw new Error("broken");
          return first;
        },
        { retry: { limit: 0, delayMs: 0, backoff: "constant" } },
      );
    });
    expect(world.run.status).toBe("failed");
    isBroken = false;
    world.report({ type: "restart" });
    await world.settle();
    await world.finish();
    expect(world.output).toBe(1);
    expect(world.ledger.get("0-1/do:first-1")).toBe(1);
  });
});
