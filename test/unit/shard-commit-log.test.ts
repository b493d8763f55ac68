/** Group commit, with a storage of the test's own: what is run when, and what is waited for. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CommitLog } from "../../runtime/cell/internal.ts";
import { statement } from "../../runtime/contract/index.ts";

const WRITE = statement<[value: number]>("INSERT INTO t (a) VALUES (?)");
const READ = statement<[], { a: number }>("SELECT a FROM t");

/** A storage that syncs when it is told to, and a loop that turns when it is told to. */
class Bench {
  /** What SQLite has been told, in order. */
  readonly run: number[] = [];
  readonly failures: unknown[] = [];
  syncs = 0;
  plans = 0;
  refuses: Error | undefined;
  #later: (() => void)[] = [];
  #syncing: { resolve: () => void; reject: (reason: unknown) => void } | undefined;
  readonly log = new CommitLog({
    run: (query, parameters) => {
      if (query.startsWith("SELECT")) return this.run.map((a) => ({ a }));
      if (this.refuses) throw this.refuses;
      this.run.push(Number(parameters[0]));
      return [];
    },
    atomically: (body) => body(),
    sync: () =>
      new Promise<void>((resolve, reject) => {
        this.syncs += 1;
        this.#syncing = { resolve, reject };
      }),
    later: (callback) => this.#later.push(callback),
    beforeCommit: () => (this.plans += 1),
    failed: (reason) => this.failures.push(reason),
    wrote: () => undefined,
  });

  get isTurnWanted(): boolean {
    return this.#later.length > 0;
  }

  async turn(): Promise<void> {
    const due = this.#later;
    this.#later = [];
    for (const callback of due) callback();
    await settle();
  }

  async synced(failure?: Error): Promise<void> {
    const syncing = this.#syncing;
    this.#syncing = undefined;
    if (failure) syncing?.reject(failure);
    else syncing?.resolve();
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 10; turns += 1) await Promise.resolve();
}

/** Whether a promise has settled, and how. */
function watch(promise: Promise<unknown>): { state: "open" | "done" | "failed" } {
  const watched: { state: "open" | "done" | "failed" } = { state: "open" };
  promise.then(
    () => (watched.state = "done"),
    () => (watched.state = "failed"),
  );
  return watched;
}

describe("group commit", () => {
  it("makes one commit of what is written in one tick, and answers wait for it", async () => {
    const bench = new Bench();
    const { log } = bench;
    for (const value of [1, 2, 3]) log.all(WRITE, value);
    const answer = watch(log.committed(log.position));
    expect(bench.run).toEqual([]);
    await bench.turn();
    expect([bench.run, bench.syncs, bench.plans]).toEqual([[1, 2, 3], 1, 1]);
    expect([answer.state, log.position, log.durable]).toEqual(["open", 2, 0]);
    await bench.synced();
    expect([answer.state, log.durable]).toEqual(["done", 1]);
    expect(bench.isTurnWanted).toBe(false);
  });

  it("answers what depends on nothing, and who asks while the commit is on its way", async () => {
    const bench = new Bench();
    const free = watch(bench.log.committed(0));
    await settle();
    expect([free.state, bench.isTurnWanted]).toEqual(["done", false]);
    bench.log.all(WRITE, 1);
    await bench.turn();
    const late = watch(bench.log.committed(1));
    await settle();
    expect(late.state).toBe("open");
    await bench.synced();
    expect(late.state).toBe("done");
  });

  it("keeps C2: a question sees what was written, and then nothing is split", async () => {
    const bench = new Bench();
    bench.log.all(WRITE, 1);
    expect(bench.log.all(READ)).toEqual([{ a: 1 }]);
    bench.log.all(WRITE, 2);
    // In the same turn of the event loop, so in the same commit of the storage.
    expect(bench.run).toEqual([1, 2]);
    await bench.turn();
    await bench.synced();
    bench.log.all(WRITE, 3);
    expect(bench.run).toEqual([1, 2]);
    await bench.turn();
    expect(bench.run).toEqual([1, 2, 3]);
  });

  it("keeps C3: what is written during a commit belongs to the next", async () => {
    const bench = new Bench();
    bench.log.all(WRITE, 1);
    await bench.turn();
    bench.log.all(WRITE, 2);
    const second = watch(bench.log.committed(bench.log.position));
    expect(bench.isTurnWanted).toBe(false);
    await bench.synced();
    expect([bench.log.durable, second.state, bench.isTurnWanted]).toEqual([1, "open", true]);
    await bench.turn();
    await bench.synced();
    expect([bench.log.durable, second.state, bench.run]).toEqual([2, "done", [1, 2]]);
  });

  it("advances without anything written, and syncs nothing then", async () => {
    const bench = new Bench();
    const answer = watch(bench.log.committed(bench.log.position));
    await bench.turn();
    expect([answer.state, bench.syncs, bench.log.durable]).toEqual(["done", 0, 1]);
  });

  for (const where of ["a statement", "the sync"] as const) {
    it(`keeps C4: after ${where} failed nothing is confirmed and the actor ends`, async () => {
      const bench = new Bench();
      const failure = new Error("database or disk is full");
      bench.log.all(WRITE, 1);
      const answer = watch(bench.log.committed(1));
      if (where === "a statement") bench.refuses = failure;
      await bench.turn();
      if (where === "the sync") await bench.synced(failure);
      expect([answer.state, bench.failures, bench.log.durable]).toEqual(["failed", [failure], 0]);
      expect(() => bench.log.all(WRITE, 2)).toThrow(failure);
      await expect(bench.log.committed(5)).rejects.toBe(failure);
      bench.log.fail(new Error("again"));
      expect(bench.failures).toHaveLength(1);
    });
  }

  it("keeps order and confirms nothing early, whatever is mixed", async () => {
    const step = fc.oneof(
      fc.constant("write"),
      fc.constant("read"),
      fc.constant("turn"),
      fc.constant("sync"),
      fc.constant("wait"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const bench = new Bench();
        let written = 0;
        const seen: number[] = [];
        const waits: { state: string; position: number }[] = [];
        for (const one of steps) {
          if (one === "write") bench.log.all(WRITE, (written += 1));
          else if (one === "read") seen.push(bench.log.all(READ).length - written);
          else if (one === "turn") await bench.turn();
          else if (one === "sync") await bench.synced();
          else {
            const { position } = bench.log;
            waits.push(Object.assign(watch(bench.log.committed(position)), { position }));
          }
          await settle();
          for (const { state, position } of waits) {
            expect(state === "done").toBe(position <= bench.log.durable);
          }
        }
        expect(seen.every((missing) => missing === 0)).toBe(true);
        for (let turns = 0; turns < 5; turns += 1) {
          await bench.turn();
          await bench.synced();
        }
        expect(bench.run).toEqual(Array.from({ length: written }, (_, at) => at + 1));
        expect(waits.every(({ state }) => state === "done")).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
