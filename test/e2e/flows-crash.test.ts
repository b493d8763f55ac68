/**
 * Runs of flows over the death of their processes: a caller that waits sees one answer, what was
 * done is not done again, what was under way is, under the same key (G1, G2, G7).
 */
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cellOf, processOf } from "../support/cells.ts";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 2, allowPrivate: ["127.0.0.0/8"] });

/** What was done outside, as nothing inside can forget it. */
const ledger: { name: string; key: string }[] = [];
let server: Server;
let url = "";

beforeAll(async () => {
  server = createServer((request, response) => {
    const name = (request.url ?? "").slice(1);
    const isHeld = name.includes("-held-") && !ledger.some((one) => one.name === name);
    ledger.push({ name, key: String(request.headers["idempotency-key"]) });
    response.end(JSON.stringify(isHeld));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const note = `async ({ name, ms }, ctx) => {
    const headers = { "idempotency-key": ctx.idempotencyKey };
    const isHeld = await (await fetch("${url}/" + name, { headers })).json();
    // The first attempt is under way until its cell dies.
    await new Promise((resolve) => setTimeout(resolve, isHeld ? 30_000 : ms));
    return name;
  }`;
  await platform().deploy("note", `export default ${note};`);
  await platform().deploy("spinner", "export default () => { for (;;); };", { maxBlockMs: 200 });
}, 60_000);

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function flow(name: string, definition: string, options = "{}"): Promise<void> {
  await platform().deploy(
    name,
    `import { flow } from "isola";
    export default flow((dag, request) => { ${definition} }, ${options});`,
  );
}

function noted(prefix: string): { name: string; key: string }[] {
  return ledger.filter(({ name }) => name.startsWith(prefix));
}

/** At one moment: what is made again in the other cell would end there once more. */
async function killCells(): Promise<void> {
  const cells = await Promise.all([0, 1].map((slot) => cellOf(platform(), slot)));
  for (const { pid } of cells) if (pid !== undefined) process.kill(pid, "SIGKILL");
}

const TWO_STEPS = (name: string): string => `
  dag.node("one").modify(() => ({ name: "${name}-1-" + request.input, ms: 0 })).apply("note");
  dag.node("two").modify((v) => ({ name: "${name}-held-" + request.input, ms: 0 })).apply("note");
  dag.node("three").modify((v) => ({ name: "${name}-3-" + request.input, ms: 0 })).apply("note")
    .modify((v) => [v, request.input]);
  dag.edge("one", "two"); dag.edge("two", "three");`;

describe("a crash of the cells", () => {
  it("is not seen by who waits; steps that are done stay done, under durability step", async () => {
    await flow("steps", TWO_STEPS("steps"));
    const waiting = Array.from({ length: 8 }, (_, at) =>
      platform().http.call("/function/steps", { json: at }),
    );
    await until(() => noted("steps-held").length === 8);
    await killCells();
    const answers = await Promise.all(waiting);
    for (const [at, { status, json, text }] of answers.entries()) {
      expect([status, json], text).toEqual([200, [`steps-3-${String(at)}`, at]]);
      expect(noted(`steps-1-${String(at)}`)).toHaveLength(1);
      expect(noted(`steps-3-${String(at)}`)).toHaveLength(1);
      const twice = noted(`steps-held-${String(at)}`);
      expect(twice).toHaveLength(2);
      expect(new Set(twice.map(({ key }) => key)).size).toBe(1);
    }
  }, 60_000);

  it("begins a run of durability run anew, and answers it once", async () => {
    await flow("whole", TWO_STEPS("whole"), `{ durability: "run" }`);
    const waiting = platform().http.call("/function/whole", { json: 0 });
    await until(() => noted("whole-held").length === 1);
    await killCells();
    expect((await waiting).json).toEqual(["whole-3-0", 0]);
    expect(noted("whole-1").length).toBe(2);
  }, 60_000);

  it("goes on with sleeps, children and fan-outs", async () => {
    await flow("child", `dag.syncNode().sleep(900).modify((v) => ["child", v]);`);
    await flow(
      "wide",
      `
      dag.node("start").modify((n) => n);
      const each = dag.forEachBranch("each", (n) => Array.from({ length: n }, (_, i) => i),
        { aggregator: (all) => Object.values(all).length });
      each.node("note").modify((i) => ({ name: "wide-held-" + i, ms: 0 })).apply("note");
      dag.node("child").invoke("child");
      dag.edge("start", "each"); dag.edge("start", "child");`,
    );
    const waiting = platform().http.call("/function/wide", { json: 20 });
    await until(() => noted("wide-").length === 20);
    await killCells();
    expect((await waiting).json).toEqual({ each: 20, child: ["child", 20] });
    const keys = new Set(noted("wide-").map(({ key }) => key));
    expect([noted("wide-").length, keys.size]).toEqual([40, 20]);
  }, 60_000);

  it("lets a caller within the cell hear the answer, if it is a run itself", async () => {
    await flow("outer", `dag.syncNode().apply("calls");`);
    await flow(
      "inner",
      `dag.node("a").modify(() => ({ name: "inner", ms: 0 })).apply("note");
      dag.node("b").sleep(700).modify(() => "inner");
      dag.edge("a", "b");`,
    );
    await platform().deploy("calls", `export default (v, ctx) => ctx.call("inner", v);`);
    const waiting = platform().http.call("/function/outer", { json: 1 });
    await until(() => noted("inner").length === 1);
    await killCells();
    expect((await waiting).json).toBe("inner");
    // The attempt that was made again found the run that it had begun: another one has other keys.
    expect(new Set(noted("inner").map(({ key }) => key)).size).toBe(1);
  }, 60_000);
});

describe("a crash of the gateway", () => {
  it("ends who waits there, and no run", async () => {
    await flow("by-key", `dag.syncNode().sleep(1_200).modify(() => "kept");`);
    const init = { json: 1, headers: { "idempotency-key": "once" } };
    const waiting = platform().http.call("/function/by-key", init);
    waiting.catch(() => undefined);
    await sleep(300);
    const pid = processOf(platform(), "gateway");
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    await expect(waiting).rejects.toBeInstanceOf(Error);
    let text = "";
    await until(async () => {
      const again = await platform()
        .http.call("/function/by-key", init)
        .catch(() => undefined);
      text = again?.text ?? "";
      return again?.status === 200;
    }, 20_000);
    expect(text).toBe(`"kept"`);
  }, 60_000);
});

describe("a step that ends its cell", () => {
  it("fails with its code after three deaths of the probation cell; others go on", async () => {
    await flow("spins", `dag.syncNode().apply("spinner");`);
    await flow(
      "others",
      `dag.syncNode().modify(() => ({ name: "other", ms: 700 })).apply("note");`,
    );
    const spinning = platform().http.call("/function/spins", {
      json: 1,
      headers: { prefer: "wait=60" },
      withinMs: 60_000,
    });
    const other = platform().http.call("/function/others", { json: 1, withinMs: 60_000 });
    const answer = await spinning;
    expect(["MAX_BLOCK", "FUNCTION_QUARANTINED"], answer.text).toContain(answer.code);
    expect((await other).json).toBe("other");
  }, 90_000);

  it("and a hook that does fails its run alone", async () => {
    await platform().deploy(
      "hook-spins",
      `import { flow } from "isola";
      export default flow((dag) => { dag.syncNode().modify(() => { for (;;); }); });`,
      { maxBlockMs: 200 },
    );
    await flow("fine", `dag.syncNode().sleep(2_000).modify(() => "fine");`);
    const fine = platform().http.call("/function/fine", { json: 1, withinMs: 60_000 });
    const answer = await platform().http.call("/function/hook-spins", {
      json: 1,
      headers: { prefer: "wait=60" },
      withinMs: 60_000,
    });
    expect(["MAX_BLOCK", "FUNCTION_QUARANTINED"], answer.text).toContain(answer.code);
    expect((await fine).json).toBe("fine");
  }, 90_000);
});

describe("a namespace with cells of its own", () => {
  it("has definitions, hooks and steps of its runs there", async () => {
    const namespace = "own";
    await platform().client.namespaces.create({ namespace, cells: "dedicated" });
    await platform().deploy("add", "export default ([a, b]) => a + b;", {}, { namespace });
    await platform().deploy(
      "sub",
      `import { flow } from "isola";
      export default flow((dag) => { dag.syncNode().apply("add"); });`,
      {},
      { namespace },
    );
    await platform().deploy(
      "adds",
      `import { flow } from "isola";
      export default flow((dag, { input }) => {
        dag.node("a").modify((v) => [v, input]).apply("add");
        dag.node("b").modify((v) => [v, 1]).invoke("sub");
        dag.edge("a", "b");
      });`,
      {},
      { namespace },
    );
    const answer = await platform().http.call("/function/adds.own", { json: 20 });
    expect([answer.status, answer.json], answer.text).toEqual([200, 41]);
    await platform().deploy(
      "calls",
      `export default (n, ctx) => ctx.call("adds", n);`,
      {},
      { namespace },
    );
    const called = await platform().http.call("/function/calls.own", { json: 1 });
    expect([called.status, called.json], called.text).toEqual([200, 3]);
  }, 60_000);
});

describe("a fan-out", () => {
  const SPIN = `let id;
    export default async (work) => {
      id ??= crypto.randomUUID();
      let sum = 0;
      for (let i = 0; i < work; i += 1) sum += Math.sqrt(i);
      return sum > -1 ? id : "";
    };`;
  const FAN = `
    const each = dag.forEachBranch("each", ({ width, work }) => Array(width).fill(work),
      { aggregator: (all) => new Set(Object.values(all)).size });
    each.node("one").apply("spins-a-while");`;

  it("whose steps keep the thread busy is shared with the other cell", async () => {
    await platform().deploy("spins-a-while", SPIN);
    await flow("fan", FAN);
    const json = { width: 40, work: 20_000_000 };
    const answer = await platform().http.call("/function/fan", { json, withinMs: 60_000 });
    expect([answer.status, answer.json], answer.text).toEqual([200, 2]);
  }, 60_000);
});
