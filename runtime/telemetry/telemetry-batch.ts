/**
 * What cells and the host send, believed only as far as it is checked: every item is rebuilt from
 * its known fields, each within its type and bounds; texts too long are cut, items that do not
 * fit are left out and counted.
 */
import {
  type CallOutcome,
  type CallRecord,
  LIMITS,
  type LogLevel,
  type LogLine,
  type Span,
  type TelemetryBatch,
  WORKFLOW_LIMITS,
  isLabel,
} from "../contract/index.ts";
import type { TelemetryLimits } from "./limits.ts";
import { NAMESPACE_ATTRIBUTE } from "./spans.ts";
import { cutText } from "./text.ts";

const OUTCOMES: readonly CallOutcome[] = [
  "ok",
  "function_error",
  "platform_error",
  "timeout",
  "canceled",
];
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const KINDS: readonly Span["kind"][] = ["server", "client", "internal"];

const CALL_ID = /^[0-9a-f]{32}$/;
const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;
const SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/;

/** A call lasts no longer than the longest deadline; clocks differ by a minute at most. */
const DURATION_MAX_MS = LIMITS.timeoutMaxMs + 60_000;
const SKEW_MS = 60_000;
/** A run lasts no longer than some of its longest waits. */
const RUN_MAX_MS = 10 * WORKFLOW_LIMITS.waitMaxMs;
const MEMORY_MAX_MB = 1024 * 1024;

export interface CheckedBatch extends TelemetryBatch {
  readonly rejected: number;
}

type Fields = Readonly<Record<string, unknown>>;

interface Check {
  readonly limits: TelemetryLimits;
  readonly nowMs: number;
  readonly allows: (namespace: string) => boolean;
}

/** Reads a batch as it came from JSON; never throws. */
export function checkBatch(batch: unknown, check: Check): CheckedBatch {
  if (!isFields(batch)) return { calls: [], logs: [], spans: [], rejected: 1 };
  const calls = checkItems(batch["calls"], callOf, check);
  const logs = checkItems(batch["logs"], lineOf, check);
  const spans = checkItems(batch["spans"], spanOf, check);
  return {
    calls: calls.kept,
    logs: logs.kept,
    spans: spans.kept,
    rejected: calls.rejected + logs.rejected + spans.rejected,
  };
}

function checkItems<T>(
  items: unknown,
  read: (fields: Fields, check: Check) => T | undefined,
  check: Check,
): { kept: T[]; rejected: number } {
  if (items === undefined) return { kept: [], rejected: 0 };
  if (!Array.isArray(items)) return { kept: [], rejected: 1 };
  const kept: T[] = [];
  const length = Math.min(items.length, check.limits.batchItemsMax);
  for (let index = 0; index < length; index += 1) {
    const fields: unknown = items[index];
    const item = isFields(fields) ? read(fields, check) : undefined;
    if (item !== undefined) kept.push(item);
  }
  return { kept, rejected: items.length - kept.length };
}

function callOf(fields: Fields, check: Check): CallRecord | undefined {
  const name = nameOf(fields, check);
  const callId = matching(fields["callId"], CALL_ID);
  const parentCallId = matching(fields["parentCallId"], CALL_ID);
  const version = whole(fields["version"], Number.MAX_SAFE_INTEGER);
  const outcome = oneOf(fields["outcome"], OUTCOMES);
  const status = whole(fields["status"], 599);
  const startedAtMs = momentOf(fields["startedAtMs"], check);
  const [wallMs, queueMs, loadMs, runMs] = ["wallMs", "queueMs", "loadMs", "runMs"].map((key) =>
    within(fields[key], DURATION_MAX_MS),
  );
  const bytesIn = whole(fields["bytesIn"], Number.MAX_SAFE_INTEGER);
  const bytesOut = whole(fields["bytesOut"], Number.MAX_SAFE_INTEGER);
  const memoryMb = within(fields["memoryMb"], MEMORY_MAX_MB);
  const { backend, cold } = fields;
  if (
    name === undefined ||
    callId === undefined ||
    version === undefined ||
    outcome === undefined ||
    status === undefined ||
    status < 100 ||
    startedAtMs === undefined ||
    wallMs === undefined ||
    startedAtMs + wallMs > check.nowMs + SKEW_MS ||
    queueMs === undefined ||
    loadMs === undefined ||
    runMs === undefined ||
    bytesIn === undefined ||
    bytesOut === undefined ||
    memoryMb === undefined ||
    typeof backend !== "string" ||
    !isLabel(backend) ||
    typeof cold !== "boolean" ||
    (fields["parentCallId"] !== undefined && parentCallId === undefined)
  ) {
    return undefined;
  }
  return {
    callId,
    ...name,
    version,
    backend,
    outcome,
    status,
    cold,
    startedAtMs,
    wallMs,
    queueMs,
    loadMs,
    runMs,
    bytesIn,
    bytesOut,
    memoryMb,
    ...(parentCallId === undefined ? {} : { parentCallId }),
  };
}

function lineOf(fields: Fields, check: Check): LogLine | undefined {
  const name = nameOf(fields, check);
  const callId = fields["callId"] === "" ? "" : matching(fields["callId"], CALL_ID);
  const version = whole(fields["version"], Number.MAX_SAFE_INTEGER);
  const atMs = momentOf(fields["atMs"], check);
  const level = oneOf(fields["level"], LEVELS);
  const { text } = fields;
  if (
    name === undefined ||
    callId === undefined ||
    version === undefined ||
    atMs === undefined ||
    level === undefined ||
    typeof text !== "string"
  ) {
    return undefined;
  }
  const cut = cutText(text, check.limits.logLineMaxBytes);
  return { callId, ...name, version, atMs, level, text: cut };
}

function spanOf(fields: Fields, check: Check): Span | undefined {
  const { attributes } = fields;
  const traceId = matching(fields["traceId"], TRACE_ID);
  const spanId = matching(fields["spanId"], SPAN_ID);
  const parentSpanId = matching(fields["parentSpanId"], SPAN_ID);
  const kind = oneOf(fields["kind"], KINDS);
  // A run may wait long between what it does.
  const startedAtMs = momentOf(fields["startedAtMs"], check, RUN_MAX_MS);
  const endedAtMs = momentOf(fields["endedAtMs"], check);
  const { name, error, sampled } = fields;
  if (
    traceId === undefined ||
    spanId === undefined ||
    (fields["parentSpanId"] !== undefined && parentSpanId === undefined) ||
    kind === undefined ||
    startedAtMs === undefined ||
    endedAtMs === undefined ||
    endedAtMs < startedAtMs ||
    typeof name !== "string" ||
    !isFields(attributes)
  ) {
    return undefined;
  }
  const namespace = attributes[NAMESPACE_ATTRIBUTE];
  if (typeof namespace !== "string" || !isLabel(namespace) || !check.allows(namespace)) {
    return undefined;
  }
  const { textMaxBytes } = check.limits;
  return {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name: cutText(name, textMaxBytes),
    kind,
    startedAtMs,
    endedAtMs,
    ...(typeof error === "string" ? { error: cutText(error, textMaxBytes) } : {}),
    ...(sampled === false ? { sampled } : {}),
    attributes: { ...attributesOf(attributes, check), [NAMESPACE_ATTRIBUTE]: namespace },
  };
}

function attributesOf(fields: Fields, { limits }: Check): Span["attributes"] {
  const kept: [string, string | number | boolean][] = [];
  for (const [key, value] of Object.entries(fields)) {
    if (kept.length === limits.spanAttributesMax) break;
    const name = cutText(key, limits.textMaxBytes);
    if (typeof value === "string") kept.push([name, cutText(value, limits.textMaxBytes)]);
    else if (typeof value === "boolean") kept.push([name, value]);
    else if (typeof value === "number" && Number.isFinite(value)) kept.push([name, value]);
  }
  return Object.fromEntries(kept);
}

/** Namespace and function, if they are names and the sender may speak for the namespace. */
function nameOf(fields: Fields, check: Check): { namespace: string; function: string } | undefined {
  const { namespace, function: name } = fields;
  if (typeof namespace !== "string" || typeof name !== "string") return undefined;
  if (!isLabel(namespace) || !isLabel(name) || !check.allows(namespace)) return undefined;
  return { namespace, function: name };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function matching(value: unknown, pattern: RegExp): string | undefined {
  return typeof value === "string" && pattern.test(value) ? value : undefined;
}

function oneOf<T extends string>(value: unknown, values: readonly T[]): T | undefined {
  return values.find((known) => known === value);
}

function within(value: unknown, max: number): number | undefined {
  return typeof value === "number" && value >= 0 && value <= max ? value : undefined;
}

function whole(value: unknown, max: number): number | undefined {
  return Number.isSafeInteger(value) ? within(value, max) : undefined;
}

/** A moment of the recent past; rows of usage and rings have no place for others. */
function momentOf(value: unknown, { nowMs }: Check, pastMs = DURATION_MAX_MS): number | undefined {
  if (typeof value !== "number") return undefined;
  const isRecent = value >= nowMs - pastMs && value <= nowMs + SKEW_MS;
  return isRecent ? value : undefined;
}
