/**
 * Workflows in DAG form, end to end: deployed, called and answered like functions; every operation
 * of the builder (INTERFACE §6).
 */
import { beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../../runtime/contract/index.ts";
import type { Answer, CallInit } from "../support/http-calls.ts";
import { FORM, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 1, allowPrivate: ["127.0.0.0/8"] }, FORM);

/** Deploys a flow whose definition is the body of `(dag, request) => { … }`. */
async function flow(name: string, definition: string, options = "{}"): Promise<void> {
  const source = `import { flow } from "isola";
export default flow((dag, request) => { ${definition} }, ${options});`;
  await platform().deploy(name, source);
}

async function fn(name: string, source: string, config = "{}"): Promise<void> {
  await platform().deploy(name, `export default ${source}; export const config = ${config};`);
}

async function run(name: string, json: unknown, init: CallInit = {}) {
  return platform().http.call(`/function/${name}`, { json, ...init });
}

/** What a run of it answers; the answer has to be a success. */
async function result(name: string, json: unknown): Promise<unknown> {
  const answer = await run(name, json);
  expect(answer.status, answer.text).toBeLessThan(300);
  return answer.json;
}

/** The answer of a run, when it has one. */
async function ended(location: string): Promise<Answer> {
  let answer: Answer | undefined;
  await until(async () => {
    answer = await platform().http.call(location);
    return answer.status !== 202;
  });
  if (!answer) throw new Error("no answer");
  return answer;
}

/** Lines of a function's log, once there are so many. */
async function lines(name: string, count: number): Promise<string[]> {
  const read = () => platform().client.logs({ function: name });
  await until(async () => (await read()).length >= count);
  return (await read()).map(({ text }) => text);
}

beforeAll(async () => {
  await fn("double", "(n) => n * 2");
  await fn("increment", "(n) => n + 1");
  await fn("echo", "(value) => value");
  await fn("fail", `(message) => { throw new TypeError(String(message)); }`);
  await fn(
    "context",
    `(value, ctx) => ({ value, runId: ctx.runId, step: ctx.step, attempt: ctx.attempt,
    key: ctx.idempotencyKey, hasDeadline: ctx.deadline !== null })`,
  );
  await fn(
    "flaky",
    `(wanted, ctx) => {
    if (ctx.attempt < wanted) throw new Error("attempt " + ctx.attempt);
    return { attempt: ctx.attempt, key: ctx.idempotencyKey };
  }`,
  );
  await platform().deploy(
    "web",
    `export default { async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const head = [request.method, pathname + search, request.headers.get("x-own")];
    return Response.json([...head, await request.text()]);
  } };`,
  );
});

describe("a flow that is called", () => {
  it("answers its result as a function does", async () => {
    await flow("simple", `dag.syncNode().modify((n) => n + 1).apply("double");`);
    const answer = await run("simple", 20);
    expect([answer.status, answer.json]).toEqual([200, 42]);
    expect(answer.headers["x-run-id"]).toMatch(/^0-[0-9a-f]{32}$/);
    expect(answer.headers["x-isola-version"]).toBe("1");
    expect(answer.headers["content-type"]).toBe("application/json");
  });

  it("takes its input and gives its result by the rules of a data function", async () => {
    await flow("same", `dag.syncNode().modify((value) => value);`);
    const octets = {
      body: Buffer.from([1, 2, 3]),
      headers: { "content-type": "application/octet-stream" },
    };
    const mirrored = await platform().http.call("/function/same", { method: "POST", ...octets });
    expect(mirrored.headers["content-type"]).toBe("application/octet-stream");
    const query = await platform().http.call("/function/same?a=1&b=2&b=3");
    expect(query.json).toEqual({ a: "1", b: ["2", "3"] });
    const nothing = await platform().http.call("/function/same", { method: "POST" });
    expect(nothing.status).toBe(204);
    const broken = await platform().http.call("/function/same", {
      body: "{",
      headers: { "content-type": "application/json" },
      method: "POST",
    });
    expect([broken.status, broken.code]).toEqual([400, "INPUT_MALFORMED"]);
  });

  it("shows its form where functions are listed", async () => {
    const { form, config } = await platform().client.describe("simple");
    expect([form, config.timeoutMs]).toEqual(["flow", 0]);
  });

  it("is waited for as long as asked, then goes on and is found by its id", async () => {
    await flow("sleeper", `dag.syncNode().sleep(600).modify(() => "done");`);
    const early = await run("sleeper", null, { headers: { prefer: "wait=0" } });
    expect([early.status, early.headers["preference-applied"]]).toEqual([202, "wait=0"]);
    const location = String(early.headers.location);
    expect(location).toBe(`/runs/${String(early.headers["x-run-id"])}`);
    expect((await ended(location)).json).toBe("done");
  });

  it("is a run of its own when it is called asynchronously", async () => {
    const started = await platform().http.call("/async-function/simple", { json: 1 });
    expect(started.status).toBe(202);
    expect((await ended(String(started.headers.location))).json).toBe(4);
  });

  it("is the same run under one idempotency key, and refuses another body under it", async () => {
    const headers = { "idempotency-key": "flow-key" };
    const first = await run("context-flow", 1, { headers }).catch(() => undefined);
    expect(first?.status).toBe(404);
    await flow("context-flow", `dag.syncNode().apply("context");`);
    const answers = [
      await run("context-flow", 1, { headers }),
      await run("context-flow", 1, { headers }),
    ];
    expect(answers[0]?.json).toEqual(answers[1]?.json);
    expect(answers[0]?.headers["x-run-id"]).toBe(answers[1]?.headers["x-run-id"]);
    const other = await run("context-flow", 2, { headers });
    expect([other.status, other.code]).toEqual([422, "KEY_REUSED"]);
  });

  it("gives its steps their run, attempt and idempotency key", async () => {
    const answer = await run("context-flow", "x");
    const id = String(answer.headers["x-run-id"]);
    expect(answer.json).toEqual({
      value: "x",
      runId: id,
      step: "sync/0",
      attempt: 1,
      key: `${id}/sync/0`,
      hasDeadline: true,
    });
  });

  it("can be called by a function and by another flow", async () => {
    await fn("calls-flow", `(n, ctx) => ctx.call("simple", n)`);
    expect(await result("calls-flow", 4)).toBe(10);
    await platform().deploy(
      "calls-flow-env",
      `export default { async fetch(request, env) {
      return Response.json(await env.ISOLA.call("simple", 5));
    } };`,
    );
    expect(await result("calls-flow-env", null)).toBe(12);
    await flow("applies-flow", `dag.syncNode().apply("simple");`);
    expect(await result("applies-flow", 6)).toBe(14);
  });

  it("that takes longer than its caller has fails the caller, and goes on", async () => {
    await fn("impatient", `(ms, ctx) => ctx.call("sleeper", null)`, "{ timeoutMs: 200 }");
    const answer = await run("impatient", null);
    expect([answer.status, answer.code]).toEqual([504, "TIMEOUT"]);
  });
});

describe("the operations of a flow", () => {
  it("join parents by id, with and without an aggregator, and forward along edges", async () => {
    await flow(
      "join",
      `
      dag.node("start").modify((n) => n);
      dag.node("a").apply("double");
      dag.node("b").apply("increment");
      dag.node("plain").modify((inputs) => inputs);
      dag.edge("start", "a");
      dag.edge("start", "b", { forwarder: (n) => n * 100 });
      dag.edge("a", "plain"); dag.edge("b", "plain");`,
    );
    expect(await result("join", 3)).toEqual({ a: 6, b: 301 });
    await flow(
      "join-sum",
      `
      dag.node("start").modify((n) => n);
      dag.node("a").apply("double");
      dag.node("b").apply("increment");
      dag.node("end", { aggregator: ({ a, b }) => a + b }).apply("double");
      dag.edge("start", "a"); dag.edge("start", "b");
      dag.edge("a", "end"); dag.edge("b", "end");`,
    );
    expect(await result("join-sum", 3)).toBe(20);
  });

  it("take none, one or several branches of a condition", async () => {
    await flow(
      "branches",
      `
      const branch = dag.conditionalBranch("which", ["even", "big"],
        (n) => [...(n % 2 === 0 ? ["even"] : []), ...(n > 10 ? ["big"] : [])]);
      branch.even.node("halve").modify((n) => n / 2);
      branch.big.node("double").apply("double");`,
    );
    expect(await result("branches", 4)).toEqual({ even: 2 });
    expect(await result("branches", 12)).toEqual({ even: 6, big: 24 });
    expect(await result("branches", 3)).toEqual({});
  });

  it("run a DAG for each item, by key and in order, with bounded parallelism", async () => {
    await flow(
      "each",
      `
      const each = dag.forEachBranch("each", (n) => Array.from({ length: n }, (_, i) => i),
        { concurrency: 2, aggregator: (results) => Object.values(results) });
      each.node("work").apply("double").modify((v) => v + 1);`,
    );
    expect(await result("each", 5)).toEqual([1, 3, 5, 7, 9]);
    expect(await result("each", 0)).toEqual([]);
  });

  it("run sub-DAGs, loops, and nodes that only order", async () => {
    await flow(
      "nested",
      `
      const inner = dag.newDag();
      inner.node("one").apply("increment");
      inner.node("two").apply("double");
      inner.edge("one", "two");
      dag.node("first").modify((n) => n);
      dag.subDag("inner", inner);
      dag.node("loop").apply("double").repeat((n, round) => n < 100 && round < 10, { limit: 10 });
      dag.edge("first", "inner"); dag.edge("inner", "loop");`,
    );
    expect(await result("nested", 1)).toBe(128);
    await flow(
      "ordered",
      `
      dag.node("a").modify((n) => n);
      dag.node("b").modify((nothing) => [nothing === undefined]);
      dag.edge("a", "b", { execution: true });`,
    );
    expect(await result("ordered", 7)).toEqual([true]);
  });

  it("call HTTP functions with method, headers and query", async () => {
    await flow(
      "http",
      `dag.syncNode().apply("web",
      { method: "PUT", headers: { "x-own": "mine" }, query: { q: ["1", "2"] } });`,
    );
    expect(await result("http", { a: 1 })).toEqual(["PUT", "/?q=1&q=2", "mine", `{"a":1}`]);
  });

  // One Worker lets nobody at private addresses, where the test's own server is.
  it.skipIf(FORM === "collapsed")("request addresses, and look at the answer", async () => {
    const url = `${platform().publicUrl}/function/web`;
    await flow(
      "asks",
      `dag.syncNode().request(${JSON.stringify(url)}, { headers: { "x-own": "y" } });`,
    );
    expect(await result("asks", [1])).toEqual(["POST", "/", "y", "[1]"]);
    const missing = `${platform().publicUrl}/function/nobody`;
    await flow("asks-missing", `dag.syncNode().request(${JSON.stringify(missing)});`);
    const failed = await run("asks-missing", 1);
    expect([failed.status, failed.code]).toEqual([502, "UPSTREAM_FAILED"]);
    await flow(
      "asks-looks",
      `dag.syncNode().request(${JSON.stringify(missing)},
      { onResponse: ({ status, body }) => [status, body.error.code] });`,
    );
    expect(await result("asks-looks", 1)).toEqual([404, "FUNCTION_NOT_FOUND"]);
  });

  it("invoke workflows as runs of their own", async () => {
    await flow("invokes", `dag.syncNode().invoke("simple").modify((n) => ["child", n]);`);
    expect(await result("invokes", 2)).toEqual(["child", 6]);
  });

  it("depend on the request: a chain as long as it asks for", async () => {
    await flow(
      "chain-of",
      `
      dag.node("start").modify(({ from }) => from);
      let last = "start";
      for (let i = 0; i < request.input.length; i += 1) {
        dag.node("n" + i).apply("increment");
        dag.edge(last, "n" + i);
        last = "n" + i;
      }`,
    );
    expect(await result("chain-of", { from: 10, length: 6 })).toBe(16);
    expect(await result("chain-of", { from: 0, length: 20 })).toBe(20);
  });

  it("let hooks see the request of their own run, whatever the plan depends on", async () => {
    await flow(
      "lazy",
      `dag.syncNode().sleep(30).modify((v) => [v, request.input, request.query.q]);`,
    );
    const answers = await Promise.all(
      ["a", "b", "c"].map((q) => platform().http.call(`/function/lazy?q=${q}`, { json: q })),
    );
    expect(answers.map(({ json }) => json)).toEqual([
      ["a", "a", "a"],
      ["b", "b", "b"],
      ["c", "c", "c"],
    ]);
  });
});

describe("failures of a flow", () => {
  it("are retried by the step's policy, then by the function's, under one key", async () => {
    await flow(
      "retries",
      `dag.syncNode().apply("flaky",
      { retry: { limit: 2, delayMs: 10, backoff: "constant" } });`,
    );
    const answer = await run("retries", 3);
    const id = String(answer.headers["x-run-id"]);
    expect(answer.json).toEqual({ attempt: 3, key: `${id}/sync/0` });
    await fn(
      "flaky-own",
      `(wanted, ctx) => {
      if (ctx.attempt < wanted) throw new Error("attempt " + ctx.attempt);
      return ctx.attempt;
    }`,
      `{ retry: { limit: 1, delayMs: 10, backoff: "constant" } }`,
    );
    await flow("retries-own", `dag.syncNode().apply("flaky-own");`);
    expect(await result("retries-own", 2)).toBe(2);
    expect((await run("retries-own", 3)).status).toBe(500);
  });

  it("answer with a code and the step, and without the function's words", async () => {
    await flow("fails", `dag.node("here").apply("fail");`);
    const answer = await run("fails", "my secret");
    expect([answer.status, answer.code]).toEqual([500, "FUNCTION_ERROR"]);
    expect(answer.text).toContain("here/0");
    expect(answer.text).not.toContain("secret");
    expect(answer.headers["x-run-id"]).toBeDefined();
  });

  it("are not retried when they are final", async () => {
    await fn(
      "final",
      `(value, ctx) => {
      throw Object.assign(new Error("no use, " + ctx.attempt), { name: "NonRetryableError" });
    }`,
    );
    await flow(
      "fails-final",
      `dag.syncNode().apply("final",
      { retry: { limit: 5, delayMs: 10_000 }, onFailure: ({ message }) => message });`,
    );
    expect(await result("fails-final", 1)).toBe("no use, 1");
  });

  it("may be recovered from, by the step and by the flow; finally is last", async () => {
    await flow(
      "recovers",
      `
      dag.node("a").apply("fail",
        { onFailure: (error, input) => [error.name, error.message, input] });
      dag.finally(() => {});`,
    );
    expect(await result("recovers", "why")).toEqual(["TypeError", "why", "why"]);
    await flow(
      "recovers-whole",
      `
      dag.node("a").apply("fail");
      dag.onFailure((error) => ({ fallback: error.step, code: error.code }));
      dag.finally(() => {});`,
    );
    expect(await result("recovers-whole", 1)).toEqual({ fallback: "a/0", code: "FUNCTION_ERROR" });
  });

  it("undo what was done, newest first", async () => {
    await fn("note", `async ({ input }, ctx) => { await ctx.store.put("x", 1); return input; }`);
    await fn(
      "undo",
      `({ input, output, error }) => { console.log("undo", input, output, error.message); }`,
    );
    await flow(
      "compensates",
      `
      dag.node("a").apply("double", { compensate: "undo" });
      dag.node("b").apply("increment", { compensate: "undo" });
      dag.node("c").apply("fail");
      dag.edge("a", "b"); dag.edge("b", "c");`,
    );
    expect((await run("compensates", 5)).status).toBe(500);
    expect(await lines("undo", 2)).toEqual(["undo 10 11 11", "undo 5 10 11"]);
  });

  it("come in time: a step that takes too long, and a run that does", async () => {
    await fn(
      "slow",
      `(ms, ctx) => new Promise((resolve, reject) => {
      ctx.signal.addEventListener("abort", () => console.log("told to end"));
      setTimeout(resolve, ms);
    })`,
    );
    await flow("times-out", `dag.syncNode().apply("slow", { timeoutMs: 100 });`);
    const answer = await run("times-out", 5_000);
    expect([answer.status, answer.code]).toEqual([504, "TIMEOUT"]);
    await platform().deploy(
      "bounded",
      `import { flow } from "isola";
      export default flow((dag) => { dag.syncNode().sleep(60_000); });
      export const config = { timeoutMs: 150 };`,
    );
    const bounded = await run("bounded", 1);
    expect([bounded.status, bounded.code]).toEqual([504, "TIMEOUT"]);
    expect(await lines("slow", 1)).toEqual(["told to end"]);
  });
});

/** A version of a function that answers with a name. */
function version(name: string): Promise<void> {
  return fn("changing", `() => ${JSON.stringify(name)}`);
}

function define(word: string): Promise<void> {
  return flow(
    "pinned",
    `dag.syncNode().waitForEvent("go").apply("changing").modify((v) => [v, "${word}"]);`,
  );
}

describe("a run's versions", () => {
  it("are those of when it began, whatever is deployed, and are not collected", async () => {
    await version("old");
    await define("old flow");
    const started = await run("pinned", null, { headers: { prefer: "wait=0" } });
    for (let index = 0; index < LIMITS.idleVersionsKept + 2; index += 1) {
      await version(`new ${String(index)}`);
    }
    await define("new flow");
    const id = String(started.headers["x-run-id"]);
    await platform().client.runs.signal(id, { type: "go", payload: null });
    expect((await ended(`/runs/${id}`)).json).toEqual(["old", "old flow"]);
    const newest = await run("pinned", null, { headers: { prefer: "wait=0" } });
    const other = String(newest.headers["x-run-id"]);
    await platform().client.runs.signal(other, { type: "go", payload: null });
    const last = `new ${String(LIMITS.idleVersionsKept + 1)}`;
    expect((await ended(`/runs/${other}`)).json).toEqual([last, "new flow"]);
  });

  it("may be asked for by number, or as the latest; one that is not there is named", async () => {
    await fn("numbered", "() => 1");
    await fn("numbered", "() => 2");
    await flow("by-number", `dag.node("a").apply("numbered", { version: 1 });`);
    expect(await result("by-number", null)).toBe(1);
    await flow("by-latest", `dag.node("a").apply("numbered", { version: "latest" });`);
    expect(await result("by-latest", null)).toBe(2);
    await flow("by-none", `dag.node("a").apply("numbered", { version: 9 });`);
    const { status, code } = await run("by-none", null);
    expect([status, code]).toEqual([404, "VERSION_NOT_FOUND"]);
  });
});
