/** The hub: one entry per call on the hot path, everything else on demand. */
import {
  type CallRecord,
  type CallbackTold,
  type ErrorCode,
  type LogLine,
  type Span,
  type TraceContext,
  type Verdict,
  newTrace,
} from "../contract/index.ts";
import { PlatformSeries } from "./call-series.ts";
import { FunctionTable } from "./function-table.ts";
import { TELEMETRY_LIMITS, type TelemetryLimits } from "./limits.ts";
import { LogBook, boundOf } from "./log-book.ts";
import { renderMetrics } from "./metrics-text.ts";
import { SpanRing } from "./spans.ts";
import { StoreLedger } from "./store-ledger.ts";
import { checkBatch } from "./telemetry-batch.ts";
import type {
  Absorbed,
  CallQuery,
  MetricsGauges,
  TelemetryHub,
  TelemetryHubOptions,
} from "./telemetry-hub.ts";
import { UsageLedger } from "./usage-ledger.ts";

const QUERY_CALLS = 100;

/** A hub with nothing in it. It holds no I/O objects: one serves every request of an isolate. */
export function createTelemetryHub(options: TelemetryHubOptions): TelemetryHub {
  return new Hub(options);
}

class Hub implements TelemetryHub {
  readonly #options: TelemetryHubOptions;
  readonly #limits: TelemetryLimits;
  readonly #platform = new PlatformSeries();
  readonly #table: FunctionTable;
  readonly #book: LogBook;
  readonly #spans: SpanRing;
  readonly #ledger: UsageLedger;

  readonly logs: TelemetryHub["logs"];
  readonly calls: TelemetryHub["calls"];
  readonly traces: TelemetryHub["traces"];
  readonly usage: TelemetryHub["usage"];
  readonly store = new StoreLedger();

  constructor(options: TelemetryHubOptions) {
    const limits = { ...TELEMETRY_LIMITS, ...options.limits };
    const table = new FunctionTable(limits);
    const book = new LogBook(limits, table, this.#platform, options.clock);
    const spans = new SpanRing(limits.spansKept);
    const ledger = new UsageLedger(limits.usageRowsMax);
    this.#options = options;
    this.#limits = limits;
    this.#table = table;
    this.#book = book;
    this.#spans = spans;
    this.#ledger = ledger;
    this.logs = {
      query: (query) => book.query(query),
      follow: (filter, onLine) => book.follow(filter, onLine),
    };
    this.calls = { query: (query) => queryCalls(table, query, limits) };
    this.traces = {
      query: (query) => spans.query(query),
      list: (query) => spans.list(query),
      source: spans,
    };
    this.usage = {
      drain: () => ledger.drain(),
      restore: (deltas) => ledger.restore(deltas),
      peek: (namespace) => ledger.peek(namespace),
    };
  }

  callStarted(namespace: string, name: string): void {
    this.#table.touch(namespace, name).series.started += 1;
  }

  recordCall(record: CallRecord, trace?: TraceContext, parentSpanId?: string): void {
    this.#count(record, false);
    const own = trace ?? newTrace(this.#options.random);
    this.#spans.addCall(record, own, parentSpanId);
  }

  refused(code: ErrorCode): void {
    this.#platform.refuse(code);
  }

  recordVerdict(verdict: Verdict): void {
    this.#platform.judge(verdict);
  }

  recordCallback(result: CallbackTold["result"]): void {
    this.#platform.callbacks[result] += 1;
  }

  recordLogs(lines: readonly LogLine[]): void {
    for (const line of lines) this.#book.add(line);
  }

  recordSpans(spans: readonly Span[]): void {
    for (const span of spans) this.#spans.addSpan(span);
  }

  absorb(batch: unknown, allows: (namespace: string) => boolean = () => true): Absorbed {
    const nowMs = this.#options.clock.now();
    const checked = checkBatch(batch, { limits: this.#limits, nowMs, allows });
    let { rejected } = checked;
    for (const record of checked.calls) {
      // Keeps U3: names that a broken cell makes up do not grow the ledger without bound.
      if (this.#ledger.isFull && !this.#ledger.has(record)) rejected += 1;
      else this.#count(record, true);
    }
    this.recordLogs(checked.logs);
    this.recordSpans(checked.spans);
    this.#platform.itemsRejected += rejected;
    const items = checked.calls.length + checked.logs.length + checked.spans.length;
    return { accepted: items - (rejected - checked.rejected), rejected };
  }

  metricsText(gauges: MetricsGauges): string {
    return renderMetrics(
      this.#table,
      this.#platform,
      this.#spans.count,
      gauges,
      this.store,
      this.#limits.functionSeriesMax,
    );
  }

  forget(namespace: string, name?: string): void {
    this.#table.forget(namespace, name);
    this.#spans.forget(namespace, name);
    if (name === undefined) this.store.forget(namespace);
  }

  /** @param isReported a cell tells of it after the fact: it was never announced as started. */
  #count(record: CallRecord, isReported: boolean): void {
    const entry = this.#table.touch(record.namespace, record.function);
    if (isReported) entry.series.started += 1;
    entry.series.end(record.status, record.wallMs);
    this.#platform.end(record);
    this.#ledger.add(entry.usage, record);
    this.#platform.logLinesDropped += this.#table.addCall(entry, record);
  }
}

function queryCalls(table: FunctionTable, query: CallQuery, limits: TelemetryLimits): CallRecord[] {
  const records: CallRecord[] = [];
  const sinceMs = query.sinceMs ?? 0;
  for (const { calls } of table.select(query.namespace, query.function)) {
    for (let index = calls.length - 1; index >= 0; index -= 1) {
      const record = calls.at(index);
      if (record && record.startedAtMs >= sinceMs) records.push(record);
    }
  }
  records.sort((a, b) => b.startedAtMs - a.startedAtMs);
  return records.slice(0, boundOf(query.limit ?? QUERY_CALLS, limits.queryMax));
}
