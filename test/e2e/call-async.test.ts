/**
 * Runs that functions start: on disk before the id is answered; within a run with the commit of
 * the step that starts them, once, or never (G2).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import type { RunInfo } from "../../runtime/contract/index.ts";
import { killCell } from "../support/cells.ts";
import type { Answer, CallInit } from "../support/http-calls.ts";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const ADD = "export default ({ a, b }) => ({ sum: a + b });";
const ECHO = `export default (value, ctx) => ({ value, run: ctx.runId, attempt: ctx.attempt });`;
const ECHO_HTTP = `export default { fetch: async (request) =>
  Response.json({ heard: await request.json(), method: request.method }) };`;
const STARTER = `export default ({ name, input, options }, ctx) =>
  ctx.callAsync(name, input, options);`;
const CAREFUL = `export default ({ name, input, options }, ctx) =>
  ctx.callAsync(name, input, options).catch(({ code }) => code);`;
const CARELESS = `export default (_input, ctx) =>
  ctx.callAsync("add", () => 1).catch(({ code }) => code);`;
const HTTP_STARTER = `export default { async fetch(request, env) {
  return new Response(await env.ISOLA.callAsync("add", { a: 40, b: 2 }));
} };`;
/** Starts a run and fails, until its attempt number is what it is asked for. */
const FLAKY = `export default async ({ wanted, tag }, ctx) => {
  const first = await ctx.callAsync("echo", { tag, attempt: ctx.attempt });
  const second = await ctx.call("starter", { name: "echo", input: { tag, under: ctx.attempt } });
  if (ctx.attempt < wanted) throw new Error("attempt " + ctx.attempt);
  return { first, second };
};
export const config = { retry: { limit: 2, delayMs: 10, backoff: "constant" } };`;
const SLOW_STARTER = `export default async ({ tag, ms }, ctx) => {
  const id = await ctx.callAsync("echo", { tag });
  await new Promise((resolve) => setTimeout(resolve, ms));
  return id;
};`;
const LATE = `export default (_input, ctx) => {
  setTimeout(() => ctx.callAsync("echo", { tag: "late" }).catch(() => {}), 100);
  return "done";
};`;
const MANY = `export default async (count, ctx) => {
  for (let at = 0; at < count; at += 100) {
    const starts = Array.from({ length: 100 }, () => ctx.callAsync("echo", { tag: "many" }));
    await Promise.all(starts);
  }
  return count;
};`;
const FLOW = `import { flow } from "isola";
export default flow((dag) => {
  dag.node("start").apply("flaky", { retry: { limit: 2, delayMs: 10, backoff: "constant" } });
});`;

/** Starts runs in a step that fails twice; outside of a step nothing is started. */
const CODE = `import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint {
  async run({ payload: { tag } }, step) {
    const refused = await this.env.ISOLA.callAsync("echo", { tag }).catch(({ code }) => code);
    const retries = { limit: 3, delay: 10, backoff: "constant" };
    const ids = await step.do("start", { retries }, async ({ attempt }) => {
      const first = await this.env.ISOLA.callAsync("echo", { tag, attempt });
      const second = await this.env.ISOLA.callAsync("add", { a: attempt, b: 0 });
      if (attempt < 3) throw new Error("attempt " + attempt);
      return { first, second };
    });
    await step.sleep("wait", 100);
    return { refused, ...ids };
  }
}`;

const WAITER = `import { flow } from "isola";
export default flow((dag) => dag.node("wait").waitForEvent("go", { timeout: "1m" }));`;
/** Sends an event and fails, until its attempt number is what it is asked for. */
const TELLER = `export default async ({ waiter, wanted, size = 0 }, ctx) => {
  const instance = await ctx.workflow("waiter").get(waiter);
  const payload = { attempt: ctx.attempt, text: "x".repeat(size) };
  await instance.sendEvent({ type: "go", payload });
  if (ctx.attempt < wanted) throw new Error("attempt " + ctx.attempt);
  return "told";
};
export const config = { retry: { limit: 2, delayMs: 10, backoff: "constant" } };`;
const SLOW_TELLER = `export default async ({ waiter, ms }, ctx) => {
  const instance = await ctx.workflow("waiter").get(waiter);
  await instance.sendEvent({ type: "go", payload: "slowly" });
  await new Promise((resolve) => setTimeout(resolve, ms));
  return "told";
};`;

const platform = usePlatform({ cells: 2 });

beforeAll(async () => {
  const sources = { add: ADD, echo: ECHO, "echo-http": ECHO_HTTP, starter: STARTER };
  for (const [name, source] of Object.entries(sources)) await platform().deploy(name, source);
  await platform().deploy("http-starter", HTTP_STARTER);
  await platform().deploy("flaky", FLAKY);
  await platform().deploy("careful", CAREFUL);
  await platform().deploy("careless", CARELESS);
  await platform().deploy("slow-starter", SLOW_STARTER);
  await platform().deploy("late", LATE);
  await platform().deploy("many", MANY);
  await platform().deploy("starting-code", { main: "code.ts", files: { "code.ts": CODE } });
  await platform().deploy("waiter", { main: "waiter.ts", files: { "waiter.ts": WAITER } });
  await platform().deploy("teller", TELLER);
  await platform().deploy("slow-teller", SLOW_TELLER);
  await platform().deploy("starting-flow", { main: "flow.ts", files: { "flow.ts": FLOW } });
}, 60_000);

async function called(name: string, json: unknown): Promise<unknown> {
  const answer = await platform().call(name, { json });
  expect(answer.status, answer.text).toBe(200);
  return answer.json;
}

async function started(name: string, json: unknown, init: CallInit = {}): Promise<string> {
  const answer = await platform().http.call(`/async-function/${name}`, { ...init, json });
  expect(answer.status, answer.text).toBe(202);
  return String(answer.headers["x-run-id"]);
}

async function resultOf(id: unknown): Promise<Answer> {
  const untilMs = Date.now() + 20_000;
  for (;;) {
    const answer = await platform().http.call(`/runs/${String(id)}`);
    if (answer.status !== 202 && answer.status !== 503) return answer;
    if (Date.now() > untilMs) throw new Error(`no result of ${String(id)}: ${answer.text}`);
    await sleep(10);
  }
}

async function statusOf(id: string): Promise<string> {
  return (await platform().client.runs.show(id)).status;
}

/** Runs of `echo` whose input has that tag, newest first. */
async function echoes(tag: string): Promise<RunInfo[]> {
  const { runs } = platform().client;
  const found: RunInfo[] = [];
  for await (const run of runs.all({ function: "echo" })) {
    const { input } = await runs.show(run.id);
    if (input && "value" in input && (input.value as { tag?: string }).tag === tag) found.push(run);
  }
  return found;
}

describe("callAsync outside of a run", () => {
  it("answers the id of a run that is on disk and goes on by itself", async () => {
    const id = await called("starter", { name: "add", input: { a: 1, b: 2 } });
    expect(id).toMatch(/^\d+-[0-9a-f]{32}$/);
    const answer = await resultOf(id);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.json).toEqual({ sum: 3 });
    expect(await platform().client.runs.show(String(id))).toMatchObject({
      workflow: "add",
      status: "completed",
      input: { value: { a: 1, b: 2 } },
      output: { value: { sum: 3 } },
    });
  });

  it("is env.ISOLA.callAsync in a Workers module, and reaches one", async () => {
    const { text } = await platform().call("http-starter");
    expect((await resultOf(text)).json).toEqual({ sum: 42 });
    const id = await called("starter", { name: "echo-http", input: { x: 1 } });
    expect((await resultOf(id)).json).toEqual({ heard: { x: 1 }, method: "POST" });
  });

  it("starts workflows, too", async () => {
    const input = { wanted: 1, tag: "flow-by-function" };
    const id = await called("starter", { name: "starting-flow", input });
    const answer = await resultOf(id);
    expect(answer.status, answer.text).toBe(200);
    expect(await echoes("flow-by-function")).toHaveLength(2);
  });

  it("fails by code, and fails the function as any call does", async () => {
    const missing = await platform().call("starter", { json: { name: "nobody" } });
    expect([missing.status, missing.code]).toEqual([500, "FUNCTION_ERROR"]);
    expect(await called("careful", { name: "nobody" })).toBe("FUNCTION_NOT_FOUND");
    const version = { name: "add", options: { version: 99 } };
    expect(await called("careful", version)).toBe("VERSION_NOT_FOUND");
    expect(await called("careless", {})).toBe("INPUT_MALFORMED");
  });

  it("works from cells that hold no shards", async () => {
    const { client } = platform();
    await client.namespaces.create({ namespace: "own", cells: "dedicated" });
    await platform().deploy("starter", STARTER, {}, { namespace: "own" });
    await platform().deploy("add", ADD, {}, { namespace: "own" });
    const answer = await platform().call("starter.own", {
      json: { name: "add", input: { a: 4, b: 5 } },
    });
    expect(answer.status, answer.text).toBe(200);
    expect((await resultOf(answer.json)).json).toEqual({ sum: 9 });
  }, 40_000);
});

describe("callAsync within a run", () => {
  it.each([
    ["an asynchronous call", (json: unknown) => started("flaky", json)],
    ["a flow", (json: unknown) => started("starting-flow", json)],
  ])(
    "of %s begins with the step's commit, once, however often it is tried",
    async (what, start) => {
      const tag = `retried by ${what}`;
      const answer = await resultOf(await start({ wanted: 3, tag }));
      expect(answer.status, answer.text).toBe(200);
      const { first, second } = answer.json as { first: string; second: string };
      expect((await resultOf(first)).json).toMatchObject({
        value: { tag, attempt: 3 },
        run: first,
      });
      expect((await resultOf(second)).json).toMatchObject({
        value: { tag, under: 3 },
        run: second,
      });
      const ids = (await echoes(tag)).map(({ id }) => id);
      expect(new Set(ids)).toEqual(new Set([first, second]));
      expect(ids).toHaveLength(2);
    },
  );

  it("of a workflow in code begins with the commit of the step that it stands in", async () => {
    const answer = await resultOf(await started("starting-code", { tag: "code" }));
    expect(answer.status, answer.text).toBe(200);
    const { refused, first, second } = answer.json as Record<string, string>;
    expect(refused).toBe("CONFLICT");
    expect((await resultOf(first)).json).toMatchObject({ value: { tag: "code", attempt: 3 } });
    expect((await resultOf(second)).json).toEqual({ sum: 3 });
    expect((await echoes("code")).map(({ id }) => id)).toEqual([first]);
  });

  it("does not begin if the step fails for good", async () => {
    const answer = await resultOf(await started("flaky", { wanted: 9, tag: "never" }));
    expect(answer.status).toBe(500);
    expect(await echoes("never")).toEqual([]);
  });

  it("begins once when cells die under the step (G1, G2, G7)", async () => {
    const id = await started("slow-starter", { tag: "killed", ms: 800 });
    await sleep(300);
    expect(await echoes("killed")).toEqual([]);
    await Promise.all([killCell(platform(), 0), killCell(platform(), 1)]);
    const answer = await resultOf(id);
    expect(answer.status, answer.text).toBe(200);
    expect((await resultOf(answer.json)).json).toMatchObject({ value: { tag: "killed" } });
    expect(await echoes("killed")).toHaveLength(1);
  }, 40_000);

  it("is over with the attempt", async () => {
    expect((await resultOf(await started("late", {}))).json).toBe("done");
    await sleep(300);
    expect(await echoes("late")).toEqual([]);
  });

  it("is bounded", async () => {
    const answer = await resultOf(await started("many", 1_001));
    expect([answer.status, answer.code]).toEqual([500, "FUNCTION_ERROR"]);
    expect(await echoes("many")).toEqual([]);
  });
});

describe("an event that a step sends", () => {
  it("is sent with the step's commit, by the attempt that completes", async () => {
    const waiter = await started("waiter", {});
    const told = await resultOf(await started("teller", { waiter, wanted: 3 }));
    expect(told.json, told.text).toBe("told");
    expect((await resultOf(waiter)).json).toEqual({ attempt: 3, text: "" });
  });

  it("is not sent if the step fails for good", async () => {
    const waiter = await started("waiter", {});
    expect((await resultOf(await started("teller", { waiter, wanted: 9 }))).status).toBe(500);
    await sleep(300);
    expect(await statusOf(waiter)).toBe("waiting");
    await platform().client.runs.terminate(waiter);
  });

  it("is sent at once outside of a run", async () => {
    const waiter = await started("waiter", {});
    expect(await called("teller", { waiter, wanted: 1 })).toBe("told");
    expect((await resultOf(waiter)).json).toEqual({ attempt: 1, text: "" });
  });

  it("is refused if nobody is there to take it, and when it is too large", async () => {
    const waiter = await started("waiter", {});
    await platform().client.runs.terminate(waiter);
    const gone = await resultOf(await started("teller", { waiter, wanted: 1 }));
    expect(gone.status).toBe(500);
    const other = await started("waiter", {});
    const sent = { waiter: other, wanted: 1, size: 2 * 1024 * 1024 };
    expect((await resultOf(await started("teller", sent))).code).toBe("BODY_TOO_LARGE");
    expect(await statusOf(other)).toBe("waiting");
    await platform().client.runs.terminate(other);
  });

  it("to a run that ends meanwhile is dropped, and the logs say so", async () => {
    const waiter = await started("waiter", {});
    const id = await started("slow-teller", { waiter, ms: 600 });
    await sleep(250);
    await platform().client.runs.terminate(waiter);
    expect((await resultOf(id)).json).toBe("told");
    const texts = async (): Promise<string[]> =>
      (await platform().client.logs({ function: "waiter" })).map(({ text }) => text);
    await until(async () => (await texts()).some((text) => text.includes(waiter)));
    expect((await texts()).find((text) => text.includes(waiter))).toContain("is dropped");
  });

  it("arrives once when cells die under the step (G1, G2)", async () => {
    const waiter = await started("waiter", {});
    const id = await started("slow-teller", { waiter, ms: 700 });
    await sleep(300);
    expect(await statusOf(waiter)).toBe("waiting");
    await Promise.all([killCell(platform(), 0), killCell(platform(), 1)]);
    expect((await resultOf(id)).json).toBe("told");
    expect((await resultOf(waiter)).json).toBe("slowly");
  }, 40_000);
});
