/**
 * Between the shim in a tenant's isolate and the cell around it. Whatever the shim says is
 * tenant-controlled: the cell uses it for that tenant's own answer and logs only.
 */
import type { LogLevel } from "./call.ts";
import type { ErrorData, ThrownData } from "./errors.ts";
import type { StoreJobRequest } from "./store-api.ts";
import type { StoreResult, StoreTarget } from "./store-call.ts";

/** Where the shim finds its scope stub in the isolate's environment; tenants are not shown it. */
export const SCOPE_BINDING = "__isola";

/** Where the shim finds the function's bindings to workflows: their names by binding. */
export const WORKFLOWS_BINDING = "__isola_workflows";

/** One console line as the shim reports it; identity is added by the cell. */
export interface ShimLine {
  readonly atMs: number;
  readonly level: LogLevel;
  readonly text: string;
}

/** `msgpack`: what clients speak; `value`: a value of a call between functions, kept as it is. */
export type PackForm = "msgpack" | "value";

export type Unpacked =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly found: string };

/** Content type of a value of a call between functions, where it leaves the cell. */
export const VALUE_TYPE = "application/x-isola-value";

/** Header of the shim's responses: JSON of a `ShimReport`; absent when there is nothing to say. */
export const SHIM_HEADER = "x-isola-shim";

export interface ShimReport {
  readonly logs?: readonly ShimLine[];
  /** The response is a platform answer about the function: its body is JSON of `ErrorData`. */
  readonly error?: ErrorData;
  /** What the function threw, for the logs and for answers that may show it. */
  readonly thrown?: ThrownData;
}

/** Result of a call between functions. */
export type RunResult =
  | { readonly ok: true; readonly value: unknown; readonly logs: readonly ShimLine[] }
  | {
      readonly ok: false;
      readonly error: ErrorData;
      readonly thrown?: ThrownData;
      readonly logs: readonly ShimLine[];
    };

/** What the isolate says when a session of code is over (code-run.ts). */
export interface CodeClosed {
  readonly logs: readonly ShimLine[];
}

/** What the scope answers to `call`. */
export type ScopeCallResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: ErrorData };

/** The capability that tenant code holds during one call; revoked when the call settles. */
export interface CallScope {
  /** Console lines of a call that is still running. */
  flush(lines: readonly ShimLine[]): Promise<void>;
  /** It has answered, but its `waitUntil` is open: its isolate stays; then, that it is done. */
  background(isOpen: boolean): Promise<void>;
  /** It is about to answer with a stream that may read from its store. */
  streams(): Promise<void>;
  /**
   * A job of the call's namespace. @param jobId default: the job of this call, which is made now.
   */
  store(jobId?: string): Promise<StoreTarget>;
  /** Makes a job that lives until it is ended; the answer has its id. */
  createJob(request: Partial<StoreJobRequest>): Promise<StoreResult>;
  /** Settles when the call is to end: `deadline`, `disconnect` or `shutdown`. */
  canceled(): Promise<string>;
}

/** What the scope answers to `callAsync`. */
export type ScopeStartResult =
  | { readonly ok: true; readonly id: string }
  | { readonly ok: false; readonly error: ErrorData };

/** How a run is started by `callAsync`. */
export interface ScopeStartOptions {
  readonly version?: number;
  /** In the code of a workflow: the attempt of a step that starts it. */
  readonly under?: ScopeStep;
}

export interface ScopeStep {
  readonly step: string;
  readonly token: number;
  /** The attempt's idempotency key. */
  readonly key: string;
  /** Which start of the attempt it is. */
  readonly ordinal: number;
}

export interface ScopeCallOptions {
  readonly version?: number;
  readonly method?: string;
}
