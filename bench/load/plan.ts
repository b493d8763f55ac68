/** What a generator is asked to do, and what it says afterwards. */

/** A request with a body, and the answer that it has to get, both JSON. */
export interface Ask {
  readonly body: string;
  /** @default 200 */
  readonly status?: number;
  /** @default any */
  readonly answer?: string;
}

export interface ClosedLoop {
  readonly kind: "closed";
  readonly url: string;
  /** Clients that each wait for their answer before they ask again. */
  readonly clients: number;
  readonly durationMs: number;
  /** Posted in turn; another answer is an error. @default GETs, whatever a 200 says */
  readonly asks?: readonly Ask[];
}

export interface OpenLoop {
  readonly kind: "open";
  readonly url: string;
  /** Arrivals a second, at random times (Poisson), whatever the answers do. */
  readonly ratePerSecond: number;
  readonly durationMs: number;
  /** Calls in flight beyond which an arrival is dropped and counted. */
  readonly maxInFlight: number;
  readonly seed: number;
}

export type LoadPlan = ClosedLoop | OpenLoop;

/**
 * Latency in a closed loop runs from sending, in an open loop from the intended arrival, so that
 * a stall is charged to every call that had to wait for it.
 */
export interface LoadReport {
  readonly plan: LoadPlan;
  readonly scheduled: number;
  readonly ok: number;
  readonly errors: number;
  readonly dropped: number;
  readonly elapsedMs: number;
  /** Share of the time in which the generator's own thread was busy, from 0 to 1. */
  readonly busy: number;
  /** Longest time by which an arrival was sent too late; 0 in a closed loop. */
  readonly lateMs: number;
  /** HDR histogram of microseconds, compressed. */
  readonly histogram: string;
}
