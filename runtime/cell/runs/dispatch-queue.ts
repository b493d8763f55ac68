/**
 * Attempts of runs that wait to begin in a shard: fair to namespaces, as many at once as the thread
 * bears. Pure: time comes in as an argument.
 *
 * D1 Namespaces take turns. Each that was at work lately has an equal share of the window; one that
 *    is alone has all of it. A namespace below its share never waits for another one's attempts.
 * D2 A window follows the thread: it grows while something waits for it and turns come when they
 *    are due, and shrinks while they come late. So attempts that wait for others are many at once,
 *    and those that compute are few. Where namespaces share the thread there is a window of its
 *    own, which bears much less lateness, and a namespace begins little in one turn: the thread has
 *    time for the others.
 * D3 Nothing is dropped (G8): what was put in stays until it is taken or withdrawn.
 */

/** How long a namespace counts as one that is at work, after its last attempt came in or ended. */
const LATELY_MS = 1_000;
/** Lateness that a namespace alone bears, and that several do: each turn of a run has it anew. */
const LATE_ALONE_MS = 10;
const LATE_SHARED_MS = 0.3;
/** Weight of one turn in the mean lateness: the clock has whole milliseconds, the mean has not. */
const MEMORY = 0.1;
const GROWTH = 1.1;
const SHRINKAGE = 0.9;
/** What one that is alone begins in a turn, and the part of its share that one of several does. */
const PER_TURN_ALONE = 64;
const PER_TURN_SHARED = 1 / 8;

interface WindowBounds {
  /** At first, and at least: of one that is alone, and of several. */
  readonly aloneMin: number;
  readonly sharedMin: number;
  readonly max: number;
}

const BOUNDS: WindowBounds = { aloneMin: 8, sharedMin: 2, max: 1_024 };

interface Window {
  size: number;
  /** Mean lateness of turns. */
  lateMs: number;
  readonly min: number;
  readonly borneMs: number;
}

interface Lane<T> {
  readonly waiting: Map<string, T>;
  inFlight: number;
  /** In this turn. */
  begun: number;
  lastMs: number;
}

export class DispatchQueue<T> {
  readonly #bounds: WindowBounds;
  /** In the order of their turns. */
  readonly #lanes = new Map<string, Lane<T>>();
  readonly #alone: Window;
  readonly #shared: Window;
  #size = 0;
  #isHeld = false;

  constructor(bounds: WindowBounds = BOUNDS) {
    this.#bounds = bounds;
    const { aloneMin, sharedMin } = bounds;
    this.#alone = { size: aloneMin, lateMs: 0, min: aloneMin, borneMs: LATE_ALONE_MS };
    this.#shared = { size: sharedMin, lateMs: 0, min: sharedMin, borneMs: LATE_SHARED_MS };
  }

  /** Attempts that wait. */
  get size(): number {
    return this.#size;
  }

  /** The next turn lets more begin, without anything having ended. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Attempts that may be in flight. */
  window(nowMs: number): number {
    return Math.floor(this.#windowOf(this.#active(nowMs)).size);
  }

  /** @param key names the item within its namespace, for who withdraws it. */
  push(namespace: string, key: string, item: T, nowMs: number): void {
    const known = this.#lanes.get(namespace);
    const lane = known ?? { waiting: new Map(), inFlight: 0, begun: 0, lastMs: nowMs };
    lane.lastMs = nowMs;
    lane.waiting.set(key, item);
    this.#lanes.set(namespace, lane);
    this.#size += 1;
  }

  has(namespace: string, key: string): boolean {
    return this.#lanes.get(namespace)?.waiting.has(key) ?? false;
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
    const active = this.#active(nowMs);
    const share = Math.max(1, Math.floor(this.#windowOf(active).size / active));
    const perTurn = active > 1 ? Math.max(1, share * PER_TURN_SHARED) : PER_TURN_ALONE;
    for (const [namespace, lane] of this.#lanes) {
      if (lane.waiting.size === 0 || lane.inFlight >= share) continue;
      if (lane.begun >= perTurn) {
        this.#isHeld = true;
        continue;
      }
      const [first] = lane.waiting;
      if (!first) continue;
      const [key, item] = first;
      lane.waiting.delete(key);
      lane.inFlight += 1;
      lane.begun += 1;
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

  /** A new turn, which came so much later than it was due (D2). */
  turn(lateMs: number, nowMs: number): void {
    const { max } = this.#bounds;
    const window = this.#windowOf(this.#active(nowMs));
    window.lateMs += (lateMs - window.lateMs) * MEMORY;
    const wanted = this.#size > 0 ? GROWTH : 1;
    const factor = window.lateMs > window.borneMs ? SHRINKAGE : wanted;
    window.size = Math.min(Math.max(window.size * factor, window.min), max);
    for (const lane of this.#lanes.values()) lane.begun = 0;
    this.#isHeld = false;
  }

  #windowOf(active: number): Window {
    return active > 1 ? this.#shared : this.#alone;
  }

  /** Namespaces at work, at least one; who has not been lately is forgotten. */
  #active(nowMs: number): number {
    for (const [namespace, { waiting, inFlight, lastMs }] of this.#lanes) {
      const isIdle = waiting.size === 0 && inFlight === 0;
      if (isIdle && nowMs - lastMs > LATELY_MS) this.#lanes.delete(namespace);
    }
    return Math.max(1, this.#lanes.size);
  }
}
