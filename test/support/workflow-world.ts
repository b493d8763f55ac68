/**
 * A shard, cells and functions around one run, in virtual time: what the run's driver is to be.
 * Events are committed in groups; effects leave after their commit; a crash takes everything that
 * is not committed, and what was in flight. Latencies and accidents come from a seed.
 */
import { equal } from "node:assert/strict";
import type { Clock, Random } from "../../runtime/contract/index.ts";
import { type Effect, Run, type RunEvent, type Outcome } from "../../workflow/index.ts";
import { type Flow, type Held, type HookCall, runHooks } from "../../workflow/builder/index.ts";

/** Numbers in [0, 1) from a seed. */
export function seededRandom(seed: number): Random["fraction"] {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a function of the world is called with. */
export interface AttemptInfo {
  readonly step: string;
  readonly attempt: number;
  readonly key: string;
}

/** What a function answers that is never heard of again, unless it is canceled. */
export const NEVER = Symbol("never");

export type WorldFunction = (input: unknown, attempt: AttemptInfo) => unknown;

/** Likelihoods, each in [0, 1]; what is not said does not happen. */
export interface Accidents {
  /** Per action: the process dies. */
  readonly crash?: number;
  /** Per report: it comes twice, the second time late. */
  readonly repeat?: number;
  /** Per attempt that has a deadline and is not the last one: nothing is heard of it. */
  readonly lose?: number;
}

export interface WorldOptions {
  readonly flow?: Flow;
  readonly functions?: Readonly<Record<string, WorldFunction>>;
  readonly input?: unknown;
  readonly seed?: number;
  readonly accidents?: Accidents;
  readonly timeoutMs?: number;
  /** Milliseconds that anything outside takes at most. */
  readonly latencyMs?: number;
  readonly chain?: readonly string[];
}

/** An event without what the world adds to it. */
export type Report = RunEvent extends infer E
  ? E extends RunEvent
    ? Omit<E, "atMs" | "random">
    : never
  : never;

export const valueOf = (held: Held | undefined): unknown => {
  if (held === undefined) return undefined;
  if ("value" in held) return held.value;
  if ("parts" in held) {
    return Object.fromEntries(held.parts.map(([key, part]) => [key, valueOf(part)]));
  }
  throw new Error(`no value yet: ${JSON.stringify(held)}`);
};

interface Action {
  readonly atMs: number;
  readonly order: number;
  readonly act: () => void | Promise<void>;
  /** Of the process: gone when it dies. */
  readonly life: number;
}

export class WorkflowWorld implements Clock {
  run: Run;
  readonly journal: RunEvent[] = [];
  /** Effects that left, in order. */
  readonly effects: Effect[] = [];
  /** How often each attempt key was entered: the ledger of the outside. */
  readonly ledger = new Map<string, number>();
  crashes = 0;
  nowMs = 1_000;
  readonly options: WorldOptions;
  readonly fraction: Random["fraction"];
  #pending: { event: RunEvent; effects: Effect[] }[] = [];
  #agenda: Action[] = [];
  #order = 0;
  #life = 0;
  readonly #timers = new Map<string, number>();
  readonly #cancels = new Map<string, () => void>();

  constructor(options: WorldOptions) {
    this.options = options;
    this.fraction = seededRandom(options.seed ?? 1);
    const { timeoutMs, chain = [] } = options;
    const event = {
      type: "started" as const,
      run: "0-1",
      workflow: "flow",
      form: options.flow ? ("dag" as const) : ("code" as const),
      input: { value: options.input },
      chain,
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...this.#stamp(),
    };
    const { run, effects } = Run.begin(event);
    this.run = run;
    this.#pending.push({ event, effects });
  }

  now(): number {
    return this.nowMs;
  }

  /** Gives the run an event; its effects leave with the next commit. */
  report(report: Report): void {
    const event = { ...report, ...this.#stamp() };
    const effects = this.run.apply(event);
    this.#pending.push({ event, effects });
  }

  /** Whether something waits for its commit. */
  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  commit(): void {
    const committed = this.#pending;
    this.#pending = [];
    for (const { event, effects } of committed) {
      this.journal.push(structuredClone(event));
      for (const effect of effects) {
        this.effects.push(effect);
        this.perform(effect);
      }
    }
  }

  /** kill -9 of everything: the run is made anew from its journal. */
  crash(): void {
    this.crashes += 1;
    this.#life += 1;
    this.#pending = [];
    this.#agenda = this.#agenda.filter(({ life }) => life === 0);
    this.#timers.clear();
    this.#cancels.clear();
    this.run = Run.fold(structuredClone(this.journal));
    if (this.run.state.ended) return;
    for (const effect of this.run.recovery()) this.perform(effect);
    const { code } = this.run.state;
    if (code?.isLive === true) this.report({ type: "codeLost", session: code.session });
    const error = { name: "CellLost", message: "the cell died", code: "CELL_LOST" };
    this.report({ type: "interrupted", where: "cell", error });
    this.commit();
  }

  /** Lets the world go on until nothing is left to do, or the run has ended. */
  async finish(maxActions = 100_000): Promise<void> {
    for (let actions = 0; actions < maxActions; actions += 1) {
      if (!(await this.act())) return;
    }
    throw new Error(`no end after ${String(maxActions)} actions: ${this.run.status}`);
  }

  /** Does what is next; false if nothing is left. */
  async act(): Promise<boolean> {
    this.commit();
    const next = this.#next();
    if (!next) return false;
    this.nowMs = Math.max(this.nowMs, next.atMs);
    await next.act();
    if (this.#happens("crash")) this.crash();
    else this.commit();
    return true;
  }

  /** Does things until a time has come. */
  async until(atMs: number): Promise<void> {
    this.commit();
    for (;;) {
      const next = this.#agenda.reduce<number>(
        (least, { atMs: at }) => Math.min(least, at),
        Infinity,
      );
      if (next > atMs) break;
      await this.act();
    }
    this.nowMs = Math.max(this.nowMs, atMs);
  }

  /** Something that happens a while from now. */
  later(act: Action["act"], delayMs = this.latency()): void {
    this.#order += 1;
    const action = { atMs: this.nowMs + delayMs, order: this.#order, act, life: this.#life };
    this.#agenda.push(action);
  }

  latency(): number {
    return Math.floor(this.fraction() * (this.options.latencyMs ?? 20));
  }

  /** A report of the outside, which may come again, late. */
  protected tell(report: Report): void {
    this.report(report);
    if (!this.#happens("repeat")) return;
    this.later(() => {
      this.report(structuredClone(report));
    }, 10 * this.latency());
  }

  /** What the run answered, as its caller sees it. */
  get output(): unknown {
    const { ended } = this.run.state;
    equal(ended?.status, "completed", JSON.stringify(ended));
    return valueOf(ended?.output);
  }

  history(type: string): string[] {
    return this.effects.flatMap((effect) =>
      effect.do === "history" && effect.entry.type === type ? [effect.entry.step ?? ""] : [],
    );
  }

  /** Effects of a kind that left so far. */
  left<Kind extends Effect["do"]>(kind: Kind): (Effect & { readonly do: Kind })[] {
    return this.effects.filter((effect) => effect.do === kind) as (Effect & { do: Kind })[];
  }

  protected perform(effect: Effect): void {
    switch (effect.do) {
      case "plan":
        this.later(() => {
          this.#plan();
        });
        return;
      case "hooks":
        this.later(() => this.#hooks(effect.batch, effect.calls));
        return;
      case "dispatch":
        this.dispatch(effect);
        return;
      case "cancel": {
        const key = `${effect.step}:${String(effect.token)}`;
        this.#cancels.get(key)?.();
        return;
      }
      case "startChild":
        this.#child(effect);
        return;
      case "terminateChild": {
        const { step, token } = effect;
        const error = { name: "Terminated", message: "the run was terminated" };
        this.later(() => {
          this.tell({ type: "childEnded", step, token, outcome: { ok: false, error } });
        });
        return;
      }
      case "setTimer":
        this.#timers.set(effect.key, effect.atMs);
        this.later(
          () => {
            this.#fire(effect.key, effect.atMs);
          },
          Math.max(effect.atMs - this.nowMs, 0),
        );
        return;
      case "clearTimer":
        this.#timers.delete(effect.key);
        return;
      default:
    }
  }

  protected dispatch(effect: Effect & { readonly do: "dispatch" }): void {
    const { step, token, operation, attempt, idempotencyKey: key } = effect;
    const name = "function" in operation ? operation.function : operation.op;
    const work = (): unknown => this.#call(name, effect.input, { step, attempt, key });
    const limit = "retry" in operation ? (operation.retry?.limit ?? 0) : 0;
    this.attempt(step, token, key, effect.deadlineMs !== undefined && attempt <= limit, work);
  }

  /** One attempt: entered at once, answered later, or never. */
  protected attempt(
    step: string,
    token: number,
    key: string,
    mayBeLost: boolean,
    work: () => unknown,
  ): void {
    let isOpen = true;
    const answer = (outcome: Outcome): void => {
      if (!isOpen) return;
      isOpen = false;
      this.tell({ type: "settled", step, token, outcome });
    };
    this.ledger.set(key, (this.ledger.get(key) ?? 0) + 1);
    const canceled: Outcome = { ok: false, error: { name: "Canceled", message: "canceled" } };
    this.#cancels.set(`${step}:${String(token)}`, () => {
      this.later(() => {
        answer(canceled);
      });
    });
    if (mayBeLost && this.#happens("lose")) return;
    this.later(async () => {
      const outcome = await outcomeOf(work);
      if (!outcome.ok || valueOf(outcome.output) !== NEVER) answer(outcome);
    });
  }

  #call(name: string, input: Held, info: AttemptInfo): unknown {
    const fn = this.options.functions?.[name];
    if (!fn) throw Object.assign(new Error(`no function ${name}`), { isFinal: true });
    return fn(valueOf(input), info);
  }

  #child({ step, token, run, workflow, input }: Effect & { readonly do: "startChild" }): void {
    this.ledger.set(run, (this.ledger.get(run) ?? 0) + 1);
    this.later(async () => {
      const work = () => this.#call(workflow, input, { step, attempt: 1, key: run });
      this.tell({ type: "childEnded", step, token, outcome: await outcomeOf(work) });
    });
  }

  #plan(): void {
    const { flow, input } = this.options;
    if (!flow) return;
    try {
      const { plan } = flow.evaluate({ input, query: {}, headers: {} });
      this.tell({ type: "planned", plan, pins: {} });
    } catch (thrown) {
      this.report({ type: "planFailed", error: errorOf(thrown) });
    }
  }

  async #hooks(batch: number, calls: readonly HookCall[]): Promise<void> {
    const { flow, input } = this.options;
    if (!flow) return;
    const { hooks } = flow.evaluate({ input, query: {}, headers: {} });
    const life = this.#life;
    const results = await runHooks(hooks, structuredClone(calls));
    if (life === this.#life) {
      this.tell({ type: "hooksReturned", batch, results: structuredClone(results) });
    }
  }

  #fire(key: string, atMs: number): void {
    if (this.#timers.get(key) !== atMs) {
      if (this.#happens("repeat")) this.report({ type: "timer", key });
      return;
    }
    this.#timers.delete(key);
    this.report({ type: "timer", key });
  }

  #next(): Action | undefined {
    let first: Action | undefined;
    for (const action of this.#agenda) {
      if (!first || action.atMs < first.atMs) first = action;
      else if (action.atMs === first.atMs && action.order < first.order) first = action;
    }
    if (first) this.#agenda.splice(this.#agenda.indexOf(first), 1);
    return first;
  }

  #happens(accident: keyof Accidents): boolean {
    const likelihood = this.options.accidents?.[accident] ?? 0;
    return likelihood > 0 && this.fraction() < likelihood;
  }

  #stamp(): { atMs: number; random: number } {
    return { atMs: this.nowMs, random: this.fraction() };
  }
}

async function outcomeOf(work: () => unknown): Promise<Outcome> {
  try {
    return { ok: true, output: { value: await work() } };
  } catch (thrown) {
    return { ok: false, error: errorOf(thrown) };
  }
}

function errorOf(thrown: unknown): (Outcome & { ok: false })["error"] {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { isFinal, code } = error as { isFinal?: true; code?: string };
  return {
    name: error.name,
    message: error.message,
    ...(isFinal && { isFinal }),
    ...(code !== undefined && { code }),
  };
}
