import { describe, expect, it } from "vitest";
import { ProbationRoom, TRIAL_MS } from "../../runtime/gateway/internal.ts";

describe("the probation cell", () => {
  it("takes suspects one after the other", () => {
    const room = new ProbationRoom();
    expect(room.enter("a/f@1", false, 0)).toBe("enter");
    room.leave("a/f@1", false, 1);
    expect(room.enter("a/g@1", false, 2)).toBe("enter");
  });

  it("is started anew for who is on trial, if another ran there (B1)", () => {
    const room = new ProbationRoom();
    room.enter("a/f@1", false, 0);
    expect(room.enter("a/f@1", true, 1)).toBe("enter");
    expect(room.enter("a/g@1", true, 2)).toBe("stale");
    room.renew();
    expect(room.enter("a/g@1", true, 3)).toBe("enter");
  });

  it("is kept for who was on trial until what it left behind had its time (B2)", () => {
    const room = new ProbationRoom();
    room.enter("a/f@1", true, 0);
    room.leave("a/f@1", true, 10);
    expect(room.enter("a/g@1", false, 11)).toBe("reserved");
    expect(room.enter("a/f@1", true, 11)).toBe("enter");
    expect(room.enter("a/g@1", false, 10 + TRIAL_MS)).toBe("enter");
  });

  it("evaluates no module while somebody is on trial, nor the other way round (B3)", () => {
    const room = new ProbationRoom();
    room.enter("a/f@1", false, 0);
    expect(room.enterProbe(1, 100)).toBe(true);
    expect(room.enter("a/f@1", true, 2)).toBe("reserved");
    expect(room.enter("a/f@1", false, 2)).toBe("enter");
    room.leaveProbe();
    // Who waited comes first, however many modules are to be evaluated.
    expect(room.enterProbe(3, 100)).toBe(false);
    expect(room.enter("a/f@1", true, 3)).toBe("enter");
    expect(room.enterProbe(4, 100)).toBe(false);
    room.leave("a/f@1", true, 10);
    expect(room.enterProbe(11, 100)).toBe(false);
    expect(room.enterProbe(10 + TRIAL_MS, 100)).toBe(true);
    // One whose deploy vanished holds nobody up for long.
    expect(room.enter("a/f@1", true, 110 + TRIAL_MS)).toBe("enter");
    room.renew();
    expect(room.enterProbe(111 + TRIAL_MS, 100)).toBe(true);
  });
});
