/** The store job of a run: made late, staged by attempt, ended with it; values by reference. */
import { describe, expect, it } from "vitest";
import { RunJobs } from "../../runtime/cell/internal.ts";
import { IsolaError, type StoreAttempt } from "../../runtime/contract/index.ts";
import type { Held, RunHome } from "../../workflow/index.ts";
import { NAMESPACE, StoreWorld, octets, refusal, text } from "../support/store-world.ts";

const B = "default";
const RUN: RunHome = {
  id: `0-${"a".repeat(32)}`,
  namespace: NAMESPACE,
  epoch: 1,
  workflow: "orders",
  durability: "step",
};
const LARGE = "x".repeat(100_000);
const COMPLETED = { status: "completed" } as const;

function opened(): { readonly world: StoreWorld; readonly jobs: RunJobs } {
  const world = new StoreWorld();
  return { world, jobs: new RunJobs(world.store) };
}

const place = (token: number, step = "a/0") => ({ step, token });

async function valueOf(world: StoreWorld, key: string): Promise<unknown> {
  const found = (await world.store.session(NAMESPACE, RUN.id).get(B, key)).value?.value;
  return found?.kind === "value" ? found.value : found?.sizeBytes;
}

describe("the job of a run", () => {
  it("is made at the first use, ends with the run, and is known to runs that use none", () => {
    const { world, jobs } = opened();
    jobs.begin();
    const attempt = jobs.attempted(RUN, place(1));
    jobs.settle(RUN, "a/0", 1, true);
    jobs.end(RUN, COMPLETED);
    expect(world.store.stats().jobs).toBe(0);
    expect(attempt).toEqual({ step: "a/0", token: 1, epoch: 1, call: "" });
  });

  it("shows what an attempt puts when its step has committed, and frees it then", async () => {
    const { world, jobs } = opened();
    const session = jobs.session(RUN, jobs.attempted(RUN, place(1)));
    await session.put(B, "a", text("1"));
    await session.put(B, "kept", text("2"), { persist: true });
    expect(await valueOf(world, "a")).toBeUndefined();
    jobs.settle(RUN, "a/0", 1, true);
    expect(await valueOf(world, "a")).toBe("1");
    jobs.end(RUN, COMPLETED);
    world.commit();
    expect(world.store.job(NAMESPACE, RUN.id).value).toMatchObject({ objects: 1, kind: "run" });
    expect(await valueOf(world, "kept")).toBe("2");
  });

  it("drops what a failed attempt put, and refuses what comes late", async () => {
    const { world, jobs } = opened();
    const late = jobs.attempted(RUN, place(1));
    const session = jobs.session(RUN, late);
    await session.put(B, "a", text("1"));
    jobs.settle(RUN, "a/0", 1, false);
    expect(await refusal(() => session.put(B, "a", text("2")))).toBe("ATTEMPT_ENDED");
    expect(await refusal(() => jobs.session(RUN, late))).toBe("ATTEMPT_ENDED");
    expect(await valueOf(world, "a")).toBeUndefined();
    // Its next attempt is another one; that of another opening or namespace is none.
    const next = jobs.attempted(RUN, place(2));
    const others: [StoreAttempt, string][] = [
      [{ ...next, epoch: 2 }, NAMESPACE],
      [{ ...next, token: 1 }, NAMESPACE],
      [{ ...next, step: "b/0" }, NAMESPACE],
      [next, "other"],
    ];
    for (const [attempt, namespace] of others) {
      expect(await refusal(() => jobs.session({ ...RUN, namespace }, attempt))).toBe(
        "ATTEMPT_ENDED",
      );
    }
    jobs.session(RUN, next);
  });

  it("stays of a failed run, which may go on, until the run is no longer kept", async () => {
    const { world, jobs } = opened();
    await jobs.session(RUN, jobs.attempted(RUN, place(1))).put(B, "a", text("1"));
    jobs.settle(RUN, "a/0", 1, true);
    const held = await jobs.hold(RUN, LARGE);
    jobs.end(RUN, { status: "failed" });
    expect(await jobs.resolve(RUN, held)).toBe(LARGE);
    expect(await valueOf(world, "a")).toBe("1");
    jobs.forget(RUN);
    await world.settle();
    expect(world.store.usage().bytes).toEqual({ memory: 0, disk: 0, cold: 0 });
    expect(world.store.stats().jobs).toBe(0);
  });

  it("is there again for a run that goes on after its end", async () => {
    const { world, jobs } = opened();
    await jobs.session(RUN, jobs.attempted(RUN, place(1))).put(B, "a", text("1"));
    jobs.settle(RUN, "a/0", 1, true);
    jobs.end(RUN, COMPLETED);
    world.commit();
    jobs.begin();
    const again = jobs.session(RUN, jobs.attempted(RUN, place(2)));
    expect((await again.get(B, "a")).value).toBeUndefined();
    await again.put(B, "b", text("2"));
    jobs.settle(RUN, "a/0", 2, true);
    expect(await valueOf(world, "b")).toBe("2");
  });

  it("begins anew with its run: nothing is left, nothing is lost", async () => {
    const { world, jobs } = opened();
    const run = { ...RUN, durability: "run" } as const;
    const session = jobs.session(run, jobs.attempted(run, place(1)));
    await session.put(B, "a", text("1"));
    await session.increment(B, "n", { by: 2 });
    jobs.settle(run, "a/0", 1, true);
    world.commit();
    world.crash();
    const after = new RunJobs(world.store);
    const next = { ...run, epoch: 2 };
    after.beginAnew(next);
    const anew = after.session(next, after.attempted(next, place(1)));
    expect((await anew.get(B, "a")).value).toBeUndefined();
    expect((await anew.increment(B, "n", { by: 2 })).value).toBe(2);
  });

  it("writes to disk with the step, to memory only what a pure step puts there", async () => {
    const { world, jobs } = opened();
    const plain = jobs.session(RUN, jobs.attempted(RUN, place(1)));
    const operation = { op: "apply", function: "f", pure: true } as const;
    const pure = jobs.session(RUN, jobs.attempted(RUN, { step: "b/0", token: 2, operation }));
    for (const [session, key] of [
      [plain, "plain"],
      [pure, "pure"],
    ] as const) {
      await session.put(B, key, text(key), { durability: "memory" });
    }
    jobs.settle(RUN, "a/0", 1, true);
    jobs.settle(RUN, "b/0", 2, true);
    world.commit();
    world.crash();
    expect(await valueOf(world, "plain")).toBe("plain");
    expect(await refusal(() => valueOf(world, "pure"))).toBe("VALUE_LOST");
  });

  it("that a client ended takes with it what was staged; the run goes on", async () => {
    const { world, jobs } = opened();
    const attempt = jobs.attempted(RUN, place(1));
    await jobs.session(RUN, attempt).put(B, "a", text("1"));
    world.store.endJob(NAMESPACE, RUN.id);
    jobs.settle(RUN, "a/0", 1, true);
    jobs.end(RUN, COMPLETED);
    jobs.forget(RUN);
    expect(world.store.stats().jobs).toBe(0);
  });

  it("is swept at an opening if no run is known under its id", async () => {
    const { world, jobs } = opened();
    const holding = await jobs.holdInput(RUN, LARGE);
    holding.keep();
    world.commit();
    world.crash();
    const after = new RunJobs(world.store);
    after.sweep((id) => id === RUN.id);
    expect(await after.resolve(RUN, holding.held)).toBe(LARGE);
    after.sweep(() => false);
    await world.settle();
    expect(world.store.usage().heldBytes).toBe(0);
    expect(world.store.stats().jobs).toBe(0);
  });
});

describe("a value of a run", () => {
  it("rides along up to 64 KiB and is held by reference beyond, whatever it is", async () => {
    const { jobs } = opened();
    const values: unknown[] = [undefined, null, 7, "text", new Uint8Array(60_000)];
    for (const value of values) expect(await jobs.hold(RUN, value)).toEqual({ value });
    const large = [LARGE, { a: [LARGE], n: 1 }, new Uint8Array(70_000).fill(3)];
    for (const value of large) {
      const held = await jobs.hold(RUN, value);
      expect(held).toMatchObject({ sizeBytes: expect.any(Number) });
      expect(await jobs.resolve(RUN, held)).toEqual(value);
    }
    const parts = {
      parts: [
        ["a", await jobs.hold(RUN, LARGE)],
        ["b", { value: 1 }],
      ],
    } as const;
    expect(await jobs.resolve(RUN, parts)).toEqual({ a: LARGE, b: 1 });
  });

  it("is on disk before its step commits, and goes with an attempt that does not", async () => {
    const { world, jobs } = opened();
    const lost = place(1);
    jobs.attempted(RUN, lost);
    await jobs.hold(RUN, LARGE, lost);
    expect(world.blocks.stored.size).toBe(1);
    jobs.settle(RUN, "a/0", 1, false);
    await world.settle();
    expect(world.blocks.stored.size).toBe(0);
    jobs.attempted(RUN, place(2));
    const held = await jobs.hold(RUN, LARGE, place(2));
    jobs.settle(RUN, "a/0", 2, true);
    world.commit();
    world.crash();
    expect(await new RunJobs(world.store).resolve(RUN, held)).toBe(LARGE);
  });

  it("outlives the job where it is the run's own, else it is lost with a reason", async () => {
    const { world, jobs } = opened();
    const holding = await jobs.holdInput(RUN, LARGE);
    holding.keep();
    const between = await jobs.hold(RUN, `${LARGE}1`);
    const output = await jobs.hold(RUN, `${LARGE}2`);
    const parts = { parts: [["out", output]] } as const;
    jobs.end(RUN, { status: "completed", output: parts });
    world.commit();
    world.crash();
    const after = new RunJobs(world.store);
    after.sweep(() => true);
    expect(await after.resolve(RUN, holding.held)).toBe(LARGE);
    expect(await after.resolve(RUN, parts)).toEqual({ out: `${LARGE}2` });
    const lost = after.resolve(RUN, between);
    await expect(lost).rejects.toMatchObject({ code: "VALUE_LOST" });
    after.forget(RUN);
    await world.settle();
    await expect(after.resolve(RUN, output)).rejects.toThrow(/no longer kept/);
    expect(world.store.usage().heldBytes).toBe(0);
  });

  it("of a pure step is in memory, and made again when it is lost", async () => {
    const { world, jobs } = opened();
    const operation = { op: "apply", function: "f", pure: true } as const;
    const effect = { ...place(1), operation, input: { value: 3 }, idempotencyKey: "k" };
    jobs.attempted(RUN, effect);
    const held = await jobs.hold(RUN, LARGE, effect);
    jobs.settle(RUN, "a/0", 1, true);
    expect(world.blocks.stored.size).toBe(0);
    world.commit();
    world.crash();
    const after = new RunJobs(world.store);
    await expect(after.resolve(RUN, held)).rejects.toMatchObject({ code: "VALUE_LOST" });
    const asked: unknown[] = [];
    const remake = async (by: { readonly input: unknown }): Promise<unknown> => {
      asked.push(by.input);
      return LARGE;
    };
    const both = await Promise.all([1, 2].map(() => after.resolve(RUN, held, remake)));
    expect(both).toEqual([LARGE, LARGE]);
    expect(await after.resolve(RUN, held)).toBe(LARGE);
    expect(asked).toEqual([{ value: 3 }]);
    const next = { ...RUN, epoch: 2 };
    const session = after.session(next, after.attempted(next, place(2)));
    expect((await session.get(B, "never there")).value).toBeUndefined();
    // What it ends with is on disk in the commit of its end.
    after.end(next, { status: "completed", output: held });
    world.commit();
    world.crash();
    expect(await new RunJobs(world.store).resolve(RUN, held)).toBe(LARGE);
  });

  it("is made again a bounded number of times, and is lost with a reason after", async () => {
    const { world, jobs } = opened();
    const operation = { op: "apply", function: "f", pure: true } as const;
    const effect = { ...place(1), operation, input: { value: 3 }, idempotencyKey: "k" };
    jobs.attempted(RUN, effect);
    const held = await jobs.hold(RUN, LARGE, effect);
    jobs.settle(RUN, "a/0", 1, true);
    world.commit();
    world.crash();
    const after = new RunJobs(world.store);
    let tries = 0;
    const fails = async (): Promise<unknown> => {
      tries += 1;
      throw new IsolaError("VALUE_LOST", { attempted: "try", found: "no luck" });
    };
    for (let at = 0; at < 120; at += 1) {
      expect(await refusal(() => after.resolve(RUN, held, fails))).toBe("VALUE_LOST");
    }
    expect(tries).toBe(100);
  });

  it("of many pure steps in a row is on disk now and then", async () => {
    const { jobs } = opened();
    const operation = { op: "apply", function: "f", pure: true } as const;
    let input: Held = { value: 0 };
    const depths: boolean[] = [];
    for (let token = 1; token <= 10; token += 1) {
      const effect = { ...place(token), operation, input, idempotencyKey: "k" };
      jobs.attempted(RUN, effect);
      input = await jobs.hold(RUN, `${LARGE}${String(token)}`, effect);
      jobs.settle(RUN, "a/0", token, true);
      depths.push("by" in input);
    }
    expect(depths).toEqual([...Array<boolean>(8).fill(true), false, true]);
  });

  it("that cannot be held fails the step for good if it is unfit, else the attempt", async () => {
    const { jobs } = opened();
    jobs.attempted(RUN, place(1));
    const tooLarge = await jobs.outcomeOf(RUN, place(1), new Uint8Array(33 * 1024 * 1024));
    expect(tooLarge).toMatchObject({ error: { code: "RESULT_INVALID", isFinal: true } });
    const none = await jobs.outcomeOf(RUN, place(1), [() => 1]);
    expect(none).toMatchObject({ error: { code: "RESULT_INVALID", isFinal: true } });
    const full = new StoreWorld({
      budgets: { memoryBytes: 200, jobMemoryBytes: 200, diskBytes: 1_000 },
    });
    const cramped = new RunJobs(full.store);
    cramped.attempted(RUN, place(1));
    const refused = await cramped.outcomeOf(RUN, place(1), LARGE);
    expect(refused).toMatchObject({ error: { code: "STORE_FULL" } });
    expect(refused).not.toHaveProperty("error.isFinal");
  });

  it("leaves nothing of a start that did not happen", async () => {
    const { world, jobs } = opened();
    const holding = await jobs.holdInput(RUN, LARGE);
    holding.drop();
    await world.settle();
    expect(world.store.usage().heldBytes).toBe(0);
    expect(world.store.stats().jobs).toBe(0);
  });
});

describe("what a workflow's former runs held", () => {
  it("is expected of its next run", async () => {
    const { world, jobs } = opened();
    const session = jobs.session(RUN, jobs.attempted(RUN, place(1)));
    await session.put(B, "a", octets(50_000));
    jobs.settle(RUN, "a/0", 1, true);
    jobs.end(RUN, COMPLETED);
    const next = { ...RUN, id: `0-${"b".repeat(32)}` };
    jobs.session(next, jobs.attempted(next, place(1)));
    expect(world.store.job(NAMESPACE, next.id).value.expectedBytes).toBe(50_000);
  });
});
