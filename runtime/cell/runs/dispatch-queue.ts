/**
 * Attempts of runs that wait for their turn in a shard: fair to namespaces, as many at once as the
 * thread bears. Pure: time comes in as an argument.
 *
 * D1 Namespaces take turns. Each that was at work lately has an equal share of the window; one that
 *    is alone has all of it. A namespace below its share never waits for another one's attempts.
 * D2 The window follows the thread: it grows while turns come when they are due and shrinks while
 *    they come late. So attempts that wait for others are many at once, and those that compute are
 *    few; where namespaces share the thread, much less lateness is borne than where one has it.
 * D3 Nothing is dropped (G8): what was put in stays until it is taken or withdrawn.
 */

/** How long a namespace counts as one that is at work, after its last attempt came in or ended. */
const LATELY_MS = 1_000;
/** Lateness of a turn that a namespace alone bears, and that several do. */
const LATE_ALONE_MS = 20;
const LATE_SHARED_MS = 1;

interface WindowBounds {
  readonly min: number;
  readonly max: number;
  readonly first: number;
}

const BOUNDS: WindowBounds = { min: 2, max: 1_024, first: 32 };

interface Lane<T> {
  readonly waiting: Map<string, T>;
  inFlight: number;
  lastMs: number;
}

export class DispatchQueue<T> {
  readonly #bounds: WindowBounds;
  /** In the order of their turns. */
  readonly #lanes = new Map<string, Lane<T>>();
  #window: number;
  #size = 0;

  constructor(bounds: WindowBounds = BOUNDS) {
    this.#bounds = bounds;
    this.#window = bounds.first;
  }

  /** Attempts that wait. */
  get size(): number {
    return this.#size;
  }

  get window(): number {
    return Math.floor(this.#window);
  }

  /** @param key names the item within its namespace, for who withdraws it. */
  push(namespace: string, key: string, item: T, nowMs: number): void {
    const lane = this.#lanes.get(namespace) ?? { waiting: new Map(), inFlight: 0, lastMs: nowMs };
    lane.lastMs = nowMs;
    lane.waiting.set(key, item);
    this.#lanes.set(namespace, lane);
    this.#size += 1;
  }

  /** Takes off what has not been taken yet. */
  withdraw(namespace: string, key: string): T | undefined {
    const lane = this.#lanes.get(namespace);
    const item = lane?.waiting.get(key);
    if (lane?.waiting.delete(key) === true) this.#size -= 1;
    return item;
  }

  /** What begins now; undefined while nothing waits or everybody has their share (D1). */
  take(nowMs: number): T | undefined {
    if (this.#size === 0) return undefined;
    const share = this.#share(nowMs);
    for (const [namespace, lane] of this.#lanes) {
      if (lane.waiting.size === 0 || lane.inFlight >= share) continue;
      const [first] = lane.waiting;
      if (!first) continue;
      const [key, item] = first;
      lane.waiting.delete(key);
      lane.inFlight += 1;
      this.#size -= 1;
      // The next turn is another one's.
      this.#lanes.delete(namespace);
      this.#lanes.set(namespace, lane);
      return item;
    }
    return undefined;
  }

  /** What was taken has ended. */
  done(namespace: string, nowMs: number): void {
    const lane = this.#lanes.get(namespace);
    if (!lane) return;
    lane.inFlight -= 1;
    lane.lastMs = nowMs;
  }

  /** A turn came so much later than it was due (D2). */
  observe(lateMs: number, nowMs: number): void {
    const { min, max } = this.#bounds;
    const borneMs = this.#active(nowMs) > 1 ? LATE_SHARED_MS : LATE_ALONE_MS;
    const factor = lateMs > borneMs ? 0.75 : 1.1;
    this.#window = Math.min(Math.max(this.#window * factor, min), max);
  }

  #share(nowMs: number): number {
    return Math.max(1, Math.floor(this.#window / Math.max(1, this.#active(nowMs))));
  }

  /** Namespaces at work; who has not been lately is forgotten. */
  #active(nowMs: number): number {
    for (const [namespace, { waiting, inFlight, lastMs }] of this.#lanes) {
      const isIdle = waiting.size === 0 && inFlight === 0;
      if (isIdle && nowMs - lastMs > LATELY_MS) this.#lanes.delete(namespace);
    }
    return this.#lanes.size;
  }
}
