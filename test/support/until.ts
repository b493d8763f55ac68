/** Waits for what happens soon, in tests with real processes. */
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds until `what` held; fails after the bound. */
export async function until(
  what: () => boolean | Promise<boolean>,
  boundMs = 10_000,
): Promise<number> {
  const fromMs = performance.now();
  while (performance.now() - fromMs < boundMs) {
    if (await what()) return performance.now() - fromMs;
    await sleep(5);
  }
  throw new Error(`not so within ${boundMs} ms: ${what.toString()}`);
}
