/**
 * Coordinator and store as they are shipped, over random workflows in both forms that use the
 * store, killed at random points: before every piece of work outside, before and after every
 * commit. G1 to G5 and G9 hold, against a plain interpreter (test/support/run-seeds.ts).
 *
 * `ISOLA_RUNS` sets how many seeds are played, `ISOLA_SEED` the first of them.
 */
import { describe, expect, it } from "vitest";
import { killsOf, playSeed } from "../support/run-seeds.ts";

const RUNS = Number(process.env["ISOLA_RUNS"] ?? 2_000);
const FIRST = Number(process.env["ISOLA_SEED"] ?? 1);
const TIMEOUT_MS = Math.max(120_000, 200 * RUNS);

describe("a shard's runs and their store", () => {
  it(
    "keep what is promised, whenever the process dies",
    async () => {
      let remade = 0;
      for (let seed = FIRST; seed < FIRST + RUNS; seed += 1) {
        try {
          const played = await playSeed(seed);
          remade += played.remade;
        } catch (thrown) {
          const kills = JSON.stringify(killsOf(seed));
          throw new Error(`ISOLA_SEED=${String(seed)} ISOLA_RUNS=1, killed at ${kills}`, {
            cause: thrown,
          });
        }
      }
      expect(remade).toBeGreaterThanOrEqual(RUNS >= 100 ? 1 : 0);
    },
    TIMEOUT_MS,
  );
});
