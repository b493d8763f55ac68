/**
 * A shard's coordinator over SQLite in memory, in virtual time: commits that a crash can precede
 * or follow, and an outside that answers what leaves. Chance comes from a seed.
 */
import { equal } from "node:assert/strict";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { deserialize, serialize } from "node:v8";
import type { Sql, SqlValue, Statement } from "../../runtime/contract/index.ts";
import { type Flow, runHooks } from "../../workflow/builder/index.ts";
import { Coordinator, type Outcome, type Outside, type RunReport } from "../../workflow/index.ts";
import { CommitLog, checkSize } from "./commit-log.ts";
import { type WorldFunction, seededRandom, valueOf } from "./workflow-world.ts";

type Staged = NonNullable<
  ReturnType<NonNullable<ConstructorParameters<typeof Coordinator>[0]["takeStaged"]>>
>;
type CallbackResult = Parameters<Coordinator["calledBack"]>[1];
type Perform = Parameters<Outside["perform"]>;
type Ref = Perform[0];

/** A crash at a commit: before it is on disk, or after, before anything has left. */
export interface CrashAt {
  readonly commit: number;
  readonly when: "before" | "after";
}

export interface CoordinatorWorldOptions {
  readonly flows: Readonly<Record<string, Flow>>;
  readonly functions?: Readonly<Record<string, WorldFunction>>;
  /** Runs of a workflow that may be under way; read at each start. */
  readonly concurrency?: Readonly<Record<string, number>>;
  readonly seed?: number;
  readonly crashes?: readonly CrashAt[];
  /** What attempts ask for besides their results. */
  readonly takeStaged?: (run: string, step: string) => Staged | undefined;
  /** Whether an event arrives. @default it does */
  readonly delivers?: () => boolean;
  /** Answers a callback; undefined: never. */
  readonly receiver?: (run: string, attempt: number) => CallbackResult | undefined;
  readonly options?: ConstructorParameters<typeof Coordinator>[1];
}

interface Action {
  readonly atMs: number;
  readonly act: () => void | Promise<void>;
}

export class CoordinatorWorld {
  nowMs = 1_000_000;
  wakeAtMs: number | undefined;
  commits = 0;
  coordinator: Coordinator;
  log = new CommitLog();
  /** Everything that left, in order. */
  readonly performed: Perform[2][] = [];
  /** Ends that left, by run. */
  readonly ends: string[] = [];
  /** Statuses that the store was told, by run: its jobs' ends. */
  readonly jobEnds: string[] = [];
  readonly settled: string[] = [];
  readonly ledger = new Map<string, number>();
  readonly options: CoordinatorWorldOptions;
  readonly #fraction: () => number;
  readonly #database = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, StatementSync>();
  #agenda: Action[] = [];
  #life = 0;
  #isDirty = false;

  constructor(options: CoordinatorWorldOptions) {
    this.options = options;
    this.#fraction = seededRandom(options.seed ?? 1);
    this.coordinator = this.#open();
  }

  start(
    id: string,
    workflow: string,
    input: unknown,
    key?: { key: string; digest: string },
    more: {
      readonly namespace?: string;
      readonly callback?: { url: string; egress: "public" };
      readonly replayOf?: string;
    } = {},
  ) {
    return this.coordinator.start({
      id,
      namespace: "default",
      workflow,
      form: workflow in this.options.flows ? "dag" : "code",
      input: { value: input },
      query: {},
      headers: {},
      revision: 1,
      ...this.#limit(workflow),
      ...(key && { key }),
      ...more,
    });
  }

  /** Starts a run as a caller does that repeats what nobody acknowledged. */
  async startSurely(id: string, workflow: string, input: unknown): Promise<void> {
    do {
      this.start(id, workflow, input);
      await this.commit();
    } while (!this.coordinator.list("default").runs.some((run) => run.id === id));
  }

  tell(id: string, report: RunReport): void {
    this.coordinator.report({ id, namespace: "default" }, report);
  }

  show(id: string) {
    return this.coordinator.show("default", id);
  }

  output(id: string): unknown {
    return valueOf(this.show(id).ended?.output);
  }

  /** Ends the tick: it is on disk, and what depends on it leaves, unless a crash is due. */
  async commit(): Promise<void> {
    this.commits += 1;
    const crash = this.options.crashes?.find(({ commit }) => commit === this.commits);
    if (crash?.when !== "before") this.#write();
    if (crash) {
      this.crash();
      // What the opening says leaves before time goes on.
      await this.commit();
      return;
    }
    this.log.commit();
    await turn();
  }

  /** kill -9: memory and what is not committed are gone; the actor opens again. */
  crash(): void {
    if (this.#isDirty) this.#database.exec("ROLLBACK");
    this.#isDirty = false;
    this.#life += 1;
    this.#agenda = [];
    this.log = new CommitLog();
    this.wakeAtMs = undefined;
    this.coordinator = this.#open();
  }

  /** Does what is next, or lets the timer fire; false if nothing is left. */
  async act(): Promise<boolean> {
    await this.commit();
    const next = this.#agenda.reduce<Action | undefined>(
      (first, action) => (first && first.atMs <= action.atMs ? first : action),
      undefined,
    );
    const dueMs = this.wakeAtMs ?? Number.POSITIVE_INFINITY;
    if (next && next.atMs <= dueMs) {
      this.#agenda.splice(this.#agenda.indexOf(next), 1);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      await next.act();
    } else if (this.wakeAtMs !== undefined) {
      this.nowMs = Math.max(this.nowMs, dueMs);
      this.wakeAtMs = undefined;
      this.coordinator.wake();
    } else return false;
    return true;
  }

  /** Goes on until the runs have ended. */
  async finish(ids: readonly string[], maxActions = 20_000): Promise<void> {
    for (let actions = 0; actions < maxActions; actions += 1) {
      const isOver = (): boolean => ids.every((id) => this.show(id).endedAtMs !== undefined);
      if (isOver()) await this.commit();
      if (isOver()) return;
      await this.act();
    }
    throw new Error(ids.map((id) => `${id}: ${this.show(id).status}`).join(", "));
  }

  rows(table: string): number {
    return Number(this.#database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.["n"]);
  }

  bytes(query: string): number {
    return Number(this.#database.prepare(query).get()?.["n"]);
  }

  #limit(workflow: string): { concurrency?: number } {
    const concurrency = this.options.concurrency?.[workflow];
    return concurrency === undefined ? {} : { concurrency };
  }

  #write(): void {
    if (this.#isDirty) this.#database.exec("COMMIT");
    this.#isDirty = false;
  }

  #open(): Coordinator {
    const life = this.#life;
    const isAlive = (): boolean => life === this.#life;
    return new Coordinator(
      {
        sql: this.#sql(isAlive),
        log: this.log,
        clock: { now: () => this.nowMs },
        random: { fraction: this.#fraction, bytes: (length) => new Uint8Array(length) },
        timers: {
          wakeAt: (atMs) => {
            this.wakeAtMs = atMs;
          },
        },
        codec: {
          encode: (value) => new Uint8Array(serialize(value)),
          decode: (bytes) => deserialize(bytes) as unknown,
        },
        takeStaged: ({ id }, step, _token, isCommit) => {
          const staged = this.options.takeStaged?.(id, step);
          return isCommit ? staged : undefined;
        },
        outside: {
          describe: (_namespace, { workflow }) =>
            workflow in this.options.flows ? { form: "dag", ...this.#limit(workflow) } : undefined,
          deliver: (mail, number) => this.#later(() => this.#deliver(mail, number)),
          perform: (...args) => {
            if (isAlive()) this.#perform(...args);
          },
        },
        store: {
          begin: () => {},
          beginAnew: () => {},
          forget: () => {},
          settle: ({ id }, step, _token, isCommit) => {
            if (isCommit) this.settled.push(`${id} ${step}`);
          },
          end: ({ id }, { status }) => {
            this.jobEnds.push(`${id} ${status}`);
          },
        },
      },
      this.options.options,
    );
  }

  #sql(isAlive: () => boolean): Sql {
    const all = <P extends readonly SqlValue[], R>(
      { query }: Statement<P, R>,
      ...parameters: P
    ): R[] => {
      if (!isAlive()) throw new Error("a life that is over writes nothing");
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

  #perform(run: Ref, request: Perform[1], effect: Perform[2]): void {
    if (effect.do !== "hooks") equal(this.#isDirty, false, `${effect.do} leaves before its commit`);
    this.performed.push(effect);
    const flow = this.options.flows[request.workflow];
    const given = { input: valueOf(request.input), query: {}, headers: {} };
    switch (effect.do) {
      case "plan":
        this.#later(() => {
          if (!flow) return;
          this.#report(run, { type: "planned", plan: flow.evaluate(given).plan, pins: {} });
        });
        return;
      case "hooks":
        this.#later(async () => {
          if (!flow) return;
          const results = await runHooks(flow.evaluate(given).hooks, effect.calls);
          this.#report(run, { type: "hooksReturned", batch: effect.batch, results });
        });
        return;
      case "dispatch":
        this.#dispatch(run, effect);
        return;
      case "ended":
        this.ends.push(run.id);
        return;
      case "callback":
        this.#later(() => {
          const result = this.options.receiver?.(run.id, effect.attempt);
          if (result) this.coordinator.calledBack(run, result);
        });
        return;
      default:
    }
  }

  #deliver({ instance, id, type, payload }: Staged["mails"][number], number: number): void {
    const error = { name: "Away", message: "its cell is away" };
    if (this.options.delivers?.() === false) {
      this.coordinator.sent(number, { ok: false, error });
      return;
    }
    this.tell(instance, { type: "signal", id, name: type, payload: { value: payload } });
    this.coordinator.sent(number, { ok: true });
  }

  #dispatch(run: Ref, effect: Perform[2] & { readonly do: "dispatch" }): void {
    // Callbacks of code are the test's.
    if (effect.operation.op === "do") return;
    const { step, token, operation, attempt, idempotencyKey: key, input } = effect;
    this.ledger.set(key, (this.ledger.get(key) ?? 0) + 1);
    this.#later(async () => {
      const name = "function" in operation ? operation.function : operation.op;
      const fn = this.options.functions?.[name];
      let outcome: Outcome;
      try {
        outcome = {
          ok: true,
          output: { value: await fn?.(valueOf(input), { step, attempt, key }) },
        };
      } catch (thrown) {
        const { message } = thrown as Error;
        outcome = { ok: false, error: { name: "Error", message } };
      }
      this.#report(run, { type: "settled", step, token, outcome });
    });
  }

  #report(run: Ref, report: RunReport): void {
    this.coordinator.report(run, report);
  }

  #later(act: Action["act"]): void {
    const life = this.#life;
    const atMs = this.nowMs + Math.floor(this.#fraction() * 20);
    this.#agenda.push({ atMs, act: async () => (life === this.#life ? act() : undefined) });
  }
}

const turn = async (): Promise<void> => {
  for (let left = 0; left < 5; left += 1) await Promise.resolve();
};
