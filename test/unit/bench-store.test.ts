/** What the suite `store` makes of its journal. */
import { describe, expect, it } from "vitest";
import { Journal, medianInterval, storeFaultsOf, storeFiguresOf } from "../../bench/internal.ts";

const AROUND_MS = 2;

/** Batches of 100 that took `micros` an operation, round by round, each beside an empty one. */
function add(journal: Journal, name: string, micros: readonly number[], octets = 100): void {
  for (const [round, each] of micros.entries()) {
    const common = { type: "batch", round, name, sizeBytes: 1, cpuMs: 0 } as const;
    const nothing = { octets: 0, wantedOctets: 0, elapsedMs: AROUND_MS };
    journal.add({ ...common, ...nothing, count: 0 });
    const elapsedMs = AROUND_MS + each / 10;
    journal.add({ ...common, count: 100, elapsedMs, octets, wantedOctets: 100 });
  }
}

function journalOf(cases: Readonly<Record<string, readonly number[]>>): Journal {
  const journal = new Journal();
  for (const [name, micros] of Object.entries(cases)) add(journal, name, micros);
  return journal;
}

describe("the figures of the store", () => {
  it("take off what goes around the operations, and compare round by round", () => {
    const journal = journalOf({
      "memory get 1 KB": [40, 50, 60],
      "redis get 1 KB": [200, 200, 180],
    });
    const [time, ratio] = storeFiguresOf(journal);
    expect(time?.value).toBeCloseTo(50);
    expect(ratio?.value).toBeCloseTo(4);
  });

  it("leave out what was not measured", () => {
    const names = storeFiguresOf(journalOf({ "memory get 1 KB": [40] })).map(({ name }) => name);
    expect(names).toEqual(["memory get 1 KB"]);
  });

  it("prove nothing when octets are missing", () => {
    const journal = new Journal();
    add(journal, "memory get 1 KB", [40], 99);
    expect(storeFaultsOf(journal)).toEqual(["memory get 1 KB: read 99 of 100 octets"]);
  });

  it("prove nothing when a case takes no time, or differs from itself", () => {
    expect(storeFaultsOf(journalOf({ "disk put 1 KB": [-3, -2, 1] }))).toHaveLength(1);
    const apart = journalOf({ "plain get 1 KB": [50, 50, 50], "again get 1 KB": [60, 60, 60] });
    expect(storeFaultsOf(apart)).toEqual(["the same case differs from itself by 1.20 ×"]);
    const alike = journalOf({ "plain get 1 KB": [50, 50, 50], "again get 1 KB": [52, 52, 52] });
    expect(storeFaultsOf(alike)).toEqual([]);
  });
});

const rounds = (count: number): number[] =>
  Array.from({ length: count }, (_, at) => 100 + ((at * 37) % 20));

describe("the interval of a median", () => {
  it("holds the median, and is narrower the more rounds there are", () => {
    const [few, many] = [medianInterval(rounds(10)), medianInterval(rounds(400))];
    expect(many.low).toBeLessThanOrEqual(110);
    expect(many.high).toBeGreaterThanOrEqual(108);
    expect(many.high - many.low).toBeLessThan(few.high - few.low);
    expect(medianInterval(rounds(10))).toEqual(few);
  });
});
