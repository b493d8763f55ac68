/**
 * Work that waits for room, in the order of arrival, by polling: a promise that another request
 * settles would never settle if that request's context vanished.
 *
 * W1 What is held under one key never exceeds the capacity, but one holder is always let in.
 * W2 A holder that never lets go is forgotten after its lease, a waiter that stops asking at once.
 */
import { type Clock, IsolaError } from "../contract/index.ts";

export interface RoomOptions {
  readonly capacity: number;
  readonly clock: Clock;
  sleep(delayMs: number): Promise<void>;
  /** Longest wait. Beyond: `CAPACITY`. */
  readonly waitMaxMs: number;
  readonly leaseMs: number;
}

interface Ticket {
  readonly key: string;
  readonly amount: number;
  /** A waiter that has not asked until then is gone; a holder's lease ends then. */
  untilMs: number;
}

const POLL_MS = 5;
const SILENCE_MAX_MS = 1_000;

export class Room {
  readonly #options: RoomOptions;
  readonly #waiting = new Set<Ticket>();
  readonly #held = new Set<Ticket>();

  constructor(options: RoomOptions) {
    this.#options = options;
  }

  /** Errors: `CAPACITY` after the longest wait; those of `work`. */
  async enter<T>(key: string, amount: number, work: () => Promise<T>): Promise<T> {
    const { clock, waitMaxMs, leaseMs } = this.#options;
    const giveUpAtMs = clock.now() + waitMaxMs;
    const ticket: Ticket = { key, amount, untilMs: clock.now() + SILENCE_MAX_MS };
    this.#waiting.add(ticket);
    try {
      while (!this.#mayEnter(ticket)) {
        if (clock.now() > giveUpAtMs) throw full(key);
        await this.#options.sleep(POLL_MS);
        ticket.untilMs = clock.now() + SILENCE_MAX_MS;
        this.#waiting.add(ticket);
      }
      this.#waiting.delete(ticket);
      ticket.untilMs = clock.now() + leaseMs;
      this.#held.add(ticket);
      return await work();
    } finally {
      this.#waiting.delete(ticket);
      this.#held.delete(ticket);
    }
  }

  #mayEnter(ticket: Ticket): boolean {
    const nowMs = this.#options.clock.now();
    for (const tickets of [this.#waiting, this.#held]) {
      for (const one of tickets) if (one.untilMs < nowMs) tickets.delete(one);
    }
    for (const waiting of this.#waiting) {
      if (waiting === ticket) break;
      if (waiting.key === ticket.key) return false;
    }
    let amount = 0;
    for (const held of this.#held) if (held.key === ticket.key) amount += held.amount;
    return amount === 0 || amount + ticket.amount <= this.#options.capacity;
  }
}

function full(key: string): IsolaError {
  return new IsolaError("CAPACITY", {
    attempted: `take a turn${key === "" ? "" : ` at ${key}`}`,
    found: "others that take long",
    retryAfterSeconds: 2,
  });
}
