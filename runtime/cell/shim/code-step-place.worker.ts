/** The attempt of a step that the code of a workflow is in: what it starts is staged with it. */
import type { ScopeStep } from "../../contract/index.ts";
import { CallStorage } from "./natives.worker.ts";

export class CodeStepPlace {
  readonly #place: Omit<ScopeStep, "ordinal">;
  #starts = 0;

  constructor(place: Omit<ScopeStep, "ordinal">) {
    this.#place = place;
  }

  nextStart(): ScopeStep {
    this.#starts += 1;
    return { ...this.#place, ordinal: this.#starts };
  }
}

export const currentStep = new CallStorage<CodeStepPlace>();
