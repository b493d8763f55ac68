/**
 * Requests to the cold tier's process, repeated while that may help: broken connections, timeouts,
 * 429 and 5xx, with exponential back-off and jitter within a bound. Every request is idempotent.
 */
import { type ColdFailure, IsolaError } from "../../contract/index.ts";

export interface ColdInit {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array<ArrayBuffer>;
}

export interface ColdSeams {
  /** One request. Rejects when the connection breaks and, body included, after `timeoutMs`. */
  send(path: string, init: ColdInit, timeoutMs: number): Promise<Response>;
  sleep(delayMs: number): Promise<void>;
  /** Evenly in [0, 1). */
  random(): number;
}

export interface ColdAsk<T> {
  /** For people: what the store wanted. */
  readonly attempted: string;
  readonly path: string;
  readonly init: ColdInit;
  /** Octets that travel, whichever way. */
  readonly bytes?: number;
  /** Reads a 2xx answer; undefined, or an exception, means that it was not whole. */
  readonly read: (response: Response) => Promise<T | undefined>;
  /** Answers another status; undefined leaves it to the rules. */
  readonly refused?: (status: number) => Promise<T | undefined>;
}

export const COLD_RETRY = {
  attempts: 5,
  firstDelayMs: 100,
  maxDelayMs: 2_000,
  /** Longest Retry-After that is obeyed. */
  retryAfterMaxMs: 5_000,
  /** A request may take this long, and longer the more it carries. */
  timeoutMs: 15_000,
  slowestBytesPerMs: 256,
} as const;

interface Failure {
  readonly found: string;
  readonly isFinal: boolean;
  readonly afterMs: number;
}

export class ColdClient {
  readonly #seams: ColdSeams;

  constructor(seams: ColdSeams) {
    this.#seams = seams;
  }

  /** Errors: `COLD_UNAVAILABLE`, and what `read` and `refused` throw. */
  async ask<T>(ask: ColdAsk<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#try(ask);
      if ("value" in outcome) return outcome.value;
      const { found, isFinal, afterMs } = outcome.failure;
      if (isFinal || attempt === COLD_RETRY.attempts) {
        throw coldUnavailable(ask.attempted, attempt === 1 ? found : `${found}, ${attempt} times`);
      }
      await this.#seams.sleep(Math.max(afterMs, this.#delayMs(attempt)));
    }
  }

  async #try<T>(ask: ColdAsk<T>): Promise<{ readonly value: T } | { readonly failure: Failure }> {
    const { timeoutMs, slowestBytesPerMs } = COLD_RETRY;
    const boundMs = timeoutMs + Math.ceil((ask.bytes ?? 0) / slowestBytesPerMs);
    try {
      const response = await this.#seams.send(ask.path, ask.init, boundMs);
      const answer = response.ok ? await ask.read(response) : await ask.refused?.(response.status);
      if (answer !== undefined) return { value: answer };
      return { failure: await failureOf(response) };
    } catch (error) {
      if (error instanceof IsolaError) throw error;
      const found = error instanceof Error ? error.message : String(error);
      return { failure: { found: `no whole answer (${found})`, isFinal: false, afterMs: 0 } };
    }
  }

  /** Half of it is chance, so that those who failed together do not come back together. */
  #delayMs(attempt: number): number {
    const wholeMs = Math.min(COLD_RETRY.maxDelayMs, COLD_RETRY.firstDelayMs * 2 ** (attempt - 1));
    return wholeMs / 2 + (wholeMs / 2) * this.#seams.random();
  }
}

async function failureOf(response: Response): Promise<Failure> {
  const { status } = response;
  if (response.ok) return { found: "an answer that is not whole", isFinal: false, afterMs: 0 };
  const seconds = Number(response.headers.get("retry-after") ?? 0);
  const text = await response.text();
  let found = `status ${String(status)}`;
  try {
    found = (JSON.parse(text) as ColdFailure).found;
  } catch {
    // Not from our process: the status says enough.
  }
  return {
    found,
    isFinal: status < 500 && status !== 429 && status !== 408,
    afterMs: Number.isFinite(seconds) ? Math.min(seconds * 1000, COLD_RETRY.retryAfterMaxMs) : 0,
  };
}

export function coldUnavailable(attempted: string, found: string): IsolaError {
  return new IsolaError("COLD_UNAVAILABLE", {
    attempted,
    found,
    required: "a bucket that answers and lets the platform read, write, list and delete",
    fix: "isola doctor tries the bucket; logs/cold.log says what it answered",
  });
}
