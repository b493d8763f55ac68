/** What an author may say of operations, and how it becomes plan. */
import {
  type FunctionConfig,
  WORKFLOW_LIMITS,
  parseDurationMs,
} from "../../runtime/contract/index.ts";
import { COMPENSATION_FIELDS, RETRY_FIELDS, type Fields, checkFields, waitMs } from "./checks.ts";
import type { CompensationPlan, RetryPlan } from "./plan.ts";
import { refusePlan, shown } from "./refusals.ts";

/** A value whose shape its author alone knows, as what a function without types answers. */
export type Dynamic = ReturnType<typeof JSON.parse>;

/** What an author's code is called with when something failed. */
export interface FailureInfo {
  readonly name: string;
  readonly message: string;
  /** Code of the platform's catalogue, if it was the platform that failed. */
  readonly code?: string;
  /** The step that failed, `node/index`. */
  readonly step?: string;
}

/** `limit` retries after the first attempt. @default backoff "exponential", delayMs 1000 */
export type RetryOptions = NonNullable<FunctionConfig["retry"]>;

/** Undoes the step: a function that is called with `{input, output?, error}`, newest step first. */
export type CompensateOptions =
  | string
  | {
      readonly function: string;
      readonly retry?: RetryOptions;
      /** Milliseconds of one attempt. */
      readonly timeoutMs?: number;
    };

export interface StepOptions<In, Out> {
  /** @default the function's own retry policy for `apply`, otherwise none */
  readonly retry?: RetryOptions;
  /** Milliseconds of one attempt. @default the function's own, otherwise none */
  readonly timeoutMs?: number;
  /** Called when the last attempt has failed: what it returns is the result; or it throws. */
  readonly onFailure?: (error: FailureInfo, input: In) => Out | Promise<Out>;
  readonly compensate?: CompensateOptions;
}

interface HttpOptions {
  /** @default "POST" */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | readonly string[]>>;
}

export interface ApplyOptions<In, Out> extends StepOptions<In, Out>, HttpOptions {
  /** @default the version that is live when the run begins */
  readonly version?: number | "latest";
  /** Has no side effects: may run again to make a lost value anew. @default false */
  readonly pure?: boolean;
}

/** The answer to a request, for `onResponse`. */
export interface ResponseInfo {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON as its value, text as string, everything else as bytes. */
  readonly body: Dynamic;
}

export interface RequestOptions<In, Out> extends StepOptions<In, Out>, HttpOptions {
  /** Makes the result of the answer; with it no status is an error by itself. */
  readonly onResponse?: (response: ResponseInfo) => Out | Promise<Out>;
}

export interface InvokeOptions<In, Out> extends StepOptions<In, Out> {
  /** @default the version that is live when the run begins */
  readonly version?: number | "latest";
}

export interface EventOptions<In, Out> {
  /** Milliseconds, or a text such as "10m". @default 24 hours */
  readonly timeout?: number | string;
  /** Called when nothing came in time: what it returns is the result; or it throws. */
  readonly onFailure?: (error: FailureInfo, input: In) => Out | Promise<Out>;
}

const anything = { check: () => undefined };
const listed = (names: string): Fields =>
  Object.fromEntries(names.split(" ").map((name) => [name, anything]));

const STEP = "retry timeoutMs onFailure compensate";
const KNOWN = {
  apply: listed(`${STEP} method headers query version pure`),
  request: listed(`${STEP} method headers query onResponse`),
  invoke: listed(`${STEP} version`),
  event: listed("timeout onFailure"),
  node: listed("aggregator"),
  conditional: listed("aggregator"),
  forEach: listed("aggregator concurrency"),
  edge: listed("forwarder execution"),
  repeat: listed("limit"),
  flow: listed("durability"),
} as const;

/** Refuses options that nobody knows, by name. */
export function checkOptions(path: string, kind: keyof typeof KNOWN, options: object): void {
  checkFields(path, options, KNOWN[kind]);
}

/** A function of the author, or a refusal. */
export function hookOf<F>(path: string, what: string, value: F): F {
  return typeof value === "function"
    ? value
    : refusePlan(path, `${shown(value)} as ${what}`, "a function");
}

export function retryPlan(path: string, options: RetryOptions): RetryPlan {
  checkFields(`${path}, retry`, options, optionalFields(RETRY_FIELDS));
  return {
    limit: options.limit ?? 0,
    delayMs: options.delayMs ?? 1_000,
    backoff: options.backoff ?? "exponential",
  };
}

function optionalFields(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, { check }]) => [name, { check }]));
}

function compensationPlan(path: string, options: CompensateOptions): CompensationPlan {
  const given = typeof options === "string" ? { function: options } : options;
  const { retry, ...rest } = given;
  const plan = { ...rest, ...(retry && { retry: retryPlan(`${path}, compensate`, retry) }) };
  checkFields(`${path}, compensate`, plan, COMPENSATION_FIELDS);
  return plan;
}

/** The part of a plan that every attempted operation has; hooks are added by whoever calls. */
export function attemptedPlan<In, Out>(path: string, options: StepOptions<In, Out>) {
  const { retry, timeoutMs, onFailure, compensate } = options;
  return {
    ...(retry !== undefined && { retry: retryPlan(path, retry) }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(onFailure !== undefined && { onFailure: true as const }),
    ...(compensate !== undefined && { compensate: compensationPlan(path, compensate) }),
  };
}

export function httpPlan({ method, headers, query }: HttpOptions) {
  const lists = Object.entries(query ?? {}).map(([name, value]): [string, readonly string[]] => [
    name,
    typeof value === "string" ? [value] : value,
  ]);
  return {
    ...(method !== undefined && { method }),
    ...(headers !== undefined && { headers }),
    ...(query !== undefined && { query: Object.fromEntries(lists) }),
  };
}

/** Milliseconds of a length of time: a number of them, or a text such as `10m`. */
export function durationMs(path: string, value: number | string): number {
  const ms = typeof value === "string" ? parseDurationMs(value) : value;
  if (ms === undefined || waitMs(ms) !== undefined) {
    const max = String(WORKFLOW_LIMITS.waitMaxMs);
    refusePlan(path, shown(value), `milliseconds up to ${max}, or a text such as "10m"`);
  }
  return ms;
}
