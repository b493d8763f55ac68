/**
 * Usage of the store, by namespace and hour.
 *
 * 1. Shards report counters that only grow within an epoch. What was seen of them is kept in the
 *    transaction that adds the difference: told twice, or after the gateway was gone, it counts
 *    once.
 */
import { STORE_TIERS, type StoreTierBytes, type StoreUsage } from "../contract/index.ts";
import { requireNamespace } from "./namespaces.ts";
import type { Changes, Reads, StoreUsageSum } from "./operations.ts";
import { STATEMENTS, type StoreCounters } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { Database } from "./sql.ts";

const HOUR_MS = 60 * 60 * 1_000;

export function addStoreUsage(
  scope: Scope,
  { reports }: Parameters<Changes["addStoreUsage"]>[0],
): null {
  const { db, nowMs } = scope;
  const hourStartMs = nowMs - (nowMs % HOUR_MS);
  const known = new Set(db.all(STATEMENTS.namespaceList).map((row) => row.namespace));
  const held = new Map<string, number>();
  for (const { shard, epoch, namespaces } of reports) {
    db.all(STATEMENTS.storeSeenForget, shard, epoch);
    for (const [namespace, usage] of Object.entries(namespaces)) {
      held.set(namespace, (held.get(namespace) ?? 0) + usage.heldBytes);
      const before = db.first(STATEMENTS.storeSeenGet, shard, namespace);
      const now = countersOf(usage);
      db.all(STATEMENTS.storeSeenPut, shard, namespace, epoch, ...valuesOf(now));
      if (known.has(namespace)) {
        db.all(STATEMENTS.storeUsageAdd, namespace, hourStartMs, ...difference(now, before));
      }
    }
  }
  for (const [namespace, bytes] of held) {
    if (known.has(namespace)) db.all(STATEMENTS.storeUsageHeld, bytes, namespace, hourStartMs);
  }
  return null;
}

export function readStoreUsage(
  db: Database,
  input: Parameters<Reads["storeUsage"]>[0],
): StoreUsageSum {
  requireNamespace(db, input.namespace);
  const row = db.first(STATEMENTS.storeUsageSince, input.namespace, input.sinceMs);
  const byteSeconds: Record<keyof StoreTierBytes, number> = { memory: 0, disk: 0, cold: 0 };
  for (const tier of STORE_TIERS) byteSeconds[tier] = row?.[`${tier}ByteSeconds`] ?? 0;
  return {
    byteSeconds,
    operations: row?.operations ?? 0,
    bytesIn: row?.bytesIn ?? 0,
    bytesOut: row?.bytesOut ?? 0,
    heldMaxBytes: row?.heldMaxBytes ?? 0,
  };
}

function countersOf({ byteSeconds, operations, bytesIn, bytesOut }: StoreUsage): StoreCounters {
  return {
    memoryByteSeconds: byteSeconds.memory,
    diskByteSeconds: byteSeconds.disk,
    coldByteSeconds: byteSeconds.cold,
    operations,
    bytesIn,
    bytesOut,
  };
}

type Values = [number, number, number, number, number, number];

function valuesOf(counters: StoreCounters): Values {
  return [
    counters.memoryByteSeconds,
    counters.diskByteSeconds,
    counters.coldByteSeconds,
    counters.operations,
    counters.bytesIn,
    counters.bytesOut,
  ];
}

function difference(now: StoreCounters, before: StoreCounters | undefined): Values {
  const values = valuesOf(now);
  if (!before) return values;
  const former = valuesOf(before);
  return values.map((value, index) => value - (former[index] ?? 0)) as Values;
}
