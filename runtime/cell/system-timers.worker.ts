/** The timers of this room; each belongs to the invocation that armed it. */
import type { CallEnvelope } from "../contract/index.ts";
import type { LiveCall, LiveCalls } from "./live-calls.worker.ts";

/** Arms the call's deadline; the answer takes it back with `disarm`. */
export function armDeadline(live: LiveCall, nowMs: number): number | undefined {
  const { dl } = live.envelope;
  return dl === 0 ? undefined : setTimeout(() => live.finish("deadline"), dl - nowMs);
}

/** Calls back when an invocation has lasted so long; `disarm` takes it back. */
export function armLife(lifeMs: number, over: () => void): number {
  return setTimeout(over, lifeMs);
}

/** An answer then is none: which of two timers came first is chance. */
export function isLate(envelope: CallEnvelope, nowMs: number): boolean {
  return envelope.dl !== 0 && nowMs >= envelope.dl;
}

export function disarm(timer: number | undefined): void {
  if (timer !== undefined) clearTimeout(timer);
}

/** Longest time for which calls within the cell follow one another. */
const BREATHLESS_MS = 4;

/**
 * Lets the process look at its sockets, if it has not for a while. Calls between functions never
 * leave workerd's queue of ready events empty, and only then it looks: a function that calls others
 * in a loop would stop everybody else.
 */
export async function giveTurn(live: LiveCalls, nowMs: number): Promise<void> {
  const waitedMs = nowMs - live.lookedAtMs;
  if (waitedMs >= 0 && waitedMs < BREATHLESS_MS) return;
  await scheduler.wait(0);
  live.lookedAtMs = nowMs;
}

/** Time between two beats of a call that no request stands behind. */
const PULSE_MS = 500;

/** Shows that the invocation of a call is there: dropped, it stops to beat. */
export function startPulse(live: LiveCall): number {
  return setInterval(() => {
    live.beats += 1;
  }, PULSE_MS);
}

export function stopPulse(pulse: number): void {
  clearInterval(pulse);
}
