/**
 * Usage between two drains, by function and hour. It is what namespaces are billed by, so it
 * never shares the fate of logs and records, which leave when memory is short.
 *
 * U1 Every call is in exactly one row: that of the hour in which it ended.
 * U2 A row is either here or was handed out by `drain`; `restore` brings it back, added to what
 *    came meanwhile.
 * U3 Rows are bounded by functions and hours; only what a cell reports may be refused for it.
 */
import type { CallOutcome, CallRecord, HourlyUsage } from "../contract/index.ts";

const HOUR_MS = 60 * 60 * 1_000;

type UsageSum = { -readonly [K in keyof HourlyUsage]: HourlyUsage[K] };

/** The row a function's calls went to last: saves the search for nearly every call. */
export interface UsageSlot {
  row: UsageSum | undefined;
  /** Drain count of the ledger when `row` was found; it is stale after the next. */
  epoch: number;
}

/** Faults count as errors; a caller that went away does not. */
export function isError(outcome: CallOutcome): boolean {
  return outcome !== "ok" && outcome !== "canceled";
}

export class UsageLedger {
  #rows = new Map<string, UsageSum>();
  #epoch = 1;
  readonly #rowsMax: number;

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  get isFull(): boolean {
    return this.#rows.size >= this.#rowsMax;
  }

  /** True if the record would be added to a row that is there. */
  has(record: CallRecord): boolean {
    const hourStartMs = hourOf(record.startedAtMs + record.wallMs);
    return this.#rows.has(keyOf(record.namespace, record.function, hourStartMs));
  }

  add(slot: UsageSlot, record: CallRecord): void {
    const endMs = record.startedAtMs + record.wallMs;
    let { row } = slot;
    if (
      row === undefined ||
      slot.epoch !== this.#epoch ||
      endMs < row.hourStartMs ||
      endMs >= row.hourStartMs + HOUR_MS
    ) {
      row = this.#row(record.namespace, record.function, hourOf(endMs));
      slot.row = row;
      slot.epoch = this.#epoch;
    }
    row.calls += 1;
    if (isError(record.outcome)) row.errors += 1;
    if (record.cold) row.coldStarts += 1;
    row.wallMs += record.wallMs;
    row.gbSeconds += (record.memoryMb / 1024) * (record.wallMs / 1_000);
    row.bytesIn += record.bytesIn;
    row.bytesOut += record.bytesOut;
  }

  drain(): HourlyUsage[] {
    const deltas = [...this.#rows.values()];
    this.#rows = new Map();
    this.#epoch += 1;
    return deltas;
  }

  restore(deltas: readonly HourlyUsage[]): void {
    for (const delta of deltas) {
      const row = this.#row(delta.namespace, delta.function, delta.hourStartMs);
      row.calls += delta.calls;
      row.errors += delta.errors;
      row.coldStarts += delta.coldStarts;
      row.wallMs += delta.wallMs;
      row.gbSeconds += delta.gbSeconds;
      row.bytesIn += delta.bytesIn;
      row.bytesOut += delta.bytesOut;
    }
  }

  peek(namespace: string): HourlyUsage[] {
    const rows = [...this.#rows.values()].filter((row) => row.namespace === namespace);
    return rows.map((row) => ({ ...row }));
  }

  #row(namespace: string, name: string, hourStartMs: number): UsageSum {
    const key = keyOf(namespace, name, hourStartMs);
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = {
        namespace,
        function: name,
        hourStartMs,
        calls: 0,
        errors: 0,
        coldStarts: 0,
        wallMs: 0,
        gbSeconds: 0,
        bytesIn: 0,
        bytesOut: 0,
      };
      this.#rows.set(key, row);
    }
    return row;
  }
}

function hourOf(atMs: number): number {
  return atMs - (atMs % HOUR_MS);
}

function keyOf(namespace: string, name: string, hourStartMs: number): string {
  return `${namespace}/${name}@${hourStartMs}`;
}
