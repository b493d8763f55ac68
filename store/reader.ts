/** An object being read: holds its value until it is released, whatever happens to its name. */
import {
  IsolaError,
  type ObjectInfo,
  STORE_LIMITS,
  type StoreTier,
  type StoredValue,
} from "../runtime/contract/index.ts";
import type { Item, Slot } from "./model.ts";
import type { Mover } from "./mover.ts";
import { jobEnded } from "./refusals.ts";
import type { Space } from "./space.ts";

export class ObjectReader {
  readonly info: ObjectInfo;
  readonly #slot: Slot;
  readonly #space: Space;
  readonly #mover: Mover;
  #isReleased = false;

  /** Takes over one hold of the item's slot. */
  constructor(parts: { space: Space; mover: Mover }, info: ObjectInfo, slot: Slot) {
    this.#space = parts.space;
    this.#mover = parts.mover;
    this.info = info;
    this.#slot = slot;
  }

  /** Octets `[start, end)`. Errors: `RANGE_INVALID`, `JOB_ENDED`. */
  async read(start: number, end: number): Promise<Uint8Array> {
    const { kind, sizeBytes } = this.info;
    const isOrdered = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start <= end;
    const isWithin =
      isOrdered && start >= 0 && end <= sizeBytes && (start < end || sizeBytes === 0);
    if (kind !== "bytes" || !isWithin) {
      throw new IsolaError("RANGE_INVALID", {
        attempted: `read octets ${String(start)} to ${String(end)} of ${this.info.key}`,
        found: kind === "bytes" ? `${String(sizeBytes)} octets` : "a structured value",
      });
    }
    const bytes = await this.#mover.range(this.#slot, start, end);
    this.#space.touch(this.#slot);
    this.#slot.job.meter.count(0, bytes.byteLength);
    return bytes;
  }

  /** Errors: `BODY_TOO_LARGE`, `JOB_ENDED`. */
  async whole(): Promise<StoredValue> {
    const { sizeBytes, key } = this.info;
    if (sizeBytes > STORE_LIMITS.wholeMaxBytes) {
      throw new IsolaError("BODY_TOO_LARGE", {
        attempted: `read ${key} whole`,
        found: `${String(sizeBytes)} bytes`,
        required: `at most ${String(STORE_LIMITS.wholeMaxBytes)} bytes`,
        fix: "Stream it, or read ranges.",
      });
    }
    if (this.#slot.isGone) throw jobEnded(this.#slot.job);
    const value = await this.#mover.load(this.#slot);
    this.#slot.job.meter.count(0, sizeBytes);
    return value;
  }

  /** Idempotent. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#space.release(this.#slot);
  }
}

export function infoOf(bucket: string, key: string, item: Item): ObjectInfo {
  const { slot } = item;
  return {
    bucket,
    key,
    version: item.version,
    kind: slot.kind,
    sizeBytes: slot.sizeBytes,
    persist: item.persist,
    durability: item.durable ? "disk" : "memory",
    tier: tierOf(slot),
    createdAtMs: item.createdAtMs,
    ...(item.expiresAtMs === undefined ? {} : { expiresAtMs: item.expiresAtMs }),
    ...(item.idleMs === undefined ? {} : { idleMs: item.idleMs }),
  };
}

function tierOf(slot: Slot): StoreTier {
  if (slot.memory) return "memory";
  return slot.row === "cold" ? "cold" : "disk";
}
