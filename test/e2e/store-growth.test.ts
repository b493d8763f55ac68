/**
 * A job that outgrows the memory of its shard: nothing fails above the last tier, and what it held
 * is given back when it ends. Large objects pass at constant memory.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { StoreJobClient } from "../../runtime/client/index.ts";
import { cellOf, killCell } from "../support/cells.ts";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;
const MEMORY_MB = 16;

async function anonymousBytes(platform: TestPlatform): Promise<number> {
  const { pid } = await cellOf(platform, 0);
  const status = readFileSync(`/proc/${String(pid)}/status`, "utf8");
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

async function jobOf(platform: TestPlatform, name: string): Promise<string> {
  return (await platform.client.store.createJob({ name })).id;
}

const filled = (sizeBytes: number, seed: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(sizeBytes).fill(seed % 251);

/** Octets of a size, as they are asked for. */
function streamOf(sizeBytes: number): ReadableStream<Uint8Array> {
  let left = sizeBytes;
  return new ReadableStream({
    pull(controller) {
      if (left <= 0) {
        controller.close();
        return;
      }
      const chunk = filled(Math.min(MIB, left), left / MIB);
      left -= chunk.byteLength;
      controller.enqueue(chunk);
    },
  });
}

/** Puts until the job holds four times the memory of its shard; answers the sizes. */
async function grow(job: StoreJobClient): Promise<number[]> {
  const sizes = [1_000, 20_000, 100_000, 600_000];
  const stored: number[] = [];
  for (let bytes = 0; bytes < 4 * MEMORY_MB * MIB;) {
    const at = stored.length;
    const sizeBytes = sizes[at % sizes.length] ?? 0;
    const result = await job.bucket().put(`k${String(at)}`, filled(sizeBytes, at));
    expect(result.stored).toBe(true);
    stored.push(sizeBytes);
    bytes += sizeBytes;
    if (at % 50 !== 0) continue;
    const { usage } = await job.info();
    expect(usage.bytes.memory).toBeLessThanOrEqual(MEMORY_MB * MIB);
  }
  return stored;
}

describe("a job that outgrows its shard", () => {
  const platform = usePlatform({ cells: 1, storeRoom: { memoryMb: MEMORY_MB } });

  it("spills from memory to disk, fails nowhere, gives everything back at its end", async () => {
    const job = platform().client.store.job(await jobOf(platform(), "growing"));
    const stored = await grow(job);
    const info = await job.info();
    expect(info.objects).toBe(stored.length);
    expect(info.usage.bytes.disk).toBeGreaterThan(2 * MEMORY_MB * MIB);
    for (const [at, sizeBytes] of stored.entries()) {
      const found = await (await job.bucket().get(`k${String(at)}`)).bytes();
      expect(Buffer.from(found).equals(filled(sizeBytes, at)), `k${String(at)}`).toBe(true);
    }
    const ended = await job.end();
    expect(ended.usage.bytes).toEqual({ memory: 0, disk: 0, cold: 0 });
  }, 120_000);

  it("leaves its memory to the next: the process does not grow with the jobs", async () => {
    const beforeBytes = await anonymousBytes(platform());
    for (let round = 0; round < 6; round += 1) {
      const job = platform().client.store.job(await jobOf(platform(), "another"));
      await grow(job);
      await job.end();
    }
    const grownBytes = (await anonymousBytes(platform())) - beforeBytes;
    // What the collector has not taken yet; six jobs' memory would be half as much again.
    expect(grownBytes / MIB).toBeLessThan(4 * MEMORY_MB);
  }, 120_000);

  it("passes an object of a gigabyte at constant memory, in both directions", async () => {
    const id = await jobOf(platform(), "large");
    const bucket = platform().client.store.job(id).bucket();
    const sizeBytes = 1024 * MIB;
    await bucket.put("warm", streamOf(64 * MIB), { sizeBytes: 64 * MIB });
    for await (const _ of (await bucket.get("warm")).body ?? []);
    const beforeBytes = await anonymousBytes(platform());
    let mostBytes = 0;
    let isWatching = true;
    const watching = (async () => {
      while (isWatching) {
        mostBytes = Math.max(mostBytes, await anonymousBytes(platform()));
        await sleep(50);
      }
    })();
    await bucket.put("large", streamOf(sizeBytes), { sizeBytes });
    let readBytes = 0;
    for await (const chunk of (await bucket.get("large")).body ?? []) readBytes += chunk.byteLength;
    isWatching = false;
    await watching;
    expect(readBytes).toBe(sizeBytes);
    expect((mostBytes - beforeBytes) / MIB).toBeLessThan(64);
    await platform().client.store.job(id).end();
  }, 180_000);
});

describe("memory values", () => {
  const platform = usePlatform({ cells: 1 });

  it("are reported as lost after a restart, until they are written again", async () => {
    const bucket = platform()
      .client.store.job(await jobOf(platform(), "lost"))
      .bucket();
    await bucket.put("memory", filled(10, 1));
    await bucket.put("disk", filled(10, 2), { durability: "disk" });
    await killCell(platform(), 0);
    await until(async () => (await platform().client.store.jobs()).missing.length === 0);
    await expect(bucket.get("memory")).rejects.toMatchObject({ code: "VALUE_LOST" });
    expect(await (await bucket.get("disk")).bytes()).toEqual(filled(10, 2));
    expect((await bucket.list()).lost).toContain("ended");
    await bucket.put("memory", filled(10, 3));
    expect(await (await bucket.get("memory")).bytes()).toEqual(filled(10, 3));
  }, 30_000);
});
