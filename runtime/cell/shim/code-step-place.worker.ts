/**
 * The attempt of a step that the code of a workflow is in: what it puts, calls and starts belongs
 * to it. Toward the platform it is a call of its own, within that of the session.
 */
import type { ScopeStep } from "../../contract/index.ts";
import type { StoreJob } from "../../sdk/index.ts";
import { CallStorage } from "./natives.worker.ts";

export class CodeStepPlace {
  readonly #place: Omit<ScopeStep, "ordinal">;
  #starts = 0;
  #callId: Promise<string> | undefined;
  /** Its `ctx.store`, once it is used. */
  store: StoreJob | undefined;

  get step(): string {
    return this.#place.step;
  }

  get token(): number {
    return this.#place.token;
  }

  constructor(place: Omit<ScopeStep, "ordinal">) {
    this.#place = place;
  }

  /** Its own call's id. @param open makes the call */
  callId(open: (step: string, token: number) => Promise<string>): Promise<string> {
    this.#callId ??= open(this.#place.step, this.#place.token);
    return this.#callId;
  }

  nextStart(): ScopeStep {
    this.#starts += 1;
    return { ...this.#place, ordinal: this.#starts };
  }
}

export const currentStep = new CallStorage<CodeStepPlace>();
