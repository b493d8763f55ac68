/**
 * Operating runs over the admin API: lists over shards, histories that are followed, commands, and
 * what wrong use gets. Nothing of it is seen by another namespace (G6), and a cell's end is no more
 * than a pause (G1, G9).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeFetch } from "../../runtime/cli/internal.ts";
import { type IsolaClient, IsolaError } from "../../runtime/client/index.ts";
import type { RunDetail, RunHistoryLine, RunInfo } from "../../runtime/contract/index.ts";
import { cellOf, killCell } from "../support/cells.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

/** Its third attempt succeeds. */
const FLAKY = `export default (input, ctx) => {
  if (ctx.attempt < 3) throw new Error("attempt " + ctx.attempt);
  return { attempt: ctx.attempt };
};
export const config = { retry: { limit: 2, delayMs: 20, backoff: "constant" } };`;
const SLOW = `export default async (ms) => {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return { slept: ms };
};`;
const BROKEN = `export default (input) => { throw new TypeError("no " + JSON.stringify(input)); };`;
const FIXED = `export default (input) => ({ fixed: input });`;
/** A retry that is far away: a run that waits. */
const WAITING = `export default () => { throw new Error("later"); };
export const config = { retry: { limit: 5, delayMs: 3600000, backoff: "constant" } };`;

let platform: TestPlatform;
let other: IsolaClient;

beforeAll(async () => {
  platform = await startTestPlatform({ cells: 2, shards: 3 });
  await platform.client.namespaces.create({ namespace: "other" });
  other = platform.client.in("other");
  await platform.deploy("flaky", FLAKY);
  await platform.deploy("slow", SLOW);
  await platform.deploy("broken", BROKEN);
  await platform.deploy("waiting", WAITING);
  await platform.deploy("add", "export default ({ a, b }) => a + b;");
}, 60_000);

afterAll(() => platform.stop());

async function start(name: string, json: unknown): Promise<string> {
  const answer = await platform.http.call(`/async-function/${name}`, { json });
  expect(answer.status, answer.text).toBe(202);
  return String(answer.headers["x-run-id"]);
}

async function ended(id: string): Promise<RunDetail> {
  for await (const line of platform.client.runs.follow(id)) void line;
  return platform.client.runs.show(id);
}

async function inStatus(id: string, status: string): Promise<void> {
  await until(async () => (await platform.client.runs.show(id)).status === status, 10_000);
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

async function linesOf(lines: AsyncIterable<RunHistoryLine>): Promise<RunHistoryLine[]> {
  const all: RunHistoryLine[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

/** A request as it is on the wire. */
async function raw(path: string, init: RequestInit & { readonly token?: string } = {}) {
  const { token = platform.adminToken, ...rest } = init;
  const headers = { authorization: `Bearer ${token}`, ...(rest.headers as object) };
  const url = `${platform.adminUrl}/v1/namespaces/default/runs${path}`;
  const response = await nodeFetch(url, { ...rest, headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

describe("a run", () => {
  it("is shown with its steps, their attempts, what it got and gave", async () => {
    const id = await start("flaky", { a: 1 });
    const run = await ended(id);
    expect(run).toMatchObject({
      id,
      namespace: "default",
      workflow: "flaky",
      status: "completed",
      form: "dag",
      durability: "step",
      input: { value: { a: 1 } },
      output: { value: { attempt: 3 } },
      pins: { flaky: 1 },
      stepCount: 1,
    });
    const [step] = run.steps;
    expect(step).toMatchObject({ what: "apply flaky", status: "completed", attempts: 3 });
    expect(step?.endedAtMs).toBeGreaterThanOrEqual(step?.startedAtMs ?? Number.NaN);
  });

  it("that failed says why, and where", async () => {
    const run = await ended(await start("broken", 7));
    expect(run.status).toBe("failed");
    expect(run.error).toMatchObject({ code: "FUNCTION_ERROR", step: "call/0" });
    expect(run.steps).toMatchObject([{ status: "failed", attempts: 1 }]);
  });

  it("has a graph, as data and as text", async () => {
    const id = await start("add", { a: 1, b: 2 });
    await ended(id);
    expect(await platform.client.runs.graph(id)).toStrictEqual({
      nodes: [{ id: "call", kind: "chain", operations: ["apply add"], phase: "done" }],
      edges: [],
    });
    expect(await platform.client.runs.drawing(id, "dot")).toMatch(/^digraph workflow \{\n/);
    expect(await platform.client.runs.drawing(id, "mermaid")).toMatch(/^flowchart TD\n/);
    const dot = await raw(`/${id}/graph?format=dot`);
    expect(dot.headers.get("content-type")).toContain("graphviz");
  });

  it("of a plain function is a trace, too: an attempt is a span below it", async () => {
    const traceId = "3".repeat(32);
    const headers = { traceparent: `00-${traceId}-${"4".repeat(16)}-01` };
    const answer = await platform.http.call("/async-function/flaky", { json: 1, headers });
    const id = String(answer.headers["x-run-id"]);
    await ended(id);
    const { client } = platform;
    await until(async () => (await client.traces({ traceId })).length === 4);
    const spans = await client.traces({ traceId });
    const run = spans.find(({ attributes }) => attributes["isola.run_id"] === id);
    expect(run?.attributes["isola.run_status"]).toBe("completed");
    const below = spans.filter(({ parentSpanId }) => parentSpanId === run?.spanId);
    expect(below.map(({ error }) => error)).toStrictEqual(
      expect.arrayContaining(["function_error", undefined]),
    );
    expect(below).toHaveLength(3);
  });

  it("is counted by its function and status", async () => {
    const id = await start("waiting", 1);
    await inStatus(id, "waiting");
    const labels = `namespace="default",workflow="waiting",status="waiting"`;
    expect(await platform.client.metrics()).toContain(`isola_runs{${labels}} 1\n`);
    await platform.client.runs.terminate(id);
    const text = await platform.client.metrics();
    expect(text).not.toContain(`isola_runs{${labels}}`);
    expect(text).toMatch(/isola_runs_ended_total{[^}]+workflow="waiting",status="terminated"} 1\n/);
  });

  it("of another namespace is none", async () => {
    const id = await start("add", { a: 1, b: 2 });
    await ended(id);
    const { runs } = other;
    const asked = [
      runs.show(id),
      runs.graph(id),
      runs.history(id),
      linesOf(runs.follow(id)),
      runs.pause(id),
      runs.terminate(id),
      runs.restart(id),
      runs.signal(id, { type: "go" }),
    ];
    const codes = await Promise.all(asked.map((one) => refusal(one)));
    expect(new Set(codes)).toStrictEqual(new Set(["RUN_NOT_FOUND"]));
    expect((await runs.list()).items).toStrictEqual([]);
  });
});

describe("the list of runs", () => {
  it("is newest first over all shards, by pages that do not change", async () => {
    const sinceMs = Date.now();
    await sleep(5);
    const ids: string[] = [];
    for (let at = 0; at < 12; at += 1) {
      ids.push(await start("add", { a: at, b: 0 }));
      await sleep(3);
    }
    const shards = new Set(ids.map((id) => id.split("-")[0]));
    expect(shards.size).toBeGreaterThan(1);
    const first = await platform.client.runs.list({ sinceMs, limit: 5 });
    const late = await start("add", { a: 1, b: 1 });
    const rest: RunInfo[] = [];
    let { cursor } = first;
    while (cursor !== undefined) {
      const page = await platform.client.runs.list({ sinceMs, limit: 5, cursor });
      rest.push(...page.items);
      ({ cursor } = page);
    }
    const seen = [...first.items, ...rest].map(({ id }) => id);
    expect(seen).toStrictEqual(ids.toReversed());
    expect(seen).not.toContain(late);
  });

  it("is filtered by function and status", async () => {
    const failed = await start("broken", "listed");
    await ended(failed);
    const { items } = await platform.client.runs.list({ status: "failed", function: "broken" });
    expect(items[0]).toMatchObject({ id: failed, error: { code: "FUNCTION_ERROR" } });
    expect(new Set(items.map(({ workflow }) => workflow))).toStrictEqual(new Set(["broken"]));
    expect((await platform.client.runs.list({ function: "nothing" })).items).toStrictEqual([]);
  });

  it("refuses what it cannot mean", async () => {
    const bad = ["?status=done", "?limit=0", "?limit=x", "?cursor=1.2", "?cursor=x", "?colour=red"];
    for (const query of bad) {
      const { status, text } = await raw(query);
      expect([query, status, text.includes("REQUEST_INVALID")]).toStrictEqual([query, 400, true]);
    }
  });
});

describe("a history", () => {
  it("is followed while it grows, and resumed where it broke off", async () => {
    const id = await start("slow", 300);
    const lines = await linesOf(platform.client.runs.follow(id));
    expect(lines.map(({ type }) => type)).toStrictEqual([
      "runStarted",
      "stepStarted",
      "attemptStarted",
      "stepCompleted",
      "runEnded",
    ]);
    expect((lines.at(-1)?.atMs ?? 0) - (lines[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(290);
    expect(await platform.client.runs.history(id)).toStrictEqual(lines);
    for (const [at, { id: after }] of lines.entries()) {
      const rest = await linesOf(platform.client.runs.follow(id, { after }));
      expect(rest).toStrictEqual(lines.slice(at + 1));
    }
    const over = await raw(`/${id}/history?follow=1`, { headers: { "last-event-id": "end" } });
    expect(over.status).toBe(204);
    expect((await raw(`/${id}/history?follow=1&after=x`)).status).toBe(400);
  });

  it("is followed over the end of the cell", async () => {
    const id = await start("slow", 1_500);
    const lines = linesOf(platform.client.runs.follow(id));
    await inStatus(id, "running");
    const slot = Number(id.split("-")[0]) % 2;
    await killCell(platform, slot);
    const types = (await lines).map(({ type }) => type);
    expect(types.at(-1)).toBe("runEnded");
    expect(types.filter((type) => type === "runStarted")).toHaveLength(1);
    expect(types).toContain("attemptInterrupted");
    expect((await platform.client.runs.show(id)).steps[0]).toMatchObject({
      status: "completed",
      interruptions: 1,
    });
  }, 30_000);
});

describe("commands", () => {
  it("pause and resume: what is under way ends, nothing begins meanwhile", async () => {
    const { runs } = platform.client;
    const id = await start("waiting", 0);
    await inStatus(id, "waiting");
    expect((await runs.pause(id)).status).toBe("paused");
    expect((await runs.pause(id)).status).toBe("paused");
    expect((await runs.resume(id)).status).toBe("waiting");
    expect(await refusal(runs.resume(id))).toBe("RUN_STATE");
    const types = (await runs.history(id)).map(({ type }) => type);
    expect(types.filter((type) => /^run(Paused|Resumed)/.test(type))).toStrictEqual([
      "runPaused",
      "runResumed",
    ]);
    expect((await runs.terminate(id)).status).toBe("terminated");
  });

  it("are carried out once, whenever their cell ends", async () => {
    const { runs } = platform.client;
    const ids = await Promise.all([1, 2, 3, 4].map(() => start("waiting", 0)));
    await Promise.all(ids.map((id) => inStatus(id, "waiting")));
    await Promise.all(ids.map((id) => runs.pause(id)));
    const { pid = 0 } = await cellOf(platform, 0);
    const told = ids.map((id) => runs.resume(id));
    await sleep(2);
    process.kill(pid, "SIGKILL");
    await Promise.all(told);
    for (const id of ids) {
      await inStatus(id, "waiting");
      const types = (await runs.history(id)).map(({ type }) => type);
      expect(types.filter((type) => type === "runResumed")).toHaveLength(1);
      await runs.terminate(id);
    }
  }, 30_000);

  it("terminate: an attempt under way is ended", async () => {
    const { runs } = platform.client;
    const id = await start("slow", 60_000);
    await inStatus(id, "running");
    const startedAtMs = Date.now();
    await runs.terminate(id, { rollback: true });
    const run = await ended(id);
    expect(run.status).toBe("terminated");
    expect(Date.now() - startedAtMs).toBeLessThan(5_000);
    expect(await refusal(runs.terminate(id))).toBe("RUN_STATE");
    expect(await refusal(runs.pause(id))).toBe("RUN_STATE");
  });

  it("restart from the beginning is another run with the same input", async () => {
    const id = await start("add", { a: 20, b: 22 });
    await ended(id);
    const again = await platform.client.runs.restart(id);
    expect(again.id).not.toBe(id);
    expect((await ended(again.id)).output).toStrictEqual({ value: 42 });
    const { status } = await raw(`/${id}/restart`, { method: "POST" });
    expect(status).toBe(201);
  });

  it("restart from where it failed goes on with the version that is named", async () => {
    await platform.deploy("fixable", BROKEN);
    const id = await start("fixable", 5);
    expect((await ended(id)).status).toBe("failed");
    const { version } = await platform.deploy("fixable", FIXED, {}, { traffic: 50 });
    const { runs } = platform.client;
    expect((await runs.restart(id, { from: "failed" })).id).toBe(id);
    expect((await ended(id)).status).toBe("failed");
    await runs.restart(id, { from: "failed", version: { fixable: version } });
    const run = await ended(id);
    expect(run).toMatchObject({
      status: "completed",
      output: { value: { fixed: 5 } },
      pins: { fixable: version },
    });
    expect(run.steps).toMatchObject([{ status: "completed", attempts: 1 }]);
    const types = (await runs.history(id)).map(({ type }) => type);
    expect(types.filter((type) => type === "runRestarted")).toHaveLength(2);
  });

  it("restart an open run, from no step, or with what it does not call is refused", async () => {
    const { runs } = platform.client;
    const open = await start("waiting", 0);
    await inStatus(open, "waiting");
    expect(await refusal(runs.restart(open))).toBe("RUN_STATE");
    expect(await refusal(runs.restart(open, { from: "call/0" }))).toBe("RUN_STATE");
    await runs.terminate(open);
    const id = await start("broken", 0);
    await ended(id);
    expect(await refusal(runs.restart(id, { from: "nowhere/0" }))).toBe("STEP_NOT_FOUND");
    const from = "call/0";
    const foreign = runs.restart(id, { from, version: { add: 1 } });
    expect(await refusal(foreign)).toBe("REQUEST_INVALID");
    const unknown = runs.restart(id, { from, version: { broken: 99 } });
    expect(await refusal(unknown)).toBe("VERSION_NOT_FOUND");
    const pointless = runs.restart(id, { version: { broken: 1 } });
    expect(await refusal(pointless)).toBe("REQUEST_INVALID");
  });

  it("send events, each id once, and none to what has ended", async () => {
    const { runs } = platform.client;
    const id = await start("waiting", 0);
    await inStatus(id, "waiting");
    await runs.signal(id, { type: "go", payload: { ok: true }, id: "one" });
    await runs.signal(id, { type: "go", payload: { ok: false }, id: "one" });
    await runs.signal(id, { type: "stop" });
    expect((await runs.show(id)).events).toStrictEqual(["go", "stop"]);
    await runs.terminate(id);
    expect(await refusal(runs.signal(id, { type: "go" }))).toBe("RUN_STATE");
    const bad = { method: "POST", headers: { "content-type": "application/json" } };
    const untyped = await raw(`/${id}/events`, { ...bad, body: "{}" });
    expect([untyped.status, untyped.text.includes("REQUEST_INVALID")]).toStrictEqual([400, true]);
    const extra = await raw(`/${id}/pause`, { ...bad, body: '{"now":true}' });
    expect(extra.status).toBe(400);
  });

  it("need a role that may operate", async () => {
    const id = await start("add", { a: 1, b: 1 });
    await ended(id);
    const { token } = await platform.client.tokens.create("read");
    expect((await raw(`/${id}`, { token })).status).toBe(200);
    const restart = await raw(`/${id}/restart`, { token, method: "POST" });
    expect([restart.status, restart.text.includes("ROLE_TOO_LOW")]).toStrictEqual([403, true]);
  });
});

describe("a shard that is down", () => {
  it("is named, not passed over; its runs are there when it is back", async () => {
    const ids = await Promise.all(
      Array.from({ length: 9 }, (_v, at) => start("add", { a: at, b: 0 })),
    );
    await Promise.all(ids.map((id) => ended(id)));
    await killCell(platform, 1);
    const list = await platform.client.runs.list({ limit: 1_000 });
    const shown = new Set(list.items.map(({ id }) => id));
    const isMissing = (id: string): boolean =>
      list.missing.some(({ shard }) => id.startsWith(`${String(shard)}-`));
    for (const id of ids) expect([id, shown.has(id) || isMissing(id)]).toStrictEqual([id, true]);
    // Questions about one run wait for its cell.
    for (const id of ids) expect((await platform.client.runs.show(id)).status).toBe("completed");
    const whole = await platform.client.runs.list({ limit: 1_000 });
    expect(whole.missing).toStrictEqual([]);
    expect(new Set(whole.items.map(({ id }) => id))).toStrictEqual(
      new Set([...shown, ...ids, ...whole.items.map(({ id }) => id)]),
    );
  }, 30_000);
});
