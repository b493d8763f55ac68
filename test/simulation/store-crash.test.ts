/**
 * A workflow's steps over the store, killed at every point: before and after each commit, while
 * values move between tiers, while attempts fail. Seeds are printed by fast-check.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Session } from "../../store/index.ts";
import { NAMESPACE, StoreWorld, refusal, text } from "../support/store-world.ts";

const B = "default";
const JOB = "0-run";
const BUDGETS = {
  memoryBytes: 150_000,
  jobMemoryBytes: 140_000,
  diskBytes: 400_000,
  uploadMemoryMaxBytes: 100_000,
};

/** Thrown where the process dies. */
class Killed extends Error {}

/**
 * A coordinator in miniature: runs steps in order and notes each, in the commit of its step, as an
 * object of a client, so that a restart goes on where it was.
 */
class Workflow {
  readonly world: StoreWorld;
  #pointsLeft: number;
  readonly #steps: number;
  /** What each step was given by its takes when it committed. */
  readonly delivered = new Map<number, string | undefined>();

  constructor(world: StoreWorld, steps: number, killAtPoint: number) {
    this.world = world;
    this.#steps = steps;
    this.#pointsLeft = killAtPoint;
  }

  async run(): Promise<void> {
    const request = { namespace: NAMESPACE, name: "run", kind: "run", durability: "disk" } as const;
    this.world.store.createJob({ ...request, id: JOB });
    this.#point();
    this.world.commit();
    for (;;) {
      const client = this.world.store.session(NAMESPACE, JOB);
      const done = (await client.get("journal", "done")).value?.value;
      const next = done?.kind === "value" ? Number(done.value) : 0;
      if (next >= this.#steps) return;
      await this.#step(client, next);
    }
  }

  async #step(client: Session, number: number): Promise<void> {
    const attempt = this.world.store.attempt(NAMESPACE, JOB, `step/${String(number)}`);
    equal((await attempt.increment(B, "counter")).value, number + 1);
    this.#point();
    const before = (await attempt.getPut(B, "last", text(String(number)))).value;
    equal(
      before?.kind === "value" ? before.value : undefined,
      number ? String(number - 1) : undefined,
    );
    this.#point();
    const size = number % 3 === 0 ? 70_000 : 2_000;
    await attempt.put(B, `out/${String(number)}`, text(`${String(number)}:`.padEnd(size, "x")));
    this.#point();
    const taken = attempt.take(B, `out/${String(number - 1)}`).value;
    const value = await taken?.reader.whole();
    taken?.reader.release();
    this.#point();
    // The result, the puts, the takes and the note are one commit.
    attempt.commit();
    await client.put("journal", "done", { kind: "value", value: number + 1, sizeBytes: 16 });
    this.#point();
    this.world.commit();
    this.delivered.set(
      number,
      value?.kind === "value" ? String(value.value).split(":")[0] : "none",
    );
    this.#point();
  }

  /** One of the points at which a process can die. */
  #point(): void {
    this.#pointsLeft -= 1;
    if (this.#pointsLeft === 0) throw new Killed();
    // Other work of the shard commits whenever it likes.
    if (this.#pointsLeft % 4 === 0) this.world.commit();
  }
}

/** Runs with kills after the given numbers of points, then undisturbed. */
async function survive(kills: readonly number[], steps: number, turns: number): Promise<void> {
  const world = new StoreWorld({ budgets: BUDGETS, withCold: true, turns: () => turns });
  const delivered = new Map<number, string | undefined>();
  for (const kill of [...kills, Number.POSITIVE_INFINITY]) {
    const workflow = new Workflow(world, steps, kill);
    try {
      await workflow.run();
    } catch (thrown) {
      if (!(thrown instanceof Killed)) throw thrown;
      world.crash(kill % 2 === 0);
    }
    for (const [step, value] of workflow.delivered) {
      equal(delivered.has(step), false, `step ${String(step)} commits once`);
      delivered.set(step, value);
    }
  }
  const counter = (await world.store.session(NAMESPACE, JOB).get(B, "counter")).value?.value;
  equal(counter?.kind === "value" && counter.value, steps);
  const names = world.store.session(NAMESPACE, JOB).list(B).value.objects;
  deepEqual(
    names.map(({ key }) => key),
    ["counter", "last", `out/${String(steps - 1)}`],
  );
  // A kill between the commit and its note to the test hides the delivery, not the effect.
  for (const [step, value] of delivered) equal(value, step ? String(step - 1) : "none");
  world.store.endJob(NAMESPACE, JOB);
  await world.settle();
  deepEqual(world.store.usage().bytes, { memory: 0, disk: 0, cold: 0 });
  equal(world.blocks.stored.size + (world.cold?.stored.size ?? 0), 0);
  equal(world.rows("storeSlots") + world.rows("storeAnswers") + world.rows("storeObjects"), 0);
}

describe("a run of durability step", () => {
  it("ends the same when it is killed at any one point", async () => {
    const steps = 6;
    const points = steps * 6 + 1;
    for (let kill = 1; kill <= points; kill += 1) {
      await expect(survive([kill], steps, kill % 4), `kill ${kill}`).resolves.toBeUndefined();
    }
  });

  it("ends the same when it is killed again and again", async () => {
    const kills = fc.array(fc.integer({ min: 1, max: 25 }), { maxLength: 12 });
    const survives = fc.asyncProperty(kills, fc.nat(6), (all, turns) => survive(all, 8, turns));
    const numRuns = Number(process.env["ISOLA_RUNS"] ?? 100);
    await expect(fc.assert(survives, { numRuns })).resolves.toBeUndefined();
  });
});

/** What happens to a worker that has taken an item. */
type Fate = "commits" | "fails" | "forgets" | "dies" | "leases";

describe("take", () => {
  it("delivers each item to exactly one step that commits, under 1,000 failures", async () => {
    const fates = fc.array(
      fc.constantFrom<Fate>("commits", "fails", "fails", "fails", "forgets", "dies", "leases"),
      { minLength: 400, maxLength: 400 },
    );
    let failures = 0;
    const delivers = fc.asyncProperty(fates, async (all) => {
      failures += await deliver(all);
    });
    await expect(fc.assert(delivers, { numRuns: 6 })).resolves.toBeUndefined();
    expect(failures).toBeGreaterThan(1_000);
  });
});

const ITEMS = 40;

async function deliver(fates: readonly Fate[]): Promise<number> {
  const world = new StoreWorld({ budgets: BUDGETS });
  const request = { namespace: NAMESPACE, name: "run", kind: "run", durability: "disk" } as const;
  world.store.createJob({ ...request, id: JOB });
  for (let item = 0; item < ITEMS; item += 1) {
    await world.store.session(NAMESPACE, JOB).put(B, `item/${String(item)}`, text(String(item)));
  }
  world.commit();
  const delivered: string[] = [];
  let failures = 0;
  let waiting: (() => void)[] = [];
  for (const [turn, fate] of [...fates, ...Array<Fate>(2 * ITEMS).fill("commits")].entries()) {
    const key = `item/${String((turn * 17) % ITEMS)}`;
    if (fate !== "commits") failures += 1;
    if (fate === "leases") {
      const lease = world.store.session(NAMESPACE, JOB).take(B, key, 100).value;
      lease?.reader.release();
      world.advance(turn % 2 === 0 ? 128 : 0);
      continue;
    }
    const attempt = world.store.attempt(NAMESPACE, JOB, `s/${String(turn)}`);
    const item = attempt.take(B, key).value;
    const value = await item?.reader.whole();
    item?.reader.release();
    if (fate === "commits") {
      attempt.commit();
      world.commit();
      if (value?.kind === "value") delivered.push(String(value.value));
      world.advance(128);
    } else if (fate === "fails") attempt.abort();
    else if (fate === "forgets") waiting.push(() => attempt.abort());
    else {
      if (turn % 2 === 0) attempt.commit();
      world.crash();
      waiting = [];
    }
    if (turn % 10 === 0 || turn >= fates.length) {
      for (const forget of waiting) forget();
      waiting = [];
    }
  }
  equal(new Set(delivered).size, delivered.length, "nothing is delivered twice");
  equal(delivered.length, ITEMS, "everything is delivered");
  equal(await refusal(() => world.store.endJob(NAMESPACE, JOB)), undefined);
  equal(world.store.usage().heldBytes, 0);
  ok(world.store.stats().jobs === 0);
  return failures;
}
