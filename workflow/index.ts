/** The pure core of workflows: a run as a machine of events and effects. */
export { Run } from "./engine/run.ts";
export { parseDoConfig, parseStepDuration, stepKey } from "./engine/step-config.ts";
export type { Effect, Outcome, RunEvent } from "./engine/model.ts";
