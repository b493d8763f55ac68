import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsolateLedger } from "../../runtime/cell/internal.ts";

describe("the ledger of isolates", () => {
  it("names the least recently used idle isolates first (I2)", () => {
    const ledger = new IsolateLedger();
    for (const id of ["a", "b", "c", "a"]) {
      ledger.enter(id);
      ledger.leave(id);
    }
    expect(ledger.surplus(1, 0)).toEqual(["b", "c"]);
  });

  it("never names an isolate with calls in flight (I1)", () => {
    const step = fc.tuple(
      fc.constantFrom("enter", "leave", "forget"),
      fc.constantFrom("a", "b", "c", "d"),
    );
    fc.assert(
      fc.property(fc.array(step), fc.nat(4), (steps, max) => {
        const ledger = new IsolateLedger();
        const inFlight = new Map<string, number>();
        for (const [kind, id] of steps) {
          const count = inFlight.get(id) ?? 0;
          if (kind === "enter") {
            ledger.enter(id);
            inFlight.set(id, count + 1);
          } else if (kind === "leave" && count > 0) {
            ledger.leave(id);
            inFlight.set(id, count - 1);
          } else if (kind === "forget" && count === 0) {
            ledger.forget(id);
          }
        }
        for (const id of ledger.surplus(max, 0)) expect(inFlight.get(id) ?? 0).toBe(0);
      }),
    );
  });

  it("keeps one with work after an answer, within a bound", () => {
    const ledger = new IsolateLedger();
    ledger.enter("a");
    ledger.leave("a");
    ledger.hold("a", 1_000);
    ledger.hold("a", 2_000);
    ledger.unhold("a");
    expect(ledger.idlest(9, 61_999)).toEqual([]);
    expect(ledger.idlest(9, 62_000)).toEqual(["a"]);
    ledger.unhold("a");
    ledger.unhold("a");
    expect(ledger.isIdle("a", 0)).toBe(true);
  });

  it("forgets what left, and takes a later leave of it in silence (I3)", () => {
    const ledger = new IsolateLedger();
    ledger.enter("a");
    ledger.forget("a");
    ledger.leave("a");
    expect(ledger.size).toBe(0);
  });
});
