/**
 * Workflows in DAG form, end to end: deployed, called and answered like functions; every operation
 * of the builder; what bad definitions and calls get (INTERFACE §6).
 */
import { describe, expect, it } from "vitest";
import type { CallInit } from "../support/http-calls.ts";
import { usePlatform } from "../support/platform.ts";

const platform = usePlatform({ cells: 1 });

/** Deploys a flow whose definition is the body of `(dag, request) => { … }`. */
async function flow(name: string, definition: string, options = "{}"): Promise<void> {
  const source = `import { flow } from "isola";
export default flow((dag, request) => { ${definition} }, ${options});`;
  await platform().deploy(name, source);
}

async function fn(name: string, source: string): Promise<void> {
  await platform().deploy(name, `export default ${source};`);
}

async function run(name: string, json: unknown, init: CallInit = {}) {
  return platform().http.call(`/function/${name}`, { json, ...init });
}

describe("a flow that is called", () => {
  it("answers its result as a function does", async () => {
    await fn("double", "(n) => n * 2");
    await flow("simple", `dag.syncNode().modify((n) => n + 1).apply("double");`);
    const answer = await run("simple", 20);
    expect([answer.status, answer.json]).toEqual([200, 42]);
    expect(answer.headers["x-run-id"]).toMatch(/^0-[0-9a-f]{32}$/);
    expect(answer.headers["x-isola-version"]).toBe("1");
  });
});
