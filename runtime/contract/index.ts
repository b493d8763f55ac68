/** The leaf that both type worlds share: words, shapes, limits, errors. Imports nothing. */
export {
  ROLES,
  roleAllows,
  type Role,
  type DeployMetadata,
  type DeployResult,
  type FunctionSummary,
  type FunctionDetail,
  type VersionSummary,
  type TrafficRequest,
  type NamespaceSummary,
  type NamespaceRequest,
  type SecretSummary,
  type StoreJobList,
  type StoreUsageReport,
  type TokenSummary,
  type TokenCreated,
  type UsageRow,
  type HourlyUsage,
  type UsageReport,
  type PlatformStatus,
  type List,
} from "./admin.ts";
export { assert, unreachable } from "./assert.ts";
export { parseTarget, parseHostTarget, type CallTarget } from "./call-target.ts";
export {
  CALL_HEADER,
  REPLY_HEADER,
  PRIVATE_PREFIX,
  PUBLIC_HEADERS,
  type CallEnvelope,
  type CallReply,
  type CallOutcome,
  type CallRecord,
  type LogLevel,
  type LogLine,
  type Span,
  type TraceSummary,
  type TelemetryBatch,
} from "./call.ts";
export {
  COLD_KEY,
  COLD_LIMITS,
  type ColdBucket,
  type ColdDeleted,
  type ColdFailure,
  type ColdPage,
  type ColdPart,
  type ColdUpload,
  type ColdUploads,
} from "./cold-route.ts";
export { systemClock, systemRandom, type Clock, type Random } from "./clock.ts";
export {
  PROBATION_SLOT,
  CELL_CONTROL,
  parseSuspectKey,
  suspectKey,
  GATEWAY_CONTROL,
  HOST_CONTROL,
  CRUMB_START,
  isolateMark,
  type CellStatus,
  type DiskReport,
  type ProbeRequest,
  type ProbeReply,
  type PressureReport,
  type SuspectKey,
  type CellState,
  type CellInfo,
  type CellsReport,
  type Verdict,
  type HostMetrics,
} from "./control.ts";
export { parseDurationMs } from "./durations.ts";
export {
  ERRORS,
  IsolaError,
  isErrorCode,
  parseErrorData,
  toIsolaError,
  type ErrorCode,
  type ErrorParts,
  type ErrorData,
} from "./errors.ts";
export {
  DEFAULT_COMPATIBILITY_DATE,
  resolveConfig,
  type BackendName,
  type AuthMode,
  type Egress,
  type FunctionConfig,
  type ResolvedConfig,
} from "./function-config.ts";
export {
  DEFAULT_NAMESPACE,
  isLabel,
  checkFunctionName,
  checkNamespaceName,
  toHex,
  newCallId,
  functionKey,
} from "./ids.ts";
export { LIMITS, STORE_LIMITS, WORKFLOW_LIMITS, DEFAULT_QUOTAS, type Quotas } from "./limits.ts";
export {
  findOption,
  checkConfigFile,
  type OptionValue,
  type FoundOption,
  type ConfigFile,
} from "./option-values.ts";
export {
  OPTIONS,
  flagOf,
  isSecretOption,
  optionsOf,
  type OptionSpec,
  type OptionName,
} from "./options.ts";
export { RoutingTable, blockBoundMs, pickTarget } from "./routing-table.ts";
export {
  isWorkflow,
  type FunctionForm,
  type RouteTarget,
  type FunctionRoute,
  type CellPlacement,
  type NamespaceRoute,
  type RoutingChange,
  type RoutingSnapshot,
} from "./routing.ts";
export {
  SCOPE_BINDING,
  SHIM_HEADER,
  VALUE_TYPE,
  type ShimLine,
  type ShimReport,
  type ThrownData,
  type RunResult,
  type ScopeCallResult,
  type PackForm,
  type Unpacked,
  type CallScope,
  type ScopeCallOptions,
} from "./scope.ts";
export {
  statement,
  type BlockRef,
  type BlockWriter,
  type Blocks,
  type Log,
  type Sql,
  type SqlValue,
  type Statement,
  type Timers,
} from "./shard.ts";
export {
  STORE_TIERS,
  type ColdTier,
  type Durability,
  type FoundObject,
  type ListOptions,
  type ListPage,
  type LockResult,
  type ObjectInfo,
  type PutOptions,
  type PutResult,
  type StoreFence,
  type StoreJobHints,
  type StoreJobInfo,
  type StoreJobKind,
  type StoreJobRequest,
  type StoreTier,
  type StoreTierBytes,
  type StoreUsage,
  type StoredValue,
  type TakeLease,
  type ValueCodec,
} from "./store-api.ts";
export {
  RUN_BODY_MAX_BYTES,
  frame,
  unframe,
  type RunAttempt,
  type RunAttempted,
  type RunFound,
  type RunInputHead,
  type RunOutputHead,
  type RunQuestion,
  type RunStart,
} from "./run-call.ts";
export {
  STORE_HEADER,
  STORE_ROUTE,
  VALUE_OPERATIONS,
  storeHeader,
  type ShardActor,
  type StoreAnswers,
  type StoreCall,
  type StoreOpening,
  type StoreOperationName,
  type StoreOperations,
  type StoreRange,
  type StoreRead,
  type StoreReaderTarget,
  type StoreRequest,
  type StoreResult,
  type StoreTarget,
  type StoreUploadResult,
  type StoreUploadTarget,
} from "./store-call.ts";
export { DEFAULT_BUCKET, lockNameOf, newJobId, shardOfJob, slotOfShard } from "./store-names.ts";
export {
  SUPPLY,
  type ModuleKind,
  type BundleModule,
  type Bundle,
  type SuppliedVersion,
  type VersionSupply,
} from "./supply.ts";
export {
  parseTraceparent,
  formatTraceparent,
  newTrace,
  childTrace,
  type TraceContext,
} from "./trace.ts";
export { sizeOfValue } from "./value-size.ts";
export { type EnvelopeCarrier, packEnvelope, unpackEnvelope } from "./envelope.ts";
export { encodeJson, findUncloneable, type Value } from "./values.ts";
