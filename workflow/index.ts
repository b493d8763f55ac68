/** Workflows: a run as a machine of events and effects, and the coordinator of a shard's runs. */
export { Coordinator } from "./coordinator/coordinator.ts";
export { Run } from "./engine/run.ts";
export { parseDoConfig, parseStepDuration, stepKey } from "./engine/step-config.ts";
export { graphOfPlan, graphOfRun, toDot, toMermaid } from "./graph.ts";
export type { Held } from "./builder/index.ts";
export type { RunHome, RunStore } from "./coordinator/model.ts";
export type { CallbackStep } from "./coordinator/callbacks.ts";
export type {
  CallbackResult,
  Outside,
  OutwardEffect,
  RunRef,
  RunReport,
  RunRequest,
} from "./coordinator/model.ts";
export type { Effect, Outcome, RunEvent } from "./engine/model.ts";
