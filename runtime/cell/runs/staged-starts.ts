/**
 * Runs that attempts have asked for, in memory until their steps commit (G2): a shard that opens
 * again has none of them, and the attempts are made again.
 */
import { IsolaError, type RunStepRef, WORKFLOW_LIMITS } from "../../contract/index.ts";
import type { RunRef, StartRequest } from "../../../workflow/index.ts";
import type { Holding } from "./run-store.ts";

interface Staged {
  readonly start: StartRequest;
  /** Of its input. */
  readonly holding: Holding | undefined;
}

export class StagedStarts {
  /** By run, then by step and token. */
  readonly #runs = new Map<string, Map<string, Staged[]>>();

  /** A start that comes twice counts once. Errors: `QUOTA_EXCEEDED`. */
  stage(
    { run, step, token }: Pick<RunStepRef, "run" | "step" | "token">,
    start: StartRequest,
    holding: Holding | undefined,
  ): void {
    const attempts = this.#runs.get(run) ?? new Map<string, Staged[]>();
    const key = keyOf(step, token);
    const staged = attempts.get(key) ?? [];
    if (staged.some((one) => one.start.id === start.id)) {
      holding?.drop();
      return;
    }
    if (staged.length >= WORKFLOW_LIMITS.startsPerAttempt) {
      throw new IsolaError("QUOTA_EXCEEDED", {
        attempted: `start ${start.workflow} in a step`,
        found: `${String(staged.length)} runs that the step has started`,
        required: `at most ${String(WORKFLOW_LIMITS.startsPerAttempt)}`,
      });
    }
    staged.push({ start, holding });
    attempts.set(key, staged);
    this.#runs.set(run, attempts);
  }

  /** Takes off what an attempt has asked for: what begins now, if its step commits. */
  take(
    { id }: Pick<RunRef, "id">,
    step: string,
    token: number,
    isCommit: boolean,
  ): readonly StartRequest[] {
    const attempts = this.#runs.get(id);
    const key = keyOf(step, token);
    const staged = attempts?.get(key);
    if (!attempts || !staged) return [];
    attempts.delete(key);
    if (attempts.size === 0) this.#runs.delete(id);
    for (const { holding } of staged) {
      if (isCommit) holding?.keep();
      else holding?.drop();
    }
    return isCommit ? staged.map(({ start }) => start) : [];
  }

  /** The run has ended: what no commit has taken never begins. */
  forget(id: string): void {
    for (const staged of this.#runs.get(id)?.values() ?? []) {
      for (const { holding } of staged) holding?.drop();
    }
    this.#runs.delete(id);
  }
}

function keyOf(step: string, token: number): string {
  return `${String(token)} ${step}`;
}
