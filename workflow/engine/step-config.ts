/**
 * What Cloudflare's step API takes, in the form that a run knows: durations, the configuration of
 * `step.do` with its defaults, names. Strict, as there: an unknown field is a fatal error.
 */
import { WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import type { RetryPlan } from "../builder/index.ts";
import type { DoPlan } from "./model.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  millisecond: 1,
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 30 * 86_400_000,
  year: 365 * 86_400_000,
};
const DURATION = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*$/i;
const NAME_MAX_CHARACTERS = 256;
const CONTROL = /\p{Cc}/u;

/** As documented: five retries, exponential, from ten seconds; ten minutes for an attempt. */
const RETRIES = { limit: 5, delay: 10_000, backoff: "exponential" } as const;
const RETRY_OPTIONS: ReadonlySet<string> = new Set(["limit", "delay", "backoff"]);
const TIMEOUT_MS = 600_000;

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string };

const fault = (message: string): { ok: false; message: string } => ({ ok: false, message });

/** Milliseconds of `5000` or `"5 seconds"`; a month has 30 days, a year 365. */
export function parseStepDuration(given: unknown): Parsed<number> {
  let ms = typeof given === "number" ? given : Number.NaN;
  if (typeof given === "string") {
    const [, amount, unit = ""] = DURATION.exec(given) ?? [];
    ms = Number(amount) * (UNIT_MS[unit.toLowerCase()] ?? Number.NaN);
  }
  if (ms >= 0 && ms <= WORKFLOW_LIMITS.waitMaxMs) return { ok: true, value: ms };
  return fault(`a duration is milliseconds, or a text such as "5 minutes", up to 365 days`);
}

/** The configuration of `step.do`, and of its rollback where there is one. */
export interface DoConfig {
  readonly plan: DoPlan;
  /** `retries.delay` was a function: it decides, and its answer comes with each failure. */
  readonly hasDelayFunction: boolean;
}

/** @param rollback what `rollbackConfig` says, `{}` for a rollback without one; absent: none */
export function parseDoConfig(config: unknown = {}, rollback?: unknown): Parsed<DoConfig> {
  const own = parsePolicy(config, ["retries", "timeout", "sensitive"]);
  if (!own.ok) return own;
  const { hasDelayFunction, ...policy } = own.value;
  if (rollback === undefined) {
    return { ok: true, value: { plan: { op: "do", ...policy }, hasDelayFunction } };
  }
  const undo = parsePolicy(rollback, ["retries", "timeout"]);
  if (!undo.ok) return fault(`rollbackConfig: ${undo.message}`);
  if (undo.value.hasDelayFunction) return fault("rollbackConfig: delay is no function");
  const { retry, timeoutMs } = undo.value;
  const plan = { op: "do" as const, ...policy, rollback: { retry, timeoutMs } };
  return { ok: true, value: { plan, hasDelayFunction } };
}

interface Policy {
  readonly retry: RetryPlan;
  readonly timeoutMs: number;
  readonly hasDelayFunction: boolean;
}

function parsePolicy(config: unknown, known: readonly string[]): Parsed<Policy> {
  if (!isFields(config)) return fault("the configuration of a step is an object");
  const stranger = Object.keys(config).find((key) => !known.includes(key));
  if (stranger !== undefined) return fault(`no option ${stranger}; known: ${known.join(", ")}`);
  const { retries = {}, timeout = TIMEOUT_MS, sensitive } = config;
  if (sensitive !== undefined && sensitive !== "output") return fault('sensitive is "output"');
  const timeoutMs = parseStepDuration(timeout);
  if (!timeoutMs.ok) return fault(`timeout: ${timeoutMs.message}`);
  if (timeoutMs.value === 0) return fault("timeout: 0 is no time to run in");
  const retry = parseRetries(retries);
  if (!retry.ok) return retry;
  return { ok: true, value: { timeoutMs: timeoutMs.value, ...retry.value } };
}

function parseRetries(
  given: unknown,
): Parsed<{ readonly retry: RetryPlan; readonly hasDelayFunction: boolean }> {
  if (!isFields(given)) return fault("retries is an object");
  const stranger = Object.keys(given).find((key) => !RETRY_OPTIONS.has(key));
  if (stranger !== undefined) return fault(`retries: no option ${stranger}`);
  const { limit = RETRIES.limit, delay = RETRIES.delay, backoff = RETRIES.backoff } = given;
  const max = WORKFLOW_LIMITS.retryMaxLimit;
  if (typeof limit !== "number" || !(limit >= 0 && limit <= max) || limit % 1 !== 0) {
    return fault(`retries.limit is an integer up to ${String(max)}`);
  }
  if (!isBackoff(backoff)) return fault("retries.backoff is constant, linear or exponential");
  const hasDelayFunction = typeof delay === "function";
  const delayMs = parseStepDuration(hasDelayFunction ? RETRIES.delay : delay);
  if (!delayMs.ok) return fault(`retries.delay: ${delayMs.message}`);
  const retry = { limit, delayMs: delayMs.value, backoff };
  return { ok: true, value: { retry, hasDelayFunction } };
}

/** The id of a step: its kind, its name, and how often the name was used before, from 1. */
export function stepKey(
  kind: "do" | "sleep" | "event" | "invoke",
  name: unknown,
  count: number,
): Parsed<string> {
  const isName = typeof name === "string" && name !== "" && !CONTROL.test(name);
  if (!isName || name.length > NAME_MAX_CHARACTERS) {
    const max = String(NAME_MAX_CHARACTERS);
    return fault(`a step's name is a text of 1 to ${max} characters without control characters`);
  }
  return { ok: true, value: `${kind}:${name}-${String(count)}` };
}

const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isBackoff = (value: unknown): value is RetryPlan["backoff"] =>
  value === "constant" || value === "linear" || value === "exponential";
