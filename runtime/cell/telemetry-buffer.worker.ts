/**
 * Logs, spans and records of calls between functions, on their way to the gateway in batches.
 *
 * A batch leaves 200 ms after its first item or when it is full, carried by the invocation that
 * added to it. What is still here when the process dies is lost; console lines of open calls are
 * recovered by the host from stdout.
 */
import type { CallRecord, LogLine, Span, TelemetryBatch } from "../contract/index.ts";
import { warn } from "./stdout.worker.ts";
import type { SupplyClient } from "./supply-client.worker.ts";

const DELAY_MS = 200;
const FULL_ITEMS = 512;
/** A flush that has not come by then went with the invocation that carried it. */
const ABANDONED_MS = 2_000;
/** Beyond this many waiting items new ones are dropped: the gateway is not taking them. */
const MAX_ITEMS = 20_000;

/** An invocation, or an actor. */
type Carrier = Pick<ExecutionContext, "waitUntil">;

export class TelemetryBuffer {
  readonly #supply: SupplyClient;
  #calls: CallRecord[] = [];
  #logs: LogLine[] = [];
  #spans: Span[] = [];
  #scheduledAtMs = 0;
  readonly #now: () => number;

  constructor(supply: SupplyClient, now: () => number) {
    this.#supply = supply;
    this.#now = now;
  }

  addCall(ctx: Carrier, record: CallRecord): void {
    if (this.#count() < MAX_ITEMS) this.#calls.push(record);
    this.#schedule(ctx);
  }

  addLogs(ctx: Carrier, lines: readonly LogLine[]): void {
    if (this.#count() < MAX_ITEMS) this.#logs.push(...lines);
    this.#schedule(ctx);
  }

  addSpan(ctx: Carrier, span: Span): void {
    if (this.#count() < MAX_ITEMS) this.#spans.push(span);
    this.#schedule(ctx);
  }

  #count(): number {
    return this.#calls.length + this.#logs.length + this.#spans.length;
  }

  #schedule(ctx: Carrier): void {
    if (this.#count() >= FULL_ITEMS) ctx.waitUntil(this.flush());
    else if (this.#now() - this.#scheduledAtMs > ABANDONED_MS) {
      this.#scheduledAtMs = this.#now();
      ctx.waitUntil(scheduler.wait(DELAY_MS).then(() => this.flush()));
    }
  }

  async flush(): Promise<void> {
    this.#scheduledAtMs = 0;
    if (this.#count() === 0) return;
    const batch: TelemetryBatch = { calls: this.#calls, logs: this.#logs, spans: this.#spans };
    this.#calls = [];
    this.#logs = [];
    this.#spans = [];
    try {
      await this.#supply.tell(batch);
    } catch (thrown) {
      warn(`telemetry: a batch was lost: ${String(thrown)}`);
    }
  }
}
