/** The store from functions in a cell that holds no shard: through the gateway, over sockets. */
import { beforeAll, describe, expect, it } from "vitest";
import { CELL_CONTROL } from "../../runtime/contract/index.ts";
import { askCell } from "../support/cell-control.ts";
import { killCell } from "../support/cells.ts";
import { type TestPlatform, pause, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";
import { describeCases } from "./cases/case.ts";
import { storeCases } from "./cases/index.ts";

const NAMESPACE = "own";

const platform = usePlatform({ cells: 1 });

beforeAll(async () => {
  await platform().client.namespaces.create({ namespace: NAMESPACE, cells: "dedicated" });
});

/** The same platform, seen from a namespace with cells of its own. */
function within(whole: TestPlatform): TestPlatform {
  return {
    ...whole,
    client: whole.client.in(NAMESPACE),
    deploy: (name, source, config, options) =>
      whole.deploy(name, source, config, { namespace: NAMESPACE, ...options }),
    call: (target, init) => {
      const [, name = "", rest = ""] = /^([^/?]*)(.*)$/.exec(target) ?? [];
      return whole.call(`${name.includes(".") ? name : `${name}.${NAMESPACE}`}${rest}`, init);
    },
  };
}

const near = async (way: string): Promise<Record<string, unknown>> => {
  const answer = await platform().call("near", { json: way });
  expect(answer.status, answer.text.slice(0, 300)).toBe(200);
  return answer.json as Record<string, unknown>;
};

const callJobs = async () =>
  (await platform().client.store.jobs()).items.filter(({ kind }) => kind === "call").length;

describe("a called function that runs in another cell", () => {
  const NEAR = `export default async (way, ctx) => {
    await ctx.store.put("from-near", new Map([["k", 1n]]));
    const far = await ctx.call("far", way).catch((error) => error.code);
    const seen = await ctx.store.get("from-far");
    return { far, seen: [seen.length, seen[0]], n: await ctx.store.incr("n", 0),
      left: await ctx.store.has("from-near"), id: (await ctx.store.info()).id };
  };`;
  const FAR = `export default async (way, ctx) => {
    await ctx.store.put("from-far", new Uint8Array(3_000_000).fill(7));
    await ctx.store.incr("n", 5);
    const taken = await ctx.store.take("from-near");
    if (way === "throw") throw new TypeError("told to");
    return { k: String(taken.get("k")), id: (await ctx.store.info()).id };
  };`;
  const UNUSED = `export default async (way, ctx) => (await ctx.call("far-only", 1)).length;`;
  const FAR_ONLY = `export default async (_, ctx) => {
    await ctx.store.put("k", "v");
    return ctx.store.get("k");
  };`;
  beforeAll(async () => {
    const functions = { near: NEAR, far: FAR, unused: UNUSED, "far-only": FAR_ONLY };
    for (const [name, source] of Object.entries(functions)) await platform().deploy(name, source);
    const suspects = ["default/far@1", "default/far-only@1"];
    await askCell(platform(), 0, CELL_CONTROL.suspects, { suspects, alone: [] });
  });

  it("shares its caller's job, and takes for it", async () => {
    const done = await near("done");
    expect(done).toEqual({
      far: { k: "1", id: done["id"] },
      seen: [3_000_000, 7],
      n: 5,
      left: false,
      id: done["id"],
    });
    expect(await near("throw")).toMatchObject({ far: "FUNCTION_ERROR", n: 5, left: true });
  });

  it("leaves nothing behind, whoever used the job first", async () => {
    expect((await platform().call("unused", { json: 1 })).json).toBe(1);
    await until(async () => (await callJobs()) === 0, 5_000);
  });
});

describe("a cell without shards that dies", () => {
  it("leaves no job of its calls in another's shard", async () => {
    const own = within(platform());
    await own.deploy(
      "holder",
      `export default async (_, ctx) => {
        await ctx.store.put("k", "x".repeat(100_000));
        await new Promise((go) => setTimeout(go, 20_000));
      };`,
    );
    const calls = [1, 2, 3].map(() => own.call("holder", { json: null, withinMs: 30_000 }));
    const jobs = async () => (await own.client.store.jobs()).items.length;
    await until(async () => (await jobs()) === 3, 5_000);
    const cells = await platform().client.cells();
    const slot = cells.find(({ role }) => role === "dedicated")?.slot ?? -1;
    await killCell(platform(), slot);
    const codes = (await Promise.all(calls)).map(({ code }) => code);
    expect(codes).toEqual(["CELL_LOST", "CELL_LOST", "CELL_LOST"]);
    await until(async () => (await jobs()) === 0, 10_000);
  });
});

describe("a call whose job's shard dies", () => {
  it("hears that its data is lost, not that there was none", async () => {
    const own = within(platform());
    await own.deploy(
      "loses",
      `export default async (waitMs, ctx) => {
        await ctx.store.put("k", "value");
        await new Promise((go) => setTimeout(go, waitMs));
        const code = (work) => work.then((value) => value ?? "nothing", (error) => error.code);
        return [await code(ctx.store.get("k")), await code(ctx.store.put("k", 1)),
          await code(ctx.call("finds"))];
      };`,
    );
    await own.deploy(
      "finds",
      `export default (_, ctx) => ctx.store.get("k").then((v) => v ?? "nothing", (e) => e.code);`,
    );
    expect((await own.call("loses", { json: 0 })).json).toEqual([
      "value",
      expect.objectContaining({ stored: true }),
      1,
    ]);
    const slow = own.call("loses", { json: 3_000 });
    await pause(500);
    await killCell(platform(), 0);
    expect((await slow).json).toEqual(["VALUE_LOST", "VALUE_LOST", "VALUE_LOST"]);
  });
});

describe("a take from a shard that dies before the answer", () => {
  it("is the call's failure, and the object is there again", async () => {
    const own = within(platform());
    await own.deploy(
      "slow-take",
      `export default async ({ job, waitMs }, ctx) => {
        if (!job) {
          const made = await ctx.store.createJob({ durability: "disk" });
          await made.put("k", "value");
          return (await made.info()).id;
        }
        const value = await ctx.store.job(job).take("k");
        await new Promise((go) => setTimeout(go, waitMs));
        return value;
      };`,
    );
    const job = (await own.call("slow-take", { json: {} })).json;
    const slow = own.call("slow-take", { json: { job, waitMs: 3_000 } });
    await pause(500);
    await killCell(platform(), 0);
    const answer = await slow;
    expect([answer.status, answer.code]).toEqual([409, "LOCK_STALE"]);
    expect((await own.call("slow-take", { json: { job, waitMs: 0 } })).json).toBe("value");
    expect((await own.call("slow-take", { json: { job, waitMs: 0 } })).status).toBe(204);
  });
});

for (const group of storeCases) describeCases(group, () => within(platform()));
