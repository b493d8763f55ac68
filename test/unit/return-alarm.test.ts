/** The alarm of a shard whose actor is evicted: when it is set, and how rarely. */
import { describe, expect, it } from "vitest";
import { ReturnAlarm } from "../../runtime/cell/internal.ts";

class World {
  nowMs = 100_000;
  isBusy = false;
  dueAtMs: number | undefined;
  readonly set: number[] = [];
  readonly alarm = new ReturnAlarm({
    now: () => this.nowMs,
    isBusy: () => this.isBusy,
    dueAtMs: () => this.dueAtMs,
    set: (atMs) => this.set.push(atMs),
  });
}

describe("the alarm of a shard", () => {
  it("is not set while no run is open", () => {
    const world = new World();
    world.alarm.look();
    world.alarm.fired();
    expect(world.set).toStrictEqual([]);
  });

  it("looks every few seconds while something is under way, however many commits there are", () => {
    const world = new World();
    world.isBusy = true;
    for (let commit = 0; commit < 1_000; commit += 1) {
      world.nowMs += 1;
      world.alarm.look();
    }
    expect(world.set).toStrictEqual([105_001]);
    world.nowMs = 105_001;
    world.alarm.fired();
    expect(world.set).toStrictEqual([105_001, 110_001]);
  });

  it("rings when the first run that waits is due, and not before", () => {
    const world = new World();
    world.dueAtMs = 900_000;
    world.alarm.look();
    world.dueAtMs = 800_000;
    world.alarm.look();
    world.alarm.look();
    expect(world.set).toStrictEqual([900_000, 800_000]);
    world.isBusy = true;
    world.alarm.look();
    expect(world.set.at(-1)).toBe(105_000);
    world.isBusy = false;
    world.nowMs = 105_000;
    world.alarm.fired();
    expect(world.set.at(-1)).toBe(800_000);
  });

  it("rings at once for what was due while the shard was away", () => {
    const world = new World();
    world.dueAtMs = 5;
    world.alarm.look();
    expect(world.set).toStrictEqual([world.nowMs]);
  });
});
