/** Those who wait for runs to end, each within its own bound. */
import type { OutwardEffect } from "../../../workflow/index.ts";
import { within } from "../shard/system-timers.worker.ts";

export type Ended = Extract<OutwardEffect, { readonly do: "ended" }>["ended"];

interface Waiter {
  readonly ended: Promise<Ended>;
  readonly end: (ended: Ended) => void;
  count: number;
}

export class Waiters {
  readonly #waiters = new Map<string, Waiter>();

  /** How the run ended, or undefined after that long. */
  async wait(id: string, waitMs: number): Promise<Ended | undefined> {
    const waiter = this.#waiters.get(id) ?? newWaiter();
    this.#waiters.set(id, waiter);
    waiter.count += 1;
    const ended = await within(waiter.ended, waitMs);
    waiter.count -= 1;
    if (waiter.count === 0 && this.#waiters.get(id) === waiter) this.#waiters.delete(id);
    return ended;
  }

  /** Its end is on disk. */
  ended(id: string, ended: Ended): void {
    this.#waiters.get(id)?.end(ended);
    this.#waiters.delete(id);
  }
}

function newWaiter(): Waiter {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  return { ended: promise, end: resolve, count: 0 };
}
