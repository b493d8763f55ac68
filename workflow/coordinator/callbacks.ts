/**
 * Callbacks of runs that have ended: a row each, from the commit of the end until somebody took
 * it or it is given up.
 *
 * B1 The row is part of the end's commit: a callback is owed from then on, whatever dies (G1). It
 *    is made at least once, and always names the same run.
 * B2 What is under way is known in memory alone; after an opening it is made again.
 * B3 One that fails is made again with growing delays, for a bounded time after the end. Then its
 *    row goes, and the run's history says so (G8).
 * B4 So many are under way at once, and fewer of one namespace: a receiver that never answers
 *    holds up its own namespace only.
 */
import { type Sql, WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import type { HistoryEntry } from "../engine/model.ts";
import { DueQueue } from "./due-queue.ts";
import type { CallbackOptions, CallbackResult } from "./model.ts";
import { STATEMENTS } from "./schema.ts";

export const CALLBACK_DEFAULTS: CallbackOptions = {
  callbackDelayMs: 1_000,
  callbackDelayMaxMs: 10 * 60 * 1_000,
  callbackLastsMs: 6 * 60 * 60 * 1_000,
};

/** One that is to be made now. */
export interface DueCallback {
  /** Of the run. */
  readonly number: number;
  readonly attempt: number;
}

/** What came of an attempt: `retryAtMs` is absent once it is given up. */
export type CallbackStep =
  | { readonly type: "delivered"; readonly attempt: number }
  | { readonly type: "failed"; readonly attempt: number; readonly retryAtMs?: number };

interface Owed {
  readonly namespace: string;
  readonly endedAtMs: number;
  attempts: number;
}

export class Callbacks {
  readonly #sql: Sql;
  readonly #options: CallbackOptions;
  readonly #owed = new Map<number, Owed>();
  readonly #dues = new DueQueue<number>();
  /** Due, and held back by B4; by namespace, in turn. */
  readonly #held = new Map<string, number[]>();
  readonly #underWay = new Set<number>();
  readonly #underWayOf = new Map<string, number>();

  constructor(sql: Sql, options: Partial<CallbackOptions>) {
    this.#sql = sql;
    this.#options = { ...CALLBACK_DEFAULTS, ...options };
    for (const { run, namespace, endedAtMs, attempts, dueAtMs } of sql.all(
      STATEMENTS.callbacksOwed,
    )) {
      this.#owed.set(run, { namespace, endedAtMs, attempts });
      this.#dues.set(run, dueAtMs);
    }
  }

  /** A run with a callback has ended (B1). */
  add(number: number, namespace: string, atMs: number): void {
    this.#owed.set(number, { namespace, endedAtMs: atMs, attempts: 0 });
    this.#sql.all(STATEMENTS.callbackPut, number, namespace, atMs, 0, atMs);
    this.#dues.set(number, atMs);
  }

  /** The run is gone, or goes on: what is told at its next end counts. */
  drop(number: number): void {
    if (!this.#owed.delete(number)) return;
    this.#sql.all(STATEMENTS.callbackDelete, number);
    this.#dues.set(number, undefined);
  }

  /** What is to be made now (B4). */
  launch(nowMs: number): DueCallback[] {
    for (const number of this.#dues.due(nowMs)) this.#hold(number);
    const launched: DueCallback[] = [];
    for (let number = this.#next(); number !== undefined; number = this.#next()) {
      const owed = this.#owed.get(number);
      if (!owed || this.#underWay.has(number)) continue;
      this.#underWay.add(number);
      this.#underWayOf.set(owed.namespace, (this.#underWayOf.get(owed.namespace) ?? 0) + 1);
      launched.push({ number, attempt: owed.attempts + 1 });
    }
    return launched;
  }

  /**
   * What came of an attempt.
   *
   * @param spread in [0, 1).
   * @returns undefined if it is not owed any more.
   */
  settled(
    number: number,
    namespace: string,
    result: CallbackResult,
    { atMs, random: spread }: { readonly atMs: number; readonly random: number },
  ): CallbackStep | undefined {
    if (this.#underWay.delete(number)) this.#countOut(namespace);
    const owed = this.#owed.get(number);
    if (!owed) return undefined;
    owed.attempts += 1;
    const { attempts: attempt, endedAtMs } = owed;
    if (result.ok) {
      this.drop(number);
      return { type: "delivered", attempt };
    }
    const retryAtMs = atMs + this.#delayMs(attempt, result.retryAfterMs ?? 0, spread);
    if (result.isFinal === true || retryAtMs > endedAtMs + this.#options.callbackLastsMs) {
      this.drop(number);
      return { type: "failed", attempt };
    }
    this.#sql.all(STATEMENTS.callbackPut, number, namespace, endedAtMs, attempt, retryAtMs);
    this.#dues.set(number, retryAtMs);
    return { type: "failed", attempt, retryAtMs };
  }

  /** When the next one is due that waits for its time alone. */
  get nextAtMs(): number | undefined {
    return this.#dues.nextAtMs;
  }

  get isBusy(): boolean {
    return this.#underWay.size > 0;
  }

  get size(): number {
    return this.#owed.size;
  }

  #hold(number: number): void {
    const namespace = this.#owed.get(number)?.namespace ?? "";
    const held = this.#held.get(namespace);
    if (held) held.push(number);
    else this.#held.set(namespace, [number]);
  }

  /** The next that may go; its namespace has its turn again after the others. */
  #next(): number | undefined {
    if (this.#underWay.size >= WORKFLOW_LIMITS.callbacksAtOnce) return undefined;
    for (const [namespace, held] of this.#held) {
      const count = this.#underWayOf.get(namespace) ?? 0;
      if (count >= WORKFLOW_LIMITS.callbacksAtOncePerNamespace) continue;
      const number = held.shift();
      this.#held.delete(namespace);
      if (held.length > 0) this.#held.set(namespace, held);
      if (number !== undefined) return number;
    }
    return undefined;
  }

  #countOut(namespace: string): void {
    const left = (this.#underWayOf.get(namespace) ?? 1) - 1;
    if (left === 0) this.#underWayOf.delete(namespace);
    else this.#underWayOf.set(namespace, left);
  }

  #delayMs(attempts: number, retryAfterMs: number, spread: number): number {
    const { callbackDelayMs, callbackDelayMaxMs } = this.#options;
    const grown = callbackDelayMs * 2 ** (attempts - 1);
    const delayMs = Math.min(Math.max(grown, retryAfterMs), callbackDelayMaxMs);
    return Math.round(delayMs * (1 + spread / 10));
  }
}

/** What the run's history says of it. */
export function callbackEntry(
  atMs: number,
  step: CallbackStep,
  result: CallbackResult,
): HistoryEntry {
  const { attempt } = step;
  if (step.type === "delivered" || result.ok) return { atMs, type: "callbackDelivered", attempt };
  const { error } = result;
  return step.retryAtMs === undefined
    ? { atMs, type: "callbackGivenUp", attempt, error }
    : { atMs, type: "callbackFailed", attempt, error, retryAtMs: step.retryAtMs };
}
