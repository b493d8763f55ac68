/**
 * Calls in flight in this cell, and the way to end each.
 *
 * C1 A scope is opened only for a call that stands here: in flight, or answered a short while ago
 *    (its stream or its `waitUntil` may still run). A stub kept for longer opens nothing.
 * C2 A call is ended by settling its `end`; whoever waits for it learns the reason once.
 */
import type { CallEnvelope } from "../contract/index.ts";

export type EndReason = "deadline" | "disconnect" | "shutdown";

export interface LiveCall {
  readonly envelope: CallEnvelope;
  readonly startedAtMs: number;
  /** Resolves with the reason when the call is to end; never rejects. */
  readonly end: Promise<EndReason>;
  readonly finish: (reason: EndReason) => void;
}

/** How long after its answer a call may still open its scope. */
const LINGER_MS = 30_000;

export class LiveCalls {
  readonly #calls = new Map<string, LiveCall>();
  /** Answered calls in order of their answer, with its time. */
  readonly #answered = new Map<string, { call: LiveCall; atMs: number }>();
  /** Calls that left since the last report, for the watchdog's picture. */
  #left: string[] = [];

  get size(): number {
    return this.#calls.size;
  }

  open(envelope: CallEnvelope, startedAtMs: number): LiveCall {
    const { promise: end, resolve: finish } = Promise.withResolvers<EndReason>();
    const call: LiveCall = { envelope, startedAtMs, end, finish };
    this.#calls.set(envelope.id, call);
    return call;
  }

  get(callId: string): LiveCall | undefined {
    return this.#calls.get(callId) ?? this.#answered.get(callId)?.call;
  }

  close(call: LiveCall, nowMs: number): void {
    const { id } = call.envelope;
    if (!this.#calls.delete(id)) return;
    this.#left.push(id);
    this.#answered.set(id, { call, atMs: nowMs });
    for (const [old, { atMs }] of this.#answered) {
      if (nowMs - atMs < LINGER_MS) break;
      this.#answered.delete(old);
    }
  }

  endAll(reason: EndReason): void {
    for (const call of this.#calls.values()) call.finish(reason);
  }

  takeLeft(): string[] {
    const left = this.#left;
    this.#left = [];
    return left;
  }
}
