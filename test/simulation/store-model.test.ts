/**
 * The store against a plain model: random operations of a client and two attempts of steps, with
 * time, small budgets, commits, crashes and the ends of jobs. Seeded by fast-check.
 *
 * The model knows of each name the states that a crash may leave: the last one whose answer could
 * leave, and those after it. Durable and answered: found, exactly. Memory alone: found, if it was
 * spilled, or refused as lost. Never an older value, never absent without a word.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Session } from "../../store/index.ts";
import { NAMESPACE, StoreWorld, refusal, text } from "../support/store-world.ts";

const B = "default";
const SLOT_MS = 64;
const KEYS = ["a", "b", "c", "d", "e"];
const SIZES = [10, 1_000, 30_000, 70_000];

interface Put {
  readonly kind: "put";
  readonly who: number;
  readonly key: string;
  readonly sizeBytes: number;
  readonly isDurable: boolean;
  readonly ttlSlots: number;
  readonly ifAbsent: boolean;
}
type Step =
  | Put
  | {
      readonly kind: "get" | "delete" | "take";
      readonly who: number;
      readonly key: string;
    }
  | { readonly kind: "begin" | "commitStep" | "abort"; readonly who: number }
  | { readonly kind: "advance"; readonly slots: number }
  | { readonly kind: "tick" | "crash" | "end" | "settle" | "list" };

interface State {
  readonly content: string;
  readonly sizeBytes: number;
  readonly isDurable: boolean;
  readonly expiresAtMs: number;
}

/** Undefined: absent. */
type Known = State | "lost" | undefined;

interface Cell {
  /** The last answered state, then those whose answers wait for the commit. */
  states: Known[];
  /** The attempt that has taken it. */
  takenBy: number | undefined;
}

interface AttemptModel {
  readonly session: Session;
  readonly staged: Map<string, State | undefined>;
  readonly taken: Map<string, State>;
  /** Names that it deleted itself, rather than only took. */
  readonly deleted: Set<string>;
}

const anyKey = fc.constantFrom(...KEYS);
const anyone = fc.nat(2);
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      who: anyone,
      key: anyKey,
      sizeBytes: fc.constantFrom(...SIZES),
      isDurable: fc.boolean(),
      ttlSlots: fc.constantFrom(0, 0, 0, 3),
      ifAbsent: fc.constantFrom(false, false, true),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom("get" as const, "get" as const, "delete" as const, "take" as const),
      who: anyone,
      key: anyKey,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("begin" as const, "commitStep" as const, "abort" as const),
      who: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("advance" as const), slots: fc.nat(3) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "tick" as const,
        "tick" as const,
        "list" as const,
        "settle" as const,
        "crash" as const,
        "end" as const,
      ),
    }),
  },
);

class Run {
  readonly #world: StoreWorld;
  readonly #isUnlimited: boolean;
  #jobs = 0;
  #values = 0;
  #client: Session;
  #cells = new Map<string, Cell>();
  readonly #attempts = new Map<number, AttemptModel>();
  /** Whether memory alone ever held something of the job: then nothing is certainly absent. */
  #wasVolatile = false;
  #isLossy = false;

  constructor(world: StoreWorld, isUnlimited: boolean) {
    this.#world = world;
    this.#isUnlimited = isUnlimited;
    this.#client = this.#newJob();
  }

  async step(step: Step): Promise<void> {
    await this.#do(step);
    this.#checkBudgets();
  }

  async finish(): Promise<void> {
    await this.#end();
    await this.#world.settle();
    deepEqual(this.#world.store.usage().bytes, { memory: 0, disk: 0, cold: 0 });
    equal(this.#world.blocks.stored.size, 0);
    equal(this.#world.cold?.stored.size ?? 0, 0);
    equal(this.#world.rows("storeSlots") + this.#world.rows("storeObjects"), 0);
  }

  async #do(step: Step): Promise<void> {
    switch (step.kind) {
      case "put":
        return this.#put(step);
      case "get":
        return this.#get(step.who, step.key);
      case "delete":
        return this.#delete(step.who, step.key);
      case "take":
        return this.#take(step.who, step.key);
      case "begin":
        return this.#begin(step.who);
      case "commitStep":
      case "abort":
        return this.#decide(step.who, step.kind === "commitStep");
      case "advance":
        this.#world.advance(step.slots * SLOT_MS);
        return undefined;
      case "tick":
        return this.#tick();
      case "settle":
        await this.#world.settle();
        return this.#tick();
      case "list":
        return this.#list();
      case "crash":
        return this.#crash();
      case "end":
        return this.#end();
    }
  }

  async #put(step: Put): Promise<void> {
    const attempt = this.#attempts.get(step.who);
    const session = attempt?.session ?? this.#client;
    this.#values += 1;
    const content = `${String(this.#values)}:`.padEnd(step.sizeBytes, "x");
    const { ifAbsent, isDurable } = step;
    const expiresAtMs =
      step.ttlSlots === 0 ? Number.POSITIVE_INFINITY : this.#world.nowMs + step.ttlSlots * SLOT_MS;
    const isStaged = attempt !== undefined && (!ifAbsent || attempt.staged.has(step.key));
    const before = ifAbsent ? this.#seen(attempt, step.key) : undefined;
    const taken = this.#takenByOther(attempt, step.key);
    const code = await refusal(async () => {
      const { value, position } = await session.put(B, step.key, text(content), {
        durability: isDurable ? "disk" : "memory",
        ...(step.ttlSlots > 0 && { ttlMs: step.ttlSlots * SLOT_MS }),
        ...(ifAbsent && { ifAbsent }),
      });
      equal(value.stored, before === undefined);
      if (!value.stored) return;
      const state = { content, sizeBytes: step.sizeBytes, isDurable, expiresAtMs };
      if (isStaged) attempt.staged.set(step.key, state);
      else this.#write(step.key, state, position);
    });
    if (code === undefined) return;
    if (code === "STORE_FULL") this.#checkFull(step.sizeBytes);
    else if (code === "CONFLICT") equal(ifAbsent && taken, true);
    else {
      equal(code, "VALUE_LOST");
      equal(ifAbsent && this.#mayBeLost(before), true);
    }
  }

  async #get(who: number, name: string): Promise<void> {
    const attempt = this.#attempts.get(who);
    const expected = this.#seen(attempt, name);
    const content = await this.#read(attempt?.session ?? this.#client, name);
    if (content === "lost") equal(this.#mayBeLost(expected), true);
    else equal(content, expected === "lost" ? "lost" : expected?.content);
  }

  #delete(who: number, name: string): void {
    const attempt = this.#attempts.get(who);
    const session = attempt?.session ?? this.#client;
    const { position } = session.delete(B, name);
    attempt?.deleted.add(name);
    if (attempt) attempt.staged.set(name, undefined);
    else this.#write(name, undefined, position);
  }

  async #take(who: number, name: string): Promise<void> {
    const attempt = this.#attempts.get(who);
    if (!attempt) return;
    const expected = this.#seen(attempt, name);
    let isTaken = false;
    const code = await refusal(async () => {
      const taken = attempt.session.take(B, name).value;
      isTaken = taken !== undefined;
      if (!taken) return;
      const value = await taken.reader.whole();
      taken.reader.release();
      equal(
        expected !== "lost" && expected?.content,
        value.kind === "value" ? value.value : undefined,
      );
    });
    if (code !== undefined) {
      equal(code, "VALUE_LOST");
      equal(this.#mayBeLost(expected), true);
      return;
    }
    equal(isTaken, expected !== undefined);
    if (!isTaken || expected === "lost" || !expected) return;
    if (attempt.staged.has(name)) attempt.deleted.add(name);
    else {
      this.#cell(name).takenBy = who;
      attempt.taken.set(name, expected);
    }
    attempt.staged.set(name, undefined);
  }

  #begin(who: number): void {
    if (this.#attempts.has(who)) return;
    const session = this.#world.store.attempt(
      NAMESPACE,
      this.#id(),
      `s${String(this.#values)}-${who}`,
    );
    this.#attempts.set(who, { session, staged: new Map(), taken: new Map(), deleted: new Set() });
  }

  #decide(who: number, isCommit: boolean): void {
    const attempt = this.#attempts.get(who);
    if (!attempt) return;
    this.#attempts.delete(who);
    for (const name of attempt.taken.keys()) {
      const cell = this.#cell(name);
      if (cell.takenBy === who) cell.takenBy = undefined;
    }
    if (!isCommit) {
      attempt.session.abort();
      return;
    }
    const position = attempt.session.commit();
    for (const [name, state] of attempt.staged) {
      // Taken, and somebody put a newer value meanwhile: that one stays.
      const isTakenOnly = state === undefined && attempt.taken.has(name);
      if (
        isTakenOnly &&
        this.#now(name) !== attempt.taken.get(name) &&
        !attempt.deleted.has(name)
      ) {
        continue;
      }
      this.#write(name, state && this.#isAlive(state) ? state : undefined, position);
    }
  }

  #list(): void {
    const page = this.#client.list(B).value;
    const names = KEYS.filter((name) => {
      const state = this.#seen(undefined, name);
      return state !== undefined && state !== "lost";
    });
    deepEqual(
      page.objects.map((object) => object.key),
      names,
    );
  }

  #tick(): void {
    this.#world.commit();
    for (const cell of this.#cells.values()) cell.states = cell.states.slice(-1);
  }

  async #crash(): Promise<void> {
    this.#world.crash(this.#values % 3 === 0);
    this.#attempts.clear();
    this.#isLossy ||= this.#wasVolatile;
    const code = await refusal(() => {
      this.#client = this.#world.store.session(NAMESPACE, this.#id());
    });
    equal(code, undefined);
    for (const name of KEYS) await this.#adopt(name);
  }

  /** Compares what a crash left with what it may leave; that is the truth from then on. */
  async #adopt(name: string): Promise<void> {
    const cell = this.#cell(name);
    const found = await this.#read(this.#client, name);
    const possible = cell.states.map((state) =>
      typeof state === "object" && !this.#isAlive(state) ? undefined : state,
    );
    const match = possible.find((state) => typeof state === "object" && state.content === found);
    if (found === "lost") {
      const isExplained =
        this.#isLossy || possible.some((state) => state === "lost" || state?.isDurable === false);
      equal(isExplained, true);
      const isPromised = possible.every((state) => typeof state === "object" && state.isDurable);
      equal(isPromised, false);
      cell.states = ["lost"];
    } else if (found === undefined) {
      ok(possible.includes(undefined));
      cell.states = [undefined];
    } else {
      ok(match, `${name} holds ${found.slice(0, 10)}`);
      cell.states = [match];
    }
    cell.takenBy = undefined;
  }

  async #end(): Promise<void> {
    this.#world.store.endJob(NAMESPACE, this.#id());
    deepEqual(this.#world.store.usage().bytes, { memory: 0, disk: 0, cold: 0 });
    for (const { session } of this.#attempts.values()) {
      equal(await refusal(() => session.put(B, "a", text("x"))), "JOB_ENDED");
    }
    this.#client = this.#newJob();
    this.#tick();
  }

  #newJob(): Session {
    this.#jobs += 1;
    this.#attempts.clear();
    this.#cells = new Map();
    this.#wasVolatile = false;
    this.#isLossy = false;
    const request = {
      namespace: NAMESPACE,
      name: "job",
      kind: "run",
      durability: "memory",
    } as const;
    this.#world.store.createJob({ ...request, id: this.#id() });
    this.#tick();
    return this.#world.store.session(NAMESPACE, this.#id());
  }

  #id(): string {
    return `0-${String(this.#jobs)}`;
  }

  /** What the session sees: its own staged state, else what stands there and is not taken. */
  #seen(attempt: AttemptModel | undefined, name: string): Known {
    if (attempt?.staged.has(name) === true) {
      const state = attempt.staged.get(name);
      return state && this.#isAlive(state) ? state : undefined;
    }
    const cell = this.#cell(name);
    return cell.takenBy === undefined ? this.#now(name) : undefined;
  }

  #now(name: string): Known {
    const state = this.#cell(name).states.at(-1);
    return typeof state === "object" && !this.#isAlive(state) ? undefined : state;
  }

  #takenByOther(attempt: AttemptModel | undefined, name: string): boolean {
    return this.#cell(name).takenBy !== undefined && attempt?.staged.has(name) !== true;
  }

  #mayBeLost(state: Known): boolean {
    return state === "lost" || (state === undefined && this.#isLossy);
  }

  #isAlive(state: State): boolean {
    return state.expiresAtMs > this.#world.nowMs;
  }

  #cell(name: string): Cell {
    const cell = this.#cells.get(name) ?? { states: [undefined], takenBy: undefined };
    this.#cells.set(name, cell);
    return cell;
  }

  #write(name: string, state: State | undefined, position: number): void {
    const cell = this.#cell(name);
    cell.takenBy = undefined;
    cell.states.push(state);
    if (state && !state.isDurable) this.#wasVolatile = true;
    if (position <= this.#world.log.durable) cell.states = [state];
  }

  async #read(session: Session, name: string): Promise<string | undefined> {
    let content: string | undefined;
    const code = await refusal(async () => {
      const found = (await session.get(B, name)).value;
      content = found?.value.kind === "value" ? String(found.value.value) : undefined;
    });
    if (code === undefined) return content;
    equal(code, "VALUE_LOST");
    return "lost";
  }

  #checkBudgets(): void {
    const { bytes } = this.#world.store.usage();
    ok(bytes.memory <= MEMORY_BYTES);
    // An encoding may be a little larger than the value's own size, by which room was claimed.
    ok(bytes.disk <= DISK_BYTES + 100);
  }

  #checkFull(sizeBytes: number): void {
    equal(this.#isUnlimited, false);
    const { bytes } = this.#world.store.usage();
    ok(bytes.disk + sizeBytes > DISK_BYTES - 2 * 71_000);
  }
}

const MEMORY_BYTES = 160_000;
const DISK_BYTES = 250_000;

async function play(all: readonly Step[], turns: number, withCold: boolean): Promise<void> {
  const budgets = {
    memoryBytes: MEMORY_BYTES,
    jobMemoryBytes: 120_000,
    diskBytes: DISK_BYTES,
    uploadMemoryMaxBytes: 100_000,
  };
  const run = new Run(new StoreWorld({ budgets, withCold, turns: () => turns }), withCold);
  for (const step of all) await run.step(step);
  await run.finish();
}

describe("the store and its model agree", () => {
  it.each([
    ["with a cold tier", true],
    ["with a disk that fills", false],
  ])("%s", async (_title, withCold) => {
    const agrees = fc.asyncProperty(fc.array(steps, { maxLength: 60 }), fc.nat(5), (all, turns) =>
      play(all, turns, withCold),
    );
    const numRuns = Number(process.env["ISOLA_RUNS"] ?? 300);
    await expect(fc.assert(agrees, { numRuns })).resolves.toBeUndefined();
  });
});
