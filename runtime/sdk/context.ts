/**
 * The context of one call: second argument of a data function, `env.ISOLA` in a Workers module.
 * It belongs to the call: what is kept of it after the call has settled is refused.
 */
import type { StoreJob } from "./store.ts";
import type { WorkflowHandle } from "./workflows.ts";

/** W3C trace context of this call. */
export interface TraceInfo {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits: this call's own span. */
  readonly spanId: string;
  /** Header form, to pass on to other systems. */
  readonly traceparent: string;
}

/** Console lines of this call; the same as `console`, level by level. */
export interface Log {
  debug(...data: unknown[]): void;
  info(...data: unknown[]): void;
  warn(...data: unknown[]): void;
  error(...data: unknown[]): void;
}

export interface CallOptions {
  /** Version to call. @default by the traffic of the function, picked once per call */
  readonly version?: number;
  /** RPC method of a `WorkerEntrypoint` class. @default its `fetch`, or the only answer it has */
  readonly method?: string;
}

export interface StartOptions {
  /** Version to run. @default by the traffic of the function, picked once */
  readonly version?: number;
}

export interface Context {
  /** 32 hex digits; the `x-call-id` of the answer. */
  readonly callId: string;
  /** Set inside of a run. */
  readonly runId?: string;
  /** The run's step that the call is an attempt of: `node/index`. */
  readonly step?: string;
  /** From 1; counts repetitions of the same call under one idempotency key. */
  readonly attempt: number;
  /** The caller's `Idempotency-Key`, or the call id. */
  readonly idempotencyKey: string;
  /** When the call is ended; null if the function has no `timeoutMs`. */
  readonly deadline: Date | null;
  /** Aborts at the deadline, or when the caller goes; the call is ended one second later. */
  readonly signal: AbortSignal;
  readonly trace: TraceInfo;
  /** Plain environment and secrets. */
  readonly env: Readonly<Record<string, unknown>>;
  readonly log: Log;
  /**
   * The ephemeral store: the job of this call, shared with the functions that it calls. Nothing is
   * made before its first operation.
   */
  readonly store: StoreJob;
  /**
   * Calls another function of the same namespace in the same cell.
   *
   * @param name function name.
   * @param input any value; an HTTP function gets it as a JSON body of a POST.
   * @returns the result; of an HTTP function its body: JSON, text or bytes by content type.
   * @throws Error with `code` of the catalogue: `FUNCTION_NOT_FOUND`, `FUNCTION_ERROR`, `TIMEOUT`,
   * `CALL_LOOP`, `CALL_DEPTH`, `RATE_LIMITED`, `FUNCTION_QUARANTINED`, `CELL_LOST`.
   */
  call<Result = unknown>(name: string, input?: unknown, options?: CallOptions): Promise<Result>;
  /**
   * Starts a run of another function of the same namespace and does not wait for it. Outside of a
   * run the id is answered when the run is on disk. Within an attempt of a step the run begins when
   * the step's result is recorded, and not if the attempt fails; a step that is tried again starts
   * the same run.
   *
   * @param name function name, of a plain function or a workflow.
   * @param input any value; an HTTP function gets it as a JSON body of a POST.
   * @returns the run's id: `GET /runs/<id>` answers its result.
   * @throws Error with `code` of the catalogue: `FUNCTION_NOT_FOUND`, `QUEUE_FULL`, `DISK_FULL`,
   * `ATTEMPT_ENDED`, `QUOTA_EXCEEDED`; `CONFLICT` in the code of a workflow, which is repeated.
   */
  callAsync(name: string, input?: unknown, options?: StartOptions): Promise<string>;
  /** A workflow of the same namespace, to start instances and to command them. */
  workflow(name: string): WorkflowHandle;
  /** Keeps the call's isolate busy until `promise` settles, after the answer has left. */
  waitUntil(promise: Promise<unknown>): void;
}
