/**
 * Accounting of loaded isolates: who may leave, and in which order. Pure.
 *
 * I1 An isolate with calls in flight, or with work that goes on after an answer, is never named for
 *    eviction; the latter within a bound, for the end of such work may never be told.
 * I2 Among idle ones the least recently used leaves first.
 * I3 An entry that left is unknown from then on; a later load makes a new one.
 */
import { assert } from "../contract/index.ts";

interface Entry {
  inFlight: number;
  /** Answered calls whose `waitUntil` is open. */
  held: number;
  heldUntilMs: number;
}

/** How long work after an answer protects its isolate. */
const HOLD_MS = 60_000;

export class IsolateLedger {
  /** In order of last use, oldest first (a Map keeps insertion order). */
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** Registers a call; the isolate becomes the most recently used. */
  enter(id: string): void {
    const entry = this.#entries.get(id) ?? { inFlight: 0, held: 0, heldUntilMs: 0 };
    entry.inFlight += 1;
    this.#entries.delete(id);
    this.#entries.set(id, entry);
  }

  /** Ends a call. An isolate that was forgotten meanwhile is none of our business. */
  leave(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.inFlight -= 1;
    assert(entry.inFlight >= 0, "a call leaves an isolate once");
  }

  forget(id: string): void {
    this.#entries.delete(id);
  }

  /** A call has answered, and works on. */
  hold(id: string, nowMs: number): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.held += 1;
    entry.heldUntilMs = nowMs + HOLD_MS;
  }

  unhold(id: string): void {
    const entry = this.#entries.get(id);
    if (entry && entry.held > 0) entry.held -= 1;
  }

  isIdle(id: string, nowMs: number): boolean {
    const entry = this.#entries.get(id);
    return entry === undefined || isIdle(entry, nowMs);
  }

  /** Up to `count` idle isolates, least recently used first (I1, I2). */
  idlest(count: number, nowMs: number): string[] {
    const found: string[] = [];
    for (const [id, entry] of this.#entries) {
      if (found.length >= count) break;
      if (isIdle(entry, nowMs)) found.push(id);
    }
    return found;
  }

  /** Idle isolates to drop so that at most `max` stay. */
  surplus(max: number, nowMs: number): string[] {
    return this.idlest(Math.max(0, this.#entries.size - max), nowMs);
  }
}

function isIdle(entry: Entry, nowMs: number): boolean {
  return entry.inFlight === 0 && (entry.held === 0 || entry.heldUntilMs <= nowMs);
}
