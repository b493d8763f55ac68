/**
 * Calls in flight as the gateway sees them: by id, by client and by slot. Pure.
 *
 * F1 A call stands here from its dispatch until its answer has left or its caller has gone.
 */
import type { SuspectKey } from "../contract/index.ts";

export interface InFlightCall {
  readonly callId: string;
  readonly slot: number;
  readonly key: SuspectKey;
  /** `ip:port` of the client's connection, where the listener tells. */
  readonly client: string | undefined;
  /** Ends the call because its client has gone. */
  readonly cancel: () => void;
  /** The head of the answer has left; its body still streams. */
  isStreaming: boolean;
}

export class InFlight {
  readonly #calls = new Map<string, InFlightCall>();

  get size(): number {
    return this.#calls.size;
  }

  add(call: InFlightCall): void {
    this.#calls.set(call.callId, call);
  }

  remove(callId: string): void {
    this.#calls.delete(callId);
  }

  has(callId: string): boolean {
    return this.#calls.has(callId);
  }

  /** Ends the calls of clients that have gone; the number of calls found. */
  cancelClients(clients: readonly string[]): number {
    const gone = new Set(clients);
    let count = 0;
    for (const call of this.#calls.values()) {
      if (call.client === undefined || !gone.has(call.client)) continue;
      call.cancel();
      count += 1;
    }
    return count;
  }

  /** Versions whose answers stream from a slot. */
  streamingFrom(slot: number): SuspectKey[] {
    const keys = new Set<SuspectKey>();
    for (const call of this.#calls.values()) {
      if (call.slot === slot && call.isStreaming) keys.add(call.key);
    }
    return [...keys];
  }
}
