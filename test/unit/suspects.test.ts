import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS, PROBATION_SLOT, type Verdict } from "../../runtime/contract/index.ts";
import { Suspects } from "../../runtime/gateway/internal.ts";

const shared = (keys: readonly string[], atMs = 0): Verdict => ({
  slot: 0,
  cause: "MAX_BLOCK",
  suspects: keys.map((key) => ({ key, callIds: ["c"] })),
  atMs,
});

const alone = (key: string, atMs = 0): Verdict => ({
  slot: PROBATION_SLOT,
  cause: "MAX_BLOCK",
  suspects: [],
  convicted: key,
  atMs,
});

describe("suspects", () => {
  it("never quarantines a version that died in company only (W1)", () => {
    const suspects = new Suspects();
    for (let i = 0; i < 100; i += 1) {
      expect(suspects.take(shared(["a/innocent@1", "a/spinner@1"]), []).quarantine).toBeUndefined();
    }
    expect(suspects.has("a/innocent@1")).toBe(true);
  });

  it("returns a suspect whose call ended in the probation cell (W2)", () => {
    const suspects = new Suspects();
    suspects.take(shared(["a/f@1"]), []);
    expect(suspects.acquit("a/f@1")).toBe(true);
    expect(suspects.has("a/f@1")).toBe(false);
  });

  it("quarantines at the third conviction within the window (W3)", () => {
    const suspects = new Suspects();
    const verdicts = [0, 1, 2].map((atMs) => suspects.take(alone("a/f@1", atMs), []));
    expect(verdicts.map(({ quarantine }) => quarantine)).toEqual([undefined, undefined, "a/f@1"]);
  });

  it("forgets convictions outside of the window (W3)", () => {
    const suspects = new Suspects();
    const times = [0, 1, LIMITS.convictionWindowMs + 1];
    const verdicts = times.map((atMs) => suspects.take(alone("a/f@1", atMs), []));
    expect(verdicts.at(-1)?.quarantine).toBeUndefined();
  });

  it("forgets every version of a function that is released by hand", () => {
    const suspects = new Suspects();
    suspects.take(alone("a/f@1"), []);
    suspects.take(alone("a/f@1"), []);
    suspects.take(shared(["a/f2@1"]), []);
    suspects.forgetFunction("a", "f");
    expect(suspects.keys).toEqual(["a/f2@1"]);
    expect(suspects.take(alone("a/f@1"), []).quarantine).toBeUndefined();
  });

  it("suspects versions that were still streaming from the dead cell", () => {
    const suspects = new Suspects();
    expect(suspects.take(shared([]), ["a/stream@2"]).changed).toBe(true);
    expect(suspects.has("a/stream@2")).toBe(true);
  });

  it("keeps innocents out of quarantine under any order of verdicts", () => {
    const verdict = fc.oneof(
      fc.subarray(["a/x@1", "a/y@1", "a/innocent@1"]).map((keys) => shared(keys)),
      fc.constantFrom("a/x@1", "a/y@1").map((key) => alone(key)),
    );
    fc.assert(
      fc.property(fc.array(verdict), (verdicts) => {
        const suspects = new Suspects();
        const quarantined = verdicts.map((one) => suspects.take(one, []).quarantine);
        expect(quarantined).not.toContain("a/innocent@1");
      }),
    );
  });
});
