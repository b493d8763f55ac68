/** Bounds of what the gateway remembers of calls: value, unit, and what happens beyond. */
import { LIMITS, assert } from "../contract/index.ts";

const MIB = 1024 * 1024;

export const TELEMETRY_LIMITS = {
  /** Log lines of one function. Beyond: its oldest leave and are counted. */
  logLinesPerFunction: LIMITS.logLinesPerFunction,
  /** Log text of one function. Beyond: its oldest leave and are counted. */
  logBytesPerFunction: LIMITS.logBytesPerFunction,
  /** Text of one log line. Beyond: cut, with a mark. */
  logLineMaxBytes: LIMITS.logLineMaxBytes,
  /** Log text and call records of all functions. Beyond: the idlest function loses its own. */
  memoryMaxBytes: 32 * MIB,
  /** Call records of one function. Beyond: the oldest leave. */
  callsPerFunction: 256,
  /** Spans of all functions. Beyond: the oldest leave; unexported ones are counted. */
  spansKept: LIMITS.spansKept,
  /** Attributes of one span from a cell. Beyond: the rest is dropped. */
  spanAttributesMax: 32,
  /** Any name or attribute text that a cell sends. Beyond: cut. */
  textMaxBytes: 1_024,
  /** Calls, log lines and spans of one batch, each. Beyond: the rest is rejected and counted. */
  batchItemsMax: 10_000,
  /** Lines that one query answers. */
  queryMax: 10_000,
  /** Functions remembered at all. Beyond: the idlest is forgotten, usage excepted. */
  functionsMax: 50_000,
  /** Functions with series of their own in the metrics. Beyond: counted as "other". */
  functionSeriesMax: 1_000,
  /** Status codes of one function with series of their own. Beyond: counted as "other". */
  codesPerFunction: 16,
  /** Rows of usage waiting to be drained. Beyond: cells cannot report of new functions. */
  usageRowsMax: 100_000,
  /** Followers of logs. Beyond: `CAPACITY`. */
  followersMax: 256,
  /** Lines waiting for one follower that reads too slowly. Beyond: dropped and told. */
  followerLagLines: 1_000,
  /** Time between two signs of life to a follower. */
  followerBeatMs: 15_000,
  /** Spans of one export request. */
  exportBatchSpans: 512,
  /** Time between two exports while there is little to send. */
  exportDelayMs: 1_000,
  /** Longest wait for the collector's answer. Beyond: the request counts as failed. */
  exportTimeoutMs: 10_000,
  /** First and longest pause after a failed export. */
  exportBackoffMs: 1_000,
  exportBackoffMaxMs: 60_000,
  /** Time after which a batch that the collector keeps refusing is dropped and counted. */
  exportGiveUpMs: 5 * 60 * 1_000,
} as const;

export type TelemetryLimits = { readonly [K in keyof typeof TELEMETRY_LIMITS]: number };

assert(
  TELEMETRY_LIMITS.exportBatchSpans < TELEMETRY_LIMITS.spansKept,
  "a batch being sent leaves room for spans that end meanwhile",
);
assert(
  TELEMETRY_LIMITS.memoryMaxBytes > 8 * TELEMETRY_LIMITS.logBytesPerFunction,
  "one function's logs are a small part of all",
);
