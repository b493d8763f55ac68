/**
 * Suspects and convictions (DESIGN §6). Pure; time comes in as an argument.
 *
 * W1 A version is convicted only by a death of the probation cell in which it ran alone.
 * W2 A suspect runs in the probation cell until one of its calls ends there without a death.
 * W3 `convictionsToQuarantine` convictions within `convictionWindowMs` quarantine the version; an
 *    innocent that shared a cell with a culprit is never quarantined.
 */
import { LIMITS, type SuspectKey, type Verdict, suspectKey } from "../contract/index.ts";

export interface VerdictEffect {
  /** The set of suspects changed: cells must know. */
  readonly changed: boolean;
  /** To be quarantined now. */
  readonly quarantine?: SuspectKey;
}

export class Suspects {
  readonly #suspects = new Set<SuspectKey>();
  readonly #convictions = new Map<SuspectKey, number[]>();
  #convictionCount = 0;
  #isTold = true;

  /** False while the cells have not been told of the last change. */
  get isTold(): boolean {
    return this.#isTold;
  }

  /** The keys, for the cells that are about to be told. */
  tell(): readonly SuspectKey[] {
    this.#isTold = true;
    return this.keys;
  }

  get keys(): readonly SuspectKey[] {
    return [...this.#suspects];
  }

  get convictions(): number {
    return this.#convictionCount;
  }

  get isEmpty(): boolean {
    return this.#suspects.size === 0;
  }

  has(key: SuspectKey): boolean {
    return this.#suspects.size > 0 && this.#suspects.has(key);
  }

  /**
   * Takes a verdict in.
   *
   * @param streaming versions that were still streaming from the dead cell: their calls had
   *   answered, so the watchdog cannot name them.
   */
  take(verdict: Verdict, streaming: readonly SuspectKey[]): VerdictEffect {
    const before = this.#suspects.size;
    const named = verdict.suspects.map(({ key }) => key);
    for (const key of [...named, ...streaming]) this.#suspects.add(key);
    if (this.#suspects.size !== before) this.#isTold = false;
    const convicted = verdict.convicted;
    if (convicted === undefined) return { changed: this.#suspects.size !== before };
    this.#suspects.add(convicted);
    this.#isTold = false;
    this.#convictionCount += 1;
    const recent = (this.#convictions.get(convicted) ?? []).filter(
      (atMs) => verdict.atMs - atMs < LIMITS.convictionWindowMs,
    );
    recent.push(verdict.atMs);
    this.#convictions.set(convicted, recent);
    if (recent.length < LIMITS.convictionsToQuarantine) return { changed: true };
    this.forget(convicted);
    return { changed: true, quarantine: convicted };
  }

  /** A call of the version ended in the probation cell, which lives (W2). */
  acquit(key: SuspectKey): boolean {
    const wasSuspect = this.#suspects.delete(key);
    if (wasSuspect) this.#isTold = false;
    return wasSuspect;
  }

  /** Every version of a function: its record is clean. */
  forgetFunction(namespace: string, name: string): void {
    const prefix = suspectKey(namespace, name, 0).slice(0, -1);
    for (const key of [...this.#suspects, ...this.#convictions.keys()]) {
      if (key.startsWith(prefix)) this.forget(key);
    }
  }

  /** Released by hand, or gone: its record is clean. */
  forget(key: SuspectKey): void {
    this.acquit(key);
    this.#convictions.delete(key);
  }
}
