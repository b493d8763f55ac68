/** What bad definitions and calls of flows get: refused by code, path and reason; never stuck. */
import { beforeAll, describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { usePlatform } from "../support/platform.ts";

const platform = usePlatform({ cells: 1 });

const FLOW = (definition: string, before = ""): string => `import { flow } from "isola";
${before}
export default flow((dag, request) => { ${definition} });`;

async function flow(name: string, definition: string): Promise<void> {
  await platform().deploy(name, FLOW(definition));
}

/** Why a definition is not registered. */
async function refused(definition: string, before = ""): Promise<[code: string, found: string]> {
  const deploy = platform().deploy("refused", FLOW(definition, before));
  const error: unknown = await deploy.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof IsolaError)) throw new Error(`registered: ${String(error)}`);
  return [error.code, error.message];
}

async function run(name: string, json: unknown) {
  const { status, code, text } = await platform().http.call(`/function/${name}`, { json });
  return { outcome: [status, code], text };
}

beforeAll(async () => {
  await platform().deploy("echo", "export default (value) => value;");
});

describe("a definition is refused when it is deployed", () => {
  it.each([
    [
      "a cycle",
      `dag.node("s"); dag.node("a"); dag.node("b");
      dag.edge("s", "a"); dag.edge("a", "b"); dag.edge("b", "a");`,
      /cycle/,
    ],
    ["two starts", `dag.node("a"); dag.node("b");`, /start/],
    ["an edge to nothing", `dag.node("a"); dag.edge("a", "nowhere");`, /nowhere/],
    ["a duplicate id", `dag.node("a"); dag.subDag("a", dag.newDag());`, /"?a"?/],
    ["an option that nobody knows", `dag.node("a").apply("echo", { retries: 3 });`, /retries/],
    ["no node at all", "", /node/],
  ])("with %s", async (_what, definition, found) => {
    const [code, message] = await refused(definition);
    expect([code, message]).toEqual(["PLAN_INVALID", expect.stringMatching(found)]);
  });

  it("that differs from one evaluation to the next", async () => {
    const count = `dag.node("n" + (globalThis.n = (globalThis.n ?? 0) + 1));`;
    expect((await refused(count))[0]).toBe("PLAN_INVALID");
    expect((await refused(`dag.node("n" + crypto.randomUUID());`))[0]).toBe("PLAN_INVALID");
  });

  it("that differs from one isolate to the next", async () => {
    const [code] = await refused(
      `dag.node("n" + id);`,
      "const id = Math.random().toString(36).slice(2);",
    );
    expect(code).toBe("PLAN_INVALID");
  });

  it("that waits, or throws whatever it is asked", async () => {
    const waits = `import { flow } from "isola";
      export default flow(async (dag) => { dag.node("a"); });`;
    await expect(platform().deploy("refused", waits)).rejects.toMatchObject({
      code: "PLAN_INVALID",
    });
    const [code, message] = await refused(`throw new RangeError("no luck");`);
    expect([code, message]).toEqual(["PLAN_INVALID", expect.stringContaining("no luck")]);
  });

  it("but not for a run's own chance and time, nor for what it makes of a request", async () => {
    await flow(
      "chancy",
      `dag.node("n" + Math.floor(Math.random() * 1e6))
        .modify(() => [Date.now() > 0, new Date() instanceof Date]);`,
    );
    expect((await run("chancy", null)).text).toBe("[true,true]");
    await flow("by-request", `dag.node(request.input.id).modify((v) => v.id);`);
    expect((await run("by-request", { id: "x" })).text).toBe(`"x"`);
  });
});

describe("a run fails by its code", () => {
  it("PLAN_INVALID with path and reason where the request makes a bad plan", async () => {
    await flow("by-request", `dag.node(request.input.id).modify((v) => v);`);
    const bad = await run("by-request", { id: "no good id/" });
    expect(bad.outcome).toEqual([422, "PLAN_INVALID"]);
    expect(bad.text).toContain("no good id/");
    expect(bad.text).toContain("required");
    const thrown = await run("by-request", null);
    expect(thrown.outcome).toEqual([500, "FUNCTION_ERROR"]);
  });

  it("FUNCTION_NOT_FOUND with the path of the step that names an unknown function", async () => {
    await flow(
      "unknown-function",
      `
      dag.node("a").modify((v) => v);
      const each = dag.forEachBranch("each", (v) => v);
      each.node("inner").apply("nobody");
      dag.edge("a", "each");`,
    );
    const { outcome, text } = await run("unknown-function", [1]);
    expect(outcome).toEqual([404, "FUNCTION_NOT_FOUND"]);
    expect(text).toContain("each.inner/0");
    expect(text).toContain("nobody");
    await flow("unknown-workflow", `dag.node("a").invoke("echo");`);
    expect((await run("unknown-workflow", 1)).outcome).toEqual([404, "FUNCTION_NOT_FOUND"]);
  });

  it("HOOK_INVALID for an unknown branch, FAN_OUT_TOO_WIDE for too many items", async () => {
    await flow("no-branch", `dag.conditionalBranch("c", ["a"], () => ["b"]).a.node("n");`);
    expect((await run("no-branch", 1)).outcome).toEqual([500, "HOOK_INVALID"]);
    await flow(
      "wide",
      `dag.forEachBranch("each", (n) => Array(n).fill(0)).node("n").modify((v) => v);`,
    );
    expect((await run("wide", 1_000_000)).outcome).toEqual([500, "FAN_OUT_TOO_WIDE"]);
    expect((await run("wide", 0)).text).toBe("{}");
  });

  it("RESULT_INVALID for a result that is no value or too large", async () => {
    await platform().deploy("no-value", "export default () => ({ f: () => 1 });");
    await flow(
      "gets-no-value",
      `dag.node("n").apply("no-value", { retry: { limit: 3, delayMs: 60_000 } });`,
    );
    expect((await run("gets-no-value", 1)).outcome).toEqual([500, "RESULT_INVALID"]);
    await platform().deploy("too-large", "export default () => 'x'.repeat(40 * 1024 * 1024);");
    await flow("gets-too-large", `dag.node("n").apply("too-large");`);
    const { outcome } = await run("gets-too-large", 1);
    expect(outcome[0]).toBeGreaterThanOrEqual(400);
    expect(outcome[1]).toMatch(/RESULT_INVALID|BODY_TOO_LARGE/);
  });

  it("CALL_LOOP for a workflow that invokes itself without end", async () => {
    await flow("loops", `dag.node("n").invoke("loops");`);
    const { outcome } = await run("loops", 1);
    expect(outcome[1]).toBe("CALL_LOOP");
    await platform().deploy("turns", `export default (v, ctx) => ctx.call("turning", v);`);
    await flow("turning", `dag.node("n").apply("turns");`);
    expect((await run("turning", 1)).outcome[1]).toBe("CALL_LOOP");
  });

  it("ROUTE_NOT_FOUND for a path behind its name", async () => {
    expect((await run("by-request/more", 1)).outcome).toEqual([404, "ROUTE_NOT_FOUND"]);
  });
});
