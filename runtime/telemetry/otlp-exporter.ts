/**
 * The OTLP exporter: takes spans from a source in batches, one request at a time, by OTLP/HTTP's
 * rules for retries. It has no timer: whoever has an event at hand calls `tick`.
 *
 * E1 At most one batch is out; what waits, waits in the source, which is bounded and counts what
 *    it loses.
 * E2 Every span taken is at last counted once, as sent or as dropped. (A request whose answer was
 *    lost is sent again: the collector may see a span twice, as OTLP allows.)
 * E3 A request whose sender vanished (workerd ends promises with their request) is given up after
 *    `exportTimeoutMs`; an answer that comes later is ignored.
 */
import type { Clock, Random, Span } from "../contract/index.ts";
import type { TelemetryLimits } from "./limits.ts";
import { type OtlpResource, encodeSpans, parsePartialSuccess } from "./otlp.ts";
import type { ExportStats, SpanSource } from "./telemetry-hub.ts";

/** Answer of a collector. */
export interface ExportAnswer {
  readonly status: number;
  /** From Retry-After. */
  readonly retryAfterSeconds?: number;
  /** Body, at most some kilobytes of it. */
  readonly body?: string;
}

export interface OtlpExporter {
  /** True if `tick` would send now. Costs two comparisons while little waits. */
  readonly isDue: boolean;
  readonly stats: ExportStats;
  /** Sends one batch if one is due; never throws. */
  tick(): Promise<void>;
  /** Sends what waits until there is nothing left or a request fails; for the end of a platform. */
  flush(): Promise<void>;
}

export interface OtlpExporterOptions {
  readonly source: SpanSource;
  /** Posts one body; may throw for a network failure. Must end within `exportTimeoutMs`. */
  readonly send: (body: string) => Promise<ExportAnswer>;
  readonly resource: OtlpResource;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Pick<
    TelemetryLimits,
    | "exportBatchSpans"
    | "exportDelayMs"
    | "exportTimeoutMs"
    | "exportBackoffMs"
    | "exportBackoffMaxMs"
    | "exportGiveUpMs"
  >;
}

interface Batch {
  readonly body: string;
  readonly spans: number;
  readonly firstSentAtMs: number;
  attempts: number;
}

type Phase =
  | { readonly name: "idle"; readonly sinceMs: number }
  | { readonly name: "sending"; readonly batch: Batch; readonly sentAtMs: number }
  | { readonly name: "waiting"; readonly batch: Batch; readonly retryAtMs: number };

/** Statuses that OTLP/HTTP calls retryable; everything else but success is final. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);

export function createOtlpExporter(options: OtlpExporterOptions): OtlpExporter {
  return new Exporter(options);
}

class Exporter implements OtlpExporter {
  readonly #options: OtlpExporterOptions;
  #phase: Phase;
  #sentSpans = 0;
  #droppedSpans = 0;
  #requests = 0;
  #failures = 0;
  #lastError = "";

  constructor(options: OtlpExporterOptions) {
    this.#options = options;
    this.#phase = { name: "idle", sinceMs: options.clock.now() };
  }

  get stats(): ExportStats {
    return {
      sentSpans: this.#sentSpans,
      droppedSpans: this.#droppedSpans + this.#options.source.lost,
      requests: this.#requests,
      failures: this.#failures,
      lastError: this.#lastError,
    };
  }

  get isDue(): boolean {
    const { source, limits, clock } = this.#options;
    const phase = this.#phase;
    if (phase.name === "idle") {
      if (source.waiting === 0) return false;
      if (source.waiting >= limits.exportBatchSpans) return true;
      return clock.now() >= phase.sinceMs + limits.exportDelayMs;
    }
    if (phase.name === "waiting") return clock.now() >= phase.retryAtMs;
    return clock.now() >= phase.sentAtMs + limits.exportTimeoutMs;
  }

  async tick(): Promise<void> {
    if (!this.isDue) return;
    if (this.#phase.name === "sending") {
      this.#failed(this.#phase.batch, "no answer in time", undefined);
      if (!this.isDue) return;
    }
    await this.#sendNext();
  }

  async flush(): Promise<void> {
    const failures = this.#failures;
    while (this.#phase.name !== "sending" && this.#failures === failures) {
      if (this.#phase.name === "idle" && this.#options.source.waiting === 0) return;
      await this.#sendNext();
    }
  }

  async #sendNext(): Promise<void> {
    const batch = this.#phase.name === "waiting" ? this.#phase.batch : this.#nextBatch();
    if (batch === undefined) return;
    const phase = { name: "sending", batch, sentAtMs: this.#options.clock.now() } as const;
    this.#phase = phase;
    batch.attempts += 1;
    this.#requests += 1;
    let answer: ExportAnswer | undefined;
    let fault = "";
    try {
      answer = await this.#options.send(batch.body);
    } catch (error) {
      fault = `no answer: ${error instanceof Error ? error.message : "unknown"}`;
    }
    // E3: given up meanwhile.
    if (this.#phase !== phase) return;
    this.#settle(batch, answer, fault);
  }

  #nextBatch(): Batch | undefined {
    const { source, limits, resource, clock } = this.#options;
    const spans: Span[] = source.take(limits.exportBatchSpans);
    if (spans.length === 0) {
      this.#phase = { name: "idle", sinceMs: clock.now() };
      return undefined;
    }
    const body = encodeSpans(spans, resource);
    return { body, spans: spans.length, firstSentAtMs: clock.now(), attempts: 0 };
  }

  #settle(batch: Batch, answer: ExportAnswer | undefined, fault: string): void {
    if (answer === undefined) {
      this.#failed(batch, fault, undefined);
    } else if (answer.status >= 200 && answer.status < 300) {
      const partial = parsePartialSuccess(answer.body ?? "");
      const rejected = Math.min(partial.rejectedSpans, batch.spans);
      this.#sentSpans += batch.spans - rejected;
      this.#droppedSpans += rejected;
      this.#lastError = partial.message;
      this.#phase = { name: "idle", sinceMs: this.#options.clock.now() };
    } else if (RETRYABLE.has(answer.status)) {
      this.#failed(batch, `status ${answer.status}`, answer.retryAfterSeconds);
    } else {
      this.#drop(batch, `status ${answer.status}`);
    }
  }

  #failed(batch: Batch, fault: string, retryAfterSeconds: number | undefined): void {
    const { clock, limits } = this.#options;
    const nowMs = clock.now();
    const pauseMs = Math.min(
      retryAfterSeconds === undefined ? this.#backoffMs(batch.attempts) : retryAfterSeconds * 1_000,
      limits.exportGiveUpMs,
    );
    if (nowMs + pauseMs > batch.firstSentAtMs + limits.exportGiveUpMs) {
      this.#drop(batch, `${fault}, given up after ${batch.attempts} attempts`);
      return;
    }
    this.#failures += 1;
    this.#lastError = fault;
    this.#phase = { name: "waiting", batch, retryAtMs: nowMs + pauseMs };
  }

  /** Doubles with every attempt; half of it is chance, so that senders do not march in step. */
  #backoffMs(attempts: number): number {
    const { limits, random } = this.#options;
    const fullMs = Math.min(
      limits.exportBackoffMs * 2 ** (attempts - 1),
      limits.exportBackoffMaxMs,
    );
    return fullMs / 2 + (random.fraction() * fullMs) / 2;
  }

  #drop(batch: Batch, fault: string): void {
    this.#failures += 1;
    this.#droppedSpans += batch.spans;
    this.#lastError = fault;
    this.#phase = { name: "idle", sinceMs: this.#options.clock.now() };
  }
}
