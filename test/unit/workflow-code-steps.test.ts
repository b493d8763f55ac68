/** `step` as a workflow class gets it: what it takes, what the run is told, what comes back. */
import { describe, expect, it } from "vitest";
import { CodeSteps, type StepSeams } from "../../runtime/cell/internal.ts";

interface Call {
  readonly step: string;
  readonly operation: unknown;
  readonly input?: unknown;
}

function world(answers: Readonly<Record<string, unknown>> = {}) {
  const calls: Call[] = [];
  const seams: StepSeams = {
    call: async (step, operation, input) => {
      calls.push({ step, operation, ...(input !== undefined && { input }) });
      return Promise.resolve(answers[step]);
    },
    now: () => 1_000,
    wait: async () => Promise.resolve(undefined),
    isFinal: (thrown) => (thrown as Error).name === "NonRetryableError",
  };
  const steps = new CodeSteps(seams);
  return { steps, api: steps.api, calls };
}

function fails(): never {
  throw new Error("no");
}

const INFO = { attempt: 2, idempotencyKey: "key", signal: new AbortController().signal };
const DEFAULT_PLAN = {
  op: "do",
  retry: { limit: 5, delayMs: 10_000, backoff: "exponential" },
  timeoutMs: 600_000,
};

describe("step.do", () => {
  it("is known by its name and how often that was used", async () => {
    const { api, calls } = world();
    await api.do("pay", () => 1);
    await api.do("pay", {}, () => 1);
    expect(calls).toStrictEqual([
      { step: "do:pay-1", operation: DEFAULT_PLAN },
      { step: "do:pay-2", operation: DEFAULT_PLAN },
    ]);
  });

  it("takes its configuration, and a rollback with one of its own", async () => {
    const { api, calls } = world();
    const retries = { limit: 2, delay: "5 seconds", backoff: "constant" };
    await api.do("pay", { retries, timeout: 1_000 }, () => 1, {
      rollback: fails,
      rollbackConfig: { retries: { limit: 1, delay: 0 } },
    });
    expect(calls[0]?.operation).toStrictEqual({
      op: "do",
      retry: { limit: 2, delayMs: 5_000, backoff: "constant" },
      timeoutMs: 1_000,
      rollback: {
        retry: { limit: 1, delayMs: 0, backoff: "exponential" },
        timeoutMs: 600_000,
      },
    });
  });

  it.each<[string, readonly unknown[]]>([
    ["no callback", ["pay"]],
    ["an unknown option", ["pay", { retry: 1 }, () => 1]],
    ["no time", ["pay", { timeout: 0 }, () => 1]],
    ["a name with a line break", ["a\nb", () => 1]],
    ["a rollback that is no function", ["pay", () => 1, { rollback: 1 }]],
  ])("refuses %s", async (_title, given) => {
    const { api, calls } = world();
    await expect(api.do(...given)).rejects.toMatchObject({ name: "WorkflowFatalError" });
    expect(calls).toStrictEqual([]);
  });

  it("gives its callback step, attempt and configuration, without a delay function", async () => {
    const { api, steps } = world();
    let context: unknown;
    const retries = { limit: 1, delay: () => 5 };
    await api.do("pay", { retries }, (given: unknown) => {
      context = given;
    });
    expect(await steps.attempt("do:pay-1", INFO)).toMatchObject({ ok: true });
    expect(context).toMatchObject({
      step: { name: "pay", count: 1 },
      attempt: 2,
      config: { retries: { limit: 1, backoff: "exponential" }, timeout: "10 minutes" },
      idempotencyKey: "key",
    });
    expect(context).not.toHaveProperty("config.retries.delay");
  });

  it("tells name and message of what its callback throws, and whether it is final", async () => {
    const { api, steps } = world();
    await api.do("a", () => {
      throw new TypeError("no");
    });
    await api.do("b", () => {
      throw Object.assign(new Error("never"), { name: "NonRetryableError" });
    });
    expect(await steps.attempt("do:a-1", INFO)).toStrictEqual({
      ok: false,
      error: { name: "TypeError", message: "no" },
    });
    expect(await steps.attempt("do:b-1", INFO)).toStrictEqual({
      ok: false,
      error: { name: "NonRetryableError", message: "never", isFinal: true },
    });
  });

  it("lets a delay function say when it is tried again", async () => {
    const { api, steps } = world();
    const delays: [string, () => unknown][] = [
      ["good", () => "2 seconds"],
      ["bad", () => "soon"],
      ["late", async () => new Promise(() => {})],
    ];
    for (const [name, delay] of delays) {
      await api.do(name, { retries: { limit: 3, delay } }, fails);
    }
    expect(await steps.attempt("do:good-1", INFO)).toMatchObject({ retryAfterMs: 2_000 });
    const refused = { error: { name: "NonRetryableDelayError", isFinal: true } };
    expect(await steps.attempt("do:bad-1", INFO)).toMatchObject(refused);
    expect(await steps.attempt("do:late-1", INFO)).toMatchObject(refused);
  });

  it("refuses results that are no values, by path", async () => {
    const { api, steps } = world();
    await api.do("f", () => ({ list: [() => 1] }));
    const outcome = await steps.attempt("do:f-1", INFO);
    expect(outcome).toMatchObject({ ok: false, error: { isFinal: true } });
    expect(JSON.stringify(outcome)).toContain("list");
  });

  it("keeps a stream of octets, and gives it back as one", async () => {
    const { api, steps } = world();
    await api.do("read", () => new Response("octets").body);
    const outcome = await steps.attempt("do:read-1", INFO);
    const replay = world({ "do:read-1": outcome.ok ? outcome.output : undefined });
    const stream = await replay.api.do("read", () => undefined);
    expect(stream).toBeInstanceOf(ReadableStream);
    expect(await new Response(stream as ReadableStream).text()).toBe("octets");
  });
});

describe("rollbacks", () => {
  it("get what their step made, why, and their step's context", async () => {
    const { api, steps } = world();
    let given: unknown;
    await api.do("pay", () => 1, { rollback: (one: unknown) => (given = one) });
    const error = { name: "TypeError", message: "no" };
    await steps.rollBack("do:pay-1", INFO, { output: 7, error });
    expect(given).toMatchObject({ output: 7, stepName: "pay-1", ctx: { step: { name: "pay" } } });
    expect(given).toHaveProperty("error.name", "TypeError");
  });

  it("are missed where the code no longer has them", async () => {
    const { steps } = world();
    expect(await steps.rollBack("do:pay-1", INFO, {})).toMatchObject({
      error: { name: "RollbackMissing", code: "ROLLBACK_MISSING", isFinal: true },
    });
  });
});

describe("waits", () => {
  it("sleep for a duration, or until a time by the clock of the code", async () => {
    const { api, calls } = world();
    await api.sleep("rest", "1 minute");
    await api.sleepUntil("until", new Date(3_000));
    await api.sleepUntil("past", 400);
    expect(calls.map(({ operation }) => operation)).toStrictEqual([
      { op: "sleep", forMs: 60_000 },
      { op: "sleep", forMs: 2_000 },
      { op: "sleep", forMs: -600 },
    ]);
    await expect(api.sleep("rest", "soon")).rejects.toThrow(TypeError);
  });

  it("wait for an event, and answer when it came", async () => {
    const { api, calls } = world({ "event:go-1": { payload: { a: 1 }, atMs: 5 } });
    const event = await api.waitForEvent("go", { type: "approval" });
    expect(event).toStrictEqual({ type: "approval", payload: { a: 1 }, timestamp: new Date(5) });
    expect(calls[0]?.operation).toStrictEqual({
      op: "event",
      type: "approval",
      timeoutMs: 86_400_000,
    });
  });

  it("invoke another workflow", async () => {
    const { api, calls } = world({ "invoke:sub-1": 3 });
    expect(await api.invoke("sub", { a: 1 })).toBe(3);
    expect(calls).toStrictEqual([
      { step: "invoke:sub-1", operation: { op: "invoke", workflow: "sub" }, input: { a: 1 } },
    ]);
  });
});
