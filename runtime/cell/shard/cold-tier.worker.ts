/** The cold tier of a shard in workerd: its socket, its timers, its chance. */
import { type ColdTier, systemRandom } from "../../contract/index.ts";
import { BucketTier } from "./cold-tier.ts";

/** @param route the socket of this cell's cold tier; undefined where no bucket is configured. */
export function coldTierOf(route: Fetcher | undefined, shard: number): ColdTier | undefined {
  if (!route) return undefined;
  return new BucketTier(shard, {
    send: (path, { method, headers, body }, timeoutMs) =>
      route.fetch(`http://cold${path}`, {
        method,
        signal: AbortSignal.timeout(timeoutMs),
        ...(headers ? { headers } : {}),
        ...(body ? { body } : {}),
      }),
    sleep: (delayMs) => scheduler.wait(delayMs),
    random: () => systemRandom.fraction(),
  });
}
