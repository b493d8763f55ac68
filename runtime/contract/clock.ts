/** Time as an argument: pure code takes a `Clock`, one adapter per world supplies it. */
export interface Clock {
  /** Milliseconds since the Unix epoch. Inside workerd whole milliseconds. */
  now(): number;
}

/** Randomness as an argument. */
export interface Random {
  /** Fills and returns `bytes`. */
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 1). */
  fraction(): number;
}

/** The clock and randomness of the process; the only place that reads them. */
export const systemClock: Clock = { now: () => Date.now() };

declare const crypto: { getRandomValues<T extends Uint8Array>(array: T): T };

export const systemRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  fraction: () => Math.random(),
};
