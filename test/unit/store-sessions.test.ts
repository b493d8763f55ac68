/** What functions and clients meet: jobs, puts, takes, counters, locks, lists, lifetimes. */
import { describe, expect, it } from "vitest";
import type { StoreJobRequest } from "../../runtime/contract/index.ts";
import type { Session } from "../../store/index.ts";
import { NAMESPACE, StoreWorld, octets, refusal, text } from "../support/store-world.ts";

const B = "default";

function open(world: StoreWorld, more: Partial<StoreJobRequest> = {}): Session {
  const request = { id: "0-1", namespace: NAMESPACE, name: "job", kind: "run" } as const;
  world.store.createJob({ ...request, durability: "memory", ...more });
  return world.store.session(NAMESPACE, more.id ?? "0-1");
}

const valueOf = async (session: Session, key: string): Promise<unknown> => {
  const found = (await session.get(B, key)).value;
  return found?.value.kind === "value" ? found.value.value : found?.value.sizeBytes;
};

describe("a job's objects", () => {
  it("come back as they were put, and are replaced, and deleted", async () => {
    const session = open(new StoreWorld());
    const first = await session.put(B, "a", text("one"));
    const second = await session.put(B, "a", text("two"));
    expect(second.value.version).toBeGreaterThan(first.value.version ?? 0);
    expect(await valueOf(session, "a")).toBe("two");
    expect(session.delete(B, "a").value).toBe(true);
    expect(session.delete(B, "a").value).toBe(false);
    expect(await valueOf(session, "a")).toBeUndefined();
  });

  it("meet conditions: absent, present, version", async () => {
    const session = open(new StoreWorld());
    expect((await session.put(B, "a", text("x"), { ifPresent: true })).value.stored).toBe(false);
    const { version } = (await session.put(B, "a", text("1"), { ifAbsent: true })).value;
    expect((await session.put(B, "a", text("2"), { ifAbsent: true })).value).toEqual({
      stored: false,
      version,
    });
    expect((await session.put(B, "a", text("3"), { ifVersion: 1 })).value.stored).toBe(false);
    expect((await session.put(B, "a", text("4"), { ifVersion: version ?? 0 })).value.stored).toBe(
      true,
    );
    expect(await valueOf(session, "a")).toBe("4");
  });

  it("are listed in order, by prefix and in pages", async () => {
    const session = open(new StoreWorld());
    for (const key of ["b/2", "a/1", "b/1", "b/3", "c"]) await session.put(B, key, text(key));
    const page = session.list(B, { prefix: "b/", limit: 2 }).value;
    expect(page.objects.map(({ key }) => key)).toEqual(["b/1", "b/2"]);
    const rest = session.list(B, { prefix: "b/", cursor: page.cursor ?? "" }).value;
    expect(rest.objects.map(({ key }) => key)).toEqual(["b/3"]);
    expect(rest.cursor).toBeUndefined();
    expect(session.list("empty").value.objects).toEqual([]);
  });

  it("are glanced at if small octets are at hand and what they depend on is on disk", async () => {
    const world = new StoreWorld();
    const session = open(world, { durability: "disk" });
    await session.put(B, "octets", octets(1_000, 7));
    await session.put(B, "text", text("value"));
    await session.put(B, "large", octets(65_537));
    await session.put(B, "idle", octets(10), { idleMs: 1_000 });
    const glance = (key: string) => session.glance(B, key, world.log.durable);
    expect(glance("octets")).toBeUndefined();
    world.commit();
    expect(glance("octets")).toEqual(new Uint8Array(1_000).fill(7));
    for (const key of ["text", "large", "idle", "absent"]) expect(glance(key)).toBeUndefined();
    const { bytesOut } = world.store.usage();
    glance("octets");
    expect(world.store.usage().bytesOut).toBe(bytesOut + 1_000);
    world.store.endJob(NAMESPACE, "0-1");
    expect(glance("octets")).toBeUndefined();
    world.commit();
    expect(glance("octets")).toBeUndefined();
  });

  it("are read in ranges, within their size only", async () => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "a", octets(200_000, 7), { durability: "disk" });
    const reader = session.open(B, "a").value;
    expect((await reader?.read(65_530, 65_540))?.byteLength).toBe(10);
    expect(await refusal(() => reader?.read(199_999, 200_001))).toBe("RANGE_INVALID");
    expect(await refusal(() => reader?.read(-1, 1))).toBe("RANGE_INVALID");
    reader?.release();
  });
});

describe("lifetimes", () => {
  it("end after the time to live and after idleness, which reads prolong", async () => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "ttl", text("x"), { ttlMs: 1_000 });
    await session.put(B, "idle", text("x"), { idleMs: 1_000 });
    for (let step = 0; step < 3; step += 1) {
      world.nowMs += 400;
      await session.get(B, "idle");
    }
    expect(await valueOf(session, "ttl")).toBeUndefined();
    expect(await valueOf(session, "idle")).toBe("x");
    world.advance(1_000);
    expect(await valueOf(session, "idle")).toBeUndefined();
    expect(world.store.usage().heldBytes).toBe(0);
  });

  it("are swept without a reader, when the store asked to be woken", async () => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "a", text("x"), { ttlMs: 1_000 });
    world.commit();
    expect(world.wakeAtMs).toBeGreaterThanOrEqual(world.nowMs + 1_000);
    world.advance((world.wakeAtMs ?? 0) - world.nowMs);
    expect(world.store.usage().heldBytes).toBe(0);
    expect(world.wakeAtMs).toBeUndefined();
  });

  it("are set anew and taken off by expire", async () => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "a", text("x"), { ttlMs: 1_000 });
    expect(session.expire(B, "a", {}).value).toBe(true);
    world.advance(10_000);
    expect(await valueOf(session, "a")).toBe("x");
    session.expire(B, "a", { ttlMs: 5 });
    world.nowMs += 5;
    expect(session.expire(B, "a", {}).value).toBe(false);
  });
});

describe("counters", () => {
  it("count whole numbers exactly and fractions when asked", async () => {
    const session = open(new StoreWorld());
    expect((await session.increment(B, "n")).value).toBe(1);
    expect((await session.increment(B, "n", { by: -3 })).value).toBe(-2);
    expect((await session.increment(B, "n", { by: 0.5 })).value).toBe(-1.5);
    expect(await refusal(() => session.increment(B, "n"))).toBe("COUNTER_INVALID");
    expect((await session.increment(B, "n", { by: 1, isFloat: true })).value).toBe(-0.5);
    await session.put(B, "word", text("x"));
    expect(await refusal(() => session.increment(B, "word"))).toBe("COUNTER_INVALID");
    const top = { kind: "value", value: Number.MAX_SAFE_INTEGER, sizeBytes: 16 } as const;
    await session.put(B, "top", top);
    expect(await refusal(() => session.increment(B, "top"))).toBe("COUNTER_INVALID");
    expect(await valueOf(session, "top")).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("swap and compare by value", async () => {
    const session = open(new StoreWorld());
    expect((await session.getPut(B, "a", text("1"))).value).toBeUndefined();
    expect((await session.getPut(B, "a", text("2"))).value).toEqual(text("1"));
    const wrong = await session.compareAndSet(B, "a", text("1"), text("3"));
    expect(wrong.value.stored).toBe(false);
    const right = await session.compareAndSet(B, "a", text("2"), text("3"));
    expect(right.value.stored).toBe(true);
    const absent = await session.compareAndSet(B, "b", undefined, text("new"));
    expect(absent.value.stored).toBe(true);
  });
});

describe("locks", () => {
  it("have one holder, whose token fences its writes", async () => {
    const world = new StoreWorld();
    const session = open(world);
    const first = session.lock("l", 1_000).value;
    expect(session.lock("l", 1_000).value.acquired).toBe(false);
    world.nowMs += 1_000;
    const second = session.lock("l", 1_000).value;
    expect(second.token).toBeGreaterThan(first.token ?? 0);
    const fence = { lock: "l", token: first.token ?? 0 };
    expect(await refusal(() => session.put(B, "a", text("x"), { fence }))).toBe("LOCK_STALE");
    const conditional = () => session.put(B, "a", text("x"), { fence, ifAbsent: true });
    expect(await refusal(conditional)).toBe("LOCK_STALE");
    expect(await valueOf(session, "a")).toBeUndefined();
    expect(await refusal(() => session.unlock("l", first.token ?? 0))).toBe("LOCK_STALE");
    session.unlock("l", second.token ?? 0);
    expect(session.lock("l", 1_000).value.acquired).toBe(true);
  });
});

describe("an attempt", () => {
  it("reads its own writes, which others see after its commit", async () => {
    const world = new StoreWorld();
    const client = open(world);
    await client.put(B, "old", text("old"));
    await client.put(B, "gone", text("gone"));
    const attempt = world.store.attempt(NAMESPACE, "0-1", "node/0");
    await attempt.put(B, "new", text("new"));
    await attempt.put(B, "old", text("newer"));
    attempt.delete(B, "gone");
    expect(attempt.list(B).value.objects.map(({ key }) => key)).toEqual(["new", "old"]);
    expect(await valueOf(attempt, "old")).toBe("newer");
    expect(await valueOf(client, "old")).toBe("old");
    expect(client.list(B).value.objects.map(({ key }) => key)).toEqual(["gone", "old"]);
    attempt.commit();
    expect(await valueOf(client, "old")).toBe("newer");
    expect(client.list(B).value.objects.map(({ key }) => key)).toEqual(["new", "old"]);
    expect(await refusal(() => attempt.put(B, "late", text("x")))).toBe("ATTEMPT_ENDED");
  });

  it("leaves nothing when it is aborted", async () => {
    const world = new StoreWorld();
    const client = open(world);
    await client.put(B, "a", text("a"));
    const { heldBytes } = world.store.usage();
    const attempt = world.store.attempt(NAMESPACE, "0-1", "node/0");
    await attempt.put(B, "b", octets(100_000));
    attempt.take(B, "a").value?.reader.release();
    expect(await valueOf(client, "a")).toBeUndefined();
    attempt.abort();
    expect(await valueOf(client, "a")).toBe("a");
    expect(world.store.usage().heldBytes).toBe(heldBytes);
  });

  it("gets recorded answers when its step is repeated, and counts once", async () => {
    const world = new StoreWorld();
    const client = open(world);
    for (let round = 0; round < 3; round += 1) {
      const attempt = world.store.attempt(NAMESPACE, "0-1", "node/0");
      expect((await attempt.increment(B, "n")).value).toBe(1);
      expect((await attempt.getPut(B, "g", text("new"))).value).toBeUndefined();
      expect((await attempt.put(B, "p", text("x"), { ifAbsent: true })).value.stored).toBe(true);
      if (round < 2) attempt.abort();
      else attempt.commit();
    }
    expect(await valueOf(client, "n")).toBe(1);
    const later = world.store.attempt(NAMESPACE, "0-1", "node/1");
    expect((await later.increment(B, "n")).value).toBe(2);
    later.commit();
  });

  it("is refused when it repeats other operations than before", async () => {
    const world = new StoreWorld();
    open(world);
    const attempt = world.store.attempt(NAMESPACE, "0-1", "node/0");
    await attempt.increment(B, "n");
    attempt.abort();
    const next = world.store.attempt(NAMESPACE, "0-1", "node/0");
    expect(await refusal(() => next.increment(B, "m"))).toBe("CONFLICT");
  });

  it("counts on what it staged itself, within the stage", async () => {
    const world = new StoreWorld();
    const client = open(world);
    const attempt = world.store.attempt(NAMESPACE, "0-1", "node/0");
    await attempt.put(B, "n", { kind: "value", value: 5, sizeBytes: 16 });
    expect((await attempt.increment(B, "n")).value).toBe(6);
    expect(await valueOf(client, "n")).toBeUndefined();
    attempt.commit();
    expect(await valueOf(client, "n")).toBe(6);
  });

  it("acquires a lock anew when the one of the attempt before is gone", async () => {
    const world = new StoreWorld();
    open(world);
    const first = world.store.attempt(NAMESPACE, "0-1", "s");
    const { token = 0 } = first.lock("l", 1_000).value;
    first.abort();
    const again = world.store.attempt(NAMESPACE, "0-1", "s");
    expect(again.lock("l", 1_000).value.token).toBe(token);
    again.unlock("l", token);
    again.abort();
    const third = world.store.attempt(NAMESPACE, "0-1", "s");
    const renewed = third.lock("l", 1_000).value;
    expect(renewed.token).toBeGreaterThan(token);
    third.unlock("l", renewed.token ?? 0);
    expect(third.lock("l", 1_000).value.acquired).toBe(true);
  });
});

describe("a take by a client", () => {
  it("hides the value until it is acknowledged, returned or its lease ends", async () => {
    const world = new StoreWorld();
    const client = open(world);
    await client.put(B, "a", text("x"));
    const take = client.take(B, "a", 1_000).value;
    take?.reader.release();
    expect(client.take(B, "a", 1_000).value).toBeUndefined();
    expect(await refusal(() => client.put(B, "a", text("y"), { ifAbsent: true }))).toBe("CONFLICT");
    world.nowMs += 1_000;
    expect(await valueOf(client, "a")).toBe("x");
    expect(await refusal(() => client.acknowledge(take?.lease ?? 0))).toBe("LOCK_STALE");
    const second = client.take(B, "a", 1_000).value;
    second?.reader.release();
    client.giveBack(second?.lease ?? 0);
    const third = client.take(B, "a", 1_000).value;
    third?.reader.release();
    client.acknowledge(third?.lease ?? 0);
    world.advance(10_000);
    expect(await valueOf(client, "a")).toBeUndefined();
    expect(world.store.usage().heldBytes).toBe(0);
  });
});

describe("the end of a job", () => {
  it("gives back every byte but the persisted ones, also of what is going on", async () => {
    const world = new StoreWorld();
    const client = open(world);
    await client.put(B, "small", text("x"), { durability: "disk" });
    await client.put(B, "large", octets(300_000), { durability: "disk" });
    await client.put(B, "kept", text("kept"), { persist: true });
    const attempt = world.store.attempt(NAMESPACE, "0-1", "s");
    await attempt.put(B, "staged", octets(100_000));
    const upload = client.upload();
    await upload.write(new Uint8Array(50_000));
    const reader = client.open(B, "large").value;
    world.store.endJob(NAMESPACE, "0-1");
    expect(world.store.usage().heldBytes).toBe(4);
    expect(await refusal(() => upload.write(new Uint8Array(1)))).toBe("JOB_ENDED");
    expect(await refusal(() => reader?.read(0, 10))).toBe("JOB_ENDED");
    expect(await refusal(() => client.put(B, "a", text("x")))).toBe("JOB_ENDED");
    expect(await refusal(() => attempt.put(B, "a", text("x")))).toBe("JOB_ENDED");
    expect(await valueOf(client, "kept")).toBe("kept");
    await world.settle();
    expect(world.blocks.stored.size).toBe(0);
    world.crash();
    const again = world.store.session(NAMESPACE, "0-1");
    expect(await valueOf(again, "kept")).toBe("kept");
    again.delete(B, "kept");
    world.commit();
    expect(world.store.usage().bytes).toEqual({ memory: 0, disk: 0, cold: 0 });
    expect(await refusal(() => world.store.session(NAMESPACE, "0-1"))).toBe("JOB_ENDED");
    expect(world.rows("storeSlots") + world.rows("storeJobs")).toBe(0);
  });

  it("is learned as a mark for the next job of the workflow", async () => {
    const world = new StoreWorld();
    const client = open(world, { workflow: "w", hints: { capacityMb: 1 } });
    expect(world.store.job(NAMESPACE, "0-1").value.expectedBytes).toBe(1024 * 1024);
    await client.put(B, "a", octets(50_000));
    world.store.endJob(NAMESPACE, "0-1");
    world.commit();
    world.crash();
    open(world, { id: "0-2", workflow: "w", hints: { capacityMb: 1 } });
    expect(world.store.job(NAMESPACE, "0-2").value.expectedBytes).toBe(50_000);
  });
});

describe("a restart", () => {
  it("finds disk values, and reports what memory alone held as lost", async () => {
    const world = new StoreWorld();
    const client = open(world);
    await client.put(B, "disk", text("d"), { durability: "disk" });
    await client.put(B, "memory", text("m"));
    await client.put(B, "both", text("old"), { durability: "disk" });
    await client.put(B, "both", text("new"));
    world.commit();
    world.crash();
    const again = world.store.session(NAMESPACE, "0-1");
    expect(await valueOf(again, "disk")).toBe("d");
    expect(await refusal(() => again.get(B, "memory"))).toBe("VALUE_LOST");
    expect(await refusal(() => again.get(B, "both"))).toBe("VALUE_LOST");
    expect(await refusal(() => again.increment(B, "memory"))).toBe("VALUE_LOST");
    expect(again.list(B).value.lost).toContain("epoch");
    again.delete(B, "memory");
    expect(await valueOf(again, "memory")).toBeUndefined();
    await again.put(B, "both", text("newest"));
    expect(await valueOf(again, "both")).toBe("newest");
  });

  it("reports nothing lost where nothing was in memory alone", async () => {
    const world = new StoreWorld();
    const client = open(world, { durability: "disk" });
    await client.put(B, "a", text("a"));
    await client.increment(B, "n", {}, { step: "s", ordinal: 1 });
    const { token = 0 } = client.lock("l", 60_000).value;
    world.commit();
    world.crash();
    const again = world.store.session(NAMESPACE, "0-1");
    expect(await valueOf(again, "none")).toBeUndefined();
    expect((await again.increment(B, "n", {}, { step: "s", ordinal: 1 })).value).toBe(1);
    expect(again.lock("l", 1).value.acquired).toBe(false);
    again.unlock("l", token);
    expect(again.lock("l", 1).value.token).toBeGreaterThan(token);
  });

  it("repeats no operation whose effect was spilled before it", async () => {
    const world = new StoreWorld();
    const first = { step: "s", ordinal: 1 };
    const second = { step: "s", ordinal: 2 };
    const client = open(world);
    await client.put(B, "g", text("before"));
    await client.increment(B, "n", {}, first);
    await client.getPut(B, "g", text("after"), second);
    await world.store.writeBack();
    world.commit();
    world.crash();
    const again = world.store.session(NAMESPACE, "0-1");
    expect((await again.increment(B, "n", {}, first)).value).toBe(1);
    expect((await again.getPut(B, "g", text("after"), second)).value).toEqual(text("before"));
    expect((await again.increment(B, "n")).value).toBe(2);
  });

  it("says absent, not lost, of what was not there when memory was written back", async () => {
    const world = new StoreWorld();
    const client = open(world);
    await client.put(B, "small", text("small"));
    await client.put(B, "large", octets(200_000));
    await world.store.writeBack();
    world.commit();
    world.crash();
    await world.settle();
    const again = world.store.session(NAMESPACE, "0-1");
    expect(await valueOf(again, "small")).toBe("small");
    expect((await again.get(B, "large")).value?.info.sizeBytes).toBe(200_000);
    expect(await valueOf(again, "none")).toBeUndefined();
    // What memory alone holds from then on is lost again, and said to be.
    await again.put(B, "later", text("later"));
    world.commit();
    world.crash();
    await world.settle();
    const third = world.store.session(NAMESPACE, "0-1");
    expect(await valueOf(third, "small")).toBe("small");
    expect(await refusal(() => third.get(B, "later"))).toBe("VALUE_LOST");
  });

  it("reports a recorded value that it could not keep as lost", async () => {
    const world = new StoreWorld();
    const operation = { step: "s", ordinal: 1 };
    const client = open(world);
    await client.put(B, "g", octets(100_000));
    await client.getPut(B, "g", text("after"), operation);
    await world.store.writeBack();
    world.commit();
    world.crash();
    const again = world.store.session(NAMESPACE, "0-1");
    expect(await refusal(() => again.getPut(B, "g", text("after"), operation))).toBe("VALUE_LOST");
    expect(await valueOf(again, "g")).toBe("after");
  });

  it("ends the jobs of calls and what attempts had staged", async () => {
    const world = new StoreWorld();
    const call = open(world, { kind: "call", id: "0-call" });
    await call.put(B, "a", text("a"), { durability: "disk" });
    await call.put(B, "large", octets(100_000), { durability: "disk" });
    open(world, { durability: "disk" });
    const attempt = world.store.attempt(NAMESPACE, "0-1", "s");
    await attempt.put(B, "staged", octets(100_000));
    world.commit();
    world.crash();
    await world.settle();
    expect(await refusal(() => world.store.session(NAMESPACE, "0-call"))).toBe("JOB_NOT_FOUND");
    expect(world.store.usage().bytes).toEqual({ memory: 0, disk: 0, cold: 0 });
    expect(world.blocks.stored.size).toBe(0);
    expect(world.rows("storeSlots")).toBe(0);
  });
});
