/** The steps of a run, made of the lines of its history. */
import { RUN_ADMIN_LIMITS, type RunHistoryLine, type RunStep } from "../contract/index.ts";

type Draft = { -readonly [Key in keyof RunStep]: RunStep[Key] };

export class StepList {
  /** In the order in which they began. */
  readonly #steps = new Map<string, Draft>();

  add(line: RunHistoryLine): void {
    const { type, step: id, atMs } = line;
    if (type === "runRestarted") this.#reopen(id);
    if (id === undefined) return;
    if (type === "stepStarted") {
      this.#begin(id, line);
      return;
    }
    const step = this.#steps.get(id);
    if (step) change(step, line, atMs);
  }

  get count(): number {
    return this.#steps.size;
  }

  /**
   * So many; of more than those, first the ones that did not complete.
   *
   * @param dues until when steps wait.
   */
  shown(
    dues: Readonly<Record<string, number>> = {},
    max: number = RUN_ADMIN_LIMITS.shownSteps,
  ): readonly RunStep[] {
    const all = [...this.#steps.values()].map((step) => withDue(step, dues[step.id]));
    if (all.length <= max) return all;
    const kept = new Set(
      [...all.filter((one) => !isDone(one)), ...all.filter((one) => isDone(one))].slice(0, max),
    );
    return all.filter((step) => kept.has(step));
  }

  /** Again, after a restart from a step before it: as if for the first time. */
  #begin(id: string, { atMs, what }: RunHistoryLine): void {
    this.#steps.delete(id);
    this.#steps.set(id, {
      id,
      ...(what !== undefined && { what }),
      status: "waiting",
      attempts: 0,
      startedAtMs: atMs,
    });
  }

  /** What failed the run is tried anew. */
  #reopen(from: string | undefined): void {
    for (const step of this.#steps.values()) {
      if (step.status === "failed" && from === undefined) step.status = "waiting";
    }
  }
}

function withDue(step: RunStep, dueAtMs: number | undefined): RunStep {
  return dueAtMs === undefined ? step : { ...step, dueAtMs };
}

function isDone({ status }: RunStep): boolean {
  return status === "completed";
}

function change(step: Draft, line: RunHistoryLine, atMs: number): void {
  const { attempt, error, retryAtMs, run } = line;
  switch (line.type) {
    case "attemptStarted":
      step.status = "running";
      step.attempts = attempt ?? step.attempts + 1;
      delete step.retryAtMs;
      delete step.endedAtMs;
      if (run !== undefined) step.run = run;
      break;
    case "attemptFailed":
      step.status = "retrying";
      if (error) step.error = error;
      if (retryAtMs !== undefined) step.retryAtMs = retryAtMs;
      break;
    case "attemptInterrupted":
      step.interruptions = (step.interruptions ?? 0) + 1;
      break;
    case "stepCompleted":
    case "stepFailed":
    case "stepCanceled":
      step.status = ENDS[line.type];
      step.endedAtMs = atMs;
      delete step.retryAtMs;
      if (error) step.error = error;
      else if (line.type === "stepCompleted") delete step.error;
      break;
    default:
      break;
  }
}

const ENDS = {
  stepCompleted: "completed",
  stepFailed: "failed",
  stepCanceled: "canceled",
} as const;
