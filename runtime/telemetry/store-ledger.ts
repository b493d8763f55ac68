/**
 * What the shards say of the store, by namespace: what is held now, and what was used since the
 * gateway began.
 *
 * M1 Counters of a shard begin at 0 with each of its epochs. What is added is the difference to
 *    what the same epoch said before, so nothing is counted twice, and of a shard that dies only
 *    what it did since it was last asked is missing.
 */
import { STORE_TIERS, type StoreTierBytes, type StoreUsage } from "../contract/index.ts";

/** A shard's answer. */
export interface StoreReport {
  readonly shard: number;
  readonly epoch: number;
  readonly namespaces: Readonly<Record<string, StoreUsage>>;
}

/** A namespace over all shards. */
export interface StoreTotals {
  /** Now. */
  readonly bytes: StoreTierBytes;
  readonly heldBytes: number;
  /** Sum of the shards' own, each since it began: what was held at once is at most that. */
  readonly highWaterBytes: StoreTierBytes;
  /** Since the gateway began to listen. */
  readonly byteSeconds: StoreTierBytes;
  readonly operations: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

type Counted = Pick<StoreUsage, "byteSeconds" | "bytesIn" | "bytesOut" | "operations">;

const zeroTiers = (): StoreTierBytes => ({ memory: 0, disk: 0, cold: 0 });
const NOTHING: Counted = { byteSeconds: zeroTiers(), operations: 0, bytesIn: 0, bytesOut: 0 };

export class StoreLedger {
  readonly #reports = new Map<number, StoreReport>();
  readonly #counted = new Map<string, Counted>();

  observe(report: StoreReport): void {
    const former = this.#reports.get(report.shard);
    const known = former?.epoch === report.epoch ? former.namespaces : {};
    for (const [namespace, usage] of Object.entries(report.namespaces)) {
      const before = Object.hasOwn(known, namespace) ? known[namespace] : undefined;
      const total = this.#counted.get(namespace) ?? NOTHING;
      this.#counted.set(namespace, add(total, usage, before ?? NOTHING));
    }
    this.#reports.set(report.shard, report);
  }

  /** As the shards said last; those that are down, before. */
  reports(): readonly StoreReport[] {
    return [...this.#reports.values()];
  }

  namespaces(): readonly string[] {
    return [...this.#counted.keys()].sort();
  }

  totals(namespace: string): StoreTotals {
    const usages = this.#usagesOf(namespace, undefined);
    return {
      ...(this.#counted.get(namespace) ?? NOTHING),
      bytes: sumTiers(usages.map(({ bytes }) => bytes)),
      heldBytes: sum(usages.map(({ heldBytes }) => heldBytes)),
      highWaterBytes: sumTiers(usages.map(({ highWaterBytes }) => highWaterBytes)),
    };
  }

  /** What a namespace holds in the other shards. */
  heldElsewhere(namespace: string, shard: number): number {
    return sum(this.#usagesOf(namespace, shard).map(({ heldBytes }) => heldBytes));
  }

  forget(namespace: string): void {
    this.#counted.delete(namespace);
  }

  #usagesOf(namespace: string, except: number | undefined): StoreUsage[] {
    return this.reports().flatMap(({ shard, namespaces }) => {
      const usage = Object.hasOwn(namespaces, namespace) ? namespaces[namespace] : undefined;
      return usage && shard !== except ? [usage] : [];
    });
  }
}

function add(to: Counted, now: Counted, before: Counted): Counted {
  const byteSeconds = { ...to.byteSeconds };
  for (const tier of STORE_TIERS) {
    byteSeconds[tier] += now.byteSeconds[tier] - before.byteSeconds[tier];
  }
  return {
    byteSeconds,
    operations: to.operations + now.operations - before.operations,
    bytesIn: to.bytesIn + now.bytesIn - before.bytesIn,
    bytesOut: to.bytesOut + now.bytesOut - before.bytesOut,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function sumTiers(values: readonly StoreTierBytes[]): StoreTierBytes {
  const total = { ...zeroTiers() };
  for (const tier of STORE_TIERS) total[tier] = sum(values.map((bytes) => bytes[tier]));
  return total;
}
