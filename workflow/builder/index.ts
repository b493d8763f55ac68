/** The builder of DAG workflows, their plans, and how their hooks are called. */
export { flow, Flow, FLOW_BRAND } from "./flow.ts";
export type { FlowOptions, FlowRequest } from "./flow.ts";
export type {
  ConditionalOptions,
  Dag,
  DagNode,
  EdgeOptions,
  ForEachOptions,
  Hook,
  NodeOptions,
  RootDag,
} from "./dag.ts";
export type {
  ApplyOptions,
  CompensateOptions,
  EventOptions,
  FailureInfo,
  InvokeOptions,
  RequestOptions,
  ResponseInfo,
  RetryOptions,
  StepOptions,
} from "./options.ts";
export { runHooks } from "./hook-calls.ts";
export type { Held, HookCall, HookResult, Producer, RunError } from "./hook-calls.ts";
export { planHash } from "./canonical.ts";
export { validatePlan, validateStepCall } from "./validate.ts";
export { edgePath, hookName, pathWithin } from "./plan.ts";
export type {
  ApplyPlan,
  DagPlan,
  EventPlan,
  HookRole,
  InvokePlan,
  NodePlan,
  OperationPlan,
  Plan,
  RequestPlan,
  RetryPlan,
  SleepPlan,
} from "./plan.ts";
