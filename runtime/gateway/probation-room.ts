/**
 * Who may enter the probation cell, and when. Pure; time comes in as an argument.
 *
 * B1 Who is on trial runs in a process in which nobody else ran: what others left behind there
 *    (timers, `waitUntil`) could end it in its name.
 * B2 After its call the place is kept for it until what it left behind itself had its time.
 * B3 A module that a deploy evaluates there is no company for who is on trial: one waits for the
 *    other.
 */
import type { SuspectKey } from "../contract/index.ts";

/** Longer than a block takes to be ended. */
export const TRIAL_MS = 3_000;

/** Whoever was told to wait looks again by then. */
const LOOKS_AGAIN_MS = 500;

/** `stale`: others ran there; it is to be started anew. */
export type Admittance = "enter" | "reserved" | "stale";

export class ProbationRoom {
  readonly #ran = new Set<SuspectKey>();
  #reserved: { readonly key: SuspectKey; readonly untilMs: number } | undefined;
  #onTrial: SuspectKey | undefined;
  /** Until then somebody who is to be tried is expected to look again: the next turn is theirs. */
  #waitingUntilMs = Number.NEGATIVE_INFINITY;
  #probeUntilMs = Number.NEGATIVE_INFINITY;

  enter(key: SuspectKey, isOnTrial: boolean, nowMs: number): Admittance {
    const reserved = this.#reserved;
    if (reserved && reserved.key !== key && nowMs < reserved.untilMs) return "reserved";
    if (isOnTrial && nowMs < this.#probeUntilMs) {
      this.#waitingUntilMs = nowMs + LOOKS_AGAIN_MS;
      return "reserved";
    }
    if (isOnTrial && [...this.#ran].some((other) => other !== key)) return "stale";
    this.#ran.add(key);
    if (isOnTrial) {
      this.#onTrial = key;
      this.#waitingUntilMs = Number.NEGATIVE_INFINITY;
    }
    return "enter";
  }

  leave(key: SuspectKey, isOnTrial: boolean, nowMs: number): void {
    if (isOnTrial) this.#reserved = { key, untilMs: nowMs + TRIAL_MS };
    if (this.#onTrial === key) this.#onTrial = undefined;
  }

  /** False while somebody is on trial (B3); else the place is held until `leaveProbe`. */
  enterProbe(nowMs: number, holdMaxMs: number): boolean {
    if (this.#onTrial !== undefined || nowMs < this.#waitingUntilMs) return false;
    if (this.#reserved && nowMs < this.#reserved.untilMs) return false;
    this.#probeUntilMs = nowMs + holdMaxMs;
    return true;
  }

  leaveProbe(): void {
    this.#probeUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** Its process is another one. */
  renew(): void {
    this.#ran.clear();
    this.#reserved = undefined;
    this.#onTrial = undefined;
    this.#probeUntilMs = Number.NEGATIVE_INFINITY;
  }
}
