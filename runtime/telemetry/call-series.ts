/**
 * Counters and histograms of calls.
 *
 * prom-client 15.1.3 was tried in workerd. It is fast enough (1.0 µs for what a call counts here;
 * everything that the hub does for a call takes 0.5 µs) but it does not fit: it requires `util`,
 * `cluster`, `http`, `fs` and `v8` by bare name, which an ES module in workerd cannot do without a
 * `createRequire` shim; its parts alone are untyped private paths; and what needs care here,
 * series that leave with their function and a bound on their number, it leaves to its user, who
 * then keeps every label set a second time. Its text is a page of ours (metrics-text.ts), checked
 * by reading it back with an independent parser.
 */
import type {
  CallOutcome,
  CallRecord,
  CallbackTold,
  ErrorCode,
  Verdict,
} from "../contract/index.ts";

/** Upper bounds in milliseconds; the last bucket, +Inf, has none. */
export const BUCKETS_MS: readonly number[] = [
  1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000,
];

export interface Histogram {
  /** Observations per bucket, not cumulated; one more than there are bounds. */
  readonly counts: number[];
  count: number;
  sumMs: number;
}

export function newHistogram(): Histogram {
  return { counts: Array.from({ length: BUCKETS_MS.length + 1 }, () => 0), count: 0, sumMs: 0 };
}

export function observe(histogram: Histogram, valueMs: number): void {
  let bucket = 0;
  while (bucket < BUCKETS_MS.length && valueMs > (BUCKETS_MS[bucket] ?? 0)) bucket += 1;
  histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1;
  histogram.count += 1;
  histogram.sumMs += valueMs;
}

/** Calls of one function that ended with one status. */
export interface CodeSeries {
  readonly code: number | "other";
  readonly seconds: Histogram;
}

/** Series of one function, or of all that came after `functionSeriesMax` were given out. */
export class FunctionSeries {
  /** `name.namespace`, as OpenFaaS names functions; or "other". */
  readonly label: string;
  readonly codes: CodeSeries[] = [];
  started = 0;
  finished = 0;
  readonly #codesMax: number;

  constructor(label: string, codesMax: number) {
    this.label = label;
    this.#codesMax = codesMax;
  }

  end(status: number, wallMs: number): void {
    this.finished += 1;
    observe(this.#code(status).seconds, wallMs);
  }

  get inFlight(): number {
    return Math.max(0, this.started - this.finished);
  }

  #code(status: number): CodeSeries {
    for (const series of this.codes) if (series.code === status) return series;
    const code: CodeSeries["code"] = this.codes.length < this.#codesMax - 1 ? status : "other";
    const known = this.codes.find((series) => series.code === code);
    if (known) return known;
    const series: CodeSeries = { code, seconds: newHistogram() };
    this.codes.push(series);
    return series;
  }
}

/** What is counted over all functions. */
export class PlatformSeries {
  readonly outcomes: Record<CallOutcome, number> = {
    ok: 0,
    function_error: 0,
    platform_error: 0,
    timeout: 0,
    canceled: 0,
  };
  readonly verdicts: Record<Verdict["cause"], number> = {
    MAX_BLOCK: 0,
    MEMORY_LIMIT: 0,
    CELL_LOST: 0,
  };
  readonly convictions: Record<Verdict["cause"], number> = {
    MAX_BLOCK: 0,
    MEMORY_LIMIT: 0,
    CELL_LOST: 0,
  };
  readonly callbacks: Record<CallbackTold["result"], number> = {
    delivered: 0,
    failed: 0,
    givenUp: 0,
  };
  readonly errors = new Map<ErrorCode, number>();
  readonly queue = newHistogram();
  readonly load = newHistogram();
  readonly run = newHistogram();
  coldStarts = 0;
  bytesIn = 0;
  bytesOut = 0;
  logLines = 0;
  logLinesDropped = 0;
  itemsRejected = 0;

  end(record: CallRecord): void {
    this.outcomes[record.outcome] += 1;
    this.bytesIn += record.bytesIn;
    this.bytesOut += record.bytesOut;
    observe(this.queue, record.queueMs);
    observe(this.run, record.runMs);
    if (!record.cold) return;
    this.coldStarts += 1;
    observe(this.load, record.loadMs);
  }

  judge(verdict: Verdict): void {
    this.verdicts[verdict.cause] += 1;
    if (verdict.convicted !== undefined) this.convictions[verdict.cause] += 1;
  }

  refuse(code: ErrorCode): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
  }
}
