/** The timers of the shard; they belong to its actor, whatever request armed them. */
import type { Timers } from "../../contract/index.ts";

/** Longest that one timer sleeps: the clock may be set meanwhile. */
const SLEEP_MAX_MS = 60_000;

/** Calls back when the requests that are ready now have had their turn. */
export function afterThisTick(callback: () => void): void {
  setTimeout(callback, 0);
}

/** One component's sleep until what it waits for is due. */
export class ActorTimers implements Timers {
  readonly #now: () => number;
  readonly #wake: () => void;
  #timer: number | undefined;
  #atMs: number | undefined;

  constructor(now: () => number, wake: () => void) {
    this.#now = now;
    this.#wake = wake;
  }

  wakeAt(atMs: number | undefined): void {
    if (atMs === this.#atMs) return;
    this.#atMs = atMs;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    if (atMs !== undefined) this.#sleep(atMs);
  }

  #sleep(atMs: number): void {
    const leftMs = Math.max(0, atMs - this.#now());
    this.#timer = setTimeout(() => this.#fire(), Math.min(leftMs, SLEEP_MAX_MS));
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
