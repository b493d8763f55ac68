/**
 * The simulation of `shard-runs.test.ts` over sources that lack one line: each line that commits,
 * fences or dedupes has a seed that fails without it. What is tested is the simulation.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MUTANTS, playMutant } from "../support/mutants.ts";

const ROOT = join(import.meta.dirname, "../..");
const SEEDS = 400;

describe("without the line by which", () => {
  it("nothing is done, no seed fails", async () => {
    const copy = mkdtempSync(join(tmpdir(), "isola-mutant-"));
    const [any] = MUTANTS;
    const none = { what: "none", file: any?.file ?? "", line: any?.line ?? "" };
    expect(await playMutant(ROOT, copy, { ...none, instead: none.line }, 20)).toBeUndefined();
  });

  it.concurrent.each(MUTANTS.map((mutant) => [mutant.what, mutant] as const))(
    "%s, a seed fails",
    async (_what, mutant) => {
      const copy = mkdtempSync(join(tmpdir(), "isola-mutant-"));
      const found = await playMutant(ROOT, copy, mutant, SEEDS);
      expect(found ?? "no seed failed").toMatch(/seed \d+: |Error/);
    },
    120_000,
  );
});
