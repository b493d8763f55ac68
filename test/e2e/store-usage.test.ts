/** What the store meters, what quotas bound, and namespaces whose cells hold no shard. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { StoreUsageReport } from "../../runtime/contract/index.ts";
import { killCell, processOf } from "../support/cells.ts";
import { usePlatform } from "../support/platform.ts";
import { type StoreHttp, objectPath, storeHttp } from "../support/store-requests.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 2, shards: 2 });
const KIB = 1024;

interface Tenant {
  readonly namespace: string;
  readonly http: StoreHttp;
  readonly usage: () => Promise<StoreUsageReport>;
  /** Answers the code of a refusal. */
  readonly put: (
    job: string,
    key: string,
    bytes: number,
    query?: string,
  ) => Promise<string | undefined>;
}

async function tenant(namespace: string, storeMaxBytes = 0): Promise<Tenant> {
  await platform().client.namespaces.create({ namespace, quotas: { storeMaxBytes } });
  const http = storeHttp(platform(), namespace);
  return {
    namespace,
    http,
    usage: async () => (await platform().client.in(namespace).usage()).store,
    put: async (job, key, bytes, query) => {
      const answer = await http.ask("PUT", objectPath(job, key, query), {
        body: Buffer.alloc(bytes, "x"),
      });
      return answer.code;
    },
  };
}

/** A job in a shard. */
async function jobIn(http: StoreHttp, shard: number): Promise<string> {
  for (;;) {
    const job = await http.job();
    if (job.startsWith(`${String(shard)}-`)) return job;
  }
}

async function metric(name: string, labels: string): Promise<number | undefined> {
  const lines = (await platform().client.metrics()).split("\n");
  const line = lines.find((candidate) => candidate.startsWith(`${name}{${labels}} `));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

describe("usage of the store", () => {
  it("counts octets, operations and the time that bytes lie there", async () => {
    const { http, usage, put } = await tenant("metered");
    const job = await http.job();
    await put(job, "a", 10 * KIB);
    await put(job, "b", 30 * KIB, "?durability=disk");
    await http.ask("GET", objectPath(job, "a"));
    await http.ask("GET", objectPath(job, "b"), { headers: { range: "bytes=0-1023" } });
    const first = await usage();
    expect(first).toMatchObject({
      heldBytes: 40 * KIB,
      quotaBytes: 0,
      bytesIn: 40 * KIB,
      bytesOut: 11 * KIB,
    });
    expect(first.operations).toBeGreaterThanOrEqual(4);
    expect(first.bytes.memory).toBeGreaterThanOrEqual(10 * KIB);
    expect(first.bytes.disk).toBeGreaterThanOrEqual(30 * KIB);
    await sleep(1_000);
    const second = await usage();
    const grownBy = second.byteSeconds.disk - first.byteSeconds.disk;
    expect(grownBy).toBeGreaterThan(30 * KIB * 0.9);
    expect(grownBy).toBeLessThan(30 * KIB * 5);
    await http.ask("DELETE", objectPath(job, "b"));
    const third = await usage();
    expect(third).toMatchObject({ heldBytes: 10 * KIB, bytesIn: 40 * KIB });
    expect(third.heldMaxBytes).toBe(40 * KIB);
    expect(third.highWaterBytes.disk).toBeGreaterThanOrEqual(30 * KIB);
    const report = (await http.ask("GET", `jobs/${job}`)).json;
    expect(report).toMatchObject({
      usage: { heldBytes: 10 * KIB, heldHighWaterBytes: 40 * KIB, bytesIn: 40 * KIB },
    });
  });

  it("stands in the metrics, by namespace and tier", async () => {
    const { http, put, usage } = await tenant("measured");
    const job = await http.job();
    await put(job, "a", 5 * KIB);
    await http.ask("GET", objectPath(job, "a"));
    await usage();
    const own = 'namespace="measured"';
    expect(await metric("isola_store_held_bytes", own)).toBe(5 * KIB);
    expect(await metric("isola_store_in_bytes_total", own)).toBe(5 * KIB);
    expect(await metric("isola_store_out_bytes_total", own)).toBe(5 * KIB);
    expect(await metric("isola_store_operations_total", own)).toBeGreaterThanOrEqual(2);
    const memory = `${own},tier="memory"`;
    expect(await metric("isola_store_bytes", memory)).toBeGreaterThanOrEqual(5 * KIB);
    expect(await metric("isola_store_high_water_bytes", memory)).toBeGreaterThanOrEqual(5 * KIB);
    expect(await metric("isola_store_byte_seconds_total", memory)).toBeGreaterThan(0);
    for (const shard of [0, 1]) expect(await metric("isola_shard_up", `shard="${shard}"`)).toBe(1);
  });

  it("is counted once, whatever process dies", { timeout: 60_000 }, async () => {
    const { http, put, usage } = await tenant("counted");
    const [one, other] = [await jobIn(http, 0), await jobIn(http, 1)];
    await put(one, "a", 7 * KIB, "?durability=disk");
    await put(other, "a", 7 * KIB, "?durability=disk");
    expect(await usage()).toMatchObject({ bytesIn: 14 * KIB, heldBytes: 14 * KIB });
    process.kill(processOf(platform(), "gateway") ?? 0, "SIGKILL");
    await until(async () => (await usage().catch(() => undefined)) !== undefined, 20_000);
    await until(async () => (await usage()).heldBytes === 14 * KIB, 20_000);
    expect(await usage()).toMatchObject({ bytesIn: 14 * KIB });
    await killCell(platform(), 1);
    await until(async () => (await http.ask("GET", `jobs/${other}`)).status === 200, 20_000);
    await until(async () => (await usage()).heldBytes === 14 * KIB, 20_000);
    expect(await put(other, "b", 1 * KIB)).toBeUndefined();
    expect(await usage()).toMatchObject({ bytesIn: 15 * KIB, heldBytes: 15 * KIB });
  });
});

describe("the quota of a namespace", () => {
  it("bounds what it holds, and nothing of a refused put stays", async () => {
    const { http, put, usage } = await tenant("bounded", 100 * KIB);
    const job = await jobIn(http, 0);
    expect(await put(job, "a", 60 * KIB)).toBeUndefined();
    expect(await put(job, "b", 60 * KIB)).toBe("QUOTA_EXCEEDED");
    // Larger than a row, so that it arrives as a stream.
    expect(await put(job, "c", 3_000 * KIB)).toBe("QUOTA_EXCEEDED");
    const refused = await http.ask("PUT", objectPath(job, "b"), { body: Buffer.alloc(60 * KIB) });
    expect(refused.status).toBe(429);
    expect(await usage()).toMatchObject({ heldBytes: 60 * KIB, quotaBytes: 100 * KIB });
    expect((await http.ask("GET", `jobs/${job}`)).json).toMatchObject({ objects: 1 });
    expect(await put(job, "b", 30 * KIB)).toBeUndefined();
    await http.ask("DELETE", objectPath(job, "a"));
    expect(await put(job, "c", 60 * KIB)).toBeUndefined();
  });

  it("takes effect at once when it changes, and again after a cell's restart", async () => {
    const { namespace, http, put, usage } = await tenant("changed", 10 * KIB);
    const job = await jobIn(http, 1);
    expect(await put(job, "a", 20 * KIB)).toBe("QUOTA_EXCEEDED");
    const { namespaces } = platform().client;
    await namespaces.update({ namespace, quotas: { storeMaxBytes: 50 * KIB } });
    expect(await put(job, "a", 20 * KIB, "?durability=disk")).toBeUndefined();
    await killCell(platform(), 1);
    await until(async () => (await http.ask("GET", `jobs/${job}`)).status === 200, 20_000);
    await until(async () => (await usage()).heldBytes === 20 * KIB, 20_000);
    expect(await put(job, "b", 40 * KIB)).toBe("QUOTA_EXCEEDED");
    await namespaces.update({ namespace, quotas: { storeMaxBytes: 0 } });
    expect(await put(job, "b", 40 * KIB)).toBeUndefined();
  });

  it("holds over all shards", { timeout: 40_000 }, async () => {
    const { http, put, usage } = await tenant("spread", 100 * KIB);
    const [one, other] = [await jobIn(http, 0), await jobIn(http, 1)];
    expect(await put(one, "a", 70 * KIB)).toBeUndefined();
    // Told with the next question of the gateway; twice, as the answer of one goes to the other.
    await usage();
    await usage();
    expect(await put(other, "a", 70 * KIB)).toBe("QUOTA_EXCEEDED");
    expect(await put(other, "a", 20 * KIB)).toBeUndefined();
    await http.ask("DELETE", objectPath(one, "a"));
    await until(async () => (await put(other, "b", 70 * KIB)) === undefined, 20_000);
  });
});

describe("a namespace with cells of its own", () => {
  it("uses the store of the shared cells", { timeout: 60_000 }, async () => {
    const { client } = platform();
    const namespace = "apart";
    await client.namespaces.create({ namespace, cells: "dedicated" });
    const http = storeHttp(platform(), namespace);
    const job = await http.job();
    const code = `export default async ({ job, key, broken, bytes }, ctx) => {
      const store = ctx.store.job(job);
      const stream = new ReadableStream({
        start(controller) { this.left = bytes; },
        pull(controller) {
          if (this.left <= 0) {
            if (broken) controller.error(new Error("broken")); else controller.close();
            return;
          }
          controller.enqueue(new Uint8Array(Math.min(this.left, 65536)).fill(1));
          this.left -= 65536;
        },
      });
      try { await store.put(key, stream); return "stored"; }
      catch (error) {
        // The call goes on: what is left of the upload ends without its help.
        await new Promise((go) => setTimeout(go, 300));
        if (broken && await store.has(key)) return "stored";
        return String(error.code ?? error.message);
      }
    };`;
    await platform().deploy("writer", code, {}, { namespace });
    const write = async (key: string, bytes: number, broken: boolean): Promise<unknown> =>
      (await platform().call(`writer.${namespace}`, { json: { job, key, bytes, broken } })).json;
    expect(await write("whole", 3_000_000, false)).toBe("stored");
    const head = await http.ask("HEAD", objectPath(job, "whole"));
    expect(head.headers["x-isola-size-bytes"]).toBe("3000000");
    for (const bytes of [1_000, 100_000, 5_000_000]) {
      expect(await write("cut", bytes, true)).not.toBe("stored");
    }
    await sleep(300);
    expect((await http.ask("HEAD", objectPath(job, "cut"))).status).toBe(404);
    const list = (await http.ask("GET", `jobs/${job}/buckets/default`)).json;
    expect(list).toMatchObject({ items: [{ key: "whole" }] });
    await client.namespaces.update({ namespace, quotas: { storeMaxBytes: 4_000_000 } });
    expect(await write("more", 2_000_000, false)).toBe("QUOTA_EXCEEDED");
    expect((await client.in(namespace).usage()).store).toMatchObject({ heldBytes: 3_000_000 });
  });
});
