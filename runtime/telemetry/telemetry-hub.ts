/**
 * What the gateway knows of calls while they are recent: records, logs, spans, usage, metrics.
 * Everything is in memory and bounded; usage alone is handed on, to be kept by the registry.
 */
import type {
  RunTally,
  CallRecord,
  CallbackTold,
  CellInfo,
  CellStatus,
  Clock,
  ErrorCode,
  HostMetrics,
  HourlyUsage,
  LogLine,
  Random,
  Span,
  TraceContext,
  TraceSummary,
  Verdict,
} from "../contract/index.ts";
import type { TelemetryLimits } from "./limits.ts";
import type { StoreLedger } from "./store-ledger.ts";

export interface LogQuery {
  readonly namespace: string;
  readonly function?: string;
  readonly callId?: string;
  /** Lines at or after this moment. */
  readonly sinceMs?: number;
  /** Lines that came after the one with this cursor; all of them if the cursor is not ours. */
  readonly after?: string;
  /** The newest this many. @default 1000 */
  readonly limit?: number;
}

export interface LogAnswer {
  /** Oldest first. */
  readonly lines: readonly LogLine[];
  /** Cursor of every line, at the same index. A restart of the gateway voids them. */
  readonly cursors: readonly string[];
  /** Lines of the functions asked for that left the ring since it began, or never got in. */
  readonly droppedLines: number;
}

export interface LogFilter {
  readonly namespace: string;
  readonly function?: string;
}

export interface CallQuery {
  readonly namespace: string;
  readonly function?: string;
  readonly sinceMs?: number;
  /** The newest this many. @default 100 */
  readonly limit?: number;
}

export type TraceQuery =
  | { readonly namespace: string; readonly traceId: string }
  | { readonly namespace: string; readonly callId: string };

export interface TraceListQuery {
  readonly namespace: string;
  /** Traces with a call of it. */
  readonly function?: string;
  /** Traces in which anything (of that function, if one is named) ended since then. */
  readonly sinceMs?: number;
  /** The newest this many. @default 100 */
  readonly limit?: number;
}

/** What a batch held: taken in, and refused because malformed, out of bounds or not its own. */
export interface Absorbed {
  readonly accepted: number;
  readonly rejected: number;
}

/** What `/metrics` shows that the hub cannot know: the state of this moment. */
export interface MetricsGauges {
  readonly version: string;
  readonly startedAtMs: number;
  /** Calls waiting in the gateway. */
  readonly queued: number;
  /** Calls in flight in cells. */
  readonly inFlight: number;
  readonly cells: readonly (CellInfo & Partial<CellStatus>)[];
  readonly processes: HostMetrics["processes"];
  /** Shards of the store, and whether they answered. */
  readonly shards: readonly { readonly shard: number; readonly isUp: boolean }[];
  /** Runs that are open now, and those that ended since the gateway began. */
  readonly runs: { readonly open: readonly RunTally[]; readonly ended: readonly RunTally[] };
  /** Of the OTLP exporter, where there is one. */
  readonly spanExport?: ExportStats;
  /** Live functions. Any iterable: it is walked once. */
  readonly functions: Iterable<{
    readonly namespace: string;
    readonly name: string;
    readonly quarantined: boolean;
  }>;
}

export interface TelemetryHub {
  /** A call was sent to a cell. Pairs with `recordCall`; their difference is what is in flight. */
  callStarted(namespace: string, name: string): void;

  /**
   * A call ended: counts it, keeps the record and its span. Owns `record` from here on.
   *
   * @param trace the call's own span; absent: a trace begins here.
   * @param parentSpanId span of the client, from its traceparent.
   */
  recordCall(record: CallRecord, trace?: TraceContext, parentSpanId?: string): void;

  /** The platform answered a call with an error of its own (`QUEUE_FULL`, `CELL_LOST`, …). */
  refused(code: ErrorCode): void;

  /** The watchdog spoke. */
  recordVerdict(verdict: Verdict): void;

  /** A cell tried to tell a URL what came of a run. */
  recordCallback(result: CallbackTold["result"]): void;

  /** Lines and spans that the gateway itself vouches for. */
  recordLogs(lines: readonly LogLine[]): void;
  recordSpans(spans: readonly Span[]): void;

  /**
   * Takes in what a cell or the host sent: a `TelemetryBatch`, as parsed from JSON and not yet
   * believed. Items that are malformed or of a namespace that `allows` refuses are left out.
   */
  absorb(batch: unknown, allows?: (namespace: string) => boolean): Absorbed;

  readonly logs: {
    query(query: LogQuery): LogAnswer;
    /**
     * Hands every new line to `onLine`, until the returned function is called or `onLine` throws.
     * In workerd use `streamLogs`: a request that only waits for others is canceled as hung.
     * Errors: `CAPACITY` beyond `followersMax`.
     */
    follow(filter: LogFilter, onLine: (line: LogLine, cursor: string) => void): () => void;
  };
  readonly calls: {
    /** Newest first. */
    query(query: CallQuery): readonly CallRecord[];
  };
  readonly traces: {
    /** Spans of one trace that belong to the namespace, by start. */
    query(query: TraceQuery): readonly Span[];
    /** Kept traces, oldest first. */
    list(query: TraceListQuery): readonly TraceSummary[];
    /** Where an exporter reads; a span is handed out once. */
    readonly source: SpanSource;
  };
  readonly usage: {
    /** Everything since the last drain. The caller persists it, or gives it back to `restore`. */
    drain(): HourlyUsage[];
    restore(deltas: readonly HourlyUsage[]): void;
    /** What is not drained yet, by function and hour. */
    peek(namespace: string): readonly HourlyUsage[];
  };

  /** The ephemeral store, as its shards tell of it. */
  readonly store: StoreLedger;

  /** Prometheus text format 0.0.4. */
  metricsText(gauges: MetricsGauges): string;

  /** A function, or a namespace, is no more: its series, logs and records leave; usage stays. */
  forget(namespace: string, name?: string): void;
}

/** Spans in the order they ended, for one exporter. */
export interface SpanSource {
  /** Spans waiting. */
  readonly waiting: number;
  /** Spans that left the ring before anybody took them. */
  readonly lost: number;
  take(max: number): Span[];
}

/** What became of the spans that an exporter took. */
export interface ExportStats {
  readonly sentSpans: number;
  /** Refused by the collector, given up, or lost before they were taken. */
  readonly droppedSpans: number;
  readonly requests: number;
  readonly failures: number;
  /** Why the last request failed; empty after a success. */
  readonly lastError: string;
}

export interface TelemetryHubOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: Partial<TelemetryLimits>;
}
