/**
 * The store in the steps of runs: staged with the step (G2), the same where a step runs in a cell
 * that holds no shard; values of any size between steps; the job that ends with its run (G4).
 */
import { beforeAll, describe, expect, it } from "vitest";
import { killCell } from "../support/cells.ts";
import { pause, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 1 });
const LARGE = 1_000_000;

beforeAll(async () => {
  await platform().client.namespaces.create({ namespace: "own", cells: "dedicated" });
});

/** A namespace whose steps run beside their shard, and one whose cells hold none. */
describe.each(["default", "own"])("steps in the namespace %s", (namespace) => {
  const named = (name: string): string => `${name}.${namespace}`;
  const client = () => platform().client.in(namespace);

  async function fn(name: string, body: string, config: object = {}): Promise<void> {
    const source = `export default async (input, ctx) => { const { store } = ctx; ${body} };`;
    await platform().deploy(name, source, config, { namespace });
  }

  async function flow(name: string, definition: string, options = "{}"): Promise<void> {
    const source = `import { flow } from "isola";
      export default flow((dag, request) => { ${definition} }, ${options});`;
    await platform().deploy(name, source, {}, { namespace });
  }

  async function run(name: string, json: unknown) {
    return platform().call(named(name), { json });
  }

  async function result(name: string, json: unknown): Promise<unknown> {
    const answer = await run(name, json);
    expect(answer.status, answer.text.slice(0, 500)).toBe(200);
    return answer.json;
  }

  /** Id of the newest run of a workflow. */
  async function lastRun(workflow: string): Promise<string> {
    const [newest] = (await client().runs.list({ function: workflow })).items;
    return newest?.id ?? "";
  }

  const runJobs = async () =>
    (await client().store.jobs()).items.filter(({ kind }) => kind === "run");

  beforeAll(async () => {
    await fn("echo", "return input;");
    await fn("put", `await store.put("k", input); return store.get("k");`);
    await fn("get", `return (await store.get("k")) ?? null;`);
    await fn("many", `return { text: "x".repeat(${String(LARGE)}), input };`);
    await fn("length", "return input.text.length;");
  });

  it("hand values over by key, read their own, and leave nothing behind their run", async () => {
    await flow(
      "hand-over",
      `dag.node("a").apply("put"); dag.node("b").apply("get");
      dag.edge("a", "b");`,
    );
    expect(await result("hand-over", { n: 1 })).toEqual({ n: 1 });
    expect(await runJobs()).toEqual([]);
  });

  it("show what they put when they have answered, in a job with the id of the run", async () => {
    await fn(
      "slow",
      `await store.put("staged", 1); await store.put("other", 2);
      await new Promise((go) => setTimeout(go, 500)); return (await store.info()).id;`,
    );
    await flow("slowly", `dag.node("a").apply("slow").waitForEvent("go", { timeout: "10s" });`);
    const answer = await platform().http.call(`/async-function/${named("slowly")}`, { json: 1 });
    const id = String(answer.headers["location"]).split("/").at(-1) ?? "";
    await until(async () => (await runJobs()).some((job) => job.id === id));
    const job = client().store.job(id);
    expect((await job.info()).objects).toBe(0);
    await until(async () => (await job.info()).objects === 2);
    expect(await job.info()).toMatchObject({ kind: "run", name: "slowly", buckets: ["default"] });
    await client().runs.signal(id, { type: "go" });
    await until(async () => (await runJobs()).length === 0);
  });

  it("drop what a failed attempt put and took; the next one hears the same answers", async () => {
    await fn(
      "fails",
      `const n = await store.incr("n", 1);
      const own = await store.has("mine");
      const taken = await store.take("k");
      await store.put("mine", ctx.attempt);
      if (ctx.attempt < 3) throw new Error("again");
      return { n, own, taken, attempt: ctx.attempt, left: await store.has("k") };`,
      { retry: { limit: 3, delayMs: 10 } },
    );
    await flow(
      "failing",
      `dag.node("a").apply("put"); dag.node("b").apply("fails");
      dag.edge("a", "b");`,
    );
    expect(await result("failing", 7)).toEqual({
      n: 1,
      own: false,
      taken: 7,
      attempt: 3,
      left: false,
    });
  });

  it("stage what the calls that they make put, and count theirs by themselves", async () => {
    await fn(
      "inner",
      `const n = await store.incr("of/" + input, 1);
      await store.put("inner/" + input, n); return n;`,
    );
    await fn(
      "outer",
      `const names = ["a", "b"];
      const counts = await Promise.all(names.map((name) => ctx.call("inner", name)));
      const seen = await store.get("inner/a");
      if (ctx.attempt === 1) throw new Error("again");
      return { counts, seen };`,
      { retry: { limit: 1, delayMs: 10 } },
    );
    await fn("count", `return (await store.list({ prefix: "inner/" })).objects.length;`);
    await flow(
      "calls",
      `dag.node("a").apply("outer"); dag.node("b").apply("count");
      dag.node("both", { aggregator: (both) => both }).apply("echo");
      dag.edge("a", "b"); dag.edge("a", "both"); dag.edge("b", "both");`,
    );
    expect(await result("calls", 1)).toEqual({ a: { counts: [1, 1], seen: 1 }, b: 2 });
  });

  it("put nothing when they are over: an attempt that was timed out is refused", async () => {
    await fn(
      "late",
      `if (ctx.attempt > 1) return (await store.get("late")) ?? "nothing";
      await store.put("early", 1);
      await new Promise((go) => ctx.signal.addEventListener("abort", go));
      const code = await store.put("late", 1).then(() => "stored", (error) => error.code);
      console.log("late put: " + code);
      await new Promise(() => {});`,
      { timeoutMs: 300, retry: { limit: 1, delayMs: 700 } },
    );
    await flow("lately", `dag.node("a").apply("late");`);
    expect(await result("lately", 1)).toBe("nothing");
    await until(async () => (await client().logs({ function: "late" })).length > 0);
    const [line] = await client().logs({ function: "late" });
    expect(line?.text).toBe("late put: ATTEMPT_ENDED");
  });

  it("pass values of any size on: in, between, through hooks and joins, out", async () => {
    await flow(
      "large",
      `dag.node("a").apply("many").modify((v) => ({ ...v, hooked: v.text.length }));
      dag.node("b").apply("many"); dag.node("c").apply("length");
      dag.node("d").apply("echo");
      dag.edge("a", "b"); dag.edge("a", "c"); dag.edge("b", "d"); dag.edge("c", "d");`,
    );
    const input = { text: "y".repeat(LARGE) };
    const answer = await run("large", input);
    expect(answer.status, answer.text.slice(0, 300)).toBe(200);
    const { b, c } = answer.json as { b: { text: string; input: { hooked: number } }; c: number };
    expect([b.text.length, b.input.hooked, c]).toEqual([LARGE, LARGE, LARGE]);
    // The result is the run's own: it is there as long as the run, what went between is not.
    const id = await lastRun("large");
    const again = await platform().http.call(`/runs/${id}`);
    expect(again.json).toEqual(answer.json);
    const [job] = await runJobs();
    expect(job).toMatchObject({ id, objects: 0, buckets: [] });
    expect(job?.endedAtMs).toBeGreaterThan(0);
  });

  it("hold together more than a row of the database may have", async () => {
    await fn("fill", `return "x".repeat(5_000) + input.length;`);
    await flow(
      "wide",
      `dag.node("make")
        .modify((n) => Array.from({ length: n }, () => "y".repeat(3_000)));
      dag.forEachBranch("each", (items) => items, {}).node("one").apply("fill");
      dag.node("count").modify((all) => Object.keys(all).length);
      dag.edge("make", "each"); dag.edge("each", "count");`,
    );
    expect(await result("wide", 700)).toBe(700);
  });

  it("refuse a result that is too large, with a reason", async () => {
    await fn("huge", "return new Uint8Array(40 * 1024 * 1024);");
    await flow("huge-flow", `dag.node("a").apply("huge");`);
    const answer = await run("huge-flow", 1);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.text).toMatch(/RESULT_INVALID|BODY_TOO_LARGE/);
  });

  it("cannot name what runs hold for themselves", async () => {
    await fn(
      "peek",
      `const code = (work) => work.then(() => "fine", (error) => error.code);
      return [await code(store.bucket("~run").list()), await code(store.bucket("~run").put("a", 1)),
        (await store.info()).buckets];`,
    );
    await flow(
      "peeking",
      `dag.node("a").apply("many"); dag.node("b").apply("peek");
      dag.edge("a", "b");`,
    );
    expect(await result("peeking", 1)).toEqual(["KEY_INVALID", "KEY_INVALID", []]);
  });

  it("keep the job of a run that failed, which goes on with what is there", async () => {
    await fn("mended", `throw new Error("not yet");`);
    await flow(
      "fixed",
      `dag.node("a").apply("put").apply("many"); dag.node("b").apply("mended");
      dag.edge("a", "b");`,
    );
    const answer = await run("fixed", 5);
    expect(answer.status).toBe(500);
    const id = await lastRun("fixed");
    expect(await runJobs()).toContainEqual(expect.objectContaining({ id, objects: 1 }));
    await fn("mended", `return [input.text.length, await store.get("k")];`);
    await client().runs.restart(id, { from: "failed", version: "latest" });
    await until(async () => (await client().runs.show(id)).status === "completed");
    const ended = await platform().http.call(`/runs/${id}`);
    expect(ended.json).toEqual([LARGE, 5]);
    expect(await runJobs()).not.toContainEqual(expect.objectContaining({ id, objects: 1 }));
  });
});

describe("a run over the death of its cell", () => {
  it("counts once, keeps what was put and its values, and drops what was staged", async () => {
    const deploy = (name: string, body: string) =>
      platform().deploy(name, `export default async (input, ctx) => { ${body} };`);
    await deploy(
      "first",
      `await ctx.store.put("put", input);
      await ctx.store.incr("n"); return "v".repeat(${String(LARGE)});`,
    );
    await deploy(
      "second",
      `const n = await ctx.store.incr("n");
      const own = await ctx.store.has("staged");
      await ctx.store.put("staged", 1);
      await new Promise((go) => setTimeout(go, 400));
      return { n, own, put: await ctx.store.get("put"), size: input.length };`,
    );
    await platform().deploy(
      "dies",
      `import { flow } from "isola"; export default flow((dag) => {
        dag.node("a").apply("first"); dag.node("b").apply("second"); dag.edge("a", "b");
      });`,
    );
    const answer = platform().call("dies", { json: 3 });
    const isCounting = async () => {
      const jobs = (await platform().client.store.jobs()).items;
      return jobs.some(
        ({ kind, name, objects }) => kind === "run" && name === "dies" && objects > 1,
      );
    };
    await until(isCounting);
    await pause(150);
    await killCell(platform(), 0);
    expect((await answer).json).toEqual({ n: 2, own: false, put: 3, size: LARGE });
  });

  it("makes again what memory alone held of a pure step, and says so", async () => {
    const pure = "pure-maker";
    await platform().deploy(
      pure,
      `export default async (input, ctx) => {
        console.log("made " + ctx.attempt);
        return "v".repeat(200_000) + input;
      };`,
    );
    await platform().deploy("tail", "export default (text) => text.slice(-1) + text.length;");
    await platform().deploy(
      "again",
      `import { flow } from "isola"; export default flow((dag) => {
        dag.node("a").apply("${pure}", { pure: true }).waitForEvent("go", { timeout: "30s" });
        dag.node("b").apply("${pure}", { pure: true });
        dag.node("c").apply("tail");
        dag.edge("b", "c"); dag.node("s").modify((n) => n);
        dag.edge("s", "a"); dag.edge("s", "b"); dag.edge("a", "c", { execution: true });
      });`,
    );
    const answer = platform().call("again", { json: 7 });
    const steps = async () => {
      const [run] = (await platform().client.runs.list({ function: "again" })).items;
      const lines = run ? await platform().client.runs.history(run.id) : [];
      return { id: run?.id ?? "", lines };
    };
    const isWaiting = async () =>
      (await steps()).lines.filter(({ type }) => type === "stepCompleted").length === 2;
    await until(isWaiting);
    const { id } = await steps();
    await killCell(platform(), 0);
    const signal = () =>
      platform()
        .client.runs.signal(id, { type: "go" })
        .catch(() => undefined);
    await until(async () => (await signal()) !== undefined);
    expect((await answer).json).toBe("7200001");
    const { lines } = await steps();
    const again = lines.filter(({ type }) => type === "valueRecomputed");
    expect(again.map(({ step }) => step)).toEqual(["b/0"]);
  });
});
