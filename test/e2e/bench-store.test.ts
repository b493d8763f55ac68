/** The suite `store` at its smallest: every case and figure is there; times are not judged here. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { STORE_QUICK_RUN, redisVersion, runStore } from "../../bench/internal.ts";

const folder = mkdtempSync(join(tmpdir(), "isola-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Line {
  readonly type: string;
  readonly name?: string;
  readonly count?: number;
  readonly octets?: number;
  readonly wantedOctets?: number;
}

describe("isola bench store", () => {
  it("measures every place and size, reads what it put, and computes every figure", async () => {
    const smallest = {
      ...STORE_QUICK_RUN,
      rounds: 1,
      largeRounds: 1,
      streamRounds: 1,
      pairedRounds: 2,
      batch: 10,
      streamBytes: 4 * 1024 * 1024,
    };
    const file = join(folder, "store.ndjson");
    const { report } = await runStore(smallest, () => undefined, file);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const batches = lines
      .map((line) => JSON.parse(line) as Line)
      .filter(({ type }) => type === "batch");
    const places = [
      "memory",
      "disk",
      ...(redisVersion() === undefined ? [] : ["redis"]),
      "r2",
      "s3",
    ];
    for (const place of places) {
      for (const size of ["100 B", "1 KB", "64 KB", "1 MB"]) {
        for (const op of ["put", "get"]) {
          const own = batches.filter(({ name }) => name === `${place} ${op} ${size}`);
          expect(own.map(({ count }) => count === 0)).toEqual([true, false]);
        }
      }
      expect(report).toContain(`${place} getStream 100 MB`);
    }
    expect(batches.every(({ octets, wantedOctets }) => octets === wantedOctets)).toBe(true);
    const figures = ["memory get 1 KB", "s3 get 1 KB, of", "memory handOver 64 KB", "with expiry"];
    for (const figure of figures) expect(report).toContain(figure);
  }, 120_000);
});
