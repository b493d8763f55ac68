/**
 * Who waits for a run's history to grow. A waiter that is woken reads for itself: what it is told
 * of may not be on disk yet.
 */
export class LineWaiters {
  readonly #waiting = new Map<string, Set<() => void>>();
  #count = 0;

  /** Resolves when something was noted, or `pause` has. */
  async wait(run: string, pause: Promise<unknown>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wakers = this.#waiting.get(run) ?? new Set();
    this.#waiting.set(run, wakers.add(resolve));
    this.#count += 1;
    await Promise.race([promise, pause]);
    this.#count -= 1;
    wakers.delete(resolve);
    if (wakers.size === 0 && this.#waiting.get(run) === wakers) this.#waiting.delete(run);
  }

  noted(run: string): void {
    if (this.#count === 0) return;
    const wakers = this.#waiting.get(run);
    if (!wakers) return;
    this.#waiting.delete(run);
    for (const wake of wakers) wake();
  }

  get count(): number {
    return this.#count;
  }
}
