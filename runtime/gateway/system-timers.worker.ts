/** The timers of this room. */

export function sleep(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

export interface Timeout {
  readonly elapsed: Promise<"elapsed">;
  cancel(): void;
}

/** A bound for a wait: resolves with `elapsed`, unless canceled. */
export function timeout(delayMs: number): Timeout {
  const { promise, resolve } = Promise.withResolvers<"elapsed">();
  const timer = setTimeout(() => resolve("elapsed"), delayMs);
  return { elapsed: promise, cancel: () => clearTimeout(timer) };
}
