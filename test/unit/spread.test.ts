/** Which attempts leave a cell for the others (runtime/cell/runs/spread.ts). */
import { describe, expect, it } from "vitest";
import { Spread } from "../../runtime/cell/internal.ts";

/** So many attempts end, each that long after the one before, while turns come so late. */
function ended(spread: Spread, count: number, eachMs: number, lateMs: number): void {
  for (let index = 1; index <= count; index += 1) {
    spread.turn(lateMs);
    spread.ended("f", "light", 8, index * eachMs);
  }
}

describe("attempts of a function", () => {
  it("stay while they wait for others, however long they take", () => {
    const spread = new Spread();
    ended(spread, 20, 100, 0);
    expect(spread.place("f", 0, 2_000)).toBe("light");
  });

  it("stay while they cost the thread less than moving them", () => {
    const spread = new Spread();
    ended(spread, 20, 1, 50);
    expect(spread.place("f", 0, 20)).toBe("light");
    ended(spread, 20, 30, 30);
    expect(spread.place("f", 0, 600)).toBe("here");
    expect(spread.place("f", 8 * 1_048_576, 600)).toBe("light");
  });

  it("are shared with the other cells once they keep the thread busy", () => {
    const spread = new Spread();
    ended(spread, 10, 50, 50);
    const places = Array.from({ length: 5 }, () => spread.place("f", 0, 500));
    expect(places).toEqual(["here", "here", "away", "away", undefined]);
    spread.cameBack(2, 600);
    expect(spread.place("f", 0, 600)).toBe("away");
    expect(spread.place("f", 0, 600)).toBe("away");
    spread.ended("f", "here", 3, 650);
    expect(spread.place("f", 0, 650)).toBe("here");
    expect(spread.place("other", 0, 650)).toBe("light");
  });

  it("stay where there is no other cell, until it is asked for again", () => {
    const spread = new Spread();
    ended(spread, 10, 50, 50);
    for (let index = 0; index < 3; index += 1) spread.place("f", 0, 500);
    spread.cameBack(0, 500);
    expect(spread.place("f", 0, 600)).toBe("light");
    expect(spread.place("f", 0, 60_000)).toBe("away");
  });

  it("do not wait for a place while the thread is free", () => {
    const spread = new Spread();
    ended(spread, 10, 50, 50);
    for (let index = 0; index < 4; index += 1) spread.place("f", 0, 500);
    expect(spread.place("f", 0, 500)).toBeUndefined();
    spread.look(20);
    expect(spread.place("f", 0, 520)).toBeUndefined();
    spread.look(0);
    expect(spread.place("f", 0, 540)).toBe("light");
  });

  it("come home when they cost little again", () => {
    const spread = new Spread();
    ended(spread, 10, 50, 50);
    expect(spread.place("f", 0, 500)).toBe("here");
    ended(spread, 20, 50, 0);
    expect(spread.place("f", 0, 2_000)).toBe("light");
  });
});
