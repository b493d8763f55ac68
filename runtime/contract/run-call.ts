/**
 * Runs as they travel: from the gateway to the shard that keeps them, and an attempt of theirs from
 * the shard back to the gateway, which places it like any call.
 *
 * Both questions answer a frame of a `RunFound`, and may wait for the end of the run first. A start
 * that is repeated under its id finds the run that the first one began.
 *
 * A body is a `frame`: a head as JSON and octets behind it. Questions to a shard are POSTs to
 * `STORE_ROUTE` of its cell with a `RunQuestion` as their `cf` object; a refusal is `ErrorData`
 * under the status of its code.
 */
import type { RunStepRef } from "./call.ts";
import type { ErrorData, ThrownData } from "./errors.ts";
import type { Egress, ResolvedConfig } from "./function-config.ts";
import { LIMITS } from "./limits.ts";

/** Octets of a request, and of an answer, that a run keeps. */
export const RUN_BODY_MAX_BYTES = LIMITS.dataBodyMaxBytes;

/**
 * Of a request that tells a URL what came of a run: `t=<seconds>,v1=<hex>`, the HMAC-SHA256 under
 * the namespace's key of `<seconds>.<X-Call-Id>.<X-Function-Status>.` and the body.
 */
export const SIGNATURE_HEADER = "x-isola-signature";
/** Secret of the namespace whose value signs its callbacks. */
export const CALLBACK_KEY = "ISOLA_CALLBACK_KEY";

/** Who is told what came of a run. */
export interface RunCallback {
  readonly url: string;
  /** Rules of the function: it may send nowhere else. */
  readonly egress: Egress;
}

/** A request as the function gets it. */
export interface RunInputHead {
  readonly method: string;
  readonly url: string;
  readonly prefix: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** An answer as the function gave it. */
export interface RunOutputHead {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export type RunQuestion =
  | { readonly shard: number; readonly call: { readonly op: "startRun" } }
  | {
      readonly shard: number;
      readonly call: { readonly op: "findRun"; readonly id: string } & RunReading;
    }
  /** Its body is an `InstanceAsk` and its value; so is its answer. */
  | {
      readonly shard: number;
      readonly call: { readonly op: "askInstance"; readonly namespace: string };
    };

/** How a run is read. */
export interface RunReading {
  /** Longest wait for its end. @default 0 */
  readonly waitMs?: number;
  /** What the reader accepts as the form of a workflow's result. */
  readonly accept?: string;
  /** The reader is a function: values keep what V8 keeps. */
  readonly isFromFunction?: boolean;
}

/** What a run of a workflow has beside what an asynchronous call has. */
export interface WorkflowStart extends RunReading {
  readonly form: "dag" | "code";
  /** Bounds the run; 0: none. */
  readonly timeoutMs: number;
  /** Functions and workflows that called one another down to it, outermost first. */
  readonly chain: readonly string[];
}

/** Head of the body of `startRun`; the octets are the request's body. */
export interface RunStart {
  /** Absent: an asynchronous call of a function that is no workflow. */
  readonly workflow?: WorkflowStart;
  readonly id: string;
  readonly namespace: string;
  readonly function: string;
  readonly version: number;
  readonly retry: {
    readonly limit: number;
    readonly delayMs: number;
    readonly backoff: "constant" | "linear" | "exponential";
  };
  /** Runs that may be under way at once; 0: no bound. */
  readonly concurrency: number;
  /** Of its end; 0: as the shard keeps runs. */
  readonly retention: ResolvedConfig["retention"];
  readonly key?: { readonly key: string; readonly digest: string };
  readonly callback?: RunCallback;
  readonly request: RunInputHead;
  /** A function starts it and does not wait: its input is a value, whatever its function is. */
  readonly byFunction?: {
    /** The attempt that asks: it begins in the commit of that one's step, or never (G2). */
    readonly attempt?: RunStepRef;
    /** The same, of a workflow in code form: a step that its session is at. */
    readonly session?: { readonly call: string; readonly step: string; readonly token: number };
  };
}

/** Head of the body of a start that a cell without the shard asks for; a value behind it. */
export interface RunStartAsked {
  readonly shard: number;
  readonly start: RunStart;
}

/** What a shard says of a run; the octets behind it are the body of `output`. */
export interface RunFound {
  readonly id: string;
  readonly namespace: string;
  readonly function: string;
  readonly status: string;
  /** The version that the run is pinned to, of a workflow. */
  readonly version?: number;
  readonly output?: RunOutputHead;
  readonly error?: { readonly message: string; readonly code?: string; readonly step?: string };
}

/** What a shard's actor says of a run: the result of a workflow is a value still. */
export interface RunTold extends RunFound {
  readonly body?: Uint8Array;
  readonly result?: { readonly value: unknown };
}

/** Head of the body of an attempt; the octets are the request's body. */
export interface RunAttempt {
  readonly namespace: string;
  readonly function: string;
  readonly version: number;
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly request: RunInputHead;
  /** In another cell than the asking one, or not at all. */
  readonly isAway?: true;
  /** Whose attempt it is. Of a workflow, which then stands in the chain, bodies are values. */
  readonly step?: RunStepRef & {
    readonly chain: readonly string[];
    /** Milliseconds since the epoch; 0: none. */
    readonly deadlineMs: number;
  };
}

export type RunAttempted =
  | { readonly ok: true; readonly output: RunOutputHead; readonly others?: number }
  | {
      readonly ok: false;
      readonly error: ErrorData;
      readonly thrown?: ThrownData;
      /** Of one that was to be made in another cell: how many others there are. */
      readonly others?: number;
      /** Of an attempt that died with its cell: in which one. */
      readonly where?: "cell" | "probation";
    };

/** Head of a question for a callback's text; the octets behind it are the body of `found`. */
export interface CallbackAsked {
  readonly found: RunFound;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
}

/** Head of the answer; the octets are the callback's body. */
export interface CallbackText {
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** What became of a callback, for metrics and logs. */
export interface CallbackTold {
  readonly run: string;
  readonly namespace: string;
  readonly function: string;
  readonly result: "delivered" | "failed" | "givenUp";
  readonly text: string;
}

const LENGTH_BYTES = 4;

export function frame(head: unknown, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const whole = new Uint8Array(LENGTH_BYTES + text.byteLength + body.byteLength);
  new DataView(whole.buffer).setUint32(0, text.byteLength);
  whole.set(text, LENGTH_BYTES);
  whole.set(body, LENGTH_BYTES + text.byteLength);
  return whole;
}

/** @param whole what a process of the platform made; nobody else reaches its sockets. */
export function unframe(whole: Uint8Array<ArrayBuffer>): { head: unknown; body: Uint8Array } {
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
  const end = LENGTH_BYTES + view.getUint32(0);
  const text = new TextDecoder().decode(whole.subarray(LENGTH_BYTES, end));
  return { head: JSON.parse(text) as unknown, body: whole.slice(end) };
}
