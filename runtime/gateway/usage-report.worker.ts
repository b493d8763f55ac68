/** Usage of a namespace: what the registry keeps and what the hub has not handed over yet. */
import type { StoreUsageReport, UsageReport, UsageRow } from "../contract/index.ts";
import { gatewayOf } from "./gateway.worker.ts";
import type { GatewayState } from "./state.worker.ts";

const HOUR_MS = 60 * 60 * 1_000;

/** Rows are kept by the hour: the report begins with the hour of `sinceMs`. */
export async function usageReport(
  state: GatewayState,
  namespace: string,
  sinceMs: number,
): Promise<UsageReport> {
  const fromMs = Math.max(0, Math.floor(sinceMs / HOUR_MS) * HOUR_MS);
  const rows = new Map<string, UsageRow>();
  const kept = await state.registry.read("usage", { namespace, sinceMs: fromMs });
  for (const row of kept) addRow(rows, row);
  for (const { hourStartMs, namespace: _of, ...row } of state.hub.usage.peek(namespace)) {
    if (hourStartMs >= fromMs) addRow(rows, row);
  }
  const functions = [...rows.values()].sort((a, b) => (a.function < b.function ? -1 : 1));
  const total = functions.reduce((sum, row) => addUsage(sum, row), emptyRow(""));
  const store = await storeReport(state, namespace, fromMs);
  return { namespace, sinceMs: fromMs, untilMs: state.clock.now(), store, total, functions };
}

/** The registry adds up what was collected a moment ago, so the report is of now. */
async function storeReport(
  state: GatewayState,
  namespace: string,
  sinceMs: number,
): Promise<StoreUsageReport> {
  const { store } = gatewayOf(() => state.bindings);
  await store.collect();
  await store.keep((name) => name === namespace);
  const sums = await state.registry.read("storeUsage", { namespace, sinceMs });
  const { bytes, heldBytes, highWaterBytes } = state.hub.store.totals(namespace);
  const quotaBytes = state.table.namespace(namespace)?.storeMaxBytes ?? 0;
  return { bytes, heldBytes, quotaBytes, highWaterBytes, ...sums };
}

function addRow(rows: Map<string, UsageRow>, row: UsageRow): void {
  rows.set(row.function, addUsage(rows.get(row.function) ?? emptyRow(row.function), row));
}

function addUsage(sum: UsageRow, row: UsageRow): UsageRow {
  return {
    function: sum.function,
    calls: sum.calls + row.calls,
    errors: sum.errors + row.errors,
    coldStarts: sum.coldStarts + row.coldStarts,
    wallMs: sum.wallMs + row.wallMs,
    gbSeconds: sum.gbSeconds + row.gbSeconds,
    bytesIn: sum.bytesIn + row.bytesIn,
    bytesOut: sum.bytesOut + row.bytesOut,
  };
}

function emptyRow(name: string): UsageRow {
  const counts = { calls: 0, errors: 0, coldStarts: 0, wallMs: 0, gbSeconds: 0 };
  return { function: name, ...counts, bytesIn: 0, bytesOut: 0 };
}
