/** What runs ask of the store: attempts of steps, values that they hold, jobs that go on. */
import { describe, expect, it } from "vitest";
import type { StoreJobRequest } from "../../runtime/contract/index.ts";
import { HELD_BUCKET, stepOfCall } from "../../store/index.ts";
import { NAMESPACE, StoreWorld, octets, refusal, text } from "../support/store-world.ts";

const B = "default";
const JOB = "0-run";
const REQUEST: StoreJobRequest = {
  id: JOB,
  namespace: NAMESPACE,
  name: "orders",
  kind: "run",
  durability: "disk",
  workflow: "orders",
};

const at = (call: string, ordinal: number) => ({ step: stepOfCall("a/0", call), ordinal });

function opened(): StoreWorld {
  const world = new StoreWorld();
  world.store.createJob(REQUEST);
  return world;
}

describe("an attempt", () => {
  it("puts to disk, whatever it asks for, where it is strict", async () => {
    const world = opened();
    const strict = world.store.attempt(NAMESPACE, JOB, "a/0", true);
    await strict.put(B, "kept", text("x"), { durability: "memory" });
    strict.commit();
    const pure = world.store.attempt(NAMESPACE, JOB, "b/0");
    await pure.put(B, "lost", text("x"), { durability: "memory" });
    pure.commit();
    world.commit();
    world.crash();
    const client = world.store.session(NAMESPACE, JOB);
    expect((await client.get(B, "kept")).value?.value).toMatchObject({ value: "x" });
    expect(await refusal(() => client.get(B, "lost"))).toBe("VALUE_LOST");
  });

  it("counts the operations of each call under it, and forgets them with its own", async () => {
    const world = opened();
    for (const attempt of [1, 2]) {
      const session = world.store.attempt(NAMESPACE, JOB, "a/0", true);
      expect((await session.increment(B, "n", {}, at("", 1))).value).toBe(1);
      // Two calls, heard in another order the second time.
      const calls = attempt === 1 ? ["1", "2"] : ["2", "1"];
      for (const call of calls) await session.increment(B, `of-${call}`, {}, at(call, 1));
      if (attempt === 1) session.abort();
      else session.commit();
    }
    world.commit();
    const client = world.store.session(NAMESPACE, JOB);
    for (const key of ["n", "of-1", "of-2"]) {
      expect((await client.get(B, key)).value?.value).toMatchObject({ value: 1 });
    }
    expect(world.rows("storeAnswers")).toBe(0);
  });
});

describe("a value that a run holds", () => {
  it("is in a bucket that no client can name, and in no list of buckets", async () => {
    const world = opened();
    const attempt = world.store.holder(NAMESPACE, JOB, "a/0");
    await attempt.put(HELD_BUCKET, "1", octets(70_000));
    expect(world.store.job(NAMESPACE, JOB).value).toMatchObject({ objects: 0, buckets: [] });
    attempt.commit();
    expect(world.store.job(NAMESPACE, JOB).value).toMatchObject({ objects: 0, buckets: [] });
    expect(world.store.usage().heldBytes).toBe(70_000);
    const client = world.store.session(NAMESPACE, JOB);
    expect(await refusal(() => client.get(HELD_BUCKET, "1"))).toBe("KEY_INVALID");
    expect(await refusal(() => client.put(HELD_BUCKET, "1", text("x")))).toBe("KEY_INVALID");
    expect(await refusal(() => client.list(HELD_BUCKET))).toBe("KEY_INVALID");
    expect(await refusal(() => world.store.destroyBucket(NAMESPACE, JOB, HELD_BUCKET))).toBe(
      "KEY_INVALID",
    );
    expect((await client.get(B, "1")).value).toBeUndefined();
    expect(await refusal(() => attempt.get(B, "1"))).toBe("ATTEMPT_ENDED");
  });

  it("goes with the attempt that does not commit", async () => {
    const world = opened();
    const attempt = world.store.holder(NAMESPACE, JOB, "a/0");
    await attempt.put(HELD_BUCKET, "1", octets(70_000));
    attempt.abort();
    await world.settle();
    expect(world.store.usage().heldBytes).toBe(0);
    expect(world.blocks.stored.size).toBe(0);
  });

  it("outlives its job where it is kept, also one that memory alone held", async () => {
    const world = opened();
    const attempt = world.store.holder(NAMESPACE, JOB, "a/0");
    await attempt.put(HELD_BUCKET, "out", octets(300_000), { durability: "memory" });
    await attempt.put(HELD_BUCKET, "between", octets(300_000));
    attempt.commit();
    expect(world.store.keepHeld(NAMESPACE, JOB, "out")).toBe(true);
    expect(world.store.keepHeld(NAMESPACE, JOB, "none")).toBe(false);
    world.store.endJob(NAMESPACE, JOB);
    world.commit();
    world.crash();
    await world.settle();
    const held = world.store.holder(NAMESPACE, JOB);
    expect((await held.get(HELD_BUCKET, "out")).value?.info.sizeBytes).toBe(300_000);
    expect((await held.get(HELD_BUCKET, "between")).value).toBeUndefined();
    expect(world.store.heldGone(NAMESPACE, JOB, "between").code).toBe("VALUE_LOST");
    world.store.dropHeld(NAMESPACE, JOB);
    await world.settle();
    expect(world.store.usage().heldBytes).toBe(0);
    expect(world.store.stats().jobs).toBe(0);
  });
});

describe("a job that has ended", () => {
  it("is open again when its run goes on, with what was persisted and nothing else", async () => {
    const world = opened();
    const client = world.store.session(NAMESPACE, JOB);
    await client.put(B, "kept", text("1"), { persist: true });
    await client.put(B, "gone", text("2"));
    await client.put(B, "lost", text("3"), { durability: "memory" });
    world.commit();
    world.crash();
    world.store.endJob(NAMESPACE, JOB);
    world.commit();
    expect(await refusal(() => world.store.attempt(NAMESPACE, JOB, "a/0"))).toBe("JOB_ENDED");
    world.store.reopenJob(REQUEST);
    world.commit();
    world.crash();
    const attempt = world.store.attempt(NAMESPACE, JOB, "a/0");
    expect((await attempt.get(B, "kept")).value?.value).toMatchObject({ value: "1" });
    expect((await attempt.get(B, "gone")).value).toBeUndefined();
    expect((await attempt.get(B, "lost")).value).toBeUndefined();
  });

  it("is open again though nothing of it was left, for its own namespace alone", async () => {
    const world = opened();
    world.store.endJob(NAMESPACE, JOB);
    expect(await refusal(() => world.store.createJob(REQUEST))).toBe("ALREADY_EXISTS");
    const others = { ...REQUEST, namespace: "other" };
    expect(await refusal(() => world.store.reopenJob(others))).toBe("ALREADY_EXISTS");
    expect(world.store.reopenJob(REQUEST).value.endedAtMs).toBeUndefined();
    expect(world.store.runJobs()).toEqual([{ namespace: NAMESPACE, id: JOB, isOpen: true }]);
  });
});
