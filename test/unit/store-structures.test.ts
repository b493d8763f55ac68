/** The structures under the store, each against the plainest model of itself. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Bulk, Meter, SortedKeys, Wheel, sameStored } from "../../store/internal.ts";
import type { StoredValue } from "../../runtime/contract/index.ts";

describe("rows that go together", () => {
  it("go once each, by groups, in few statements, and before the work is over", () => {
    const deleted: [string, number[]][] = [];
    const bulk = new Bulk<string, number>((group, keys) => {
      deleted.push([group, JSON.parse(keys) as number[]]);
    });
    expect(bulk.take("a", 0)).toBe(false);
    bulk.run(() => {
      for (let key = 0; key < 12_000; key += 1) expect(bulk.take("a", key)).toBe(true);
      bulk.run(() => expect(bulk.take("b", 1)).toBe(true));
      expect(deleted).toEqual([]);
    });
    expect(deleted.map(([group, keys]) => [group, keys.length])).toEqual([
      ["a", 5_000],
      ["a", 5_000],
      ["a", 2_000],
      ["b", 1],
    ]);
    expect(deleted.flatMap(([group, keys]) => (group === "a" ? keys : []))).toEqual(
      Array.from({ length: 12_000 }, (_, key) => key),
    );
    expect(bulk.take("a", 1)).toBe(false);
  });

  it("go also when the work fails half-way: what was collected is gone in memory", () => {
    const deleted: string[] = [];
    const bulk = new Bulk<string, string>((_, keys) => deleted.push(keys));
    const failing = (): void => {
      bulk.take("a", "k");
      throw new RangeError("half-way");
    };
    expect(() => bulk.run(failing)).toThrow(RangeError);
    expect(deleted).toEqual(['["k"]']);
  });
});

describe("sorted keys", () => {
  it("give what an array that is sorted at every look gives", () => {
    const change = fc.record({ isAdd: fc.boolean(), key: fc.string({ maxLength: 3 }) });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 300 }),
        fc.string({ maxLength: 2 }),
        (all, from) => {
          const keys = new SortedKeys();
          const model = new Set<string>();
          for (const { isAdd, key } of all) {
            if (isAdd) {
              keys.add(key);
              model.add(key);
            } else {
              keys.remove(key);
              model.delete(key);
            }
          }
          const sorted = [...model].sort((a, b) => (a < b ? -1 : 1));
          expect([...keys.from(from, false)]).toEqual(sorted.filter((key) => key >= from));
          expect([...keys.from(from, true)]).toEqual(sorted.filter((key) => key > from));
          expect(keys.count).toBe(model.size);
        },
      ),
    );
  });

  it("stay in order beyond one chunk", () => {
    const keys = new SortedKeys();
    const names = Array.from({ length: 5_000 }, (_, at) => String((at * 7_919) % 5_000));
    for (const name of names) keys.add(name);
    const sorted = [...names].sort((a, b) => (a < b ? -1 : 1));
    expect([...keys.from("", false)]).toEqual(sorted);
    for (const name of sorted.slice(0, 4_990)) keys.remove(name);
    expect([...keys.from("", false)]).toEqual(sorted.slice(4_990));
  });
});

describe("the wheel", () => {
  it("gives each thing once, not before its time and at most a slot later", () => {
    const step = fc.record({ item: fc.nat(20), atMs: fc.nat(5_000), byMs: fc.nat(400) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const wheel = new Wheel<number>();
        const model = new Map<number, number>();
        let nowMs = 0;
        for (const { item, atMs, byMs } of steps) {
          wheel.set(item, nowMs + atMs);
          model.set(item, nowMs + atMs);
          nowMs += byMs;
          for (const due of wheel.due(nowMs)) {
            expect(model.get(due)).toBeLessThanOrEqual(nowMs);
            model.delete(due);
          }
          for (const leftMs of model.values()) expect(leftMs).toBeGreaterThan(nowMs - 64);
          expect(wheel.nextAtMs() === undefined).toBe(model.size === 0);
        }
        for (const item of model.keys()) wheel.set(item, undefined);
        expect(wheel.nextAtMs()).toBeUndefined();
      }),
    );
  });
});

describe("a meter", () => {
  it("adds up to its parent, and integrates bytes over time", () => {
    const parent = new Meter(0);
    const [left, right] = [new Meter(0, parent), new Meter(0, parent)];
    left.charge("memory", 1_000, 0);
    right.charge("memory", 500, 1_000);
    left.charge("memory", -1_000, 2_000);
    right.charge("disk", 10, 2_000);
    expect(left.usage(4_000).byteSeconds).toEqual({ memory: 2_000, disk: 0, cold: 0 });
    expect(right.usage(4_000).byteSeconds).toEqual({ memory: 1_500, disk: 20, cold: 0 });
    expect(parent.usage(4_000).byteSeconds).toEqual({ memory: 3_500, disk: 20, cold: 0 });
    expect(parent.usage(4_000).highWaterBytes.memory).toBe(1_500);
  });

  it("bills nothing when the clock steps back", () => {
    const meter = new Meter(1_000);
    meter.charge("disk", 8, 1_000);
    meter.charge("disk", 8, 500);
    expect(meter.usage(2_000).byteSeconds.disk).toBe(16);
  });
});

function value(content: unknown): StoredValue {
  return { kind: "value", value: content, sizeBytes: 1 };
}

function bytes(...cuts: number[][]): StoredValue {
  const chunks = cuts.map((cut) => new Uint8Array(cut));
  return { kind: "bytes", chunks, sizeBytes: cuts.flat().length };
}

describe("sameness of values", () => {
  it("holds for clones and not for what differs", () => {
    const any = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
    });
    fc.assert(
      fc.property(any, (content) => {
        const twin: unknown = structuredClone(content);
        const original: unknown = structuredClone(content);
        expect(sameStored(value(original), value(twin))).toBe(true);
        expect(sameStored(value([original]), value([original, 1]))).toBe(false);
      }),
    );
  });

  it("looks at octets, keys and cycles, not at their order or cut", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    const other: Record<string, unknown> = {};
    other["self"] = other;
    expect(sameStored(value(cycle), value(other))).toBe(true);
    expect(sameStored(value({ a: 1, b: 2 }), value({ b: 2, a: 1 }))).toBe(true);
    expect(sameStored(value({ a: 1 }), value({ b: 1 }))).toBe(false);
    expect(sameStored(value(/a/g), value(/a/))).toBe(false);
    expect(sameStored(bytes([1, 2], [3]), bytes([1], [2, 3]))).toBe(true);
    expect(sameStored(bytes([1, 2]), bytes([1, 3]))).toBe(false);
    expect(sameStored(bytes([1]), value(new Uint8Array([1])))).toBe(false);
  });
});
