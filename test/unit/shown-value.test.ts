/** Values of runs as operators see them: exactly, or said to be something else. */
import { describe, expect, it } from "vitest";
import { shownBody, shownHeld, shownValue } from "../../runtime/cell/internal.ts";

const text = (body: string): Uint8Array => new TextEncoder().encode(body);

describe("a shown value", () => {
  it("is itself where JSON carries it", () => {
    for (const value of [null, 1, "x", true, [1, { a: [] }], { a: null }]) {
      expect(shownValue(value)).toStrictEqual({ value });
    }
  });

  it("is a preview where JSON would change it", () => {
    const cases: readonly (readonly [unknown, string])[] = [
      [10n, "10n"],
      [Number.NaN, "NaN"],
      [-0, "0"],
      [{ a: undefined }, "{a: undefined}"],
      [new Date(5), "Date(5)"],
      [new Map([["k", 1]]), 'Map {"k" => 1}'],
      [new Set([1, 2]), "Set {1, 2}"],
      [new Uint8Array(9), "Uint8Array(9 bytes)"],
      [new RangeError("no"), "RangeError: no"],
      [[[[[[1n]]]]], "[[[[[…]]]]]"],
      [Array.from({ length: 30 }, () => 1n), `[${Array(20).fill("1n").join(", ")}, and 10 more]`],
    ];
    for (const [value, preview] of cases) expect(shownValue(value)).toStrictEqual({ preview });
  });

  it("is a preview where it is large", () => {
    const shown = shownValue("x".repeat(100_000));
    expect("preview" in shown && shown.preview.length).toBeLessThan(1_100);
  });

  it("is said where it lies, when it is held elsewhere", () => {
    expect(shownHeld({ ref: "r", sizeBytes: 9 })).toStrictEqual({ ref: "r", sizeBytes: 9 });
    expect(shownHeld({ value: undefined })).toBeUndefined();
    const parts = [["a", { value: 1 }]] as const;
    expect(shownHeld({ parts })).toStrictEqual({ preview: "{a}" });
  });

  it("is what a body says under its type", () => {
    expect(shownBody("application/json; charset=utf-8", text("[1]"))).toStrictEqual({ value: [1] });
    expect(shownBody("application/json", text("{"))).toStrictEqual({ value: "{" });
    expect(shownBody("text/plain", text("hi"))).toStrictEqual({ value: "hi" });
    expect(shownBody("image/png", text("hi"))).toStrictEqual({ preview: "2 bytes of image/png" });
    expect(shownBody("", text("hi"))).toStrictEqual({ preview: "2 bytes of no type" });
    expect(shownBody("text/plain", text(""))).toBeUndefined();
  });
});
