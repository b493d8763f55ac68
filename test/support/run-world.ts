/**
 * A shard as it is shipped, without workerd: coordinator, store and what joins them over one
 * SQLite in memory, in virtual time. Everything outside (attempts, hooks, sessions of code) goes on
 * in small pieces; before each piece, and before and after each commit, the process may die.
 */
import { equal } from "node:assert/strict";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { deserialize, serialize } from "node:v8";
import {
  type Attempter,
  type Remake,
  RunJobs,
  callsWithValues,
  heldResults,
  remakeOf,
} from "../../runtime/cell/internal.ts";
import {
  IsolaError,
  type Sql,
  type SqlValue,
  type Statement,
  type StoreAttempt,
} from "../../runtime/contract/index.ts";
import { Store } from "../../store/index.ts";
import { type Flow, runHooks } from "../../workflow/builder/index.ts";
import {
  Coordinator,
  type Outcome,
  type OutwardEffect,
  type RunHome,
  type RunReport,
  type RunRequest,
} from "../../workflow/index.ts";
import { CommitLog, checkSize } from "./commit-log.ts";
import { BlockDisk, Life, MemoryBlocks, NAMESPACE } from "./store-world.ts";
import { type Code, CodeSession } from "./workflow-code-world.ts";
import { type AttemptInfo, type WorldFunction, seededRandom, valueOf } from "./workflow-world.ts";

export interface RunWorldOptions {
  readonly flows: Readonly<Record<string, Flow>>;
  readonly codes?: Readonly<Record<string, Code>>;
  readonly functions: Readonly<Record<string, WorldFunction>>;
  readonly seed: number;
  /** Points at which the process dies; each begins another life. */
  readonly kills?: readonly number[];
  /** Beyond it a value is held by reference. */
  readonly inlineMaxBytes?: number;
}

type EffectOf<Do extends OutwardEffect["do"]> = Extract<OutwardEffect, { readonly do: Do }>;
type Dispatch = EffectOf<"dispatch">;

/** What an attempt does with its store, in pieces. */
export type AttemptBody = (
  given: {
    readonly run: RunHome;
    readonly effect: Dispatch;
    readonly attempt: StoreAttempt;
  },
  work: () => unknown,
) => Promise<unknown>;

interface Attempt {
  readonly run: RunHome;
  readonly attempt: StoreAttempt;
}

interface Action {
  readonly atMs: number;
  readonly act: () => unknown;
}

/** What is under way in one life of the process, and gone with it. */
interface Running {
  agenda: Action[];
  readonly sessions: Map<string, CodeSession>;
  /** Told one by one: what the code makes of one comes before the next. */
  readonly answers: (() => void)[];
  readonly cancels: Map<string, () => void>;
}

export class RunWorld {
  nowMs = 1_000_000;
  points = 0;
  log = new CommitLog();
  store: Store;
  jobs: RunJobs;
  coordinator: Coordinator;
  readonly blocks = new BlockDisk();
  /** Attempts that the process took with it, and those that answered. */
  readonly lost: Attempt[] = [];
  readonly settled: Attempt[] = [];
  /** What was told of values that were made again. */
  readonly remade: RunReport[] = [];
  /** What a part that nobody waits for found to be wrong. */
  readonly faults: unknown[] = [];
  /** Steps whose last attempt used the store, by run and step: for the body to say. */
  readonly used = new Set<string>();
  readonly options: RunWorldOptions;
  readonly fraction: () => number;
  body: AttemptBody = async (_given, work) => work();
  readonly #database = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, StatementSync>();
  readonly #wakes = new Map<"runs" | "store", number>();
  #attempts = new Map<string, Attempt>();
  #running: Running = emptyRunning();
  #life: Life = new Life(() => 1);
  #isDirty = false;

  constructor(options: RunWorldOptions) {
    this.options = options;
    this.fraction = seededRandom(options.seed);
    ({ store: this.store, jobs: this.jobs, coordinator: this.coordinator } = this.#open());
  }

  /** Starts a run as a caller does that repeats what nobody acknowledged. */
  async start(id: string, workflow: string, input: unknown): Promise<void> {
    const isKnown = (): boolean => this.coordinator.find(id) !== undefined;
    while (!isKnown()) {
      const life = this.#life;
      const home = { id, namespace: NAMESPACE, epoch: this.coordinator.epoch, workflow };
      const holding = await this.jobs.holdInput({ ...home, durability: "step" }, input);
      if (life !== this.#life) continue;
      this.coordinator.start({
        id,
        namespace: NAMESPACE,
        workflow,
        form: workflow in this.options.flows ? "dag" : "code",
        input: holding.held,
        query: {},
        headers: {},
        revision: 1,
      });
      holding.keep();
      await this.settle();
    }
  }

  /** Goes on until the runs have ended. */
  async finish(ids: readonly string[], maxActions = 20_000): Promise<void> {
    for (let actions = 0; actions < maxActions; actions += 1) {
      const isOver = (): boolean =>
        ids.every((id) => this.coordinator.find(id)?.endedAtMs !== undefined);
      if (isOver()) await this.settle();
      if (isOver()) return;
      if (!(await this.act())) break;
    }
    throw new Error(ids.map((id) => `${id}: ${String(this.coordinator.find(id)?.status)}`).join());
  }

  /** Reading may make a lost value again, which takes its time; a crash begins it anew. */
  async output(id: string): Promise<unknown> {
    for (;;) {
      const life = this.#life;
      let value: { readonly read: unknown } | undefined;
      const keep = (read: unknown): void => {
        value = { read };
      };
      this.#output(id).then(keep, (thrown) => void this.faults.push(thrown));
      await this.settle();
      while (!value && this.faults.length === 0 && life === this.#life) await this.act();
      if (this.faults.length > 0) throw this.faults[0];
      if (value) return value.read;
    }
  }

  async #output(id: string): Promise<unknown> {
    const { output } = this.coordinator.show(NAMESPACE, id).ended ?? {};
    const run = { id, namespace: NAMESPACE, workflow: "", epoch: this.coordinator.epoch };
    const home = { ...run, durability: "step" } as const;
    return output && this.jobs.resolve(home, output, this.#remake(home));
  }

  /** Does what is next, or lets a timer fire; false if nothing is left. */
  async act(): Promise<boolean> {
    await this.settle();
    const { agenda } = this.#running;
    let first: Action | undefined;
    for (const action of agenda) if (!first || action.atMs < first.atMs) first = action;
    const [timer, dueMs] = this.#nextWake();
    if (first && first.atMs <= dueMs) {
      agenda.splice(agenda.indexOf(first), 1);
      this.nowMs = Math.max(this.nowMs, first.atMs);
      if (this.#dies()) this.crash();
      else first.act();
    } else if (timer) {
      this.nowMs = Math.max(this.nowMs, dueMs);
      this.#wakes.delete(timer);
      if (timer === "runs") this.coordinator.wake();
      else this.store.wake();
    } else return false;
    await this.settle();
    return true;
  }

  /** Commits until nothing moves and the code says nothing more. */
  async settle(): Promise<void> {
    do {
      this.#commit();
      this.#running.answers.shift()?.();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    } while (this.#isDirty || this.#running.answers.length > 0);
  }

  /** kill -9: memory and what is not committed are gone; the actor opens again. */
  crash(): void {
    if (this.#isDirty) this.#database.exec("ROLLBACK");
    this.#isDirty = false;
    this.log.crash();
    this.log = new CommitLog();
    for (const session of this.#running.sessions.values()) session.isOver = true;
    this.#life.isOver = true;
    this.#life = new Life(() => 1);
    this.#running = emptyRunning();
    this.lost.push(...this.#attempts.values());
    this.#attempts = new Map();
    this.#wakes.clear();
    ({ store: this.store, jobs: this.jobs, coordinator: this.coordinator } = this.#open());
  }

  rows(table: string): number {
    return Number(this.#database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.["n"]);
  }

  /** Does something a while later, whoever waits for it, if the process still lives. */
  later(work: () => Promise<void>, withinMs: number): void {
    const act = async (): Promise<void> => work().catch((thrown) => void this.faults.push(thrown));
    this.#later(act, withinMs);
  }

  /** Goes on a while later, if the process still lives. */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => this.#later(() => resolve()));
  }

  #commit(): void {
    this.store.plan();
    if (!this.#isDirty && this.log.durable === this.log.position - 1) {
      this.log.commit();
      return;
    }
    if (this.#isDirty && this.#dies()) {
      this.crash();
      return;
    }
    const isWritten = this.#isDirty;
    if (isWritten) this.#database.exec("COMMIT");
    this.#isDirty = false;
    if (isWritten && this.#dies()) this.crash();
    else this.log.commit();
  }

  #dies(): boolean {
    this.points += 1;
    return this.options.kills?.includes(this.points) === true;
  }

  #nextWake(): ["runs" | "store" | undefined, number] {
    let name: "runs" | "store" | undefined;
    let dueMs = Number.POSITIVE_INFINITY;
    for (const [one, atMs] of this.#wakes) if (atMs < dueMs) [name, dueMs] = [one, atMs];
    return [name, dueMs];
  }

  #open(): { store: Store; jobs: RunJobs; coordinator: Coordinator } {
    const life = this.#life;
    const { log } = this;
    const codec = {
      encode: (value: unknown) => new Uint8Array(serialize(value)),
      decode: (bytes: Uint8Array) => deserialize(bytes) as unknown,
    };
    const timersOf = (name: "runs" | "store") => ({
      wakeAt: (atMs: number | undefined) => {
        if (life.isOver) return;
        if (atMs === undefined) this.#wakes.delete(name);
        else this.#wakes.set(name, atMs);
      },
    });
    const sql = this.#sql(life);
    const clock = { now: () => this.nowMs };
    const blocks = new MemoryBlocks(this.blocks, life);
    const store = new Store({ sql, log, clock, timers: timersOf("store"), blocks, codec });
    const jobs = new RunJobs(store, this.options.inlineMaxBytes);
    const coordinator = new Coordinator(
      {
        sql,
        log,
        clock,
        random: { fraction: this.fraction, bytes: (length) => new Uint8Array(length) },
        timers: timersOf("runs"),
        codec,
        store: jobs,
        outside: {
          describe: (_namespace, { workflow }) => this.#describe(workflow),
          perform: (run, request, effect) => {
            if (!life.isOver) this.#perform(run, request, effect);
          },
        },
      },
      { snapshotEvents: 5, residentRuns: 2 },
    );
    jobs.sweep((id) => coordinator.find(id) !== undefined);
    return { store, jobs, coordinator };
  }

  #describe(workflow: string): { form: "dag" | "code" } | undefined {
    if (workflow in this.options.flows) return { form: "dag" };
    return workflow in (this.options.codes ?? {}) ? { form: "code" } : undefined;
  }

  #sql(life: Life): Sql {
    const all = <P extends readonly SqlValue[], R>(
      { query }: Statement<P, R>,
      ...parameters: P
    ): R[] => {
      if (life.isOver) throw new Error("a life that is over writes nothing");
      if (!this.#isDirty && !query.startsWith("SELECT")) {
        this.#database.exec("BEGIN");
        this.#isDirty = true;
      }
      for (const parameter of parameters) checkSize(parameter);
      const prepared = this.#statements.get(query) ?? this.#database.prepare(query);
      if (!query.startsWith("CREATE")) this.#statements.set(query, prepared);
      return prepared.all(...parameters) as R[];
    };
    return { all, transaction: (body) => body() };
  }

  #perform(run: RunHome, request: RunRequest, effect: OutwardEffect): void {
    if (effect.do !== "hooks") equal(this.#isDirty, false, `${effect.do} leaves before its commit`);
    switch (effect.do) {
      case "plan":
      case "hooks":
        this.#later(async () => this.#define(run, request, effect).catch(ignoreLate));
        return;
      case "dispatch":
        this.#dispatch(run, effect);
        return;
      case "cancel":
        this.#running.cancels.get(keyOf(run, effect))?.();
        return;
      case "runCode":
        this.#runCode(run, request, effect.session);
        return;
      case "answerStep":
        this.#answerStep(run, effect);
        return;
      case "parkCode": {
        const session = this.#running.sessions.get(run.id);
        if (session) session.isOver = true;
        return;
      }
      default:
    }
  }

  async #define(
    run: RunHome,
    request: RunRequest,
    effect: EffectOf<"plan"> | EffectOf<"hooks">,
  ): Promise<void> {
    const { coordinator, jobs } = this;
    const flow = this.options.flows[request.workflow];
    const input = await jobs.resolve(run, request.input, this.#remake(run));
    const { plan, hooks } = flow?.evaluate({ input, query: {}, headers: {} }) ?? {};
    if (!plan || !hooks) return;
    if (effect.do === "plan") {
      coordinator.report(run, { type: "planned", plan, pins: {} });
      return;
    }
    const calls = await callsWithValues(jobs, run, effect.calls, this.#remake(run));
    const answered = await runHooks(hooks, structuredClone(calls));
    const results = await heldResults(jobs, run, answered);
    coordinator.report(run, { type: "hooksReturned", batch: effect.batch, results });
  }

  #dispatch(run: RunHome, effect: Dispatch): void {
    const { coordinator, jobs } = this;
    const key = keyOf(run, effect);
    this.used.delete(`${run.id} ${effect.step}`);
    const attempt = jobs.attempted(run, effect);
    this.#attempts.set(key, { run, attempt });
    let isOpen = true;
    const { step, token } = effect;
    const settle = (outcome: Outcome): void => {
      if (!isOpen) return;
      isOpen = false;
      this.#attempts.delete(key);
      const report = { type: "settled", step, token, outcome } as const;
      coordinator.report(run, report);
      this.settled.push({ run, attempt });
      // Now and then a report comes twice, the second time late.
      if (this.fraction() < 0.2) this.#later(() => coordinator.report(run, report), 60);
    };
    this.#running.cancels.set(key, () => {
      this.#later(() =>
        settle({ ok: false, error: { name: "Canceled", message: "canceled", isFinal: true } }),
      );
    });
    const work = this.#workOf(run, effect);
    this.#later(async () => {
      const attempted = async (): Promise<unknown> => {
        const value = await jobs.resolve(run, effect.input, this.#remake(run));
        return this.body({ run, effect, attempt }, () => work(value));
      };
      const outcome = await attempted().then(
        (made) => jobs.outcomeOf(run, effect, made),
        (thrown: unknown): Outcome => ({ ok: false, error: errorOf(thrown) }),
      );
      await this.pause();
      settle(outcome);
    });
  }

  /** A lost value of a pure step, made by its function alone (G5). */
  #remake(run: RunHome): Remake {
    const request = { workflow: "" } as RunRequest;
    const report = (ref: RunHome, told: RunReport): void => {
      this.remade.push(told);
      this.coordinator.report(ref, told);
    };
    const attempt: Attempter = async (_run, _request, effect) => {
      await this.pause();
      const { step, token } = effect;
      const value = "value" in effect.input ? effect.input.value : undefined;
      const work = async (): Promise<unknown> => this.#workOf(run, effect)(value);
      const outcome = await work().then(
        (made): Outcome => ({ ok: true, output: { value: made } }),
        (thrown: unknown): Outcome => ({ ok: false, error: errorOf(thrown) }),
      );
      return { type: "settled", step, token, outcome };
    };
    return remakeOf({ jobs: this.jobs, attempt, report }, run, request);
  }

  /** What the step is to do: a function, or a callback of code. */
  #workOf(run: RunHome, effect: Dispatch): (value: unknown) => unknown {
    const { operation, step, attempt, idempotencyKey } = effect;
    const info: AttemptInfo = { step, attempt, key: idempotencyKey };
    const session = this.#running.sessions.get(run.id);
    if (operation.op === "do") return () => session?.callbacks.get(step)?.(info);
    const name = "function" in operation ? operation.function : operation.op;
    return (value) => this.options.functions[name]?.(value, info);
  }

  #runCode(run: RunHome, request: RunRequest, id: number): void {
    const { sessions } = this.#running;
    const { coordinator, jobs } = this;
    const former = sessions.get(run.id);
    if (former) former.isOver = true;
    const session = new CodeSession(id, (call) => {
      if (!session.isOver) coordinator.report(run, call);
    });
    sessions.set(run.id, session);
    this.#later(async () => {
      const input = await jobs.resolve(run, request.input, this.#remake(run)).catch(ignoreLate);
      session.hasBegun = true;
      const code = this.options.codes?.[request.workflow];
      const outcome = await (code?.(session, input) ?? Promise.resolve(undefined)).then(
        async (value): Promise<Outcome> => ({ ok: true, output: await jobs.hold(run, value) }),
        (thrown: unknown): Outcome => ({ ok: false, error: errorOf(thrown) }),
      );
      if (!session.isOver) coordinator.report(run, { type: "codeEnded", session: id, outcome });
    });
  }

  #answerStep(run: RunHome, { session: id, step, outcome }: EffectOf<"answerStep">): void {
    const session = this.#running.sessions.get(run.id);
    const waiting = session?.id === id ? session.waiting.get(step) : undefined;
    if (!session || !waiting) return;
    session.waiting.delete(step);
    const held = outcome.ok ? outcome.output : undefined;
    const value =
      held && ("value" in held ? valueOf(held) : this.jobs.resolve(run, held, this.#remake(run)));
    this.#running.answers.push(() => {
      if (outcome.ok) waiting.resolve(value);
      else waiting.reject(Object.assign(new Error(outcome.error.message), outcome.error));
    });
  }

  #later(act: Action["act"], withinMs = 20): void {
    const delayMs = Math.floor(this.fraction() * withinMs);
    this.#running.agenda.push({ atMs: this.nowMs + delayMs, act });
  }
}

function emptyRunning(): Running {
  return { agenda: [], sessions: new Map(), answers: [], cancels: new Map() };
}

/** Of a run that has ended meanwhile: what it would have worked on is gone with it. */
function ignoreLate(thrown: unknown): undefined {
  if (!(thrown instanceof IsolaError) || thrown.code !== "VALUE_LOST") throw thrown;
}

function keyOf({ id }: RunHome, { step, token }: { step: string; token: number }): string {
  return `${id} ${String(token)} ${step}`;
}

function errorOf(thrown: unknown): (Outcome & { ok: false })["error"] {
  const { name, message, code } = thrown as Error & { code?: string };
  return { name, message, ...(code !== undefined && { code }) };
}
