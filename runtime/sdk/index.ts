/**
 * What authors import as `isola`. In a bundle the import stays; the platform supplies this module
 * in the isolate, so a bundle never carries a copy of another release.
 */
export { errorCode } from "./error-code.ts";
export type { CallOptions, Context, Log, TraceInfo } from "./context.ts";
export type {
  AuthMode,
  BackendName,
  Egress,
  ErrorCode,
  FunctionConfig,
  Value,
} from "../contract/index.ts";
