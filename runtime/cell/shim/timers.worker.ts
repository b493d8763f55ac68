/**
 * The tenant's timers: the native ones, but for a word to the watchdog when one fires. Only the
 * runtime calls what is handed to it here, so the word is as good as a turn of the event loop.
 */
import { crumbTurn } from "./crumbs.worker.ts";
import { later } from "./natives.worker.ts";

type Callback = (...values: unknown[]) => void;
type SetTimer = (callback: Callback, delayMs?: number, ...values: unknown[]) => number;

const wait = scheduler.wait.bind(scheduler);

function withWord(native: SetTimer): SetTimer {
  const set: SetTimer = (callback, ...rest) =>
    native(
      typeof callback === "function"
        ? (...values) => {
            crumbTurn();
            callback(...values);
          }
        : callback,
      ...rest,
    );
  // Also what Node's promisify looks for.
  return Object.defineProperties(set, Object.getOwnPropertyDescriptors(native));
}

/** Replaces the global timers; called once, before tenant code. */
export function installTimers(): void {
  globalThis.setTimeout = withWord(globalThis.setTimeout as SetTimer) as typeof setTimeout;
  globalThis.setInterval = withWord(globalThis.setInterval as SetTimer) as typeof setInterval;
  scheduler.wait = (delayMs, options) =>
    options?.signal
      ? wait(delayMs, options)
      : new Promise((resolve) => {
          later(() => {
            crumbTurn();
            resolve(undefined);
          }, delayMs);
        });
}
