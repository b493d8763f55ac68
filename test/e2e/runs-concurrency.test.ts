/**
 * Runs of a workflow with a limit: over all shards at most so many are under way, the others wait
 * in their order, whatever dies meanwhile. Ended ones are kept as long as the operator and the
 * function say.
 */
import { describe, expect, it } from "vitest";
import { killCell } from "../support/cells.ts";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

/** Of ended runs, in each shard. */
const KEPT = 20;
const platform = usePlatform({ cells: 2, runs: { keptRuns: KEPT } });

/** Ends when an event says so. */
const WAITER = `import { flow } from "isola";
export default flow((dag) => { dag.node("a").waitForEvent("go").apply("echo"); });`;
const ECHO = "export default (value) => value;";

async function deployLimited(limit: number): Promise<void> {
  const source = { main: "limited.ts", files: { "limited.ts": WAITER } };
  await platform().deploy("limited", source, { concurrency: { limit } });
}

async function start(name: string, json: unknown): Promise<string> {
  const answer = await platform().http.call(`/async-function/${name}`, { json });
  expect(answer.status, answer.text).toBe(202);
  return String(answer.headers["x-run-id"]);
}

async function statusOf(id: string): Promise<string> {
  return (await platform().client.runs.show(id)).status;
}

async function statuses(ids: readonly string[]): Promise<string[]> {
  return Promise.all(ids.map(statusOf));
}

async function open(name: string) {
  const { items } = await platform().client.runs.list({ function: name });
  return items.filter(({ endedAtMs }) => endedAtMs === undefined);
}

async function go(id: string): Promise<void> {
  await platform().client.runs.signal(id, { type: "go", payload: 1 });
}

/** Waits for the run that is at this place. */
async function reaches(id: string, status: string): Promise<void> {
  await until(async () => (await statusOf(id).catch(() => "")) === status);
}

describe("a workflow with a limit", () => {
  it("has so many runs under way over all shards; the oldest begins as one ends", async () => {
    await platform().deploy("echo", ECHO);
    await deployLimited(2);
    const ids: string[] = [];
    for (let at = 0; at < 6; at += 1) ids.push(await start("limited", at));
    expect(new Set(ids.map((id) => id.split("-", 1)[0])).size).toBe(1);
    await until(async () => (await statuses(ids)).filter((one) => one === "waiting").length === 2);
    const four = ["queued", "queued", "queued", "queued"];
    expect(await statuses(ids)).toEqual(["waiting", "waiting", ...four]);
    await go(ids[1] ?? "");
    await reaches(ids[2] ?? "", "waiting");
    expect(await statuses(ids)).toEqual(["waiting", "completed", "waiting", ...four.slice(1)]);

    const shard = Number(ids[0]?.split("-", 1)[0]);
    await killCell(platform(), shard % 2);
    await reaches(ids[0] ?? "", "waiting");
    expect(await statuses(ids)).toEqual(["waiting", "completed", "waiting", ...four.slice(1)]);
    for (const id of ids) await go(id).catch(() => undefined);
    for (const id of ids) await reaches(id, "completed");
  });

  it("counts what functions call and what other workflows invoke", async () => {
    await deployLimited(1);
    await platform().deploy("caller", `export default async (n, ctx) => ctx.call("limited", n);`);
    const parent = `import { flow } from "isola";
export default flow((dag) => { dag.node("a").invoke("limited"); });`;
    await platform().deploy("parent", { main: "p.ts", files: { "p.ts": parent } });
    const calls = [0, 1].map((json) => platform().http.call("/function/caller", { json }));
    const parents = [await start("parent", 2), await start("parent", 3)];
    const children = parents.map((id) => `${id}.1`);
    await until(async () => (await open("limited")).length === 4);
    const states = (await open("limited")).map(({ status }) => status);
    expect(states.filter((one) => one === "queued").length).toBeGreaterThan(0);
    await until(async () => {
      for (const { id } of await open("limited")) await go(id).catch(() => undefined);
      return (await open("limited")).length === 0;
    });
    for (const id of [...parents, ...children]) await reaches(id, "completed");
    for (const call of calls) expect((await call).json).toBe(1);
  });

  it("finds instances by their ids also when the limit came, or went, after them", async () => {
    const operator = `export default { async fetch(request, env) {
  const { create, get } = await request.json();
  if (create) return new Response((await env.LIMITED.create({ id: create })).id);
  return new Response((await (await env.LIMITED.get(get)).status()).status);
} };`;
    await platform().deploy("operator", operator, { workflows: { LIMITED: "limited" } });
    const ask = async (json: object) =>
      (await platform().http.call("/function/operator", { json })).text;
    // Of several ids some are of the other shard.
    const ids = ["a", "b", "c", "d", "e", "f"];
    for (const [round, limit] of [0, 1, 0].entries()) {
      await deployLimited(limit);
      const names = ids.map((id) => `${id}${String(round)}`);
      for (const create of names) expect(await ask({ create })).toBe(create);
      await deployLimited(limit === 0 ? 1 : 0);
      for (const get of names) expect(await ask({ get })).toMatch(/^(queued|running|waiting)$/);
    }
  });
});

async function ended(name: string): Promise<string[]> {
  const { items } = await platform().client.runs.list({ function: name, limit: 500 });
  return items.filter(({ endedAtMs }) => endedAtMs !== undefined).map(({ id }) => id);
}

describe("ended runs", () => {
  it("are kept as many as the function says, the newest", async () => {
    await platform().deploy("brief", ECHO, { retention: { runs: 2 }, concurrency: { limit: 1 } });
    const ids: string[] = [];
    for (let at = 0; at < 5; at += 1) ids.push(await start("brief", at));
    await reaches(ids[4] ?? "", "completed");
    expect(await ended("brief")).toEqual([ids[4], ids[3]]);
    expect((await platform().http.call(`/runs/${ids[0] ?? ""}`)).code).toBe("RUN_NOT_FOUND");
  });

  it("are kept as many as the operator says", async () => {
    await platform().deploy("many", ECHO);
    for (let at = 0; at < 3 * KEPT; at += 1) await start("many", at);
    await until(async () => (await open("many")).length === 0);
    const { length } = await ended("many");
    expect(length).toBeGreaterThan(KEPT);
    expect(length).toBeLessThanOrEqual(2 * KEPT);
  });
});

describe("a step", () => {
  it("has its time from when it begins, however long it waited for its turn", async () => {
    const busy = `export default (n) => {
  const untilMs = Date.now() + 5;
  while (Date.now() < untilMs) Math.sqrt(n);
};`;
    await platform().deploy("busy", busy, { timeoutMs: 1_000 });
    const wide = `import { flow } from "isola";
export default flow((dag) => {
  const each = dag.forEachBranch("each", (n) => Array.from({ length: n }, (_, at) => at),
    { aggregator: (results) => Object.keys(results).length });
  each.node("item").apply("busy");
});`;
    await platform().deploy("wide", { main: "wide.ts", files: { "wide.ts": wide } });
    const answer = await platform().http.call("/function/wide", { json: 300 });
    expect([answer.status, answer.text]).toEqual([200, "300"]);
  });
});
