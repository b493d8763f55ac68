/**
 * Immediate operations: those that read and write in one step and so cannot wait for a commit.
 *
 * I1 Each takes effect at one moment, between two answers of anybody else: linearizable per name.
 * I2 With an operation id, a repeated attempt gets the recorded answer and changes nothing (G2).
 *    A lock is the exception: a token that holds nothing any more is acquired anew.
 * I3 On a name that its own attempt has staged, it works on what is staged and commits with it.
 */
import {
  type Clock,
  IsolaError,
  type LockResult,
  type PutOptions,
  type PutResult,
  type StoredValue,
} from "../runtime/contract/index.ts";
import type { Answers, OperationId, Outcome } from "./answers.ts";
import type { Locks } from "./locks.ts";
import type { Item, Job, Slot } from "./model.ts";
import type { Mover } from "./mover.ts";
import { valueLost } from "./refusals.ts";
import { sameStored } from "./same-value.ts";
import type { Serials } from "./serials.ts";
import { type Space, cost } from "./space.ts";
import { type Overlay, type Surface, TableSurface, type SurfaceSeams } from "./surface.ts";

/** What a number costs, whatever its digits. */
const NUMBER_BYTES = 16;

export interface DecisionParts extends SurfaceSeams {
  readonly clock: Clock;
  readonly space: Space;
  readonly mover: Mover;
  readonly answers: Answers;
  readonly locks: Locks;
  readonly serials: Serials;
}

/** Where an operation looks, and what it answers to. */
export interface Place {
  readonly bucket: string;
  readonly key: string;
  /** Undefined: nothing is recorded. */
  readonly operation: OperationId | undefined;
  /** Throws when the session may not write any more. */
  readonly check: () => void;
}

type Decide = (
  surface: Surface,
  item: Item | undefined,
  value: StoredValue | undefined,
) => Outcome | "no room";

export class Decisions {
  readonly #parts: DecisionParts;
  readonly #job: Job;
  readonly #overlay: Overlay | undefined;
  readonly #table: TableSurface;

  constructor(parts: DecisionParts, job: Job, overlay: Overlay | undefined) {
    this.#parts = parts;
    this.#job = job;
    this.#overlay = overlay;
    this.#table = new TableSurface(parts, job);
  }

  /** Puts if the conditions hold. */
  async put(place: Place, item: Item, options: PutOptions): Promise<PutResult> {
    const outcome = await this.#decide(place, "put", false, (surface, current) => {
      if (!meets(options, current)) {
        return { answer: { stored: false, ...(current && { version: current.version }) } };
      }
      surface.put(place.bucket, place.key, item);
      return { answer: { stored: true, version: item.version } };
    });
    return outcome.answer as PutResult;
  }

  /** Errors: `COUNTER_INVALID`. */
  async add(place: Place, by: number, isFloat: boolean): Promise<number> {
    const subject = isFloat ? "incrFloat" : "incr";
    const outcome = await this.#decide(place, subject, true, (surface, current, value) => {
      const sum = addTo(place, value, by, isFloat);
      const next = { kind: "value", value: sum, sizeBytes: NUMBER_BYTES } as const;
      const item = this.#successor(current, next);
      if (!item) return "no room";
      try {
        surface.put(place.bucket, place.key, item);
      } finally {
        this.#parts.space.release(item.slot);
      }
      return { answer: sum };
    });
    return outcome.answer as number;
  }

  /** Replaces, answering what was there before; undefined if there was nothing. */
  async getPut(place: Place, item: Item): Promise<StoredValue | undefined> {
    const outcome = await this.#decide(place, "getPut", false, (surface, current) => {
      const slot = current && this.#parts.space.hold(current.slot);
      surface.put(place.bucket, place.key, item);
      return { answer: { found: slot !== undefined }, slot };
    });
    const { slot } = outcome;
    if (!slot) return undefined;
    try {
      return await this.#parts.mover.load(slot);
    } finally {
      this.#parts.space.release(slot);
    }
  }

  /** `expected` undefined: absent. */
  async compareAndSet(
    place: Place,
    expected: StoredValue | undefined,
    item: Item,
  ): Promise<PutResult> {
    const outcome = await this.#decide(place, "compareAndSet", true, (surface, current, value) => {
      const isSame = expected && value ? sameStored(expected, value) : expected === value;
      if (!isSame) {
        return { answer: { stored: false, ...(current && { version: current.version }) } };
      }
      surface.put(place.bucket, place.key, item);
      return { answer: { stored: true, version: item.version } };
    });
    return outcome.answer as PutResult;
  }

  lock(place: Place, leaseMs: number): LockResult {
    place.check();
    const { locks, answers } = this.#parts;
    const { operation, key } = place;
    const subject = `lock ${key}`;
    const known = operation && answers.find(this.#job, operation, subject);
    const before = known?.answer as LockResult | undefined;
    if (before?.token !== undefined && this.#job.locks.get(key)?.token === before.token) {
      return locks.renew(this.#job, key, before.token, leaseMs);
    }
    const { writes } = this.#job;
    const result = locks.lock(this.#job, key, leaseMs);
    if (operation && result.acquired) {
      const hasRows = this.#job.writes !== writes;
      answers.record(this.#job, operation, subject, { answer: result }, hasRows);
    }
    return result;
  }

  renew(place: Place, token: number, leaseMs: number): LockResult {
    place.check();
    return this.#parts.locks.renew(this.#job, place.key, token, leaseMs);
  }

  /** Errors: `LOCK_STALE`. */
  unlock(place: Place, token: number): void {
    place.check();
    const { locks, answers } = this.#parts;
    const { operation, key } = place;
    const subject = `unlock ${key}`;
    const isKnown = operation && answers.find(this.#job, operation, subject) !== undefined;
    const isHeld = this.#job.locks.get(key)?.token === token;
    if (isKnown && !isHeld) return;
    const { writes } = this.#job;
    locks.unlock(this.#job, key, token);
    if (!operation) return;
    const hasRows = this.#job.writes !== writes;
    answers.record(this.#job, operation, subject, { answer: true }, hasRows);
  }

  /** Loads what the decision needs, then decides at one moment (I1); again if it changed. */
  async #decide(place: Place, verb: string, needsValue: boolean, decide: Decide): Promise<Outcome> {
    const subject = `${verb} ${place.bucket}/${place.key}`;
    const { space, mover, answers } = this.#parts;
    for (;;) {
      place.check();
      const recorded = place.operation && answers.find(this.#job, place.operation, subject);
      if (recorded) return this.#repeat(place, recorded);
      const surface = this.#surface(place);
      const item = surface.decidable(place.bucket, place.key);
      let value: StoredValue | undefined;
      if (item && needsValue) {
        value = space.loadNow(item.slot) ?? (await this.#fetch(item.slot));
        if (!this.#isStill(place, surface, item)) continue;
      }
      const { writes } = this.#job;
      const outcome = decide(surface, item, value);
      if (outcome === "no room") {
        await mover.relief(cost(NUMBER_BYTES));
        continue;
      }
      if (place.operation && surface === this.#table) {
        const hasRows = this.#job.writes !== writes;
        answers.record(this.#job, place.operation, subject, outcome, hasRows);
      }
      return outcome;
    }
  }

  #surface({ bucket, key }: Place): Surface {
    return this.#overlay?.isStaged(bucket, key) === true ? this.#overlay : this.#table;
  }

  /** Whether nothing happened to the name while its value was fetched. */
  #isStill(place: Place, surface: Surface, item: Item): boolean {
    place.check();
    if (this.#surface(place) !== surface) return false;
    if (
      place.operation &&
      this.#job.answers.get(place.operation.step)?.has(place.operation.ordinal)
    ) {
      return false;
    }
    return surface.decidable(place.bucket, place.key)?.version === item.version;
  }

  async #fetch(slot: Slot): Promise<StoredValue | undefined> {
    this.#parts.space.hold(slot);
    try {
      return await this.#parts.mover.load(slot);
    } finally {
      this.#parts.space.release(slot);
    }
  }

  #repeat(place: Place, recorded: { answer: unknown; slot: Slot | undefined; isLost: boolean }) {
    if (recorded.isLost) throw valueLost(this.#job, place.bucket, place.key);
    const slot = recorded.slot && this.#parts.space.hold(recorded.slot);
    return { answer: recorded.answer, slot };
  }

  /** The next value of a name, as long-lived as the one before. */
  #successor(current: Item | undefined, value: StoredValue): Item | undefined {
    const isDurable = current ? current.durable : this.#job.durability === "disk";
    const slot = this.#parts.space.tryPlace(this.#job, value, isDurable ? "disk" : "memory");
    if (!slot) return undefined;
    const nowMs = this.#parts.clock.now();
    return {
      slot,
      version: this.#parts.serials.next(),
      persist: current?.persist ?? false,
      durable: isDurable,
      createdAtMs: current?.createdAtMs ?? nowMs,
      expiresAtMs: current?.expiresAtMs,
      idleMs: current?.idleMs,
      usedAtMs: nowMs,
    };
  }
}

function meets(options: PutOptions, current: Item | undefined): boolean {
  if (options.ifAbsent === true && current) return false;
  if (options.ifPresent === true && !current) return false;
  return options.ifVersion === undefined || options.ifVersion === current?.version;
}

function addTo(place: Place, value: StoredValue | undefined, by: number, isFloat: boolean): number {
  const before = value === undefined ? 0 : numberOf(value);
  const sum = before === undefined ? Number.NaN : before + by;
  const isFit = isFloat ? Number.isFinite(sum) : Number.isSafeInteger(sum);
  if (isFit && (isFloat || Number.isSafeInteger(before))) return sum;
  throw new IsolaError("COUNTER_INVALID", {
    attempted: `add ${String(by)} to ${place.bucket}/${place.key}`,
    found: before === undefined ? "an object that is no number" : String(before),
    required: isFloat ? "numbers with a finite sum" : "whole numbers with an exact sum",
  });
}

function numberOf(value: StoredValue): number | undefined {
  return value.kind === "value" && typeof value.value === "number" ? value.value : undefined;
}
