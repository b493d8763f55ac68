import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  previousVersion,
  primaryVersion,
  recordArrival,
  recordReturn,
  shiftTraffic,
} from "../../runtime/registry/internal.ts";

interface Share {
  readonly version: number;
  readonly percent: number;
}

const moves = fc.array(
  fc.record({
    version: fc.integer({ min: 1, max: 12 }),
    percent: fc.integer({ min: 0, max: 100 }),
  }),
  { maxLength: 40, size: "max" },
);

function expectWhole(shares: readonly Share[]): void {
  expect(shares.reduce((sum, share) => sum + share.percent, 0)).toBe(100);
  expect(shares.every((share) => Number.isInteger(share.percent) && share.percent > 0)).toBe(true);
  expect(new Set(shares.map((share) => share.version)).size).toBe(shares.length);
}

describe("traffic", () => {
  it("always adds up to 100 whole percents, each version once (T1)", () => {
    fc.assert(
      fc.property(moves, (steps) => {
        let shares: Share[] = [{ version: 1, percent: 100 }];
        for (const { version, percent } of steps) {
          const hasOthers = shares.some((share) => share.version !== version);
          const next = shiftTraffic(shares, version, percent);
          expect(next !== undefined).toBe(hasOthers || percent === 100);
          shares = next ?? shares;
          expectWhole(shares);
        }
      }),
    );
  });

  it("gives a version exactly what was asked", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), (percent) => {
        const shares = [
          { version: 1, percent: 33 },
          { version: 2, percent: 33 },
          { version: 3, percent: 34 },
        ];
        const shifted = shiftTraffic(shares, 4, percent) ?? [];
        expectWhole(shifted);
        expect(shifted.find((share) => share.version === 4)?.percent ?? 0).toBe(percent);
      }),
    );
  });

  it("keeps the proportions of the others within a percent", () => {
    const shares = [
      { version: 1, percent: 60 },
      { version: 2, percent: 40 },
    ];
    expect(shiftTraffic(shares, 3, 50)).toEqual([
      { version: 1, percent: 30 },
      { version: 2, percent: 20 },
      { version: 3, percent: 50 },
    ]);
    expect(shiftTraffic(shares, 1, 0)).toEqual([{ version: 2, percent: 100 }]);
  });

  it("refuses to take traffic from the only version", () => {
    expect(shiftTraffic([{ version: 1, percent: 100 }], 1, 50)).toBeUndefined();
    expect(shiftTraffic([{ version: 1, percent: 100 }], 1, 0)).toBeUndefined();
  });

  it("shows the largest share, of equals the newest", () => {
    expect(
      primaryVersion([
        { version: 1, percent: 50 },
        { version: 2, percent: 50 },
      ]),
    ).toBe(2);
  });
});

describe("going back", () => {
  it("undoes deploys one by one, newest first (T2)", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (versions) => {
        let arrivals: number[] = [];
        for (const version of versions) arrivals = recordArrival(arrivals, version, 100);
        for (const expected of versions.toReversed().slice(1)) {
          const previous = previousVersion(arrivals, () => true);
          expect(previous).toBe(expected);
          arrivals = recordReturn(arrivals, expected);
        }
        expect(previousVersion(arrivals, () => true)).toBeUndefined();
      }),
    );
  });

  it("skips versions that are no more or in quarantine", () => {
    const arrivals = [1, 2, 3, 4];
    expect(previousVersion(arrivals, (version) => version === 1)).toBe(1);
    expect(recordReturn(arrivals, 1)).toEqual([2, 3, 1]);
  });
});
