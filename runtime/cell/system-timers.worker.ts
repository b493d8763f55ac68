/** The timers of this room; each belongs to the invocation that armed it. */
import type { LiveCall } from "./live-calls.worker.ts";

/** Arms the call's deadline; the answer takes it back with `disarm`. */
export function armDeadline(live: LiveCall, nowMs: number): number | undefined {
  const { dl } = live.envelope;
  return dl === 0 ? undefined : setTimeout(() => live.finish("deadline"), dl - nowMs);
}

export function disarm(timer: number | undefined): void {
  if (timer !== undefined) clearTimeout(timer);
}
