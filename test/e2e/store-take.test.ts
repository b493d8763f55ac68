/** Reading once under failures: what is taken is delivered exactly to the call that succeeds. */
import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { pause, usePlatform } from "../support/platform.ts";

const FAILURES = 1_000;
const WORKERS = 24;
const OBJECTS = 150;
const SEED = 3;

/** Takes one object in the way that it is told, and ends so. */
const TAKER = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export const config = { timeoutMs: 400 };
  export default async ({ job, key, way }, ctx) => {
    const store = ctx.store.job(job);
    const take = () => store.take(key);
    if (way === "throw-before") { await sleep(1); throw new TypeError("before"); }
    if (way.startsWith("sub")) {
      const sub = (inner) => ctx.call("taker", { job, key, way: inner });
      let value = null;
      if (way === "sub-fails") {
        await sub("throw").catch(() => undefined);
        value = await sub("succeed");
      } else value = await sub("succeed");
      if (way === "sub-lost") throw new TypeError("after a call that took it");
      return value;
    }
    const value = await take();
    if (way === "twice") {
      const again = await take();
      return value !== undefined && again !== undefined ? "twice" : value ?? again ?? null;
    }
    if (way === "throw") throw new TypeError("after");
    if (way === "no-value") return { value, no: () => 1 };
    if (way === "hang" || way === "leave") await sleep(5_000);
    if (way === "large") await store.stream(key, { take: true });
    if (way === "background") ctx.waitUntil(sleep(5));
    return value ?? null;
  };`;

const SUCCEEDING = ["succeed", "twice", "sub", "sub-fails", "large", "background"];
const FAILING = ["throw", "throw-before", "no-value", "sub-lost"];
const SLOW = ["hang", "leave"];

const ways = fc.oneof(
  { weight: 15, arbitrary: fc.constantFrom(...SUCCEEDING) },
  { weight: 82, arbitrary: fc.constantFrom(...FAILING) },
  { weight: 3, arbitrary: fc.constantFrom(...SLOW) },
);

const platform = usePlatform({ cells: 1 });

beforeAll(async () => {
  await platform().deploy("taker", TAKER, { timeoutMs: 400 });
  await platform().deploy(
    "jobs",
    `export default async (objects, ctx) => {
      const job = await ctx.store.createJob({ durability: "disk" });
      for (let i = 0; i < objects; i += 1) await job.put("k" + i, i);
      return (await job.info()).id;
    };`,
  );
});

describe("take", () => {
  it(
    "delivers each object once under a thousand random failures",
    { timeout: 120_000 },
    async () => {
      const job = (await platform().call("jobs", { json: OBJECTS })).json as string;
      const plan = fc.sample(fc.tuple(ways, fc.nat()), { numRuns: 20 * FAILURES, seed: SEED });
      const open = [...Array(OBJECTS).keys()];
      const delivered: number[] = [];
      let failures = 0;
      const attempt = async (): Promise<void> => {
        const [way, pick] = plan.pop() ?? ["succeed", 0];
        const key = open[pick % open.length];
        if (key === undefined) return;
        const answer = await platform()
          .call("taker", {
            json: { job, key: `k${String(key)}`, way },
            ...(way === "leave" ? { withinMs: 100 } : {}),
          })
          .catch(() => undefined);
        if (answer?.status !== 200) failures += 1;
        if (answer?.status !== 200 || answer.json === null) return;
        expect([way, answer.json]).toEqual([way, key]);
        delivered.push(key);
        open.splice(open.indexOf(key), 1);
      };
      const work = async (): Promise<void> => {
        while (open.length > 0 && plan.length > 0) await attempt();
      };
      await Promise.all(Array.from({ length: WORKERS }, work));
      await pause(500);
      expect(delivered.toSorted((a, b) => a - b)).toEqual([...Array(OBJECTS).keys()]);
      expect(failures).toBeGreaterThanOrEqual(FAILURES);
      const info = await platform().client.store.job(job).info();
      expect(info).toMatchObject({ objects: 0, usage: { heldBytes: 0 } });
    },
  );
});
