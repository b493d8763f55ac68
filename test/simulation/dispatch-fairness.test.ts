/**
 * One thread, attempts that compute on it, and a for-each of 10,000 items in one namespace: what
 * that does to runs of three steps in another one (G8). Virtual time; the thread does what is ready
 * in the order in which it became so, as workerd does.
 */
import { describe, expect, it } from "vitest";
import { DispatchQueue } from "../../runtime/cell/internal.ts";
import { seededRandom } from "../support/workflow-world.ts";

const RUNS = 300;
const ITEMS = 10_000;
/** A commit ends so much later, without the thread. */
const COMMIT_MS = 0.6;
/** The least that a timer takes. */
const TURN_MS = 0;

interface Job {
  readonly workMs: number;
  readonly act: () => void;
}

/** The thread: what is ready, in order; what is to come, by time. */
class Thread {
  nowMs = 0;
  readonly #ready: Job[] = [];
  #later: { readonly atMs: number; readonly run: () => void }[] = [];

  ready(workMs: number, act: () => void): void {
    this.#ready.push({ workMs, act });
  }

  after(delayMs: number, run: () => void): void {
    this.#later.push({ atMs: this.nowMs + delayMs, run });
  }

  step(): boolean {
    const due = this.#later.filter(({ atMs }) => atMs <= this.nowMs);
    if (due.length > 0) {
      this.#later = this.#later.filter(({ atMs }) => atMs > this.nowMs);
      for (const { run } of due.toSorted((a, b) => a.atMs - b.atMs)) run();
    }
    const job = this.#ready.shift();
    if (job) {
      this.nowMs += job.workMs;
      job.act();
      return true;
    }
    if (this.#later.length === 0) return false;
    this.nowMs = Math.min(...this.#later.map(({ atMs }) => atMs));
    return true;
  }
}

interface Attempt {
  readonly namespace: string;
  readonly ended: () => void;
}

class Shard {
  readonly thread = new Thread();
  readonly #queue = new DispatchQueue<Attempt>();
  readonly #fraction: () => number;
  readonly #waitMs: number;
  #keys = 0;
  #isTurnAhead = false;

  /** @param waitMs what each attempt waits for, besides the thread. */
  constructor(seed: number, waitMs = 0) {
    this.#fraction = seededRandom(seed);
    this.#waitMs = waitMs;
  }

  dispatch(attempt: Attempt): void {
    this.#keys += 1;
    this.#queue.push(attempt.namespace, String(this.#keys), attempt, this.#clock);
    this.#go();
  }

  /** Whole milliseconds, as in workerd. */
  get #clock(): number {
    return Math.floor(this.thread.nowMs);
  }

  #go(): void {
    let hasBegun = false;
    for (let next = this.#queue.take(this.#clock); next; next = this.#queue.take(this.#clock)) {
      hasBegun = true;
      this.#attempt(next);
    }
    if (this.#isTurnAhead || !(hasBegun || this.#queue.isHeld)) return;
    this.#isTurnAhead = true;
    const askedMs = this.#clock;
    this.thread.after(TURN_MS, () =>
      this.thread.ready(0.01, () => {
        this.#isTurnAhead = false;
        this.#queue.turn(this.#clock - askedMs - TURN_MS, this.#clock);
        this.#go();
      }),
    );
  }

  /** Two turns of the thread, and what it waits for between them. */
  #attempt({ namespace, ended }: Attempt): void {
    const workMs = 0.1 + 0.1 * this.#fraction();
    this.thread.ready(workMs, () =>
      this.thread.after(this.#waitMs, () =>
        this.thread.ready(workMs, () => {
          this.#queue.done(namespace, this.#clock);
          ended();
          this.#go();
        }),
      ),
    );
  }

  /** A run of three steps; each is committed before the next. */
  run(namespace: string, done: (tookMs: number) => void): void {
    const fromMs = this.thread.nowMs;
    const next = (left: number): void => {
      const ended = (): void => next(left - 1);
      this.thread.after(COMMIT_MS, () =>
        this.thread.ready(0.05, () => {
          if (left === 0) done(this.thread.nowMs - fromMs);
          else this.dispatch({ namespace, ended });
        }),
      );
    };
    next(3);
  }
}

/** The 99th percentile of runs, one after the other with pauses. */
function p99(shard: Shard, isOver: () => boolean): { readonly ms: number; readonly runs: number } {
  const tookMs: number[] = [];
  const next = (): void => {
    if (tookMs.length >= RUNS || isOver()) return;
    shard.run("small", (ms) => {
      tookMs.push(ms);
      shard.thread.after(3, next);
    });
  };
  next();
  while (shard.thread.step());
  const sorted = tookMs.toSorted((a, b) => a - b);
  return { ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0, runs: sorted.length };
}

function fanOut(shard: Shard, items: number): { left: number } {
  const state = { left: items };
  for (let at = 0; at < items; at += 1) {
    const ended = (): void => {
      state.left -= 1;
    };
    shard.dispatch({ namespace: "big", ended });
  }
  return state;
}

describe("a for-each of 10,000 items", () => {
  it("at most doubles the 99th percentile of another namespace's runs", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const alone = p99(new Shard(seed), () => false);
      const shard = new Shard(seed);
      const state = fanOut(shard, ITEMS);
      const beside = p99(shard, () => state.left === 0);
      expect(beside.runs).toBeGreaterThan(100);
      expect(beside.ms / alone.ms, `seed ${String(seed)}`).toBeLessThan(2);
      expect(state.left).toBe(0);
    }
  });

  it("takes little longer than its work where it is alone", () => {
    const shard = new Shard(1);
    const state = fanOut(shard, ITEMS);
    while (shard.thread.step());
    expect(state.left).toBe(0);
    // 0.3 ms of the thread an item.
    expect(shard.thread.nowMs).toBeLessThan(1.15 * 0.3 * ITEMS);
  });

  it("whose items wait for others runs many of them at once", () => {
    const shard = new Shard(1, 100);
    const state = fanOut(shard, 1_000);
    while (shard.thread.step());
    expect(state.left).toBe(0);
    expect(shard.thread.nowMs).toBeLessThan(3_000);
  });
});
