/**
 * What travels with a call between gateway and cell, and back.
 *
 * The envelope is the request's `cf` object, which workerd carries beside the headers (on sockets
 * in the header `CALL_HEADER`, put on and taken off by workerd itself): no copy of the headers is
 * needed to add or remove it. The cell answers with one header holding a `CallReply`. Nothing
 * that a client or a tenant writes under `x-isola-` gets through.
 */
import type { ErrorCode } from "./errors.ts";
import type { StoreAttempt } from "./store-attempt.ts";

/** Between gateway and cell, set and read by workerd (`cfBlobHeader`): JSON of a `CallEnvelope`. */
export const CALL_HEADER = "x-isola-call";
/** Cell to gateway: JSON of a `CallReply`. */
export const REPLY_HEADER = "x-isola-reply";
/** Prefix that belongs to the platform in both directions. */
export const PRIVATE_PREFIX = "x-isola-";

/** Response headers that clients see (INTERFACE §5). */
export const PUBLIC_HEADERS = {
  callId: "x-call-id",
  version: "x-isola-version",
  backend: "x-isola-backend",
  cold: "x-isola-cold",
  error: "x-isola-error",
  timing: "server-timing",
  traceparent: "traceparent",
} as const;

/** Identity and bounds of one call. Short names: it is written and read once per call. */
export interface CallEnvelope {
  /** Call id. */
  readonly id: string;
  readonly ns: string;
  readonly fn: string;
  /** Version number. */
  readonly v: number;
  /** Deadline in milliseconds since the epoch; 0 = none. */
  readonly dl: number;
  /** W3C traceparent; its span id is the call's own span. */
  readonly tp: string;
  /** Number of the attempt, from 1. */
  readonly at: number;
  /** Idempotency key; the call id where the caller gave none. */
  readonly ik: string;
  /**
   * Chain of `namespace/function` that led here, outermost first; empty for a call from outside.
   */
  readonly ch: readonly string[];
  /** Generation of the secrets; with ns, fn and v it names the isolate. */
  readonly sg: number;
  /** 1: a fresh isolate for this call (`reuse: "call"`). */
  readonly fr: 0 | 1;
  /** `maxBlockMs`, for the breadcrumb. */
  readonly mb: number;
  /** Store job of the outermost call, where a call between functions left its cell. */
  readonly sj?: string;
  /** It is an attempt of a run's step, or a call under one that left its cell. */
  readonly rs?: RunStepRef;
}

/** The attempt of a step that a call is; its store job has the id of the run. */
export interface RunStepRef extends StoreAttempt {
  readonly run: string;
}

/** What the cell says of a call, beside the tenant's own response. */
export interface CallReply {
  /** 1 if the call waited for its isolate to load. */
  readonly cold: 0 | 1;
  /** Milliseconds of loading and of running until the response's head. */
  readonly loadMs: number;
  readonly runMs: number;
  /** Set if the platform, not the tenant, speaks: the body is JSON of an `ErrorData`. */
  readonly error?: ErrorCode;
}

/** How a call ended, for records, logs and metrics. */
export type CallOutcome = "ok" | "function_error" | "platform_error" | "timeout" | "canceled";

/** One finished call. */
export interface CallRecord {
  readonly callId: string;
  readonly namespace: string;
  readonly function: string;
  readonly version: number;
  readonly backend: string;
  readonly outcome: CallOutcome;
  /** HTTP status; 200 or 500 for calls between functions. */
  readonly status: number;
  readonly cold: boolean;
  readonly startedAtMs: number;
  readonly wallMs: number;
  readonly queueMs: number;
  readonly loadMs: number;
  readonly runMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly memoryMb: number;
  /** Call id of the caller, for calls between functions. */
  readonly parentCallId?: string;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** One console line of a call. */
export interface LogLine {
  readonly callId: string;
  readonly namespace: string;
  readonly function: string;
  readonly version: number;
  readonly atMs: number;
  readonly level: LogLevel;
  readonly text: string;
}

/** One span, ready for OTLP. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: "server" | "client" | "internal";
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly error?: string;
  /** False: kept here but not exported, as the caller's traceparent asked. @default true */
  readonly sampled?: boolean;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
}

/** One trace in a list: as much of it as belongs to the namespace and is still kept. */
export interface TraceSummary {
  readonly traceId: string;
  /** Function that was called first. */
  readonly name: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly spans: number;
  /** Code of the first span that failed. */
  readonly error?: string;
}

/** What a cell sends to the gateway in batches. */
export interface TelemetryBatch {
  readonly calls: readonly CallRecord[];
  readonly logs: readonly LogLine[];
  readonly spans: readonly Span[];
}
