/**
 * Spreads routing changes to the cells.
 *
 * Every cell that was given a snapshot has a feed: what it has not acknowledged yet.
 *
 * P1 A cell gets the changes of a namespace in the order of their revisions, none left out, from
 *    its snapshot on. A change that could not be delivered stays in the feed and goes first next
 *    time; changes that wait are merged, so a feed is never larger than the routing table.
 * P2 One delivery per cell at a time. Its sender may vanish with its request: after `leaseMs`
 *    another takes over and sends again what was under way; cells ignore what they know.
 * P3 A new snapshot begins the feed anew: nothing from before is owed to a restarted cell.
 */
import type { Clock, FunctionRoute, RoutingChange } from "../contract/index.ts";

export interface SpreaderOptions {
  /** Delivers one change; resolves once the cell has applied it. */
  send(slot: number, change: RoutingChange): Promise<void>;
  /** May this cell see that namespace, as things stand? */
  sees(slot: number, namespace: string): boolean;
  isLive(slot: number): boolean;
  sleep(delayMs: number): Promise<void>;
  readonly clock: Clock;
  /** Longest that a spread waits for its cells. */
  readonly boundMs: number;
  /** Longest that one delivery may take. */
  readonly leaseMs: number;
}

interface Feed {
  /** By namespace, each merged; what is under way is in `sending`. */
  readonly waiting: Map<string, RoutingChange[]>;
  sending: RoutingChange[];
  /** Newest revision taken in, by namespace. */
  readonly revisions: Map<string, number>;
  /** Changes taken in, and how many of them the cell has acknowledged. */
  enqueued: number;
  acknowledged: number;
  /** While a delivery is under way: when it may be taken over, and its end. */
  leaseEndsMs: number;
  turn: Promise<void>;
}

export class Spreader {
  readonly #options: SpreaderOptions;
  readonly #feeds = new Map<number, Feed>();

  constructor(options: SpreaderOptions) {
    this.#options = options;
  }

  /** A cell is being given a snapshot that holds these revisions (P3). */
  begin(slot: number, revisions: ReadonlyMap<string, number>): void {
    this.#feeds.set(slot, {
      waiting: new Map(),
      sending: [],
      revisions: new Map(revisions),
      enqueued: 0,
      acknowledged: 0,
      leaseEndsMs: 0,
      turn: Promise.resolve(),
    });
  }

  /** Owes changes to every cell; must happen together with applying them to the own table. */
  enqueue(changes: readonly RoutingChange[]): void {
    for (const [slot, feed] of this.#feeds) {
      for (const change of changes) this.#enqueueOne(slot, feed, change);
    }
  }

  /** Delivers what is owed. Answers the slots of live cells that did not acknowledge in time. */
  async deliver(): Promise<number[]> {
    const deadlineMs = this.#options.clock.now() + this.#options.boundMs;
    const slots = [...this.#feeds.keys()].filter((slot) => this.#options.isLive(slot));
    const done = await Promise.all(slots.map((slot) => this.#deliverTo(slot, deadlineMs)));
    return slots.filter((_slot, index) => done[index] === false);
  }

  /** True while a live cell is owed something. */
  get isBehind(): boolean {
    return [...this.#feeds].some(
      ([slot, feed]) => feed.acknowledged < feed.enqueued && this.#options.isLive(slot),
    );
  }

  #enqueueOne(slot: number, feed: Feed, change: RoutingChange): void {
    const { namespace, revision } = change;
    if ((feed.revisions.get(namespace) ?? 0) >= revision) return;
    feed.revisions.set(namespace, revision);
    const seen = this.#options.sees(slot, namespace);
    // A cell that may not see the namespace (any more) learns at most that it is gone.
    if (!seen && change.row === undefined) return;
    const told: RoutingChange = seen ? change : { ...change, routes: [], removed: [], row: null };
    feed.waiting.set(namespace, appendChange(feed.waiting.get(namespace) ?? [], told));
    feed.enqueued += 1;
  }

  async #deliverTo(slot: number, deadlineMs: number): Promise<boolean> {
    const { clock } = this.#options;
    const sleep = (delayMs: number): Promise<void> => this.#options.sleep(delayMs);
    const goal = this.#feeds.get(slot)?.enqueued ?? 0;
    for (;;) {
      const feed = this.#feeds.get(slot);
      if (!feed || feed.acknowledged >= goal || goal > feed.enqueued) return true;
      const leftMs = deadlineMs - clock.now();
      if (leftMs <= 0) return false;
      if (feed.leaseEndsMs > clock.now()) {
        await Promise.race([feed.turn, sleep(Math.min(leftMs, feed.leaseEndsMs - clock.now()))]);
        continue;
      }
      const turn = this.#takeTurn(slot, feed);
      feed.turn = turn.then(() => undefined);
      const sent = await Promise.race([turn, sleep(leftMs).then(() => false)]);
      if (!sent) return false;
    }
  }

  /** One delivery of everything that waits (P2). */
  async #takeTurn(slot: number, feed: Feed): Promise<boolean> {
    const leaseEndsMs = this.#options.clock.now() + this.#options.leaseMs;
    feed.leaseEndsMs = leaseEndsMs;
    const goal = feed.enqueued;
    // What a vanished sender had under way goes first again.
    feed.sending = [...feed.sending, ...[...feed.waiting.values()].flat()];
    feed.waiting.clear();
    try {
      // A feed that a newer snapshot replaced is told to nobody: its cell is no more (P3).
      while (feed.leaseEndsMs === leaseEndsMs && this.#feeds.get(slot) === feed) {
        const [next] = feed.sending;
        if (!next) {
          feed.acknowledged = Math.max(feed.acknowledged, goal);
          return true;
        }
        await this.#options.send(slot, next);
        if (feed.sending[0] === next) feed.sending.shift();
      }
      return false;
    } catch {
      return false;
    } finally {
      if (feed.leaseEndsMs === leaseEndsMs) feed.leaseEndsMs = 0;
    }
  }
}

/** Adds a change to those of its namespace that wait, merging what can be merged. */
export function appendChange(
  waiting: readonly RoutingChange[],
  change: RoutingChange,
): RoutingChange[] {
  const last = waiting.at(-1);
  if (last === undefined) return [change];
  if (change.row === null) {
    return [
      { ...change, collected: waiting.flatMap((one) => one.collected).concat(change.collected) },
    ];
  }
  // What comes after a removal begins a namespace anew and cannot be told in the same change.
  if (last.row === null) return [...waiting, change];
  return [...waiting.slice(0, -1), mergeChanges(last, change)];
}

function mergeChanges(older: RoutingChange, newer: RoutingChange): RoutingChange {
  const routes = new Map<string, FunctionRoute>(older.routes.map((route) => [route.name, route]));
  for (const name of newer.removed) routes.delete(name);
  for (const route of newer.routes) routes.set(route.name, route);
  const removed = new Set([...older.removed, ...newer.removed]);
  for (const route of newer.routes) removed.delete(route.name);
  const row = newer.row ?? older.row;
  return {
    namespace: newer.namespace,
    revision: newer.revision,
    routes: [...routes.values()],
    removed: [...removed],
    collected: [...older.collected, ...newer.collected],
    ...(row === undefined ? {} : { row }),
  };
}
