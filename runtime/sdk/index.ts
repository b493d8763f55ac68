/**
 * What authors import as `isola`. In a bundle the import stays; the platform supplies this module
 * in the isolate, so a bundle never carries a copy of another release.
 */
export { errorCode } from "./error-code.ts";
export { flow } from "../../workflow/builder/index.ts";
export { type DataStore, type StateStore, dataStore, stateStore } from "./faas-flow.ts";
export type { CallOptions, Context, Log, StartOptions, TraceInfo } from "./context.ts";
export type {
  WorkflowCreateOptions,
  WorkflowHandle,
  WorkflowInstanceHandle,
  WorkflowStatus,
} from "./workflows.ts";
export type {
  LockOptions,
  StoreBucket,
  StoreJob,
  StoreJobOptions,
  StoreLock,
  StreamOptions,
} from "./store.ts";
export type {
  ApplyOptions,
  CompensateOptions,
  ConditionalOptions,
  Dag,
  DagNode,
  EdgeOptions,
  EventOptions,
  FailureInfo,
  Flow,
  FlowOptions,
  FlowRequest,
  ForEachOptions,
  InvokeOptions,
  NodeOptions,
  RequestOptions,
  ResponseInfo,
  RetryOptions,
  RootDag,
  StepOptions,
} from "../../workflow/builder/index.ts";
export type {
  AuthMode,
  BackendName,
  Durability,
  Egress,
  ErrorCode,
  FunctionConfig,
  ListOptions,
  ListPage,
  ObjectInfo,
  PutOptions,
  PutResult,
  StoreFence,
  StoreJobHints,
  StoreJobInfo,
  Value,
} from "../contract/index.ts";
