/** Spans: made of call records, kept in a bounded ring, read once by an exporter. */
import type { CallRecord, Span, TraceContext, TraceSummary } from "../contract/index.ts";
import type { SpanSource, TraceListQuery, TraceQuery } from "./telemetry-hub.ts";

/** Attribute by which a span belongs to a namespace. */
export const NAMESPACE_ATTRIBUTE = "isola.namespace";
/** Attribute that holds the call id. */
const CALL_ATTRIBUTE = "isola.call_id";
/** Attribute that names the function. */
const FUNCTION_ATTRIBUTE = "isola.function";

const LIST_DEFAULT = 100;

/** Of spans of one trace, at least one. */
function summaryOf(spans: readonly Span[]): TraceSummary {
  const inOrder = spans.toSorted((one, other) => one.startedAtMs - other.startedAtMs);
  // Milliseconds are coarse: whose parent is not among them comes before its own callees.
  const ids = new Set(inOrder.map(({ spanId }) => spanId));
  const root = inOrder.find(({ parentSpanId = "" }) => !ids.has(parentSpanId)) ?? inOrder[0];
  const error = inOrder.find((span) => span.error !== undefined)?.error;
  return {
    traceId: root?.traceId ?? "",
    name: root?.name ?? "",
    startedAtMs: root?.startedAtMs ?? 0,
    endedAtMs: Math.max(...inOrder.map(({ endedAtMs }) => endedAtMs)),
    spans: inOrder.length,
    ...(error === undefined ? {} : { error }),
  };
}

/** The span of a finished call. */
export function spanOfCall(record: CallRecord, trace: TraceContext, parentSpanId?: string): Span {
  const isFault = record.outcome !== "ok" && record.outcome !== "canceled";
  return {
    traceId: trace.traceId,
    spanId: trace.spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name: record.function,
    kind: record.parentCallId === undefined ? "server" : "internal",
    startedAtMs: record.startedAtMs,
    endedAtMs: record.startedAtMs + record.wallMs,
    ...(isFault ? { error: record.outcome } : {}),
    ...(trace.sampled ? {} : { sampled: false }),
    attributes: {
      [NAMESPACE_ATTRIBUTE]: record.namespace,
      [FUNCTION_ATTRIBUTE]: record.function,
      "isola.version": record.version,
      [CALL_ATTRIBUTE]: record.callId,
      "isola.cold": record.cold,
      "http.response.status_code": record.status,
      "isola.backend": record.backend,
      "isola.outcome": record.outcome,
      "isola.queue_ms": record.queueMs,
      "isola.load_ms": record.loadMs,
      "isola.run_ms": record.runMs,
      ...(record.parentCallId === undefined ? {} : { "isola.parent_call_id": record.parentCallId }),
    },
  };
}

/**
 * Bounded ring of spans, numbered from 0 in the order they ended.
 *
 * S1 A call's span costs the ring no object: it keeps the record and the ids, and makes the span
 *    when somebody asks for it.
 * S2 The exporter's queue is the ring itself: what it did not take in time is lost and counted,
 *    so a collector that is down costs calls nothing.
 */
export class SpanRing implements SpanSource {
  readonly #capacity: number;
  readonly #items: (CallRecord | Span | undefined)[] = [];
  readonly #traces: (TraceContext | undefined)[] = [];
  readonly #parents: (string | undefined)[] = [];
  #next = 0;
  #taken = 0;
  #lost = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  addCall(record: CallRecord, trace: TraceContext, parentSpanId: string | undefined): void {
    const slot = this.#next % this.#capacity;
    this.#items[slot] = record;
    this.#traces[slot] = trace;
    this.#parents[slot] = parentSpanId;
    this.#next += 1;
  }

  addSpan(span: Span): void {
    const slot = this.#next % this.#capacity;
    this.#items[slot] = span;
    this.#traces[slot] = undefined;
    this.#parents[slot] = undefined;
    this.#next += 1;
  }

  get count(): number {
    return this.#next;
  }

  get waiting(): number {
    return Math.min(this.#next - this.#taken, this.#capacity);
  }

  get lost(): number {
    return this.#lost + Math.max(0, this.#next - this.#taken - this.#capacity);
  }

  take(max: number): Span[] {
    this.#lost = this.lost;
    this.#taken = Math.max(this.#taken, this.#next - this.#capacity);
    const spans: Span[] = [];
    while (spans.length < max && this.#taken < this.#next) {
      const span = this.#span(this.#taken % this.#capacity);
      if (span && span.sampled !== false) spans.push(span);
      this.#taken += 1;
    }
    return spans;
  }

  query(query: TraceQuery): Span[] {
    const traceId = "traceId" in query ? query.traceId : this.#traceOfCall(query);
    if (traceId === undefined) return [];
    const spans: Span[] = [];
    for (let slot = 0; slot < this.#items.length; slot += 1) {
      if (this.#traceId(slot) !== traceId || this.#namespace(slot) !== query.namespace) continue;
      const span = this.#span(slot);
      if (span) spans.push(span);
    }
    return spans.sort((a, b) => a.startedAtMs - b.startedAtMs || a.endedAtMs - b.endedAtMs);
  }

  /** Two looks at ids, and spans made of few: the whole ring would hold the thread too long. */
  list(query: TraceListQuery): TraceSummary[] {
    const traces = this.#newestTraces(query);
    if (traces.size === 0) return [];
    for (let slot = 0; slot < this.#items.length; slot += 1) {
      if (this.#namespace(slot) !== query.namespace) continue;
      const spans = traces.get(this.#traceId(slot) ?? "");
      const span = spans && this.#span(slot);
      if (span) spans.push(span);
    }
    return [...traces.values()]
      .map(summaryOf)
      .sort((one, other) => one.startedAtMs - other.startedAtMs);
  }

  #newestTraces(query: TraceListQuery): Map<string, Span[]> {
    const { namespace, function: name, sinceMs = 0, limit = LIST_DEFAULT } = query;
    const traces = new Map<string, Span[]>();
    const oldest = Math.max(0, this.#next - this.#capacity);
    for (let at = this.#next - 1; at >= oldest && traces.size < limit; at -= 1) {
      const slot = at % this.#capacity;
      if (this.#namespace(slot) !== namespace || this.#endedAtMs(slot) < sinceMs) continue;
      if (name !== undefined && this.#function(slot) !== name) continue;
      const traceId = this.#traceId(slot);
      if (traceId !== undefined) traces.set(traceId, []);
    }
    return traces;
  }

  /** What a namespace left behind goes with it, or with one of its functions. */
  forget(namespace: string, name?: string): void {
    for (let slot = 0; slot < this.#items.length; slot += 1) {
      if (this.#namespace(slot) !== namespace) continue;
      if (name !== undefined && this.#function(slot) !== name) continue;
      this.#items[slot] = undefined;
      this.#traces[slot] = undefined;
    }
  }

  #traceOfCall(query: { readonly namespace: string; readonly callId: string }): string | undefined {
    for (let slot = 0; slot < this.#items.length; slot += 1) {
      const item = this.#items[slot];
      if (item === undefined) continue;
      const callId = "callId" in item ? item.callId : item.attributes[CALL_ATTRIBUTE];
      if (callId === query.callId && this.#namespace(slot) === query.namespace) {
        return this.#traceId(slot);
      }
    }
    return undefined;
  }

  #span(slot: number): Span | undefined {
    const item = this.#items[slot];
    if (item === undefined) return undefined;
    if (!("callId" in item)) return item;
    const trace = this.#traces[slot];
    return trace && spanOfCall(item, trace, this.#parents[slot]);
  }

  #traceId(slot: number): string | undefined {
    const item = this.#items[slot];
    return item && "traceId" in item ? item.traceId : this.#traces[slot]?.traceId;
  }

  #namespace(slot: number): unknown {
    const item = this.#items[slot];
    if (item === undefined) return undefined;
    return "callId" in item ? item.namespace : item.attributes[NAMESPACE_ATTRIBUTE];
  }

  #endedAtMs(slot: number): number {
    const item = this.#items[slot];
    if (item === undefined) return Number.NEGATIVE_INFINITY;
    return "callId" in item ? item.startedAtMs + item.wallMs : item.endedAtMs;
  }

  #function(slot: number): unknown {
    const item = this.#items[slot];
    if (item === undefined) return undefined;
    return "callId" in item ? item.function : item.attributes[FUNCTION_ATTRIBUTE];
  }
}
