/** Jobs of calls leave nothing, in whatever way a thousand calls end (G4). */
import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const CALLS = 1_000;
const WORKERS = 24;
const SEED = 5;

const WORKER = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export const config = { timeoutMs: 300 };
  export default async ({ end, bytes, disk, sub }, ctx) => {
    const { store } = ctx;
    const options = disk ? { durability: "disk" } : {};
    await store.put("value", new Uint8Array(bytes), options);
    if (sub) await ctx.call("worker", { end: sub, bytes, disk }).catch(() => undefined);
    await store.lock("l", { leaseMs: 60_000 });
    await store.incr("n");
    if (end === "take") await store.take("value");
    if (end === "throw") throw new TypeError("told to");
    if (end === "hang") await sleep(5_000);
    if (end === "background") ctx.waitUntil(sleep(20).then(() => store.put("late", bytes)));
    if (end === "unfinished") {
      void store.put("never", new ReadableStream({ pull: async (c) => {
        await sleep(20);
        c.enqueue(new Uint8Array(100_000));
      } })).catch(() => undefined);
      await sleep(30);
    }
    if (end === "unawaited") void store.put("soon", new Uint8Array(bytes), options);
    return end;
  };`;

const ends = fc.constantFrom("done", "take", "throw", "background", "unfinished", "unawaited");
const call = fc.record(
  {
    end: fc.oneof(
      { weight: 30, arbitrary: ends },
      { weight: 1, arbitrary: fc.constantFrom("hang", "leave") },
    ),
    bytes: fc.oneof(fc.nat(2_000), fc.nat(200_000)),
    disk: fc.boolean(),
    sub: ends,
  },
  { requiredKeys: ["end", "bytes", "disk"] },
);

const platform = usePlatform({ cells: 2 });

beforeAll(async () => {
  await platform().deploy("worker", WORKER, { timeoutMs: 300 });
});

/** Of all namespaces, by tier or not. */
async function metric(name: string): Promise<number[]> {
  const text = await platform().client.metrics();
  return [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "gm"))].map(([, n]) =>
    Number(n),
  );
}

describe("a thousand calls that use the store", () => {
  it("leave neither jobs nor bytes", { timeout: 120_000 }, async () => {
    const plan = fc.sample(call, { numRuns: CALLS, seed: SEED });
    const statuses = new Set<number>();
    const work = async (): Promise<void> => {
      for (let json = plan.pop(); json; json = plan.pop()) {
        const leaves = json.end === "leave";
        const answer = await platform()
          .call("worker", {
            json: { ...json, end: leaves ? "hang" : json.end },
            ...(leaves ? { withinMs: 50 } : {}),
          })
          .catch(() => undefined);
        if (answer) statuses.add(answer.status);
      }
    };
    await Promise.all(Array.from({ length: WORKERS }, work));
    expect(statuses).toEqual(new Set([200, 500, 504]));
    await until(async () => (await platform().client.store.jobs()).items.length === 0, 15_000);
    await until(async () => {
      const held = await metric("isola_store_held_bytes");
      const bytes = await metric("isola_store_bytes");
      return held.length > 0 && [...held, ...bytes].every((value) => value === 0);
    }, 15_000);
    expect(Math.max(...(await metric("isola_store_in_bytes_total")))).toBeGreaterThan(1_000_000);
  });
});
