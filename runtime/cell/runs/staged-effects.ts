/**
 * What attempts have asked for besides their results, in memory until their steps commit (G2): runs
 * to be started, events to be sent. A shard that opens again has none of it, and the attempts are
 * made again.
 */
import { IsolaError, type RunStepRef, WORKFLOW_LIMITS } from "../../contract/index.ts";
import type { Mail, RunRef, StagedByStep, StartRequest } from "../../../workflow/index.ts";
import type { Holding } from "./run-store.ts";

interface Staged {
  readonly starts: {
    readonly start: StartRequest;
    /** Of its input. */
    readonly holding: Holding | undefined;
  }[];
  readonly mails: Mail[];
}

type Place = Pick<RunStepRef, "run" | "step" | "token">;

export class StagedEffects {
  /** By run, then by step and token. */
  readonly #runs = new Map<string, Map<string, Staged>>();

  /** A start that comes twice counts once. Errors: `QUOTA_EXCEEDED`. */
  start(place: Place, start: StartRequest, holding: Holding | undefined): void {
    const { starts } = this.#of(place);
    if (starts.some((one) => one.start.id === start.id)) {
      holding?.drop();
      return;
    }
    const { startsPerAttempt } = WORKFLOW_LIMITS;
    if (starts.length >= startsPerAttempt) {
      throw tooMany(`start ${start.workflow} in a step`, "runs", startsPerAttempt);
    }
    starts.push({ start, holding });
  }

  /** An event that comes twice counts once. Errors: `QUOTA_EXCEEDED`. */
  send(place: Place, mail: Mail): void {
    const { mails } = this.#of(place);
    if (mails.some(({ id }) => id === mail.id)) return;
    const { eventsPerAttempt } = WORKFLOW_LIMITS;
    if (mails.length >= eventsPerAttempt) {
      throw tooMany(`send an event to ${mail.workflow} in a step`, "events", eventsPerAttempt);
    }
    mails.push(mail);
  }

  /** Takes off what an attempt has asked for: what happens now, if its step commits. */
  take(
    { id }: Pick<RunRef, "id">,
    step: string,
    token: number,
    isCommit: boolean,
  ): StagedByStep | undefined {
    const attempts = this.#runs.get(id);
    const key = keyOf(step, token);
    const staged = attempts?.get(key);
    if (!attempts || !staged) return undefined;
    attempts.delete(key);
    if (attempts.size === 0) this.#runs.delete(id);
    for (const { holding } of staged.starts) {
      if (isCommit) holding?.keep();
      else holding?.drop();
    }
    const { mails } = staged;
    return isCommit ? { starts: staged.starts.map(({ start }) => start), mails } : undefined;
  }

  /** The run has ended: what no commit has taken never begins. */
  forget(id: string): void {
    for (const { starts } of this.#runs.get(id)?.values() ?? []) {
      for (const { holding } of starts) holding?.drop();
    }
    this.#runs.delete(id);
  }

  #of({ run, step, token }: Place): Staged {
    const attempts = this.#runs.get(run) ?? new Map<string, Staged>();
    const key = keyOf(step, token);
    const staged = attempts.get(key) ?? { starts: [], mails: [] };
    attempts.set(key, staged);
    this.#runs.set(run, attempts);
    return staged;
  }
}

function keyOf(step: string, token: number): string {
  return `${String(token)} ${step}`;
}

function tooMany(attempted: string, what: string, max: number): IsolaError {
  return new IsolaError("QUOTA_EXCEEDED", {
    attempted,
    found: `${String(max)} ${what} that the attempt asked for before`,
    required: `at most ${String(max)}`,
  });
}
