/** The list of runs over shards: one order, one place of each run, whatever shards are missing. */
import { describe, expect, it } from "vitest";
import * as fc from "fast-check";
import {
  type Places,
  type ShardPage,
  formatCursor,
  mergePages,
  parseCursor,
} from "../../runtime/gateway/internal.ts";

interface Kept {
  readonly number: number;
  readonly startedAtMs: number;
  /** What is looked for; the others are looked at. */
  readonly isWanted: boolean;
}

/** As a shard answers: newest first, at most `scan` rows looked at. */
function pageOf(
  shard: number,
  runs: readonly Kept[],
  place: number | undefined,
  limit: number,
  scan: number,
): ShardPage {
  const before = runs.filter(({ number }) => place === undefined || number < place).toReversed();
  const looked = before.slice(0, scan);
  const found = looked.filter(({ isWanted }) => isWanted);
  const taken = found.slice(0, limit);
  const last = found.length > limit ? taken.at(-1) : looked.at(-1);
  const isMore = found.length > limit || before.length > scan;
  return {
    runs: taken.map(({ number, startedAtMs }) => ({
      number,
      id: `${String(shard)}-${String(number)}`,
      workflow: "w",
      status: "completed",
      startedAtMs,
    })),
    last: runs.at(-1)?.number ?? 0,
    ...(isMore && last && { cursor: String(last.number) }),
  };
}

const SHARD = fc.array(
  fc.record({ gapMs: fc.integer({ min: 0, max: 3 }), isWanted: fc.boolean() }),
  {
    maxLength: 30,
  },
);

describe("pages of the runs of all shards", () => {
  it("hold each run once, newest first, however few rows a shard looks at", () => {
    const property = fc.property(
      fc.array(SHARD, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.boolean(), { maxLength: 20 }),
      (given, limit, scan, downs) => {
        const shards = given.map((rows) => {
          let startedAtMs = 0;
          return rows.map(({ gapMs, isWanted }, at): Kept => {
            startedAtMs += gapMs;
            return { number: at + 1, startedAtMs, isWanted };
          });
        });
        const seen: string[] = [];
        const times: number[] = [];
        let places: Places | undefined = parseCursor(null, shards.length);
        let isWhole = true;
        for (let round = 0; places; round += 1) {
          const isDown = downs[round] ?? false;
          if (isDown) isWhole = false;
          const known: Places = places;
          const pages = shards.map((runs, shard) =>
            isDown && shard === 0 ? undefined : pageOf(shard, runs, known[shard], limit, scan),
          );
          const merged = mergePages(pages, known, limit);
          expect(merged.runs.length).toBeLessThanOrEqual(limit);
          seen.push(...merged.runs.map(({ id }) => id));
          times.push(...merged.runs.map(({ startedAtMs }) => startedAtMs));
          places = merged.places && parseCursor(formatCursor(merged.places), shards.length);
          expect(round).toBeLessThan(500);
        }
        expect(new Set(seen).size).toBe(seen.length);
        if (!isWhole) return;
        expect(times).toStrictEqual(times.toSorted((one, two) => two - one));
        const wanted = shards.flatMap((runs, shard) =>
          runs.flatMap(({ number, isWanted }) => (isWanted ? [`${shard}-${number}`] : [])),
        );
        expect(seen.toSorted()).toStrictEqual(wanted.toSorted());
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  it("take nothing that began after the first one, also of a shard that had none", () => {
    const runs = [1, 2, 3].map((number) => ({ number, startedAtMs: number, isWanted: true }));
    const places = parseCursor(null, 2);
    const first = mergePages(
      [pageOf(0, runs, undefined, 2, 9), pageOf(1, [], undefined, 2, 9)],
      places,
      2,
    );
    expect(first.runs.map(({ id }) => id)).toStrictEqual(["0-3", "0-2"]);
    expect(formatCursor(first.places ?? [])).toBe("2.1");
    const late = [{ number: 1, startedAtMs: 9, isWanted: true }];
    const [zero, one] = first.places ?? [];
    const next = mergePages(
      [pageOf(0, runs, zero, 2, 9), pageOf(1, late, one, 2, 9)],
      [zero, one],
      2,
    );
    expect(next.runs.map(({ id }) => id)).toStrictEqual(["0-1"]);
    expect(next.places).toBeUndefined();
  });

  it("go on where they were in a shard that could not be asked", () => {
    const runs = [1, 2].map((number) => ({ number, startedAtMs: number, isWanted: true }));
    const places = parseCursor(null, 2);
    const page = mergePages([undefined, pageOf(1, runs, undefined, 1, 9)], places, 1);
    expect(formatCursor(page.places ?? [])).toBe("-.2");
  });
});

describe("a cursor", () => {
  it("is read as it was written, for as many shards, and nothing else is one", () => {
    expect(parseCursor("12.-.7", 3)).toStrictEqual([12, undefined, 7]);
    for (const [text, shards] of [
      ["", 1],
      ["1.2", 3],
      ["1.2.x", 3],
      ["-1", 1],
      ["1e3", 1],
    ] as const) {
      expect(() => parseCursor(text, shards)).toThrow("cursor");
    }
  });
});
