/** The store by the typed client, in both forms of the platform. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { StoreBucketClient } from "../../runtime/client/index.ts";
import { type PlatformForm, usePlatform } from "../support/platform.ts";

const FORMS: readonly PlatformForm[] = ["host", "collapsed"];

/** Octets as a stream in uneven pieces. */
function streamOf(octets: Uint8Array, breaksAt = octets.length): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= octets.length) {
        controller.close();
      } else if (at >= breaksAt) {
        controller.error(new TypeError("broken"));
      } else {
        controller.enqueue(octets.slice(at, at + 100_003));
        at += 100_003;
      }
    },
  });
}

describe.each(FORMS)("the client's store, %s form", (form) => {
  const platform = usePlatform(form === "host" ? { cells: 2, shards: 3 } : {}, form);
  const bucket = async (): Promise<StoreBucketClient> => {
    const { store } = platform().client;
    return store.job((await store.createJob({ name: "client" })).id).bucket("b");
  };

  it("makes, shows, lists and ends jobs", async () => {
    const { store } = platform().client;
    const made = await store.createJob({ name: "n", durability: "disk", hints: { calls: 2 } });
    const job = store.job(made.id);
    await job.bucket().put("k", "12345");
    await job.bucket("empty").create();
    expect(await job.info()).toMatchObject({ objects: 1, buckets: ["default", "empty"] });
    const { items, missing } = await store.jobs();
    expect(missing).toEqual([]);
    expect(items.find(({ id }) => id === made.id)).toMatchObject({ durability: "disk" });
    expect((await job.end()).usage).toMatchObject({ heldBytes: 0, heldHighWaterBytes: 5 });
    await expect(job.bucket().put("k", "late")).rejects.toMatchObject({ code: "JOB_ENDED" });
  });

  it("streams octets both ways", async () => {
    const objects = await bucket();
    const octets = new Uint8Array(randomBytes(5_000_000));
    await objects.put("announced", streamOf(octets), { sizeBytes: octets.length });
    await objects.put("unknown", streamOf(octets));
    for (const key of ["announced", "unknown"]) {
      const read = await objects.get(key);
      expect(read.info).toMatchObject({ kind: "bytes", sizeBytes: octets.length });
      expect(Buffer.from(await read.bytes()).equals(octets)).toBe(true);
    }
    const range = await objects.get("unknown", { range: { start: 4_000_000, end: 4_000_010 } });
    expect(Buffer.from(await range.bytes())).toEqual(Buffer.from(octets.slice(4e6, 4e6 + 10)));
    const tail = await objects.get("unknown", { range: { start: 4_999_999 } });
    expect(await tail.bytes()).toHaveLength(1);
  });

  it("stores nothing of a stream that breaks off", async () => {
    const objects = await bucket();
    const octets = new Uint8Array(randomBytes(3_000_000));
    for (const sizeBytes of [undefined, octets.length]) {
      const broken = streamOf(octets, 1_000_000);
      await expect(objects.put("cut", broken, { sizeBytes })).rejects.toBeDefined();
    }
    expect(await objects.stat("cut")).toBeUndefined();
    expect((await objects.list()).items).toEqual([]);
  });

  it("keeps values, conditions and times", async () => {
    const objects = await bucket();
    const { version } = await objects.putValue("v", { a: [1, null] }, { ttlMs: 60_000 });
    const read = await objects.get("v");
    expect(read.info).toMatchObject({ key: "v", bucket: "b", version, kind: "value" });
    expect(read.info.expiresAtMs).toBeGreaterThan(0);
    expect(await read.value()).toEqual({ a: [1, null] });
    const refused = { code: "PRECONDITION_FAILED" };
    await expect(objects.put("v", "x", { ifAbsent: true })).rejects.toMatchObject(refused);
    await expect(objects.put("v", "x", { ifVersion: 1 })).rejects.toMatchObject(refused);
    await expect(objects.put("w", "x", { ifPresent: true })).rejects.toMatchObject(refused);
    await objects.put("v", "x", { ifVersion: version ?? 0, persist: true, idleMs: 1_000 });
    expect(await objects.stat("v")).toMatchObject({ persist: true, idleMs: 1_000, kind: "bytes" });
    await objects.expire("v", {});
    expect((await objects.stat("v"))?.idleMs).toBeUndefined();
    expect(await objects.delete("v")).toBe(true);
    expect(await objects.delete("v")).toBe(false);
    await expect(objects.get("v")).rejects.toMatchObject({ code: "OBJECT_NOT_FOUND" });
  });

  it("counts, exchanges, compares, takes and locks", async () => {
    const objects = await bucket();
    expect([await objects.incr("n"), await objects.decr("n", 0.5)]).toEqual([1, 0.5]);
    expect(await objects.getPut("x", [1])).toBeUndefined();
    expect(await objects.getPut("x", "two")).toEqual([1]);
    await objects.compareAndSet("x", "two", 3, { durability: "disk" });
    await expect(objects.compareAndSet("x", "two", 4)).rejects.toMatchObject({
      code: "PRECONDITION_FAILED",
    });
    await expect(objects.compareAndSet("x", undefined, 4)).rejects.toBeDefined();
    const taken = await objects.take("x");
    expect(await taken.value()).toBe(3);
    await taken.giveBack();
    await (await objects.take("x", 5_000)).acknowledge();
    await expect(taken.acknowledge()).rejects.toMatchObject({ code: "LOCK_STALE" });
    const { token = 0 } = await objects.lock("l", 60_000);
    expect((await objects.lock("l")).acquired).toBe(false);
    await objects.renew("l", token, 60_000);
    await objects.put("guarded", "1", { fence: { lock: "b/l", token } });
    await objects.unlock("l", token);
    await expect(
      objects.put("guarded", "2", { fence: { lock: "b/l", token } }),
    ).rejects.toMatchObject({ code: "LOCK_STALE" });
  });

  it("lists page by page, and keys of every form", async () => {
    const objects = await bucket();
    const keys = ["a/b", "..", ".", "ü/😀", "%2F", "a b?#", "/", "x".repeat(1_024)];
    for (const key of keys) await objects.put(key, key);
    for (const key of keys) expect(await (await objects.get(key)).text()).toBe(key);
    const seen: string[] = [];
    for await (const { key } of objects.objects({ limit: 3 })) seen.push(key);
    expect(seen.toSorted()).toEqual(keys.toSorted());
    for (const key of ["", "\u0000", "\ud800", "y".repeat(1_025)]) {
      await expect(objects.put(key, "x")).rejects.toMatchObject({ code: "KEY_INVALID" });
    }
    await objects.remove();
    expect((await objects.list()).items).toEqual([]);
  });
});
