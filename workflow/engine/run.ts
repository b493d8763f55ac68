/**
 * A run as a machine: an event goes in, the state changes, effects come out.
 *
 * Reports (`settled`, `timer`, …) may come late, twice or for nothing: then nothing changes.
 * Commands (`signal`, `pause`, …) that do not fit are refused before anything changes.
 */
import { IsolaError, WORKFLOW_LIMITS, assert } from "../../runtime/contract/index.ts";
import type { Held, HookResult, RunError } from "../builder/index.ts";
import { resultFits } from "./batch.ts";
import { CodeWalk } from "./code-walk.ts";
import { DagWalk } from "./dag-walk.ts";
import { Ending, isUndo } from "./ending.ts";
import {
  type Effect,
  type Outcome,
  type RunEvent,
  type RunState,
  type RunStatus,
  STATE_FORMAT,
  type Started,
  type StepState,
} from "./model.ts";
import { type StepOwner, Steps } from "./steps.ts";
import { Turn } from "./turn.ts";

type EventOf<Type extends RunEvent["type"]> = RunEvent & { readonly type: Type };

/** More than a run can use up: each attempt of each step takes one. */
const TOKENS_PER_LIFE = 2 ** 32;

export class Run implements StepOwner {
  readonly #turn: Turn;
  readonly #steps: Steps;
  readonly #dag: DagWalk;
  readonly #code: CodeWalk;
  readonly #ending: Ending;

  /** A run as its state says; the state belongs to it from now on. */
  constructor(state: RunState) {
    assert(state.format === STATE_FORMAT, "a run's state has the format of this release");
    this.#turn = new Turn(state);
    this.#steps = new Steps(this.#turn, this);
    this.#dag = new DagWalk(this.#turn, this.#steps);
    this.#ending = new Ending(this.#turn, this.#steps);
    this.#code = new CodeWalk(this.#turn, this.#steps, (error) => {
      this.#ending.begin({ cause: "failed", error });
    });
  }

  /** The first event of every journal. */
  static begin(event: Started): { run: Run; effects: Effect[] } {
    const { run: id, workflow, form, input, chain, timeoutMs, isQueued, atMs } = event;
    const state: RunState = {
      format: STATE_FORMAT,
      run: id,
      workflow,
      form,
      input,
      chain,
      startedAtMs: atMs,
      ...(isQueued && { isQueued }),
      ...(timeoutMs !== undefined && !isQueued && { deadlineMs: atMs + timeoutMs }),
      pins: {},
      tokens: 0,
      batches: 0,
      restarts: 0,
      isUndone: false,
      steps: new Map(),
      scopes: new Map(),
      undo: [],
      queue: [],
      inbox: [],
      inboxIds: [],
    };
    const run = new Run(state);
    return { run, effects: run.#begin(event) };
  }

  /** The run that a journal tells of. */
  static fold(events: readonly RunEvent[]): Run {
    const [first, ...rest] = events;
    assert(first?.type === "started", "a journal begins with the start of its run");
    const { run } = Run.begin(first);
    for (const event of rest) run.apply(event);
    return run;
  }

  get state(): RunState {
    return this.#turn.state;
  }

  /** Whether the state can be written down now: not while hooks are called, whose cells it has. */
  get canBeSnapshot(): boolean {
    return this.state.batch === undefined;
  }

  /** Something is in flight that ends with its process: after a restart it has to be told anew. */
  get isBusy(): boolean {
    const { ended, isQueued, form, plan, code, steps, ending } = this.state;
    if (ended || isQueued) return false;
    if (code?.isLive === true || (form === "dag" && !plan && !ending)) return true;
    if (this.#hasAttempts) return true;
    for (const { phase } of steps.values()) if (phase === "held") return true;
    return false;
  }

  get status(): RunStatus {
    const { ended, ending, pausedAtMs, steps, isQueued, plan, form } = this.state;
    if (ended) return ended.status;
    if (ending) return ending.phase === "undoing" ? "rollingBack" : "running";
    if (isQueued || (form === "dag" && !plan)) return "queued";
    if (pausedAtMs !== undefined) return this.#hasAttempts ? "pausing" : "paused";
    if (form === "code" ? this.#hasAttempts : this.isBusy) return "running";
    const open = [...steps.values()].filter(({ phase }) => phase !== "done");
    const isWaiting = open.length > 0 && open.every(({ phase }) => phase !== "held");
    return isWaiting ? "waiting" : "running";
  }

  /**
   * Changes the run.
   *
   * @throws IsolaError `RUN_STATE`, `STEP_NOT_FOUND`, `REQUEST_INVALID` or `QUOTA_EXCEEDED` for a
   *   command that does not fit; nothing has changed then, and it does not belong to the journal.
   */
  apply(event: RunEvent): Effect[] {
    this.#turn.begin(event);
    this.#take(event);
    this.#goOn();
    return this.#turn.effects;
  }

  /** What is under way, told anew: after a restart, before `interrupted` and `codeLost`. */
  recovery(): Effect[] {
    const { batch, plan, form, ended, isQueued, ending, deadlineMs } = this.state;
    if (ended || isQueued) return [];
    const effects = this.#steps.recovery();
    if (deadlineMs !== undefined) effects.push({ do: "setTimer", key: "", atMs: deadlineMs });
    if (batch) effects.push({ do: "hooks", batch: batch.id, calls: batch.calls });
    if (form === "dag" && !plan && !ending) effects.push({ do: "plan" });
    return effects;
  }

  completed(step: StepState, output: Held): void {
    if (isUndo(step)) this.#ending.undone(step, { ok: true, output });
    else if (this.state.form === "code") this.#code.completed(step, { ok: true, output });
    else if (step.place) {
      this.state.steps.delete(step.id);
      this.state.queue.push({ kind: "completed", ...step.place, output });
    }
  }

  failed(step: StepState, error: RunError): void {
    if (isUndo(step)) this.#ending.undone(step, { ok: false, error });
    else if (this.state.form === "code") this.#code.completed(step, { ok: false, error });
    else if (step.place) {
      this.state.steps.delete(step.id);
      const recovers = "onFailure" in step.operation;
      const work = { ...step.place, error };
      this.state.queue.push(recovers ? { kind: "recover", ...work } : { kind: "fail", error });
    }
  }

  canceled(step: StepState, outcome: Outcome): void {
    const { state } = this;
    if (outcome.ok && state.form === "code") {
      step.phase = "done";
      step.outcome = outcome;
      state.code?.order.push(step.id);
    } else state.steps.delete(step.id);
    if (outcome.ok && step.place) {
      state.queue.push({ kind: "completed", ...step.place, output: outcome.output });
    }
    this.#ending.canceled();
  }

  mayLaunch(step: StepState): boolean {
    return this.state.form === "dag" || this.#code.mayLaunch(step);
  }

  /** Hooks or attempts that have not answered yet. */
  get #hasAttempts(): boolean {
    if (this.state.batch) return true;
    for (const { phase, operation } of this.state.steps.values()) {
      if (phase === "running") return true;
      if (phase === "canceling" && operation.op !== "invoke") return true;
    }
    return false;
  }

  #begin(event: Started): Effect[] {
    this.#turn.begin(event);
    if (event.isQueued) this.#turn.note({ type: "runQueued" });
    else this.#launch();
    return this.#turn.effects;
  }

  #admitted({ timeoutMs, atMs }: EventOf<"admitted">): void {
    const { state } = this;
    if (!state.isQueued || state.ended) return;
    delete state.isQueued;
    if (timeoutMs !== undefined) state.deadlineMs = atMs + timeoutMs;
    this.#launch();
  }

  #launch(): void {
    this.#turn.note({ type: "runStarted" });
    const { deadlineMs, form } = this.state;
    if (deadlineMs !== undefined) this.#turn.emit({ do: "setTimer", key: "", atMs: deadlineMs });
    if (form === "code") this.#code.begin();
    else this.#turn.emit({ do: "plan" });
  }

  #take(event: RunEvent): void {
    switch (event.type) {
      case "started":
        return undefined;
      case "planned":
        return this.#planned(event);
      case "valueRecomputed":
        return this.#turn.note({ type: "valueRecomputed", step: event.step });
      case "admitted":
        return this.#admitted(event);
      case "begunAnew":
        if (!this.state.plan) this.state.tokens = event.life * TOKENS_PER_LIFE;
        return undefined;
      case "planFailed":
        if (!this.state.plan) this.#ending.begin({ cause: "failed", error: event.error });
        return undefined;
      case "settled":
        return this.#steps.settled(event);
      case "childEnded":
        return this.#steps.childEnded(event);
      case "interrupted":
        return this.#steps.interrupted(event);
      case "hooksReturned":
        return this.#hooksReturned(event.batch, event.results);
      case "hooksFailed":
        return this.#hooksFailed(event.batch, event.error);
      case "timer":
        return this.#timer(event.key);
      case "stepCalled":
        return this.state.form === "code" ? this.#code.called(event) : undefined;
      case "codeEnded":
        return this.#codeEnded(event);
      case "codeIdle":
        return this.state.form === "code" ? this.#code.idle(event) : undefined;
      case "codeLost":
        return this.state.form === "code" ? this.#code.lost(event) : undefined;
      default:
        return this.#command(event);
    }
  }

  #command(event: EventOf<"signal" | "pause" | "resume" | "terminate" | "restart">): void {
    switch (event.type) {
      case "signal":
        return this.#signal(event);
      case "pause":
        return this.#pause();
      case "resume":
        return this.#resume();
      case "terminate":
        return this.#terminate(event.rollback === true);
      case "restart":
        return this.#restart(event);
    }
  }

  /** After each event: the walk goes as far as it gets. */
  #goOn(): void {
    const { state } = this;
    if (state.form !== "dag" || !state.plan) return;
    const last = this.#dag.pump();
    if (!last) return;
    state.queue = state.queue.filter((work) => work.kind !== "fail" && work.kind !== "finish");
    if (last.kind === "finish") this.#ending.begin({ cause: "completed", output: last.output });
    if (last.kind === "fail") this.#ending.begin({ cause: "failed", error: last.error });
  }

  #planned({ plan, pins }: EventOf<"planned">): void {
    const { state } = this;
    if (state.form !== "dag" || state.plan || state.ending || state.ended) return;
    state.plan = plan;
    state.pins = pins;
    this.#dag.begin(state.input);
  }

  #hooksReturned(id: number, results: readonly HookResult[]): void {
    const { batch } = this.state;
    if (batch?.id !== id) return;
    const fits =
      results.length === batch.calls.length &&
      batch.calls.every(({ role }, index) => resultFits(role, results[index]));
    if (!fits) {
      const message = "the isolate answered its hooks with something else";
      this.#hooksFailed(id, { name: "HookFault", message, code: "HOOK_INVALID", isFinal: true });
      return;
    }
    delete this.state.batch;
    if (batch.purpose === "walk") this.#dag.returned(batch, results);
    else if (results[0]) this.#ending.returned(batch, results[0]);
    this.#ending.advance();
  }

  #hooksFailed(id: number, error: RunError): void {
    const { batch } = this.state;
    if (batch?.id !== id) return;
    delete this.state.batch;
    if (batch.purpose === "walk") this.#dag.failed(batch, error);
    else this.#ending.returned(batch, { error });
    this.#ending.advance();
  }

  #timer(key: string): void {
    if (key !== "") {
      this.#steps.timer(key);
      return;
    }
    const { deadlineMs, ended, ending } = this.state;
    if (deadlineMs === undefined || ended || ending) return;
    if (this.#turn.atMs < deadlineMs) {
      this.#turn.emit({ do: "setTimer", key, atMs: deadlineMs });
      return;
    }
    const message = "the run did not end within its timeoutMs";
    const error = { name: "WorkflowTimeoutError", message, code: "TIMEOUT" };
    this.#ending.begin({ cause: "failed", error });
  }

  #codeEnded(event: EventOf<"codeEnded">): void {
    const outcome = this.state.form === "code" ? this.#code.ended(event) : undefined;
    if (!outcome) return;
    if (outcome.ok) this.#ending.begin({ cause: "completed", output: outcome.output });
    else this.#ending.begin({ cause: "failed", error: outcome.error });
  }

  #signal({ id, name, payload }: EventOf<"signal">): void {
    const { state } = this;
    if (state.inboxIds.includes(id)) return;
    if (state.ended || state.ending) this.#refuse("send an event to");
    if (name.length > WORKFLOW_LIMITS.eventTypeMaxCharacters || name === "") {
      throw new IsolaError("REQUEST_INVALID", {
        attempted: "send an event",
        found: `a type of ${String(name.length)} characters`,
        required: `1 to ${String(WORKFLOW_LIMITS.eventTypeMaxCharacters)}`,
      });
    }
    if (state.inbox.length >= WORKFLOW_LIMITS.eventsKept) {
      throw new IsolaError("QUOTA_EXCEEDED", {
        attempted: `send an event to the run ${state.run}`,
        found: `${String(state.inbox.length)} events that nobody waited for`,
        required: "a run that takes its events",
      });
    }
    state.inboxIds.push(id);
    if (state.inboxIds.length > WORKFLOW_LIMITS.eventIdsKept) state.inboxIds.shift();
    this.#turn.note({ type: "eventReceived", names: [name] });
    const held = state.form === "code" ? withTime(payload, this.#turn.atMs) : payload;
    if (!this.#steps.signal(name, held)) state.inbox.push({ name, payload: held });
  }

  #pause(): void {
    const { state } = this;
    if (state.ended || state.ending) this.#refuse("pause");
    if (state.pausedAtMs !== undefined) return;
    state.pausedAtMs = this.#turn.atMs;
    this.#steps.pause();
    this.#turn.note({ type: "runPaused" });
  }

  #resume(): void {
    const { state } = this;
    if (state.pausedAtMs === undefined) this.#refuse("resume");
    const pausedMs = this.#turn.atMs - (state.pausedAtMs ?? 0);
    delete state.pausedAtMs;
    this.#steps.resume(pausedMs);
    this.#turn.note({ type: "runResumed" });
    if (state.form === "code" && !state.isQueued) this.#code.resume();
  }

  #terminate(rollback: boolean): void {
    if (this.state.ended) this.#refuse("terminate");
    this.#turn.note({ type: "runTerminating" });
    this.#ending.begin({ cause: "terminated", rollback });
  }

  #restart({ from, pins }: EventOf<"restart">): void {
    const { state } = this;
    const hasBegun = !state.isQueued && (state.form === "code" || state.plan !== undefined);
    if (!state.ended || state.isUndone || !hasBegun) {
      this.#refuse("continue");
    }
    const place = from === undefined ? undefined : this.#dag.find(from);
    const isKnown = state.form === "dag" ? place : state.steps.has(from ?? "");
    if (from === undefined ? state.ended?.status === "completed" : !isKnown) {
      throw new IsolaError("STEP_NOT_FOUND", {
        attempted: `restart the run ${state.run} from ${from ?? "where it stopped"}`,
        found: from === undefined ? "a run that completed" : "no such step in the run",
      });
    }
    delete state.ended;
    delete state.deadlineMs;
    state.pins = { ...state.pins, ...pins };
    state.undo = state.undo.filter(({ output }) => output !== undefined);
    if (from !== undefined) {
      state.restarts += 1;
      state.inbox = [];
    }
    this.#turn.note({ type: "runRestarted", ...(from !== undefined && { step: from }) });
    if (state.form === "code") {
      this.#code.rewind(from);
      return;
    }
    if (place) this.#dag.reset(place, place.operation);
    this.#dag.proceedAll();
  }

  #refuse(what: string): never {
    throw new IsolaError("RUN_STATE", {
      attempted: `${what} the run ${this.state.run}`,
      found: `the status ${this.status}`,
    });
  }
}

/** Code hears when an event came, also when it waits later, and when it is replayed. */
function withTime(payload: Held, atMs: number): Held {
  return {
    parts: [
      ["payload", payload],
      ["atMs", { value: atMs }],
    ],
  };
}
