/**
 * Workflows in code form on the real platform: a `WorkflowEntrypoint` class as Cloudflare's own
 * examples have it, steps that are recorded, runs that go on whatever dies (G1, G2, G7).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killCell } from "../support/cells.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";

const ORDER = `import { WorkflowEntrypoint } from "cloudflare:workers";
import { NonRetryableError } from "cloudflare:workflows";
export class Order extends WorkflowEntrypoint {
  async run(event, step) {
    const { amount } = event.payload;
    const paid = await step.do("pay", { retries: { limit: 2, delay: 10 } }, async ({ attempt }) => {
      if (attempt < 2) throw new Error("try again");
      return { amount, attempt };
    });
    await step.sleep("settle", 20);
    const parts = await Promise.all([1, 2, 3].map((n) => step.do("part", async () => n * 2)));
    let refused;
    try {
      await step.do("refused", async () => { throw new NonRetryableError("never"); });
    } catch (error) { refused = error.message; }
    return { paid, parts, refused, instance: event.instanceId, workflow: event.workflowName,
      isDate: event.timestamp instanceof Date };
  }
}`;

/** Waits for what it is told to wait for, and undoes its steps when it is told to. */
const WAITER = `import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint {
  async run(event, step) {
    const { undo = [] } = event.payload;
    for (const name of undo) {
      await step.do(name, async () => name, {
        rollback: ({ output }) => {
          return this.env.ISOLA.call("note", "undo " + output + " " + event.instanceId);
        },
      });
    }
    const first = await Promise.race([
      step.sleep("long", "2 minutes").then(() => "slept"),
      step.waitForEvent("go", { type: "go", timeout: "1 hour" }),
    ]);
    await step.do("after", () => this.env.ISOLA.call("note", "after " + event.instanceId));
    return first;
  }
}`;

/** Notes what happened, for whoever asks for it with an empty text. */
const NOTE = `const notes = [];
export default (text) => { if (text) notes.push(text); return notes; };`;

/** Uses bindings as it is told. */
const OPERATOR = `export default { async fetch(request, env) {
  const { id, calls } = await request.json();
  const told = [];
  for (const [method, ...args] of calls) {
    try {
      if (method === "create") told.push((await env.WAITER.create(...args)).id);
      else if (method === "get") told.push((await env.WAITER.get(...args)).id);
      else told.push((await (await env.WAITER.get(id))[method](...args)) ?? null);
    } catch (error) { told.push(error.name + ": " + error.message); }
  }
  return Response.json(told);
} };`;

/** Puts in steps, of which the first attempt fails, and reads in a later step. */
const KEEPER = `import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint {
  async run(event, step) {
    const { ISOLA } = this.env;
    await step.do("put", { retries: { limit: 1, delay: 1 } }, async ({ attempt }) => {
      if (await ISOLA.store.get("a")) throw new Error("a failed attempt has left something");
      await ISOLA.store.put("a", attempt === 1 ? "of the first" : "of the second attempt");
      await ISOLA.call("putter", "of whom it calls");
      if (attempt === 1) throw new Error("again");
    });
    const [kept, called] = await step.do("get", async () =>
      [await ISOLA.store.get("a"), await ISOLA.store.get("b")]);
    let outside;
    try { await ISOLA.store.get("a"); } catch (error) { outside = error.code; }
    return { kept, called, outside, isRun: ISOLA.runId === event.instanceId };
  }
}`;
const PUTTER = `export default async (value, ctx) => { await ctx.store.put("b", value); };`;

const INVOKER = `import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint {
  async run({ payload }, step) {
    const length = await step.invoke("measurer", { text: "x".repeat(payload.octets) });
    const octets = await step.do("large", async () => new Uint8Array(400_000));
    const missing = await step.invoke("nobody").catch((error) => error.code);
    return { length, kept: octets.length, missing };
  }
}`;
const MEASURER = `import { WorkflowEntrypoint } from "cloudflare:workers";
export class Measurer extends WorkflowEntrypoint {
  async run({ payload }, step) {
    return step.do("measure", async () => payload.text.length);
  }
}`;

/** Starts an order and waits for its end. */
const ORDERS = `export default async (params, ctx) => {
  const order = await ctx.workflow("order").create({ params });
  for (;;) {
    const status = await order.status();
    if (status.status === "complete" || status.status === "errored") return status;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};`;

const SUBSCRIBER = `export default { async fetch(request, env) {
  const subscription = await (await env.WAITER.get(await request.json())).subscribe();
  const events = [];
  for (;;) {
    const { done, value } = await subscription.next();
    if (done) return Response.json(events);
    events.push(value);
  }
} };`;

/** Its second step never ends in the isolate that it begins in first. */
const DYING = `import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint {
  async run(event, step) {
    const first = await step.do("first", async () => {
      await this.env.ISOLA.call("note", "first");
      return 1;
    });
    const second = await step.do("second", async () => {
      const notes = await this.env.ISOLA.call("note", "second");
      if (notes.includes("first")) await new Promise((resolve) => setTimeout(resolve, 60_000));
      return 2;
    });
    return { first, second };
  }
}`;

let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ cells: 1 });
  await platform.deploy("order", ORDER);
  await platform.deploy("waiter", WAITER);
  await platform.deploy("note", NOTE);
  await platform.deploy("orders", ORDERS);
  await platform.deploy("keeper", KEEPER);
  await platform.deploy("putter", PUTTER);
  await platform.deploy("invoker", INVOKER);
  await platform.deploy("measurer", MEASURER);
  await platform.deploy("dying", DYING);
  await platform.deploy("subscriber", SUBSCRIBER, { workflows: { WAITER: "waiter" } });
  await platform.deploy("operator", OPERATOR, { workflows: { WAITER: "waiter" } });
}, 60_000);

afterAll(async () => {
  await platform.stop();
});

describe("a class that extends WorkflowEntrypoint", () => {
  it("is called like any function: its steps run, its result is the answer", async () => {
    const answer = await platform.call("order", { json: { amount: 5 } });
    expect(answer.json).toMatchObject({
      paid: { amount: 5, attempt: 2 },
      parts: [2, 4, 6],
      refused: "never",
      workflow: "order",
      isDate: true,
    });
  });
});

async function operate(id: string, ...calls: readonly (readonly unknown[])[]): Promise<unknown[]> {
  const answer = await platform.call("operator", { json: { id, calls } });
  expect(answer.status, answer.text).toBe(200);
  return answer.json as unknown[];
}

/** Asks until the instance says so. */
async function statusOf(id: string, wanted: string): Promise<Record<string, unknown>> {
  for (let asked = 0; ; asked += 1) {
    const [status] = (await operate(id, ["status"])) as [Record<string, unknown>];
    if (status["status"] === wanted) return status;
    if (asked > 200) throw new Error(`${id} is ${JSON.stringify(status)}, not ${wanted}`);
    await sleep(20);
  }
}

describe("a binding", () => {
  it("creates an instance under an id of one's own, once", async () => {
    const told = await operate("one", ["create", { id: "one", params: {} }], ["get", "one"]);
    expect(told).toStrictEqual(["one", "one"]);
    expect(await operate("one", ["create", { id: "one" }], ["get", "none"])).toStrictEqual([
      'WorkflowError: (instance.already_exists) Workflow instance with id "one" already exists',
      "Error: instance.not_found",
    ]);
  });

  it("sends events, and a race of long waits ends with the first of them", async () => {
    await statusOf("one", "waiting");
    await operate("one", ["sendEvent", { type: "go", payload: { by: "me" } }]);
    const { output } = await statusOf("one", "complete");
    expect(output).toMatchObject({ type: "go", payload: { by: "me" } });
  });
});

async function notes(): Promise<unknown[]> {
  return (await platform.call("note", { json: "" })).json as unknown[];
}

describe("ctx.workflow", () => {
  it("is the same for functions without bindings", async () => {
    const answer = await platform.call("orders", { json: { amount: 7 } });
    expect(answer.json).toMatchObject({ status: "complete", output: { paid: { amount: 7 } } });
  });
});

describe("an instance", () => {
  it("is undone newest first when it is terminated so", async () => {
    await operate("two", ["create", { id: "two", params: { undo: ["a", "b"] } }]);
    await statusOf("two", "waiting");
    expect(await operate("two", ["terminate", { rollback: true }])).toStrictEqual([null]);
    await statusOf("two", "terminated");
    expect(await notes()).toStrictEqual(expect.arrayContaining(["undo b two", "undo a two"]));
    const seen = (await notes()).filter((note) => String(note).endsWith(" two"));
    expect(seen).toStrictEqual(["undo b two", "undo a two"]);
  });

  it("stands still while it is paused, also when what it waits for comes", async () => {
    await operate("three", ["create", { id: "three", params: {} }]);
    await statusOf("three", "waiting");
    await operate("three", ["pause"]);
    await statusOf("three", "paused");
    await operate("three", ["sendEvent", { type: "go" }]);
    await sleep(300);
    expect(await notes()).not.toContain("after three");
    await operate("three", ["resume"]);
    await statusOf("three", "complete");
    expect((await notes()).filter((note) => note === "after three")).toHaveLength(1);
  });

  it("is restarted from its beginning under its id, and refuses what does not fit", async () => {
    const told = await operate("three", ["resume"], ["pause"], ["restart"]);
    expect(told.slice(0, 2)).toStrictEqual([
      expect.stringContaining("(instance.cannot_resume)"),
      expect.stringContaining("(instance.cannot_pause)"),
    ]);
    expect(told[2]).toBeNull();
    await statusOf("three", "waiting");
    await operate("three", ["terminate"], ["delete"]);
    expect(await operate("three", ["get", "three"])).toStrictEqual(["Error: instance.not_found"]);
  });

  it("tells its history to who subscribes", async () => {
    const answer = await platform.call("subscriber", { json: "one" });
    const types = (answer.json as { type: string }[]).map(({ type }) => type);
    expect(types.slice(0, 2)).toStrictEqual(["workflow_queued", "workflow_started"]);
    expect(types).toContain("wait_completed");
    expect(types.at(-1)).toBe("workflow_completed");
  });
});

describe("who subscribes to an instance that runs", () => {
  it("is told as it goes on, to its end", async () => {
    await operate("live", ["create", { id: "live", params: {} }]);
    await statusOf("live", "waiting");
    const told = platform.call("subscriber", { json: "live" });
    await sleep(300);
    await operate("live", ["sendEvent", { type: "go" }]);
    const types = ((await told).json as { type: string }[]).map(({ type }) => type);
    expect(types.slice(-3)).toStrictEqual([
      "attempt_completed",
      "step_completed",
      "workflow_completed",
    ]);
  });
});

describe("a step of code", () => {
  it("puts into the store of its run, with its result or not at all", async () => {
    const answer = await platform.call("keeper", { json: null });
    expect(answer.json).toStrictEqual({
      kept: "of the second attempt",
      called: "of whom it calls",
      outside: "CONFLICT",
      isRun: true,
    });
  });
});

describe("step.invoke", () => {
  it("runs another workflow, with values of any size, and waits for what it returns", async () => {
    const answer = await platform.call("invoker", { json: { octets: 300_000 } });
    expect(answer.json).toStrictEqual({
      length: 300_000,
      kept: 400_000,
      missing: "FUNCTION_NOT_FOUND",
    });
  });
});

describe("after kill -9 of its cell", () => {
  it("a run goes on at once: what was done is not done again, what was under way is", async () => {
    const started = await platform.http.call("/async-function/dying", { json: null });
    const id = String(started.headers["x-run-id"]);
    for (let asked = 0; !(await notes()).includes("second") && asked < 100; asked += 1) {
      await sleep(20);
    }
    const atMs = Date.now();
    await killCell(platform, Number(id.split("-")[0]));
    let answer = await platform.http.call(`/runs/${id}`).catch(() => undefined);
    while (answer?.status !== 200 && Date.now() - atMs < 10_000) {
      await sleep(50);
      answer = await platform.http.call(`/runs/${id}`).catch(() => undefined);
    }
    expect(answer?.json).toStrictEqual({ first: 1, second: 2 });
    expect(Date.now() - atMs).toBeLessThan(8_000);
  });
});
