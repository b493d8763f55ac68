/**
 * Steps: attempts, retries, timeouts, sleeps, waits for events, runs of other workflows. The same
 * for both forms of workflow, for compensations and rollbacks.
 *
 * P1 At most one attempt of a step counts: the one whose token the step has. Each new attempt,
 *    each timeout and each interruption changes the token (W3).
 * P2 A step that has a timer has `dueAtMs`; a timer that fires early or twice changes nothing.
 * P3 Interruptions are no retries; a step that was in flight when its process died is a suspect.
 *    Three deaths of the probation cell under it fail it (G7).
 */
import { WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import type { Held, RetryPlan, RunError } from "../builder/index.ts";
import type {
  AttemptRef,
  Effect,
  Outcome,
  Pin,
  Place,
  RunEvent,
  StepOperation,
  StepState,
} from "./model.ts";
import { operationText } from "./operation-text.ts";
import type { Turn } from "./turn.ts";

/** Whose steps they are. */
export interface StepOwner {
  /** The step has a result, and is recorded with it. */
  completed(step: StepState, output: Held): void;
  /** No attempt is left. */
  failed(step: StepState, error: RunError): void;
  /** A step that was being canceled is over, maybe with a result after all. */
  canceled(step: StepState, outcome: Outcome): void;
  /** Whether an attempt can be made now; if not, the owner launches it later. */
  mayLaunch(step: StepState): boolean;
}

const NO_RETRY: RetryPlan = { limit: 0, delayMs: 0, backoff: "constant" };
const SPREAD = 0.1;

export class Steps {
  readonly #turn: Turn;
  readonly #owner: StepOwner;

  constructor(turn: Turn, owner: StepOwner) {
    this.#turn = turn;
    this.#owner = owner;
  }

  /** Records a step; `launch` begins it. */
  add(id: string, operation: StepOperation, input: Held, place?: Place): StepState {
    const step: StepState = {
      id,
      operation,
      ...(place && { place }),
      input,
      phase: "held",
      attempt: 1,
      token: 0,
      deaths: 0,
      isSuspect: false,
    };
    this.#turn.state.steps.set(id, step);
    return step;
  }

  launch(step: StepState): void {
    if (!this.#owner.mayLaunch(step)) {
      step.phase = "held";
      return;
    }
    const { operation } = step;
    if (step.token === 0) {
      this.#turn.note({ type: "stepStarted", step: step.id, what: operationText(operation) });
    }
    this.#newToken(step);
    switch (operation.op) {
      case "sleep":
        step.phase = "sleeping";
        this.#wake(step, operation.forMs ?? 0);
        return;
      case "event":
        this.#listen(step, operation.type, operation.timeoutMs);
        return;
      case "invoke":
        this.#startChild(step, operation.workflow);
        return;
      default:
        this.#dispatch(step);
    }
  }

  settled({ step: id, token, outcome }: AttemptRef & { outcome: Outcome }): void {
    const step = this.#turn.state.steps.get(id);
    if (step?.token !== token || (step.phase !== "running" && step.phase !== "canceling")) {
      this.#turn.emit({ do: "abortStore", step: id, token });
      return;
    }
    this.#turn.emit({ do: outcome.ok ? "commitStore" : "abortStore", step: id, token });
    this.#ended(step, outcome);
  }

  childEnded({ step: id, token, outcome }: AttemptRef & { outcome: Outcome }): void {
    const step = this.#turn.state.steps.get(id);
    const isChild = step?.operation.op === "invoke";
    if (!isChild || step.token !== token) return;
    if (step.phase === "child" || step.phase === "canceling") this.#ended(step, outcome);
  }

  interrupted(event: RunEvent & { type: "interrupted" }): void {
    const { steps } = this.#turn.state;
    const inFlight = [...steps.values()].filter(isInFlight);
    const attempts = event.attempts ?? inFlight.map(({ id: step, token }) => ({ step, token }));
    for (const { step: id, token } of attempts) {
      const step = steps.get(id);
      if (step?.token !== token || !isInFlight(step)) continue;
      this.#turn.emit({ do: "abortStore", step: id, token });
      this.#turn.note({ type: "attemptInterrupted", step: id, error: event.error });
      if (step.phase === "canceling") this.#ended(step, { ok: false, error: event.error });
      else this.#again(step, event);
    }
  }

  /** A timer fired: deadline, retry, end of a sleep, end of a wait. */
  timer(key: string): void {
    const step = this.#turn.state.steps.get(key);
    if (step?.dueAtMs === undefined) return;
    if (this.#turn.state.pausedAtMs !== undefined && isWaiting(step)) return;
    if (this.#turn.atMs < step.dueAtMs) {
      this.#turn.emit({ do: "setTimer", key, atMs: step.dueAtMs });
      return;
    }
    delete step.dueAtMs;
    switch (step.phase) {
      case "sleeping":
        this.#completed(step, step.input);
        return;
      case "retrying":
        step.attempt += 1;
        this.launch(step);
        return;
      case "listening":
        this.#lastFailed(step, this.#late("wait for the event", step));
        return;
      case "child":
        this.#turn.emit(this.#terminateChild(step));
        this.#newToken(step);
        this.#attemptFailed(step, this.#late("run", step));
        return;
      case "running":
        this.#turn.emit({ do: "cancel", step: step.id, token: step.token });
        this.#turn.emit({ do: "abortStore", step: step.id, token: step.token });
        this.#newToken(step);
        this.#attemptFailed(step, this.#late("run", step));
        return;
      default:
    }
  }

  /** In code form in the words of the API that it was written for. */
  #late(what: string, { id, operation }: StepState): RunError {
    const afterMs = "timeoutMs" in operation ? operation.timeoutMs : undefined;
    const bound = afterMs === undefined ? "its deadline" : `${String(afterMs)} ms`;
    const message =
      this.#turn.state.form === "code" && afterMs !== undefined
        ? `Execution timed out after ${String(afterMs)}ms`
        : `${id} did not ${what} within ${bound}`;
    return { name: "WorkflowTimeoutError", message, code: "TIMEOUT" };
  }

  /** Hands an event to the step that has waited longest; false if none waits. */
  signal(name: string, payload: Held): boolean {
    let first: StepState | undefined;
    for (const step of this.#turn.state.steps.values()) {
      const { operation, phase, token } = step;
      if (phase !== "listening" || operation.op !== "event" || operation.type !== name) continue;
      if (!first || token < first.token) first = step;
    }
    if (!first) return false;
    this.#completed(first, payload);
    return true;
  }

  /** Waits stop; what is attempted goes on. */
  pause(): void {
    for (const step of this.#turn.state.steps.values()) {
      if (isWaiting(step)) this.#turn.emit({ do: "clearTimer", key: step.id });
    }
  }

  /** Waits go on; the pause does not count. */
  resume(pausedMs: number): void {
    for (const step of this.#turn.state.steps.values()) {
      if (!isWaiting(step) || step.dueAtMs === undefined) continue;
      step.dueAtMs += pausedMs;
      this.#turn.emit({ do: "setTimer", key: step.id, atMs: step.dueAtMs });
    }
  }

  /** Ends a step. True if it has to be waited for. */
  cancel(step: StepState): boolean {
    if (step.phase === "canceling") return true;
    this.#clearTimer(step);
    if (step.phase === "running" || step.phase === "child") {
      const { id, token, phase } = step;
      this.#turn.emit(
        phase === "running" ? { do: "cancel", step: id, token } : this.#terminateChild(step),
      );
      step.phase = "canceling";
      return true;
    }
    if (step.phase !== "done") {
      if (step.phase !== "held") this.#turn.note({ type: "stepCanceled", step: step.id });
      this.#turn.state.steps.delete(step.id);
    }
    return false;
  }

  /** Fails a step that cannot be attempted. */
  giveUp(step: StepState, error: RunError): void {
    this.#lastFailed(step, error);
  }

  /** What keeps a step going that is under way, told anew after a restart (W2). */
  recovery(): Effect[] {
    const effects: Effect[] = [];
    const isPaused = this.#turn.state.pausedAtMs !== undefined;
    for (const step of this.#turn.state.steps.values()) {
      if (step.dueAtMs !== undefined && !(isPaused && isWaiting(step))) {
        effects.push({ do: "setTimer", key: step.id, atMs: step.dueAtMs });
      }
      if (step.operation.op !== "invoke") continue;
      if (step.phase === "child") effects.push(this.#childEffect(step, step.operation.workflow));
      if (step.phase === "canceling") effects.push(this.#terminateChild(step));
    }
    return effects;
  }

  #ended(step: StepState, outcome: Outcome): void {
    this.#clearTimer(step);
    if (step.phase === "canceling") {
      this.#turn.note({ type: outcome.ok ? "stepCompleted" : "stepCanceled", step: step.id });
      this.#recordUndo(step, outcome);
      this.#owner.canceled(step, outcome);
    } else if (outcome.ok) this.#completed(step, outcome.output);
    else this.#attemptFailed(step, outcome.error, outcome.retryAfterMs);
  }

  #completed(step: StepState, output: Held): void {
    this.#clearTimer(step);
    this.#recordUndo(step, { ok: true, output });
    this.#turn.note({ type: "stepCompleted", step: step.id });
    this.#owner.completed(step, output);
  }

  #attemptFailed(step: StepState, error: RunError, retryAfterMs?: number): void {
    const retry = this.#retryOf(step);
    if (error.isFinal === true || step.attempt > retry.limit) {
      this.#lastFailed(step, error);
      return;
    }
    step.phase = "retrying";
    const delayMs = retryAfterMs ?? backOffMs(retry, step.attempt, this.#turn.random);
    this.#wake(step, delayMs);
    this.#turn.note({
      type: "attemptFailed",
      step: step.id,
      attempt: step.attempt,
      error,
      retryAtMs: this.#turn.atMs + delayMs,
    });
  }

  #lastFailed(step: StepState, error: RunError): void {
    this.#clearTimer(step);
    const named = { ...error, step: error.step ?? step.id };
    const { attempt } = step;
    this.#turn.note({ type: "stepFailed", step: step.id, attempt, error: named });
    this.#owner.failed(step, named);
  }

  #again(step: StepState, { where, error }: RunEvent & { type: "interrupted" }): void {
    step.isSuspect = true;
    if (where === "probation") step.deaths += 1;
    if (step.deaths >= WORKFLOW_LIMITS.deathsMax) {
      this.#newToken(step);
      this.#lastFailed(step, { ...error, isFinal: true });
      return;
    }
    this.#clearTimer(step);
    this.launch(step);
  }

  #dispatch(step: StepState): void {
    const { state, atMs } = this.#turn;
    const { id, token, operation, attempt, input, isSuspect } = step;
    step.phase = "running";
    const timeoutMs = this.#timeoutOf(step);
    if (timeoutMs > 0) this.#wake(step, timeoutMs);
    if (attempt === 1 && step.undo === undefined) this.#planUndo(step);
    this.#turn.note({ type: "attemptStarted", step: id, attempt });
    const pin = this.#pinOf(operation);
    const generation = state.restarts === 0 ? "" : `~${String(state.restarts)}`;
    this.#turn.emit({
      do: "dispatch",
      step: id,
      token,
      operation,
      ...(pin && { pin }),
      input,
      attempt,
      idempotencyKey: `${state.run}/${id}${generation}`,
      ...(timeoutMs > 0 && { deadlineMs: atMs + timeoutMs }),
      isSuspect,
    });
  }

  #startChild(step: StepState, workflow: string): void {
    step.phase = "child";
    const timeoutMs = this.#timeoutOf(step);
    if (timeoutMs > 0) this.#wake(step, timeoutMs);
    if (step.attempt === 1) this.#planUndo(step);
    const { id, attempt } = step;
    const run = this.#childId(step.token);
    this.#turn.note({ type: "attemptStarted", step: id, attempt, run });
    this.#turn.emit(this.#childEffect(step, workflow));
  }

  #childEffect({ id: step, token, operation, input }: StepState, workflow: string): Effect {
    const { state } = this.#turn;
    const pin = this.#pinOf(operation);
    return {
      do: "startChild",
      step,
      token,
      run: this.#childId(token),
      workflow,
      ...(pin && { pin }),
      ...("version" in operation && isNumber(operation.version) && { version: operation.version }),
      input,
      chain: [...state.chain, state.workflow],
    };
  }

  #terminateChild({ id: step, token }: StepState): Effect {
    return { do: "terminateChild", step, token, run: this.#childId(token) };
  }

  /** In the parent's shard, and the same however often the parent is rebuilt. */
  #childId(token: number): string {
    return `${this.#turn.state.run}.${String(token)}`;
  }

  #listen(step: StepState, name: string, timeoutMs: number): void {
    const { state } = this.#turn;
    const index = state.inbox.findIndex((event) => event.name === name);
    const [event] = index === -1 ? [] : state.inbox.splice(index, 1);
    if (event) {
      this.#completed(step, event.payload);
      return;
    }
    step.phase = "listening";
    this.#wake(step, timeoutMs);
  }

  /** What undoes a step is known before its first attempt can have had an effect. */
  #planUndo(step: StepState): void {
    const { operation, id, input } = step;
    const { undo } = this.#turn.state;
    if (operation.op === "do" && operation.rollback) {
      undo.push({
        step: id,
        operation: { op: "rollback", step: id, ...operation.rollback },
        input,
      });
    } else if ("compensate" in operation && operation.compensate) {
      undo.push({ step: id, operation: { op: "apply", ...operation.compensate }, input });
    } else return;
    step.undo = undo.length - 1;
  }

  #recordUndo(step: StepState, outcome: Outcome): void {
    const entry = step.undo === undefined ? undefined : this.#turn.state.undo[step.undo];
    if (entry && outcome.ok) entry.output = outcome.output;
  }

  #pinOf(operation: StepOperation): Pin | undefined {
    const { pins } = this.#turn.state;
    let name = "";
    if (operation.op === "apply") name = operation.function;
    if (operation.op === "invoke") name = operation.workflow;
    if ("version" in operation && operation.version !== undefined) return undefined;
    return Object.hasOwn(pins, name) ? pins[name] : undefined;
  }

  #retryOf({ operation }: StepState): RetryPlan {
    if (!("retry" in operation) && operation.op !== "apply") return NO_RETRY;
    return operation.retry ?? this.#pinOf(operation)?.retry ?? NO_RETRY;
  }

  #timeoutOf({ operation }: StepState): number {
    if (operation.op === "sleep" || operation.op === "event") return 0;
    if (operation.timeoutMs !== undefined) return operation.timeoutMs;
    return operation.op === "apply" ? (this.#pinOf(operation)?.timeoutMs ?? 0) : 0;
  }

  #newToken(step: StepState): void {
    this.#turn.state.tokens += 1;
    step.token = this.#turn.state.tokens;
  }

  #wake(step: StepState, inMs: number): void {
    step.dueAtMs = this.#turn.atMs + inMs;
    const { pausedAtMs } = this.#turn.state;
    if (pausedAtMs !== undefined && isWaiting(step)) {
      // As if it had begun with the pause, by whose length `resume` moves it.
      step.dueAtMs -= this.#turn.atMs - pausedAtMs;
      return;
    }
    this.#turn.emit({ do: "setTimer", key: step.id, atMs: step.dueAtMs });
  }

  #clearTimer(step: StepState): void {
    if (step.dueAtMs === undefined) return;
    delete step.dueAtMs;
    this.#turn.emit({ do: "clearTimer", key: step.id });
  }
}

const isNumber = (version: unknown): version is number => typeof version === "number";

const isInFlight = ({ phase, operation }: StepState): boolean =>
  phase === "running" || (phase === "canceling" && operation.op !== "invoke");

const isWaiting = ({ phase }: StepState): boolean =>
  phase === "retrying" || phase === "sleeping" || phase === "listening";

/** The delay before the next attempt: by its policy, spread by a tenth, and bounded. */
export function backOffMs(retry: RetryPlan, attempt: number, random: number): number {
  const factors = { constant: 1, linear: attempt, exponential: 2 ** (attempt - 1) };
  const delayMs = retry.delayMs * factors[retry.backoff] * (1 + SPREAD * random);
  return Math.round(Math.min(delayMs, WORKFLOW_LIMITS.waitMaxMs));
}
