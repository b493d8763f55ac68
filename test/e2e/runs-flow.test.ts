/**
 * Operating runs of workflows: what a run with branches, items, children and handlers shows, how
 * it is paused, told of events, restarted from a step with what was corrected, and drawn.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type IsolaClient, IsolaError } from "../../runtime/client/index.ts";
import type { RunDetail } from "../../runtime/contract/index.ts";
import { FORM, type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const flowOf = (body: string): { main: string; files: Record<string, string> } => ({
  main: "main.ts",
  files: { "main.ts": `import { flow } from "isola";\nexport default flow((dag) => {${body}});` },
});

const BROKEN = `export default () => { throw new Error("broken"); };`;

let platform: TestPlatform;
let runs: IsolaClient["runs"];

beforeAll(async () => {
  platform = await startTestPlatform({ cells: 2 }, FORM);
  ({ runs } = platform.client);
  await platform.deploy("double", "export default (n) => n * 2;");
  await platform.deploy("fragile", BROKEN);
  await platform.deploy(
    "branches",
    flowOf(`
      dag.node("start").apply("double");
      const { even, odd } = dag.conditionalBranch("parity", ["even", "odd"], (n) =>
        n % 4 === 0 ? ["even"] : ["odd"]);
      even.node("x").modify((n) => n);
      odd.node("x").apply("double");
      dag.forEachBranch("each", () => ({ a: 1, b: 2 })).node("w").apply("double");
      dag.edge("start", "parity");
      dag.edge("parity", "each");`),
  );
  await platform.deploy(
    "chain",
    flowOf(`dag.node("a").apply("double").apply("double");
      dag.node("b").apply("fragile");
      dag.node("c").apply("double");
      dag.edge("a", "b");
      dag.edge("b", "c");`),
  );
  await platform.deploy("approval", flowOf(`dag.node("wait").waitForEvent("approve");`));
  await platform.deploy("parent", flowOf(`dag.node("child").invoke("approval");`));
}, 60_000);

afterAll(() => platform.stop());

const CODE = `import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint {
  async run(event, step) {
    const first = await step.do("first", async () => 1);
    const both = await Promise.all([
      step.do("left", async () => first + 1),
      step.do("right", { retries: { limit: 1, delay: 10 } }, async () => {
        if (event.payload === "fail") throw new Error("right is wrong");
        return first + 2;
      }),
    ]);
    const { payload } = await step.waitForEvent("answer", { type: "answer" });
    return [both, payload];
  }
}`;

async function start(name: string, json: unknown): Promise<string> {
  const answer = await platform.http.call(`/async-function/${name}`, { json });
  expect(answer.status, answer.text).toBe(202);
  return String(answer.headers["x-run-id"]);
}

async function ended(id: string): Promise<RunDetail> {
  for await (const line of runs.follow(id)) void line;
  return runs.show(id);
}

const inStatus = (id: string, status: string): Promise<number> =>
  until(async () => (await runs.show(id)).status === status);

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

describe("a run of code", () => {
  it("shows its steps, is told of events, and drawn as it went", async () => {
    await platform.deploy("code", CODE);
    const id = await start("code", "go");
    await inStatus(id, "waiting");
    const listening = (await runs.show(id)).steps.find((step) => step.id === "event:answer-1");
    expect((listening?.dueAtMs ?? 0) - Date.now()).toBeGreaterThan(23 * 60 * 60 * 1_000);
    await runs.signal(id, { type: "answer", payload: 42 });
    const run = await ended(id);
    expect(run).toMatchObject({ form: "code", output: { value: [[2, 3], 42] }, version: 1 });
    expect(run.steps.map((step) => `${step.id} ${step.what ?? ""} ${step.status}`)).toStrictEqual([
      "do:first-1 do completed",
      "do:left-1 do completed",
      "do:right-1 do completed",
      "event:answer-1 event answer completed",
    ]);
    const { edges } = await runs.graph(id);
    expect(edges.map(({ from, to }) => `${from} ${to}`).toSorted()).toStrictEqual([
      "do:first-1 do:left-1",
      "do:first-1 do:right-1",
      "do:left-1 event:answer-1",
      "do:right-1 event:answer-1",
    ]);
  });

  it("that failed is restarted from a step of it", async () => {
    const id = await start("code", "fail");
    const failed = await ended(id);
    expect(failed).toMatchObject({ status: "failed", error: { message: "right is wrong" } });
    expect(failed.steps.find((step) => step.id === "do:right-1")).toMatchObject({
      status: "failed",
      attempts: 2,
      error: { message: "right is wrong" },
    });
    await runs.restart(id, { from: "do:right-1" });
    expect((await ended(id)).status).toBe("failed");
    expect(await refusal(runs.restart(id, { from: "do:middle-1" }))).toBe("STEP_NOT_FOUND");
  });
});

describe("a run of a workflow", () => {
  it("shows its steps by where they stand, and what they did", async () => {
    const run = await ended(await start("branches", 1));
    expect(run).toMatchObject({
      workflow: "branches",
      status: "completed",
      form: "dag",
      version: 1,
      input: { value: 1 },
      pins: { double: 1 },
    });
    const said = run.steps.map(({ id, what = "", status }) => `${id} ${what}: ${status}`);
    expect(said.toSorted()).toStrictEqual([
      "each[a].w/0 apply double: completed",
      "each[b].w/0 apply double: completed",
      "parity.odd.x/0 apply double: completed",
      "start/0 apply double: completed",
    ]);
    const types = (await runs.history(run.id)).map(({ type }) => type);
    expect(types).toContain("branchesChosen");
    expect(types).toContain("itemsSplit");
    const graph = await runs.graph(run.id);
    expect(graph.nodes.map(({ id }) => id)).toStrictEqual(
      expect.arrayContaining(["parity.odd.x", "each[a].w", "each[b].w"]),
    );
    expect(graph.nodes.map(({ id }) => id)).not.toContain("parity.even.x");
  });

  it("that failed goes on from its failed step with the function corrected", async () => {
    const id = await start("chain", 1);
    const failed = await ended(id);
    expect(failed).toMatchObject({ status: "failed", error: { step: "b/0", message: "broken" } });
    expect((await runs.graph(id)).nodes.map((node) => [node.id, node.phase])).toStrictEqual([
      ["a", "done"],
      ["b", "failed"],
      ["c", "idle"],
    ]);
    const { version } = await platform.deploy("fragile", "export default (n) => n + 1;");
    await runs.restart(id, { from: "b/0", version: "latest" });
    const run = await ended(id);
    expect(run).toMatchObject({
      status: "completed",
      output: { value: 10 },
      pins: { fragile: version },
    });
    expect(run.steps.find((step) => step.id === "a/0")?.startedAtMs).toBe(
      failed.steps.find((step) => step.id === "a/0")?.startedAtMs,
    );
    const anew = await runs.restart(id);
    expect(anew.id).not.toBe(id);
    expect((await ended(anew.id)).output).toStrictEqual({ value: 10 });
    expect(await refusal(runs.restart(id, { from: "z/0" }))).toBe("STEP_NOT_FOUND");
  });

  it("that failed goes on with a version that has no traffic any more", async () => {
    await platform.deploy("seesaw", "export default (n) => n + 100;");
    await platform.deploy("rides", flowOf(`dag.node("a").apply("seesaw");`));
    await platform.deploy("seesaw", BROKEN);
    const id = await start("rides", 1);
    expect((await ended(id)).status).toBe("failed");
    await runs.restart(id, { from: "failed", version: { seesaw: 1 } });
    expect(await ended(id)).toMatchObject({ output: { value: 101 }, pins: { seesaw: 1 } });
    const call = await start("seesaw", 1);
    expect((await ended(call)).status).toBe("failed");
    await runs.restart(call, { from: "call/0", version: { seesaw: 1 } });
    expect(await ended(call)).toMatchObject({ output: { value: 101 }, pins: { seesaw: 1 } });
  });

  it("waits while it is paused, and takes the event that came meanwhile", async () => {
    const id = await start("approval", null);
    await inStatus(id, "waiting");
    await runs.pause(id);
    expect((await runs.show(id)).status).toBe("paused");
    await runs.signal(id, { type: "approve", payload: { by: "me" } });
    expect((await runs.show(id)).status).toBe("paused");
    await runs.resume(id);
    expect((await ended(id)).output).toStrictEqual({ value: { by: "me" } });
  });

  it("leads to the runs that it invokes, and they to it", async () => {
    const id = await start("parent", 1);
    await until(async () => (await runs.show(id)).steps[0]?.run !== undefined);
    const child = (await runs.show(id)).steps[0]?.run ?? "";
    await inStatus(child, "waiting");
    expect((await runs.show(child)).parent).toStrictEqual({ run: id, step: "child/0" });
    await runs.terminate(id);
    expect((await ended(id)).status).toBe("terminated");
    expect((await ended(child)).status).toBe("terminated");
  });

  it("is a trace: its calls, theirs, and runs that it invokes hang under it", async () => {
    await platform.deploy("caller", `export default async (n, ctx) => ctx.call("double", n);`);
    await platform.deploy("inner", flowOf(`dag.node("a").apply("caller");`));
    await platform.deploy("outer", flowOf(`dag.node("a").apply("double").invoke("inner");`));
    const [traceId, parent] = ["1".repeat(32), "2".repeat(16)];
    const traceparent = `00-${traceId}-${parent}-01`;
    const init = { json: 1, headers: { traceparent } };
    const answer = await platform.http.call("/async-function/outer", init);
    await ended(String(answer.headers["x-run-id"]));
    await until(async () => (await platform.client.traces({ traceId })).length === 5);
    const spans = await platform.client.traces({ traceId });
    const byId = new Map(spans.map((span) => [span.spanId, span]));
    const path = (span: (typeof spans)[number]): string => {
      const above = byId.get(span.parentSpanId ?? "");
      return above ? `${path(above)} > ${span.name}` : span.name;
    };
    expect(spans.map(path).toSorted()).toStrictEqual([
      "outer",
      "outer > double",
      "outer > inner",
      "outer > inner > caller",
      "outer > inner > caller > double",
    ]);
    expect(spans.find(({ name }) => name === "outer")?.parentSpanId).toBe(parent);
  });

  it("is drawn before there is one, for an input that its graph depends on", async () => {
    await platform.deploy("grows", {
      main: "main.ts",
      files: {
        "main.ts": `import { flow } from "isola";
          export default flow((dag, request) => {
            for (let at = 0; at < Number(request.input); at += 1) {
              dag.node("n" + at).apply("double");
              if (at > 0) dag.edge("n" + (at - 1), "n" + at);
            }
            if (request.input === "two starts") dag.node("a"), dag.node("b");
          });`,
      },
    });
    const text = await runs.definition("grows", { input: 3, format: "json" });
    const graph = JSON.parse(text) as { nodes: { id: string }[]; edges: unknown[] };
    expect(graph.nodes.map(({ id }) => id)).toStrictEqual(["n0", "n1", "n2"]);
    expect(await runs.definition("grows", { input: 2, format: "dot" })).not.toContain("n2");
    expect(await refusal(runs.definition("grows", { input: "two starts" }))).toBe("PLAN_INVALID");
    expect(await refusal(runs.definition("double"))).toBe("REQUEST_INVALID");
    expect(await refusal(runs.definition("nobody"))).toBe("FUNCTION_NOT_FOUND");
    expect((await runs.list({ function: "grows" })).items).toStrictEqual([]);
  });

  it("with a large input is started again with the same", async () => {
    const large = "x".repeat(200_000);
    await platform.deploy("length", flowOf(`dag.node("a").modify((text) => text.length);`));
    const id = await start("length", large);
    expect(await ended(id)).toMatchObject({ output: { value: 200_000 } });
    await platform.deploy("length", flowOf(`dag.node("a").modify((text) => -text.length);`));
    const again = await ended((await runs.restart(id)).id);
    expect(again).toMatchObject({ version: 2, output: { value: -200_000 } });
    // Its own, whatever becomes of the first one.
    expect(again.input).toMatchObject({ ref: expect.stringContaining(again.id) as string });
    await platform.deploy("length", "export default (text) => text.length;");
    expect(await refusal(runs.restart(id))).toBe("RUN_STATE");
  });
});
