/** The store where the runtime evicts idle actors: memory is on disk before, and found again. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { STORE_STEPS } from "../support/store-steps.ts";
import { usePlatform } from "../support/platform.ts";

/** workerd evicts an actor that nobody has asked anything for 10 s. */
const EVICTED_MS = 13_000;

const WORK = `${STORE_STEPS}
  export const config = { timeoutMs: 60_000 };
  export default async ({ job, asked, create, holdMs }, ctx) => {
    if (create) return (await (await ctx.store.createJob({ name: "idle" })).info()).id;
    if (!holdMs) return runSteps(ctx.store.job(job), asked);
    await ctx.store.put("k", { a: 1 });
    await ctx.store.put("large", new Uint8Array(200_000));
    await new Promise((go) => setTimeout(go, holdMs));
    return [await ctx.store.get("k"), (await ctx.store.get("large")).length,
      await ctx.store.has("none")];
  };`;

const LARGE = "x".repeat(200_000);
const platform = usePlatform({}, "collapsed");

beforeAll(async () => {
  await platform().deploy("work", WORK, { timeoutMs: 60_000 });
});

const work = async (json: object): Promise<unknown> =>
  (await platform().call("work", { json, withinMs: 60_000 })).json;

describe("a shard that is evicted", () => {
  it("finds a client's job as it was", { timeout: 60_000 }, async () => {
    const job = await work({ create: true });
    const asked = [
      ["put", "small", { n: 1 }],
      ["put", "other", LARGE],
      ["incr", "n", 3],
    ];
    await work({ job, asked });
    await sleep(EVICTED_MS);
    const found = (await work({
      job,
      asked: [["get", "small"], ["get", "other"], ["incr", "n"], ["get", "none"], ["info"]],
    })) as unknown[];
    expect(found.slice(0, 4)).toEqual([{ n: 1 }, LARGE, 4, null]);
    expect(found[4]).toMatchObject({ objects: 3 });
    expect(found[4]).not.toHaveProperty("lost");
  });
});

describe("a call that rests for long", () => {
  it("finds its job in the shard, which is not evicted under it", { timeout: 60_000 }, async () => {
    expect(await work({ holdMs: EVICTED_MS })).toEqual([{ a: 1 }, 200_000, false]);
  });
});
