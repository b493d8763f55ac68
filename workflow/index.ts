/** Workflows: a run as a machine of events and effects, and the coordinator of a shard's runs. */
export { Coordinator } from "./coordinator/coordinator.ts";
export {
  CodeReplay,
  canReplay,
  shapeOf,
  type ReplayReport,
  type ReplayVerdict,
} from "./engine/code-replay.ts";
export { Run } from "./engine/run.ts";
export { parseDoConfig, parseStepDuration, stepKey } from "./engine/step-config.ts";
export { graphOfPlan, graphOfRun, graphOfSteps, toDot, toMermaid } from "./graph.ts";
export type { Held, HookResult, Plan, RunError } from "./builder/index.ts";
export type { RunHome, RunStore } from "./coordinator/model.ts";
export type { CallbackStep } from "./coordinator/callbacks.ts";
export type {
  CallbackResult,
  Mail,
  ChildEffect,
  Outside,
  OutwardEffect,
  RunRef,
  RunReport,
  RunRequest,
  StagedByStep,
  StartRequest,
  WorkflowKind,
} from "./coordinator/model.ts";
export type { HistoryEntry } from "./engine/model.ts";
export type {
  AttemptRef,
  Effect,
  Ended,
  Outcome,
  Pin,
  RunEvent,
  RunState,
} from "./engine/model.ts";
