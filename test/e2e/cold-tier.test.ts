/** The store's third tier: a real S3 server below a real platform with small budgets. */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreBucketClient, StoreJobClient } from "../../runtime/client/index.ts";
import { IsolaError } from "../../runtime/contract/index.ts";
import { S3Bucket } from "../../runtime/gateway/internal.ts";
import { type TestPlatform, pause, startTestPlatform } from "../support/platform.ts";
import { processesOf } from "../support/process-list.ts";
import { BUCKET, CREDENTIALS, type S3Server, startS3Server } from "../support/s3-server.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;
const MEMORY_MB = 4;
const DISK_MB = 32;
const COLD_MB = 24;

let s3: S3Server;
let platform: TestPlatform;

beforeAll(async () => {
  s3 = await startS3Server();
  const place = { endpoint: s3.url, bucket: BUCKET, region: "us-east-1", prefix: "isola" };
  platform = await startTestPlatform({
    bucket: { ...place, ...CREDENTIALS },
    storeRoom: { memoryMb: MEMORY_MB, diskMb: DISK_MB, coldMb: COLD_MB },
  });
}, 60_000);

afterAll(async () => {
  await platform.stop();
  await s3.stop();
}, 60_000);

/** Octets that say where they are, and in which object. */
function octets(sizeBytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 1) bytes[at] = at * 31 + seed + (at >> 9);
  return bytes;
}

/** A job of its own; whatever happens in it, the next one finds room and an empty bucket. */
async function inJob(name: string, work: (job: StoreJobClient) => Promise<void>): Promise<void> {
  const { store } = platform.client;
  const job = store.job((await store.createJob({ name })).id);
  try {
    await work(job);
  } finally {
    await job.end();
  }
  await until(async () => s3.keys().length === 0, 10_000);
}

/** Puts objects of 1 MiB until the store refuses, and answers how many it took. */
async function fill(bucket: StoreBucketClient, max: number): Promise<[number, unknown]> {
  for (let index = 0; index < max; index += 1) {
    try {
      await bucket.put(`object-${index}`, octets(MIB, index), { durability: "disk" });
    } catch (error) {
      return [index, error];
    }
  }
  return [max, undefined];
}

async function expectAll(bucket: StoreBucketClient, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const found = await bucket.get(`object-${index}`);
    expect(Buffer.compare((await found?.bytes()) ?? Buffer.of(), octets(MIB, index))).toBe(0);
  }
}

function kill(pid: number | undefined): void {
  if (pid === undefined) throw new Error("no such process");
  process.kill(pid, "SIGKILL");
}

describe("a bucket below memory and disk", () => {
  it("takes what neither holds, gives back ranges, is empty when the job has ended", async () => {
    await inJob("many", async (job) => {
      const bucket = job.bucket();
      expect(await fill(bucket, DISK_MB + 8)).toEqual([DISK_MB + 8, undefined]);
      const { usage } = await job.info();
      expect(usage.bytes.cold).toBeGreaterThan(4 * MIB);
      expect(usage.bytes.disk).toBeLessThanOrEqual(DISK_MB * MIB);
      const { items } = await bucket.list();
      expect(items.find(({ key }) => key === "object-0")?.tier).toBe("cold");
      const part = await bucket.get("object-0", { range: { start: 1_000, end: 70_000 } });
      expect(await part?.bytes()).toEqual(octets(MIB, 0).subarray(1_000, 70_000));
      await expectAll(bucket, DISK_MB + 8);
    });
  });

  it("takes large values in parts", async () => {
    await inJob("large", async (job) => {
      const bucket = job.bucket();
      for (const index of [0, 1]) {
        await bucket.put(`large-${index}`, octets(20 * MIB, index), { durability: "disk" });
      }
      expect((await job.info()).usage.bytes.cold).toBeGreaterThan(20 * MIB);
      expect(s3.requests.some((line) => line.includes("partNumber=3"))).toBe(true);
      const range = { start: 8 * MIB - 3, end: 8 * MIB + 3 };
      for (const index of [0, 1]) {
        const found = await bucket.get(`large-${index}`, { range });
        const wanted = octets(20 * MIB, index).subarray(range.start, range.end);
        expect(await found?.bytes()).toEqual(wanted);
      }
    });
  });

  it("is the last: full itself, the store refuses and says when to come back", async () => {
    await inJob("full", async (job) => {
      const [stored, error] = await fill(job.bucket(), 2 * (DISK_MB + COLD_MB));
      expect(error).toBeInstanceOf(IsolaError);
      expect((error as IsolaError).code).toBe("STORE_FULL");
      expect(stored).toBeGreaterThan(DISK_MB + COLD_MB - 4);
      const path = `/v1/namespaces/default/store/jobs/${job.id}/buckets/default/objects/more`;
      const refusal = await fetch(`${platform.adminUrl}${path}?durability=disk`, {
        method: "PUT",
        headers: { authorization: `Bearer ${platform.adminToken}` },
        body: octets(MIB, 0),
      });
      expect([refusal.status, refusal.headers.get("retry-after")]).toEqual([507, "1"]);
      await expectAll(job.bucket(), stored);
    });
  });
});

describe("a bucket that is away", () => {
  it("costs nobody a value: disk fills, then puts are refused, until it is back", async () => {
    await inJob("away", async (job) => {
      const bucket = job.bucket();
      await s3.goDown();
      const [stored, error] = await fill(bucket, 2 * DISK_MB);
      expect(error).toMatchObject({ code: "STORE_FULL" });
      expect(stored).toBeGreaterThan(DISK_MB - 4);
      await expectAll(bucket, stored);
      await s3.comeBack();
      await bucket.put("object-last", octets(MIB, 7), { durability: "disk" });
      expect(s3.keys().length).toBeGreaterThan(0);
      await expectAll(bucket, stored);
      await s3.goDown();
      const { items } = await bucket.list({ limit: 1_000 });
      const cold = items.find(({ tier }) => tier === "cold")?.key ?? "";
      await expect(bucket.get(cold)).rejects.toMatchObject({ code: "COLD_UNAVAILABLE" });
      await s3.comeBack();
      expect((await (await bucket.get(cold))?.bytes())?.byteLength).toBe(MIB);
    });
  });
});

describe("a cell that is killed", () => {
  it("finds its objects in the bucket again, and frees those that nobody names", async () => {
    await inJob("killed", async (job) => {
      const bucket = job.bucket();
      const count = DISK_MB + 6;
      expect(await fill(bucket, count)).toEqual([count, undefined]);
      const [some = ""] = s3.keys();
      const prefix = some.slice(0, some.lastIndexOf("/") + 1);
      const place = { endpoint: s3.url, bucket: BUCKET, region: "us-east-1", prefix: "" };
      const strange = new S3Bucket(place, CREDENTIALS, fetch);
      // What a crash between upload and commit leaves behind, and what is not ours at all.
      for (const key of [`${prefix}0-17`, "elsewhere"]) {
        await strange.ask({ method: "PUT", key, body: octets(10, 1) });
      }
      const { cells } = await platform.status();
      kill(cells.find(({ slot }) => slot === 0)?.pid);
      await until(async () => !s3.keys().includes(`${prefix}0-17`), 20_000);
      expect(s3.keys()).toContain("elsewhere");
      await expectAll(bucket, count);
      await strange.ask({ method: "DELETE", key: "elsewhere" });
    });
  });
});

describe("the process between cells and bucket", () => {
  it("is back before anybody misses it when it was killed", async () => {
    await inJob("between", async (job) => {
      const bucket = job.bucket();
      const count = DISK_MB + 4;
      expect(await fill(bucket, count)).toEqual([count, undefined]);
      const [pid] = processesOf(join(platform.dataDir, "workerd", "cold", "config.capnp"));
      kill(pid);
      await expectAll(bucket, count);
      expect(processesOf(join(platform.dataDir, "workerd", "cold"))).not.toContain(pid);
    });
  });
});

describe("the bucket's credentials", () => {
  it("stand in no file of the platform", async () => {
    await pause(100);
    const files = readdirSync(platform.dataDir, { recursive: true }).map((name) =>
      join(platform.dataDir, String(name)),
    );
    const read = files.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
    expect(read.length).toBeGreaterThan(5);
    const found = read.filter((file) => readFileSync(file).includes(CREDENTIALS.secretAccessKey));
    expect(found).toEqual([]);
  });

  it("and the bucket are out of the reach of functions", async () => {
    await platform.deploy(
      "reach",
      `export default async (url, { env }) => {
        const reached = await fetch(url).then((r) => r.status, String);
        return { reached, env: JSON.stringify(env) };
      };`,
    );
    const answer = await platform.call("reach", { method: "POST", body: s3.url });
    expect(answer.text).toContain("private addresses need --allow-private");
    expect(answer.text).not.toContain(CREDENTIALS.accessKeyId);
  });
});
