import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Life,
  type LifeEffect,
  type LifeEvent,
  RESTART,
  STOPPED,
  backoffMs,
  stepLife,
} from "../../runtime/host/internal.ts";

function run(events: readonly LifeEvent[]): { life: Life; effects: readonly LifeEffect[] } {
  let life: Life = STOPPED;
  let effects: readonly LifeEffect[] = [];
  for (const event of events) ({ life, effects } = stepLife(life, event));
  return { life, effects };
}

const START: LifeEvent = { kind: "start" };
const UP: LifeEvent = { kind: "answered", atMs: 0 };
const died = (withTenantCode: boolean, atMs = 1): LifeEvent => ({
  kind: "exited",
  withTenantCode,
  atMs,
});

describe("a supervised process", () => {
  it("comes back at once when it died with tenant code entered (P2)", () => {
    expect(run([START, UP, died(true)]).effects).toEqual([{ kind: "spawn" }]);
  });

  it("waits longer after each death without tenant code, up to five seconds (P2)", () => {
    const delays: number[] = [];
    let life = run([START, UP]).life;
    for (let death = 0; death < 10; death += 1) {
      const step = stepLife(life, died(false));
      for (const effect of step.effects) {
        if (effect.kind === "awaitBackoff") delays.push(effect.delayMs);
      }
      life = stepLife(stepLife(step.life, { kind: "backoffOver" }).life, UP).life;
    }
    expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(delays.at(-1)).toBe(RESTART.maxDelayMs);
  });

  it("comes back at once after some seconds of health", () => {
    const events = [START, UP, died(false), { kind: "backoffOver" } as const, UP];
    const { effects } = run([...events, died(false, RESTART.healthyAfterMs)]);
    expect(effects).toEqual([{ kind: "spawn" }]);
    expect(run([...events, died(false, RESTART.healthyAfterMs - 1)]).effects).toEqual([
      { kind: "awaitBackoff", delayMs: backoffMs(2) },
    ]);
  });

  it("gets SIGTERM, then SIGKILL after the grace (P3)", () => {
    const first = run([START, UP, { kind: "stop" }]);
    expect(first.effects).toEqual([
      { kind: "signal", signal: "SIGTERM" },
      { kind: "awaitGrace", delayMs: RESTART.graceMs },
    ]);
    expect(stepLife(first.life, { kind: "graceOver" }).effects).toEqual([
      { kind: "signal", signal: "SIGKILL" },
    ]);
    expect(stepLife(first.life, died(false)).life).toEqual(STOPPED);
  });

  it("starts anew after a restart that was asked for, without waiting", () => {
    expect(run([START, UP, { kind: "restart" }, died(false)]).effects).toEqual([{ kind: "spawn" }]);
  });

  it("is ended when it does not answer in time", () => {
    expect(run([START, { kind: "startTimedOut" }]).effects).toEqual([
      { kind: "signal", signal: "SIGKILL" },
    ]);
  });
});

const anyEvent: fc.Arbitrary<LifeEvent> = fc.oneof(
  fc.constantFrom<LifeEvent>(
    START,
    { kind: "startTimedOut" },
    { kind: "spawnFailed" },
    { kind: "backoffOver" },
    { kind: "restart" },
    { kind: "stop" },
    { kind: "graceOver" },
  ),
  fc.nat({ max: 100_000 }).map((atMs): LifeEvent => ({ kind: "answered", atMs })),
  fc.record({ kind: fc.constant("exited"), withTenantCode: fc.boolean(), atMs: fc.nat() }),
);

describe("any order of events", () => {
  it("never has two children at once (P1), and none when stopped", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        let life: Life = STOPPED;
        let children = 0;
        for (const event of events) {
          // Only a child that exists can die, and only one that is starting can fail to.
          const ends = event.kind === "exited" || event.kind === "spawnFailed";
          if (ends && children === 0) continue;
          if (ends) children = 0;
          const step = stepLife(life, event);
          ({ life } = step);
          children += step.effects.filter(({ kind }) => kind === "spawn").length;
          expect(children).toBeLessThanOrEqual(1);
          const mayLive = life.phase !== "stopped" && life.phase !== "waiting";
          expect(mayLive || children === 0).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("ends in stopped after a stop, once the child is gone (P3)", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
        const asked = stepLife(run(events).life, { kind: "stop" }).life;
        const gone = asked.phase === "stopping" ? stepLife(asked, died(true)).life : asked;
        expect(gone).toEqual(STOPPED);
      }),
    );
  });
});
