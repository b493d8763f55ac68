/**
 * How a run ends: what is under way is ended, what has to be undone is undone, handlers are asked,
 * and then it has ended, once.
 *
 * E1 Nothing is undone before every attempt in flight has ended, so that no attempt works on what
 *    its own compensation takes away. Its result counts if it had one after all.
 * E2 Compensations run one by one, newest first attempt first, and stop at the first that fails.
 * E3 `onFailure` may turn a failure into a result; `finally` hears how the run ends, last.
 */
import type { HookResult } from "../builder/index.ts";
import type { Held, RunError } from "../builder/index.ts";
import { Batch } from "./batch.ts";
import type { BatchState, EndStatus, Ended, Outcome, StepState } from "./model.ts";
import { publicError } from "./places.ts";
import type { Steps } from "./steps.ts";
import type { Turn } from "./turn.ts";

interface How {
  readonly cause: EndStatus;
  readonly output?: Held;
  readonly error?: RunError;
  readonly rollback?: boolean;
}

const UNDO = "/undo";

/** The id of the step that undoes another one. */
export const undoId = (step: string): string => `${step}${UNDO}`;

/** Whether the step undoes another one. */
export const isUndo = (step: StepState): boolean => step.id.endsWith(UNDO);

export class Ending {
  readonly #turn: Turn;
  readonly #steps: Steps;

  constructor(turn: Turn, steps: Steps) {
    this.#turn = turn;
    this.#steps = steps;
  }

  /** Begins the end. A run that ends already is at most terminated instead of failed. */
  begin({ cause, output, error, rollback }: How): void {
    const { state } = this.#turn;
    if (state.ended) return;
    if (state.ending) {
      if (cause === "terminated" && state.ending.phase === "canceling") {
        Object.assign(state.ending, { cause, rollback: rollback === true });
      }
      return;
    }
    delete state.pausedAtMs;
    const ending = {
      cause,
      phase: "canceling" as const,
      rollback: cause === "failed" || rollback === true,
      left: 0,
      ...(output && { output }),
      ...(error && { error }),
    };
    state.ending = ending;
    for (const step of state.steps.values()) if (this.#steps.cancel(step)) ending.left += 1;
    this.advance();
  }

  /** One of the attempts that were ended is over. */
  canceled(): void {
    const { ending } = this.#turn.state;
    if (!ending) return;
    ending.left -= 1;
    this.advance();
  }

  /** Goes as far as it gets: until an attempt, a compensation or hooks have to be waited for. */
  advance(): void {
    const { state } = this.#turn;
    const { ending, batch, plan } = state;
    if (!ending || batch) return;
    if (ending.phase === "canceling") {
      if (ending.left > 0) return;
      ending.phase = "undoing";
      if (ending.rollback && state.undo.length > 0) this.#turn.note({ type: "runRollingBack" });
    }
    if (ending.phase === "undoing") {
      if (ending.rollback && !ending.rollbackError && state.undo.length > 0) {
        this.#undo();
        return;
      }
      ending.phase = "handling";
      if (ending.cause === "failed" && plan?.onFailure === true) {
        const error = ending.error ?? { name: "Error", message: "the run failed" };
        this.#ask("onFailure", { value: publicError(error) });
        return;
      }
    }
    if (ending.phase === "handling") {
      ending.phase = "last";
      if (plan?.finally === true) {
        this.#ask("finally", { value: ending.cause });
        return;
      }
    }
    this.#end();
  }

  /** A compensation has ended. */
  undone(step: StepState, outcome: Outcome): void {
    const { state } = this.#turn;
    const { ending } = state;
    state.steps.delete(step.id);
    if (!ending) return;
    if (outcome.ok) state.undo.pop();
    else ending.rollbackError = outcome.error;
    this.advance();
  }

  /** A handler has answered. One that throws leaves the failure that there was, or is one. */
  returned(batch: BatchState, result: HookResult): void {
    const { ending } = this.#turn.state;
    if (!ending) return;
    if ("error" in result) {
      const error = { ...result.error, step: batch.purpose };
      if (batch.purpose === "onFailure" || ending.cause === "completed") ending.error = error;
      if (ending.cause === "completed") {
        ending.cause = "failed";
        delete ending.output;
      }
    } else if (batch.purpose === "onFailure") {
      ending.cause = "completed";
      ending.output = result as Held;
      delete ending.error;
    }
    this.advance();
  }

  #ask(role: "onFailure" | "finally", argument: Held): void {
    const { state } = this.#turn;
    state.batches += 1;
    const batch = Batch.make(state.batches, role);
    batch.add("", role, [argument], { scope: "", node: "", operation: 0 });
    state.batch = batch.state;
    this.#turn.emit({ do: "hooks", batch: batch.state.id, calls: batch.state.calls });
  }

  #undo(): void {
    const { state } = this.#turn;
    const entry = state.undo.at(-1);
    if (!entry) return;
    state.isUndone = true;
    const error = state.ending?.error;
    const parts: [string, Held][] = [["input", entry.input]];
    if (entry.output) parts.push(["output", entry.output]);
    if (error) parts.push(["error", { value: publicError(error) }]);
    const step = this.#steps.add(undoId(entry.step), entry.operation, { parts });
    this.#steps.launch(step);
  }

  #end(): void {
    const { state } = this.#turn;
    const { ending } = state;
    if (!ending) return;
    const { cause: status, output, error, rollbackError } = ending;
    const ended: Ended = {
      status,
      ...(status === "completed" && output && { output }),
      ...(status !== "completed" && error && { error }),
      ...(rollbackError && { rollbackError }),
    };
    state.ended = ended;
    delete state.ending;
    if (state.deadlineMs !== undefined) this.#turn.emit({ do: "clearTimer", key: "" });
    this.#turn.note({ type: "runEnded", status, ...(ended.error && { error: ended.error }) });
    this.#turn.emit({ do: "end", ended });
  }
}
