/**
 * Accounting of bytes by tier, for one job, one namespace or the shard.
 *
 * M1 `used` never goes below zero, and a parent's `used` is the sum of its children's.
 * M2 Byte-milliseconds are the integral of `used` over the clock, whatever the order of changes.
 */
import { STORE_TIERS, type StoreTier, type StoreUsage, assert } from "../runtime/contract/index.ts";

type ByTier = Record<StoreTier, number>;

const zero = (): ByTier => ({ memory: 0, disk: 0, cold: 0 });

export class Meter {
  readonly used = zero();
  readonly high = zero();
  /** Bytes of values, each once, whatever copies there are. */
  held = 0;
  heldHigh = 0;
  operations = 0;
  bytesIn = 0;
  bytesOut = 0;
  readonly #byteMs = zero();
  readonly #parent: Meter | undefined;
  #settledAtMs: number;

  constructor(nowMs: number, parent?: Meter) {
    this.#settledAtMs = nowMs;
    this.#parent = parent;
  }

  charge(tier: StoreTier, bytes: number, nowMs: number): void {
    this.#settle(nowMs);
    const used = this.used[tier] + bytes;
    assert(used >= 0, "a tier holds no negative bytes (M1)");
    this.used[tier] = used;
    if (used > this.high[tier]) this.high[tier] = used;
    this.#parent?.charge(tier, bytes, nowMs);
  }

  hold(bytes: number): void {
    this.held += bytes;
    assert(this.held >= 0, "nothing holds negative bytes (M1)");
    if (this.held > this.heldHigh) this.heldHigh = this.held;
    this.#parent?.hold(bytes);
  }

  count(bytesIn: number, bytesOut: number): void {
    this.operations += 1;
    this.bytesIn += bytesIn;
    this.bytesOut += bytesOut;
    this.#parent?.count(bytesIn, bytesOut);
  }

  usage(nowMs: number): StoreUsage {
    this.#settle(nowMs);
    const byteSeconds = zero();
    for (const tier of STORE_TIERS) byteSeconds[tier] = this.#byteMs[tier] / 1_000;
    return {
      bytes: { ...this.used },
      byteSeconds,
      highWaterBytes: { ...this.high },
      heldBytes: this.held,
      heldHighWaterBytes: this.heldHigh,
      operations: this.operations,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
    };
  }

  #settle(nowMs: number): void {
    const elapsedMs = nowMs - this.#settledAtMs;
    // A clock that steps back bills nothing.
    if (elapsedMs <= 0) return;
    this.#byteMs.memory += this.used.memory * elapsedMs;
    this.#byteMs.disk += this.used.disk * elapsedMs;
    this.#byteMs.cold += this.used.cold * elapsedMs;
    this.#settledAtMs = nowMs;
  }
}
