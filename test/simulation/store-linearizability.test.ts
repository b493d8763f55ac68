/**
 * Immediate operations of several clients at once, over values that have to be fetched from blocks
 * and the cold tier, with kills in between: is there an order of the operations, consistent with
 * what each saw and when, in which they could have happened one after another?
 *
 * An operation lasts from its call until the commit that its answer depends on. One that a kill
 * cut off may have happened at any later time, or never.
 */
import { ok } from "node:assert/strict";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { StoredValue } from "../../runtime/contract/index.ts";
import type { Reply, Session } from "../../store/index.ts";
import { NAMESPACE, StoreWorld, refusal, text } from "../support/store-world.ts";

const B = "default";
const JOB = "0-1";
const VERBS = ["put", "get", "delete", "incr", "getPut", "cas", "putIfAbsent"] as const;

interface Operation {
  readonly verb: (typeof VERBS)[number];
  readonly key: string;
  /** What it writes. */
  readonly value: string;
  /** What `cas` expects; empty: absent. */
  readonly expected: string;
}

interface Event extends Operation {
  readonly calledAt: number;
  /** Infinity: never answered. */
  returnedAt: number;
  result: unknown;
}

type State = string | number | undefined;

/** The sequential specification: what an operation does and answers when it is alone. */
function apply(state: State, operation: Operation): { next: State; result: unknown } {
  const { value } = operation;
  const expected = operation.expected === "" ? undefined : operation.expected;
  switch (operation.verb) {
    case "put":
      return { next: value, result: true };
    case "get":
      return { next: state, result: state };
    case "delete":
      return { next: undefined, result: state !== undefined };
    case "incr":
      if (typeof state === "string") return { next: state, result: "COUNTER_INVALID" };
      return { next: (state ?? 0) + 1, result: (state ?? 0) + 1 };
    case "getPut":
      return { next: value, result: state };
    case "cas":
      return state === expected ? { next: value, result: true } : { next: state, result: false };
    case "putIfAbsent":
      return state === undefined ? { next: value, result: true } : { next: state, result: false };
  }
}

/** Wing and Gong's search with memory, over the events of one key. */
function isLinearizable(events: readonly Event[]): boolean {
  const seen = new Set<string>();
  const search = (done: bigint, state: State): boolean => {
    const isAll = events.every(
      (event, at) => event.returnedAt === Infinity || (done >> BigInt(at)) % 2n === 1n,
    );
    if (isAll) return true;
    const memo = `${String(done)} ${typeof state} ${String(state)}`;
    if (seen.has(memo)) return false;
    seen.add(memo);
    const open = [...events.entries()].filter(([at]) => (done >> BigInt(at)) % 2n === 0n);
    const firstReturn = Math.min(...open.map(([, event]) => event.returnedAt));
    return open.some(([at, event]) => {
      if (event.calledAt > firstReturn) return false;
      const { next, result } = apply(state, event);
      const fits = event.returnedAt === Infinity || Object.is(result, event.result);
      return fits && search(done | (1n << BigInt(at)), next);
    });
  };
  return search(0n, undefined);
}

/** Letters as values; capitals are large, so they live in blocks. */
function valueOf(letter: string): StoredValue {
  return text(letter.padEnd(letter === letter.toUpperCase() ? 70_000 : 10, "."));
}

function plain(value: StoredValue | undefined): State {
  if (value?.kind !== "value") return undefined;
  return typeof value.value === "string" ? value.value.slice(0, 1) : Number(value.value);
}

async function perform(session: Session, operation: Operation): Promise<Reply<unknown>> {
  const { verb, key } = operation;
  const value = valueOf(operation.value);
  switch (verb) {
    case "put":
      return reply(await session.put(B, key, value), (result) => result.stored);
    case "get":
      return reply(await session.get(B, key), (found) => plain(found?.value));
    case "delete":
      return session.delete(B, key);
    case "incr":
      return session.increment(B, key);
    case "getPut":
      return reply(await session.getPut(B, key, value), plain);
    case "cas": {
      const expected = operation.expected === "" ? undefined : valueOf(operation.expected);
      const outcome = await session.compareAndSet(B, key, expected, value);
      return reply(outcome, (result) => result.stored);
    }
    case "putIfAbsent":
      return reply(await session.put(B, key, value, { ifAbsent: true }), (result) => result.stored);
  }
}

function reply<T>(from: Reply<T>, of: (value: T) => unknown): Reply<unknown> {
  return { value: of(from.value), position: from.position };
}

class History {
  readonly events: Event[] = [];
  readonly #world: StoreWorld;
  #time = 0;
  #killed: Promise<void>;
  #kill: () => void = () => {};

  constructor(world: StoreWorld) {
    this.#world = world;
    this.#killed = this.#nextLife();
  }

  /** A client: one operation after another, over kills. */
  async client(operations: readonly Operation[]): Promise<void> {
    for (const operation of operations) {
      this.#time += 1;
      const event = { ...operation, calledAt: this.#time, returnedAt: Infinity, result: undefined };
      this.events.push(event);
      await Promise.race([this.#answer(event), this.#killed]);
    }
  }

  kill(): void {
    this.#world.crash();
    this.#kill();
    this.#killed = this.#nextLife();
  }

  async #answer(event: Event): Promise<void> {
    const { log, store } = this.#world;
    let answered: Reply<unknown> = { value: undefined, position: 0 };
    try {
      const code = await refusal(async () => {
        answered = await perform(store.session(NAMESPACE, JOB), event);
      });
      if (code !== undefined) answered = { value: code, position: log.position };
    } catch (thrown) {
      // What a life that is over still tries is refused; anything else is a fault.
      if (this.#world.log === log) throw thrown;
      return;
    }
    await log.committed(answered.position);
    if (this.#world.log !== log) return;
    this.#time += 1;
    event.returnedAt = this.#time;
    event.result = answered.value;
  }

  #nextLife(): Promise<void> {
    return new Promise((resolve) => {
      this.#kill = resolve;
    });
  }
}

const anything = fc.record({
  verb: fc.constantFrom(...VERBS),
  key: fc.constantFrom("x", "y"),
  value: fc.constantFrom("a", "b", "A", "B"),
  expected: fc.constantFrom("", "a", "A", "B"),
});

/** Everybody decides on one value that has to be fetched first. */
const contended = fc.record({
  verb: fc.constantFrom("put" as const, "cas" as const, "cas" as const, "get" as const),
  key: fc.constant("x"),
  value: fc.constantFrom("A", "B", "b"),
  expected: fc.constantFrom("A", "B"),
});

async function check(
  clients: readonly (readonly Operation[])[],
  kills: readonly number[],
  turns: readonly number[],
): Promise<void> {
  let calls = 0;
  const world = new StoreWorld({
    budgets: { memoryBytes: 75_000, jobMemoryBytes: 75_000, diskBytes: 160_000 },
    withCold: true,
    turns: () => turns[(calls += 1) % turns.length] ?? 1,
  });
  const request = { namespace: NAMESPACE, name: "job", kind: "client" } as const;
  world.store.createJob({ ...request, id: JOB, durability: "disk" });
  world.commit();
  const history = new History(world);
  let isOver = false;
  const all = Promise.all(clients.map((operations) => history.client(operations))).then(() => {
    isOver = true;
  });
  for (let tick = 1; !isOver; tick += 1) {
    for (let turn = tick % 7; turn > 0; turn -= 1) await Promise.resolve();
    if (kills.includes(tick)) history.kill();
    else world.commit();
    if (tick % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await all;
  for (const key of ["x", "y"]) {
    const events = history.events.filter((event) => event.key === key);
    ok(isLinearizable(events), JSON.stringify(events, null, 1));
  }
}

function told(verb: Operation["verb"], result: unknown, from: number, to: number): Event {
  const times = { calledAt: from, returnedAt: to };
  return { verb, key: "x", value: "a", expected: "", ...times, result };
}

describe("immediate operations", () => {
  it.each([
    ["over tiers and kills", anything],
    ["where all decide on one large value", contended],
  ])("are linearizable per key %s", async (_title, operation) => {
    const clients = fc.array(fc.array(operation, { minLength: 1, maxLength: 7 }), {
      minLength: 2,
      maxLength: 4,
    });
    const kills = fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 3 });
    const turns = fc.array(fc.nat(9), { minLength: 1, maxLength: 12 });
    const numRuns = Number(process.env["ISOLA_RUNS"] ?? 300);
    const holds = fc.asyncProperty(clients, kills, turns, check);
    await expect(fc.assert(holds, { numRuns })).resolves.toBeUndefined();
  });

  it("are told from those that are not", () => {
    expect(isLinearizable([told("incr", 1, 1, 2), told("incr", 1, 3, 4)])).toBe(false);
    expect(isLinearizable([told("incr", 2, 1, 4), told("incr", 1, 2, 3)])).toBe(true);
    const unanswered = told("put", undefined, 1, Infinity);
    expect(isLinearizable([unanswered, told("get", undefined, 2, 3)])).toBe(true);
    expect(isLinearizable([unanswered, told("get", "a", 2, 3), told("get", undefined, 4, 5)])).toBe(
      false,
    );
  });
});
