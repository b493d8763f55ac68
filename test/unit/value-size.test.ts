/** What values cost, compared with what V8 makes of them. */
import { serialize } from "node:v8";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sizeOfValue } from "../../runtime/contract/index.ts";

const MIB = 1024 * 1024;

const anyValue = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
  withNullPrototype: true,
});

function ratioOf(value: unknown): number {
  return sizeOfValue(value) / serialize(value).byteLength;
}

function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

/** An array of nothing, four billion times. */
function holes(): unknown[] {
  const array: unknown[] = [];
  array.length = 4e9;
  return array;
}

function codeOf(work: () => unknown): unknown {
  try {
    work();
    return undefined;
  } catch (thrown) {
    return (thrown as { readonly code?: unknown }).code;
  }
}

function many<T>(make: () => T): T[] {
  return Array.from({ length: 1_000 }, make);
}

describe("the size of a value", () => {
  it("is at least what V8 serializes it to, and below 40 times that whatever it is", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(ratioOf(value)).toBeGreaterThanOrEqual(1);
        // A value of a few bytes costs what any value does.
        expect(sizeOfValue(value)).toBeLessThanOrEqual(serialize(value).byteLength * 40 + 64);
      }),
      { numRuns: 4_000 },
    );
  });

  it("is near for what people store", () => {
    const rows = Array.from({ length: 1_000 }, (_, at) => ({ id: at, name: `row ${String(at)}` }));
    const numbers = Array.from({ length: 10_000 }, (_, at) => at / 3);
    for (const value of [rows, numbers, "x".repeat(MIB), "字".repeat(MIB), { a: "b" }]) {
      expect(ratioOf(value)).toBeLessThan(6);
    }
    expect(ratioOf("x".repeat(MIB))).toBeLessThan(1.01);
  });

  it("is below 40 times that for what weighs least on a wire", () => {
    const empty = [
      new Set(many(() => new Map())),
      new Map(many(() => [new Set(), new Set()])),
      many(() => 0n),
      new Map(many((): [object, bigint] => [{}, 0n])),
    ];
    for (const value of empty) expect(ratioOf(value)).toBeLessThan(40);
  });

  it("counts what hides: a view's buffer, keys of an array, a cause, a shared part once", () => {
    const view = new Uint8Array(new ArrayBuffer(MIB), 0, 1);
    expect(sizeOfValue(view)).toBeGreaterThan(MIB);
    expect(sizeOfValue([view, new Uint8Array(view.buffer)])).toBeLessThan(1.1 * MIB);
    const array: unknown[] = [1];
    Object.assign(array, { ["k".repeat(MIB)]: "v".repeat(MIB) });
    expect(sizeOfValue(array)).toBeGreaterThan(2 * MIB);
    const error = new Error("outer", { cause: "c".repeat(MIB) });
    expect(sizeOfValue(error)).toBeGreaterThan(MIB);
    const shared = "s".repeat(MIB).split("");
    expect(sizeOfValue([shared, shared])).toBeLessThan(1.1 * sizeOfValue(shared));
  });

  it("bears cycles and refuses what is nested too deeply", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    expect(sizeOfValue(cycle)).toBeLessThan(100);
    expect(codeOf(() => sizeOfValue(nested(500)))).toBeUndefined();
    expect(codeOf(() => sizeOfValue(nested(501)))).toBe("VALUE_INVALID");
    expect(codeOf(() => sizeOfValue(nested(100_000)))).toBe("VALUE_INVALID");
  });

  it("stops at the bound: billions of holes or digits take nobody's time", () => {
    const fromMs = performance.now();
    expect(sizeOfValue(holes(), MIB)).toBeGreaterThan(MIB);
    expect(sizeOfValue([holes()], MIB)).toBeGreaterThan(MIB);
    expect(sizeOfValue(2n ** 200_000_000n, MIB)).toBeGreaterThan(25e6);
    expect(performance.now() - fromMs).toBeLessThan(1_000);
  });
});
