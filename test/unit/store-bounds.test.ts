/** Budgets, tiers and bad input: what grows, what is refused, and that refusals change nothing. */
import { describe, expect, it } from "vitest";
import {
  STORE_LIMITS,
  type StoreJobRequest,
  type StoredValue,
} from "../../runtime/contract/index.ts";
import type { Session } from "../../store/index.ts";
import { NAMESPACE, StoreWorld, octets, refusal, text } from "../support/store-world.ts";

const B = "default";
const KIB = 1024;

function open(world: StoreWorld, more: Partial<StoreJobRequest> = {}): Session {
  const request = { id: "0-1", namespace: NAMESPACE, name: "job", kind: "client" } as const;
  world.store.createJob({ ...request, durability: "memory", ...more });
  return world.store.session(more.namespace ?? NAMESPACE, more.id ?? "0-1");
}

/** Everything that can be seen of a world's data. */
function visible(world: StoreWorld, session: Session): unknown {
  return [
    session.list(B).value,
    world.store.usage().bytes,
    world.store.usage().heldBytes,
    world.rows("storeSlots"),
    world.rows("storeObjects"),
  ];
}

describe("a job that grows to four times the memory budget", () => {
  const budgets = {
    memoryBytes: 256 * KIB,
    jobMemoryBytes: 200 * KIB,
    diskBytes: 2_048 * KIB,
    uploadMemoryMaxBytes: 100 * KIB,
  };

  it.each([
    ["of small values", 8 * KIB],
    ["of large values", 90 * KIB],
  ])("%s never fails, keeps within memory and gives everything back", async (_title, size) => {
    const world = new StoreWorld({ budgets });
    const session = open(world);
    const count = Math.ceil((4 * budgets.memoryBytes) / size);
    for (let at = 0; at < count; at += 1) {
      await session.put(B, String(at), octets(size, at % 256));
      expect(world.store.usage().bytes.memory).toBeLessThanOrEqual(budgets.memoryBytes);
    }
    for (let at = 0; at < count; at += 1) {
      const found = (await session.get(B, String(at))).value?.value;
      expect(found?.kind === "bytes" && found.chunks[0]?.[size - 1]).toBe(at % 256);
    }
    world.store.endJob(NAMESPACE, "0-1");
    expect(world.store.usage().bytes).toEqual({ memory: 0, disk: 0, cold: 0 });
    await world.settle();
    expect(world.blocks.stored.size).toBe(0);
  });

  it("spills the coldest values first", async () => {
    const world = new StoreWorld({ budgets });
    const session = open(world);
    for (let at = 0; at < 10; at += 1) await session.put(B, String(at), octets(16 * KIB));
    await session.get(B, "0");
    for (let at = 10; at < 13; at += 1) await session.put(B, String(at), octets(16 * KIB));
    const tiers = session.list(B).value.objects.map(({ key, tier }) => [key, tier]);
    const below = tiers.filter(([, tier]) => tier === "disk").map(([key]) => key);
    expect(below).toEqual(["1"]);
  });

  it("goes on into the cold tier, and is refused only when that is full", async () => {
    const full = { ...budgets, diskBytes: 300 * KIB, coldBytes: 1_000 * KIB };
    const world = new StoreWorld({ budgets: full, withCold: true });
    const session = open(world);
    let stored = 0;
    let code: string | undefined;
    while (code === undefined && stored < 1_000) {
      code = await refusal(() => session.put(B, String(stored), octets(40 * KIB, stored)));
      stored += 1;
    }
    expect(code).toBe("STORE_FULL");
    const { bytes } = world.store.usage();
    expect(bytes.cold + 41 * KIB).toBeGreaterThan(full.coldBytes);
    expect(bytes.disk + 41 * KIB).toBeGreaterThan(full.diskBytes);
    const first = (await session.get(B, "0")).value;
    expect(first?.value.sizeBytes).toBe(40 * KIB);
    expect(await refusal(() => session.get(B, String(stored - 1)))).toBeUndefined();
    session.delete(B, "0");
    expect(await refusal(() => session.put(B, "again", octets(30 * KIB)))).toBeUndefined();
    world.store.endJob(NAMESPACE, "0-1");
    await world.settle();
    expect(world.cold?.stored.size).toBe(0);
  });

  it("is refused, and keeps what it has, while the cold tier is down", async () => {
    const world = new StoreWorld({ budgets: { ...budgets, diskBytes: 300 * KIB }, withCold: true });
    const session = open(world);
    if (world.cold) world.cold.isDown = true;
    let stored = 0;
    while (stored < 100) {
      const code = await refusal(() => session.put(B, String(stored), octets(40 * KIB)));
      if (code === "STORE_FULL") break;
      stored += 1;
    }
    expect(stored).toBeGreaterThan(8);
    expect(session.list(B).value.objects).toHaveLength(stored);
    if (world.cold) world.cold.isDown = false;
    expect(await refusal(() => session.put(B, "more", octets(40 * KIB)))).toBeUndefined();
  });
});

describe("a stream", () => {
  it("is held in memory only up to a bound, however long it is", async () => {
    const world = new StoreWorld({ budgets: { uploadMemoryMaxBytes: 200_000 } });
    const session = open(world);
    const upload = session.upload();
    for (let at = 0; at < 100; at += 1) {
      await upload.write(new Uint8Array(64 * KIB).fill(at));
      expect(world.store.usage().bytes.memory).toBeLessThan(210_000);
    }
    await upload.finish(6_400 * KIB);
    await session.put(B, "long", upload);
    const reader = session.open(B, "long").value;
    expect((await reader?.read(50 * 64 * KIB, 50 * 64 * KIB + 1))?.[0]).toBe(50);
    reader?.release();
    expect(session.stat(B, "long").value?.tier).toBe("disk");
  });

  it("that is read while it is replaced is read to its end", async () => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "a", octets(200_000, 1), { durability: "disk" });
    const reader = session.open(B, "a").value;
    await session.put(B, "a", octets(10, 2), { durability: "disk" });
    await world.settle();
    expect((await reader?.read(199_999, 200_000))?.[0]).toBe(1);
    reader?.release();
    await world.settle();
    expect(world.blocks.stored.size).toBe(0);
  });
});

describe("memory that is about to be evicted", () => {
  it("is written back, and found again", async () => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "small", text("s"));
    await session.put(B, "large", octets(200_000, 3));
    const written = world.store.writeBack();
    world.commit();
    await written;
    world.commit();
    world.crash();
    const again = world.store.session(NAMESPACE, "0-1");
    expect((await again.get(B, "small")).value?.value).toEqual(text("s"));
    expect((await again.get(B, "large")).value?.value.sizeBytes).toBe(200_000);
  });
});

describe("a full disk", () => {
  it("refuses with DISK_FULL what memory does not hold", async () => {
    const world = new StoreWorld();
    const session = open(world);
    world.store.diskFreeBytes = 0;
    const before = visible(world, session);
    const put = () => session.put(B, "a", text("x"), { durability: "disk" });
    expect(await refusal(put)).toBe("DISK_FULL");
    expect(visible(world, session)).toEqual(before);
    world.store.diskFreeBytes = 1_000_000;
    expect(await refusal(put)).toBeUndefined();
  });
});

describe("a quota of a namespace", () => {
  it("bounds its values, and no other namespace's", async () => {
    const world = new StoreWorld({
      budgets: { namespaceBytes: (namespace) => (namespace === "small" ? 1_000 : 0) },
    });
    const small = open(world, { id: "0-small", namespace: "small" });
    const other = open(world, { id: "0-other", namespace: "other" });
    await small.put(B, "a", octets(600));
    expect(await refusal(() => small.put(B, "b", octets(600)))).toBe("QUOTA_EXCEEDED");
    expect(await refusal(() => other.put(B, "b", octets(6_000)))).toBeUndefined();
    small.delete(B, "a");
    expect(await refusal(() => small.put(B, "b", octets(600)))).toBeUndefined();
  });
});

describe("bad input", () => {
  const lone = "\ud800";
  const tooLong = "k".repeat(STORE_LIMITS.keyMaxBytes + 1);
  const longest = "é".repeat(STORE_LIMITS.keyMaxBytes / 2);
  const noValue = { kind: "value", value: () => 1, sizeBytes: 8 } as StoredValue;
  const short = { kind: "bytes", chunks: [new Uint8Array(9)], sizeBytes: 10 } as StoredValue;
  const cases: readonly (readonly [string, string, (session: Session) => unknown])[] = [
    ["an empty key", "KEY_INVALID", (s) => s.put(B, "", text("x"))],
    ["a key over the limit", "KEY_INVALID", (s) => s.put(B, tooLong, text("x"))],
    ["a key with a control character", "KEY_INVALID", (s) => s.get(B, "a\nb")],
    ["a key with half a character", "KEY_INVALID", (s) => s.increment(B, lone)],
    ["a bucket over the limit", "KEY_INVALID", (s) => s.put("b".repeat(64), "a", text("x"))],
    ["a bucket with a slash", "KEY_INVALID", (s) => s.list("a/b")],
    ["a lock with a control character", "KEY_INVALID", (s) => s.lock("\0", 10)],
    ["a negative time to live", "VALUE_INVALID", (s) => s.put(B, "a", text("x"), { ttlMs: -1 })],
    ["a time to live of zero", "VALUE_INVALID", (s) => s.expire(B, "a", { ttlMs: 0 })],
    ["a fraction of idle time", "VALUE_INVALID", (s) => s.put(B, "a", text("x"), { idleMs: 1.5 })],
    ["a lease without end", "VALUE_INVALID", (s) => s.lock("l", Infinity)],
    ["a take by a client without a lease", "VALUE_INVALID", (s) => s.take(B, "kept")],
    ["a value that is none", "VALUE_INVALID", (s) => s.put(B, "a", noValue)],
    ["a body that is not as long as said", "BODY_INCOMPLETE", (s) => s.put(B, "a", short)],
    ["a page of no keys", "VALUE_INVALID", (s) => s.list(B, { limit: 0 })],
    ["a step that is no number", "VALUE_INVALID", (s) => s.increment(B, "n", { by: Number.NaN })],
    ["a count on what is no number", "COUNTER_INVALID", (s) => s.increment(B, "kept")],
    ["a count on octets", "COUNTER_INVALID", (s) => s.increment(B, "octets")],
    ["a range beyond the end", "RANGE_INVALID", (s) => s.open(B, "octets").value?.read(90, 101)],
    ["a range of a value", "RANGE_INVALID", (s) => s.open(B, "kept").value?.read(0, 1)],
    ["a lock released with a stale token", "LOCK_STALE", (s) => s.unlock("l", 1)],
    ["a lease that never was", "LOCK_STALE", (s) => s.acknowledge(1)],
    [
      "conditions that exclude each other",
      "VALUE_INVALID",
      (s) => s.put(B, "a", text("x"), { ifAbsent: true, ifPresent: true }),
    ],
    [
      "a stream cut short",
      "BODY_INCOMPLETE",
      async (s) => {
        const upload = s.upload();
        await upload.write(new Uint8Array(100_000));
        await upload.finish(100_001);
      },
    ],
    [
      "a stream that was never finished",
      "BODY_INCOMPLETE",
      async (s) => {
        const upload = s.upload();
        await upload.write(new Uint8Array(10));
        try {
          await s.put(B, "a", upload);
        } finally {
          await upload.abort();
        }
      },
    ],
  ];

  it.each(cases)("%s is refused with %s and changes nothing", async (_title, code, work) => {
    const world = new StoreWorld();
    const session = open(world);
    await session.put(B, "kept", text("kept"));
    await session.put(B, "octets", octets(100));
    const before = visible(world, session);
    expect(await refusal(() => work(session))).toBe(code);
    expect(visible(world, session)).toEqual(before);
  });

  it("is told from what is just within the limits", async () => {
    const session = open(new StoreWorld());
    const put = () => session.put("b".repeat(63), longest, text("x"), { ttlMs: 1 });
    expect(await refusal(put)).toBeUndefined();
    expect(await refusal(() => session.put(B, "a/b c?#%", octets(0)))).toBeUndefined();
    expect((await session.get(B, "a/b c?#%")).value?.value.sizeBytes).toBe(0);
  });

  it("that guesses another namespace's job is answered as if there were none", async () => {
    const world = new StoreWorld();
    open(world, { id: "0-1", namespace: "mine" });
    const codes = ["0-1", "0-2"].map((id) => [
      refusal(() => world.store.session("theirs", id)),
      refusal(() => world.store.endJob("theirs", id)),
      refusal(() => world.store.job("theirs", id)),
    ]);
    for (const code of await Promise.all(codes.flat())) expect(code).toBe("JOB_NOT_FOUND");
    expect(world.store.jobs("theirs")).toEqual([]);
    world.store.endJob("mine", "0-1");
    expect(await refusal(() => world.store.session("theirs", "0-1"))).toBe("JOB_NOT_FOUND");
    expect(await refusal(() => open(world, { id: "0-1", namespace: "theirs" }))).toBe(
      "ALREADY_EXISTS",
    );
  });
});

function job(namespace: string, id: string): StoreJobRequest {
  return { id, namespace, name: "job", kind: "call", durability: "memory" };
}

describe("one namespace", () => {
  it("never takes all jobs of a shard", async () => {
    const world = new StoreWorld();
    const { store } = world;
    const bound = STORE_LIMITS.jobsPerNamespace;
    for (let at = 0; at < bound; at += 1) store.createJob(job("greedy", `0-${String(at)}`));
    expect(await refusal(() => store.createJob(job("greedy", "0-more")))).toBe("QUOTA_EXCEEDED");
    store.createJob(job("modest", "0-other"));
    store.endJob("greedy", "0-0");
    store.createJob(job("greedy", "0-more"));
  });

  it("never takes all objects of a shard", { timeout: 60_000 }, async () => {
    const world = new StoreWorld();
    const { store } = world;
    store.createJob(job("greedy", "0-1"));
    store.createJob(job("modest", "0-2"));
    const greedy = store.session("greedy", "0-1");
    const bound = STORE_LIMITS.objectsPerNamespace;
    for (let at = 0; at < bound; at += 1) await greedy.put(B, String(at), octets(0));
    expect(await refusal(() => greedy.put(B, "more", octets(0)))).toBe("QUOTA_EXCEEDED");
    // What is there may change.
    await greedy.put(B, "0", octets(1));
    await store.session("modest", "0-2").put(B, "k", octets(1));
    greedy.delete(B, "1");
    await greedy.put(B, "more", octets(0));
    store.endJob("greedy", "0-1");
    expect(store.stats().objects).toBe(1);
  });
});
