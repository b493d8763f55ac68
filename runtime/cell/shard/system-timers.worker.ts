/** The timers of the shard; they belong to its actor, whatever request armed them. */
import type { Timers } from "../../contract/index.ts";

/** Longest that one timer sleeps: the clock may be set meanwhile. */
const SLEEP_MAX_MS = 60_000;
/** Longest delay that a timer takes. */
const WAIT_MAX_MS = 2 ** 31 - 1;

/** Calls back when the requests that are ready now have had their turn. */
export function afterThisTick(callback: () => void): void {
  setTimeout(callback, 0);
}

/** Calls back after that long. */
export function afterPause(callback: () => void, pauseMs: number): void {
  setTimeout(callback, pauseMs);
}

/** Resolves then. */
export function nextTick(): Promise<void> {
  return new Promise((resolve) => afterThisTick(resolve));
}

/** Longest time for which operations follow one another without a look at the sockets. */
const BREATHLESS_MS = 4;

/**
 * Lets the rest of the process have its turn. Calls within a process never leave workerd's queue of
 * ready events empty, and it looks at sockets and timers only when that is empty: a function that
 * loops over the store would stop every other one, and its cell would pass for blocked.
 */
export class Breath {
  readonly #now: () => number;
  #turn: Promise<void> | undefined;
  #sinceMs = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** What the operation has to wait for, in the order in which they come; mostly nothing. */
  take(): Promise<void> | undefined {
    const turn = this.#next();
    return turn && this.#wait(turn);
  }

  /** Of many that wait for a turn only so many have it as the time allows. */
  async #wait(first: Promise<void>): Promise<void> {
    for (let turn: Promise<void> | undefined = first; turn; turn = this.#next()) await turn;
  }

  #next(): Promise<void> | undefined {
    const nowMs = this.#now();
    if (this.#turn === undefined) {
      this.#sinceMs = nowMs;
      this.#turn = new Promise((resolve) => {
        // It fires once the loop has looked around.
        setTimeout(() => {
          this.#turn = undefined;
          resolve();
        }, 0);
      });
      return undefined;
    }
    return nowMs - this.#sinceMs < BREATHLESS_MS ? undefined : this.#turn;
  }
}

/** One component's sleep until what it waits for is due. */
export class ActorTimers implements Timers {
  readonly #now: () => number;
  readonly #wake: () => void;
  #timer: number | undefined;
  /** When the timer fires; it may be before `#atMs`. */
  #firesAtMs = 0;
  #atMs: number | undefined;

  constructor(now: () => number, wake: () => void) {
    this.#now = now;
    this.#wake = wake;
  }

  wakeAt(atMs: number | undefined): void {
    if (atMs === this.#atMs) return;
    this.#atMs = atMs;
    // Every put with a time to live moves the next due time on: a timer that fires too early and
    // sleeps again costs less than a new one each time.
    const isEarlyEnough = atMs !== undefined && this.#firesAtMs <= atMs;
    if (this.#timer !== undefined && isEarlyEnough) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    if (atMs !== undefined) this.#sleep(atMs);
  }

  #sleep(atMs: number): void {
    const nowMs = this.#now();
    const leftMs = Math.min(Math.max(0, atMs - nowMs), SLEEP_MAX_MS);
    this.#firesAtMs = nowMs + leftMs;
    this.#timer = setTimeout(() => this.#fire(), leftMs);
  }

  #fire(): void {
    const atMs = this.#atMs;
    this.#timer = undefined;
    if (atMs === undefined) return;
    if (atMs > this.#now()) {
      this.#sleep(atMs);
      return;
    }
    this.#atMs = undefined;
    this.#wake();
  }
}

/** How long nobody asks anything until a rest begins; workerd evicts an idle actor after 10 s. */
const REST_MS = 2_000;

/** Calls back once in every rest. */
export class RestTimer {
  readonly #callback: () => void;
  #isAwake = false;
  #isArmed = false;

  constructor(callback: () => void) {
    this.#callback = callback;
  }

  /** Work is being done. */
  touch(): void {
    this.#isAwake = true;
    if (!this.#isArmed) this.#arm();
  }

  #arm(): void {
    this.#isArmed = true;
    this.#isAwake = false;
    setTimeout(() => {
      this.#isArmed = false;
      if (this.#isAwake) this.#arm();
      else this.#callback();
    }, REST_MS);
  }
}

/** What `work` comes to, which does not reject, or undefined after that long. */
export async function within<T>(work: Promise<T>, waitMs: number): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), Math.min(waitMs, WAIT_MAX_MS));
  const first = await Promise.race([work, late]);
  clearTimeout(timer);
  return first;
}
