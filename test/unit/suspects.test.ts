import * as fc from "fast-check";
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

const killed = (atMs: number): Verdict => ({ ...shared(["a/f@1"], atMs), outside: true });

describe("suspects", () => {
  it("never quarantines a version that died in company only (W1)", () => {
    const suspects = new Suspects();
    for (let i = 0; i < 100; i += 1) {
      expect(suspects.take(shared(["a/innocent@1", "a/spinner@1"]), []).quarantine).toBeUndefined();
    }
    expect(suspects.has("a/innocent@1", 0)).toBe(true);
  });

  it("returns a suspect whose call ended in the probation cell (W2)", () => {
    const suspects = new Suspects();
    suspects.take(shared(["a/f@1"]), []);
    suspects.acquit("a/f@1", 1);
    expect(suspects.has("a/f@1", 1)).toBe(false);
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
    expect(suspects.has("a/stream@2", 0)).toBe(true);
  });

  it("keeps a repeated suspect until the probation cell has lived on for a while (W2)", () => {
    const suspects = new Suspects();
    suspects.take(shared(["a/f@1"], 0), []);
    suspects.take(shared(["a/f@1"], 10), []);
    suspects.acquit("a/f@1", 20);
    expect(suspects.has("a/f@1", 1_000)).toBe(true);
    expect(suspects.has("a/f@1", 5_000)).toBe(false);
  });

  it("takes the parole back when it kills again (W2)", () => {
    const suspects = new Suspects();
    suspects.take(alone("a/f@1", 0), []);
    suspects.acquit("a/f@1", 10);
    suspects.take(alone("a/f@1", 1_000), []);
    expect(suspects.has("a/f@1", 60_000)).toBe(true);
  });

  it("stays a suspect until the quarantine holds (W3)", () => {
    const suspects = new Suspects();
    for (const atMs of [0, 1, 2]) suspects.take(alone("a/f@1", atMs), []);
    expect(suspects.has("a/f@1", 3)).toBe(true);
    suspects.forget("a/f@1");
    expect(suspects.has("a/f@1", 3)).toBe(false);
  });

  it("suspects all that ran lately when cells go on dying (W4)", () => {
    const suspects = new Suspects();
    const verdict: Verdict = { ...shared(["a/innocent@1"]), lately: ["a/unseen@1"] };
    suspects.take(verdict, []);
    expect(suspects.has("a/unseen@1", 0)).toBe(false);
    suspects.take({ ...verdict, atMs: 2_000 }, []);
    expect(suspects.has("a/unseen@1", 2_000)).toBe(true);
  });

  it("puts on trial who died in the probation cell in company, then its company (W1, W5)", () => {
    const late: Verdict = {
      slot: PROBATION_SLOT,
      cause: "MAX_BLOCK",
      suspects: [
        { key: "a/before@1", callIds: ["b"] },
        { key: "a/stream@1", callIds: ["c"] },
      ],
      late: true,
      atMs: 0,
    };
    const suspects = new Suspects();
    expect(suspects.take(late, ["a/stream@1"]).convicted).toBeUndefined();
    expect(suspects.tell()).toEqual({ suspects: ["a/stream@1"], alone: ["a/stream@1"] });
    suspects.acquit("a/stream@1", 10);
    expect(suspects.has("a/stream@1", 4_000)).toBe(false);
    expect(suspects.isOnTrial("a/before@1")).toBe(true);
  });

  it("takes one cell that was killed from outside for an accident (W4)", () => {
    const suspects = new Suspects();
    expect(suspects.take({ ...killed(0), cause: "CELL_LOST" }, []).changed).toBe(false);
    expect(suspects.take({ ...killed(1_000), cause: "CELL_LOST" }, []).changed).toBe(true);
  });

  it("puts two on trial that died in the probation cell together (W5)", () => {
    const suspects = new Suspects();
    suspects.take({ ...shared(["a/f@1", "a/g@1"]), slot: PROBATION_SLOT }, []);
    expect(suspects.tell().alone).toEqual(["a/f@1", "a/g@1"]);
  });

  it("does not count probes: their deploys fail", () => {
    const suspects = new Suspects();
    expect(suspects.take(alone("a/f@0"), []).convicted).toBeUndefined();
    expect(suspects.keys).toEqual([]);
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
