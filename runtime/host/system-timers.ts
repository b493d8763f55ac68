/** Timers and the monotonic clock of this process: an argument of everything else in the room. */

/** Ends a timer; calling it twice is harmless. */
export type Cancel = () => void;

export interface Timers {
  after(delayMs: number, run: () => void): Cancel;
  every(periodMs: number, run: () => void): Cancel;
  sleep(delayMs: number): Promise<void>;
  /** Milliseconds that only grow; not a date. */
  monotonicMs(): number;
}

export const systemTimers: Timers = {
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  every(periodMs, run) {
    const timer = setInterval(run, periodMs);
    return () => clearInterval(timer);
  },
  sleep: (delayMs) => new Promise((resolve) => void setTimeout(resolve, delayMs)),
  monotonicMs: () => performance.now(),
};

/** `promise`, or `fallback` once `boundMs` have passed; what is late is ignored. */
export async function within<T, F>(
  timers: Timers,
  boundMs: number,
  promise: Promise<T>,
  fallback: F,
): Promise<T | F> {
  const { promise: late, resolve } = Promise.withResolvers<F>();
  const cancel = timers.after(boundMs, () => resolve(fallback));
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
