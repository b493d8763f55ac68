/**
 * A deploy of a workflow in code form says what would become of its open runs with the new code;
 * these stay with the version that they began with, and nothing that the replay does has an effect.
 */
import { describe, expect, it } from "vitest";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const workflow = (body: string): string => `import { WorkflowEntrypoint } from "cloudflare:workers";
export class Order extends WorkflowEntrypoint {
  async run(event, step) {
    ${body}
  }
}`;
const BEGIN = `const paid = await step.do("pay", async () => 1);
    const go = await step.waitForEvent("go", { type: "go", timeout: "1 hour" });`;
const FIRST = workflow(`${BEGIN} return ["first", paid, go.payload];`);
const SECOND = workflow(`${BEGIN} return step.do("more", async () => "second");`);
const RENAMED = workflow(BEGIN.replace('"pay"', '"charge"'));
const REACHING = workflow(`await this.env.ISOLA.call("count", null);
    try { await fetch("http://example.com/"); } catch { await this.env.ISOLA.store.put("a", 1); }
    ${BEGIN}`);
const COUNT = "let count = 0; export default (input) => input === 0 ? count : (count += 1);";

const STARTER = `export default { async fetch(request, env) {
  const ids = Array.from({ length: 8 }, (_, at) => "order-" + at);
  await env.ORDER.createBatch(ids.map((id) => ({ id, params: id })));
  const own = await env.ORDER.create({ params: "own" });
  const all = await Promise.all([...ids, own.id].map((id) => env.ORDER.get(id)));
  const payloadOf = ({ id }) => (id === own.id ? "own" : id);
  await Promise.all(all.map((one) => one.sendEvent({ type: "go", payload: payloadOf(one) })));
  const outputs = [];
  for (const one of all) {
    let status = await one.status();
    while (status.status !== "complete") {
      await new Promise((resolve) => setTimeout(resolve, 20));
      status = await one.status();
    }
    outputs.push(status.output[2]);
  }
  return Response.json(outputs);
} };`;

const platform = usePlatform({ cells: 2 });

describe("a binding", () => {
  it("reaches instances in whichever cell keeps them", async () => {
    const isola = platform();
    await isola.deploy("bound", FIRST);
    await isola.deploy("starter", STARTER, { workflows: { ORDER: "bound" } });
    const ids = Array.from({ length: 8 }, (_one, at) => `order-${String(at)}`);
    expect((await isola.call("starter")).json).toStrictEqual([...ids, "own"]);
    const { items } = await isola.client.runs.list({ status: "completed" });
    const shards = new Set(items.map(({ id }) => id.split("-")[0]));
    expect(shards).toStrictEqual(new Set(["0", "1"]));
  });
});

describe("a deploy of a workflow in code form", () => {
  it("replays open runs against the new code, and leaves them as they are", async () => {
    const isola = platform();
    const { client, http } = isola;
    await isola.deploy("count", COUNT);
    await isola.deploy("count-too", COUNT);
    expect((await isola.deploy("order", FIRST)).replay).toBeUndefined();
    const ids: string[] = [];
    for (let at = 0; at < 6; at += 1) {
      const started = await http.call("/async-function/order", { json: at });
      ids.push(String(started.headers["x-run-id"]));
    }
    await until(async () => {
      const { items } = await client.runs.list({ status: "waiting" });
      return items.length === ids.length;
    });

    const second = await isola.deploy("order", SECOND);
    expect(second.replay).toMatchObject({ agreed: 6, diverged: 0, unchecked: 0, missing: 0 });

    const renamed = await isola.deploy("order", RENAMED);
    expect(renamed.replay).toMatchObject({ agreed: 0, diverged: 6, unchecked: 0 });
    expect(renamed.replay?.diverging).toHaveLength(6);
    expect(renamed.replay?.diverging[0]?.message).toContain(
      "expected the step do:pay-1, found the step do:charge-1",
    );

    const reaching = await isola.deploy("order", REACHING);
    expect(reaching.replay).toMatchObject({ agreed: 0, diverged: 0, unchecked: 6 });
    expect((await isola.call("count", { json: 0 })).json).toBe(0);

    const [id = ""] = ids;
    await client.runs.signal(id, { type: "go", payload: "now" });
    await until(async () => (await http.call(`/runs/${id}`)).status === 200);
    expect((await http.call(`/runs/${id}`)).json).toStrictEqual(["first", 1, "now"]);
    const { items } = await client.runs.list({ status: "waiting" });
    expect(items).toHaveLength(ids.length - 1);
  });
});
