/**
 * A cell and its watchdog in a world of virtual time: one thread that runs slices of calls, pings
 * that wait their turn, a pipe and a host that is sometimes late. Seeded by fast-check.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CellWatch, WATCHDOG, parseCrumbs } from "../../runtime/host/internal.ts";

interface Slice {
  readonly call: number;
  readonly cpuMs: number;
  readonly first: boolean;
  readonly last: boolean;
}

interface World {
  readonly slices: readonly Slice[];
  /** Ranges of virtual time in which the host does nothing. */
  readonly stalls: readonly { readonly fromMs: number; readonly forMs: number }[];
  readonly blockMs: number;
}

const SAMPLE_MS = 100;

/**
 * Lines with the time at which the cell wrote them; an empty one is the answer to a ping. As the
 * shim does, a call that begins or answers says so after a silence; a slice in between says
 * nothing, but the event loop has turned since the call's slice before, so a ping was answered.
 */
function runCell(world: World): { lines: { atMs: number; text: string }[]; endMs: number } {
  const lines: { atMs: number; text: string }[] = [];
  let nowMs = 0;
  let saidAtMs = Number.NEGATIVE_INFINITY;
  const word = (slice: Slice): void => {
    if (nowMs - saidAtMs < 100) return;
    lines.push({ atMs: nowMs, text: `P c${slice.call}` });
    saidAtMs = nowMs;
  };
  for (const slice of world.slices) {
    if (slice.first) {
      const entered = `E c${slice.call} default/f${slice.call % 5}@1 ${world.blockMs}`;
      lines.push({ atMs: nowMs, text: entered });
      word(slice);
    } else {
      lines.push({ atMs: nowMs, text: "" });
    }
    nowMs += slice.cpuMs;
    if (slice.last) {
      word(slice);
      lines.push({ atMs: nowMs, text: `L c${slice.call}` });
    }
  }
  return { lines, endMs: nowMs };
}

/** The host's view: samples every 100 ms, lines read between two samples, unless it is stalled. */
function watchCell(world: World, spinFromMs: number | undefined): number | undefined {
  const { lines, endMs } = runCell(world);
  const cell = new CellWatch(0, false);
  let read = 0;
  const untilMs = (spinFromMs ?? endMs) + 60_000;
  for (let atMs = 0; atMs < untilMs; atMs += SAMPLE_MS) {
    const stall = world.stalls.find(({ fromMs, forMs }) => atMs >= fromMs && atMs < fromMs + forMs);
    if (stall !== undefined) continue;
    const busyMs = Math.min(atMs, spinFromMs === undefined ? endMs : Number.POSITIVE_INFINITY);
    // The timer runs first: what the cell wrote before is read only after it.
    const decision = cell.sample({ atMs, cpuMs: Math.floor(busyMs / 10) * 10, state: "R" });
    if (decision.kind === "kill") return atMs;
    for (; read < lines.length; read += 1) {
      const line = lines[read];
      if (line === undefined || line.atMs > atMs) break;
      if (line.text === "") cell.answered();
      for (const crumb of parseCrumbs(line.text)) cell.crumb(crumb);
    }
  }
  return undefined;
}

/** Slices of calls in any order, none longer than the block time. */
function worlds(blockMs: number, longestMs: number): fc.Arbitrary<World> {
  const slice = fc.record({
    call: fc.nat({ max: 60 }),
    cpuMs: fc.integer({ min: 1, max: longestMs }),
  });
  const stall = fc.record({
    fromMs: fc.nat({ max: 60_000 }),
    forMs: fc.integer({ min: 100, max: 8_000 }),
  });
  return fc
    .record({
      parts: fc.array(slice, { minLength: 1, maxLength: 120 }),
      stalls: fc.array(stall, { maxLength: 4 }),
    })
    .map(({ parts, stalls }) => ({
      blockMs,
      stalls,
      slices: parts.map((part, at) => ({
        ...part,
        first: parts.findIndex(({ call }) => call === part.call) === at,
        last: parts.findLastIndex(({ call }) => call === part.call) === at,
      })),
    }));
}

describe("the watchdog in a simulated world", () => {
  it("never ends a cell whose calls each yield within their block time", () => {
    for (const blockMs of [100, 1_000, 5_000]) {
      fc.assert(
        fc.property(worlds(blockMs, blockMs), (world) => {
          expect(watchCell(world, undefined)).toBeUndefined();
        }),
        { numRuns: 150 },
      );
    }
  });

  it("never ends a cell of fifty calls of 200 ms each, in any order", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...Array(50).keys()], { minLength: 50 }), (order) => {
        const slices = order.map((call) => ({ call, cpuMs: 200, first: true, last: true }));
        expect(watchCell({ slices, stalls: [], blockMs: 1_000 }, undefined)).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it("ends a cell that spins within a second after the block time, host permitting", () => {
    fc.assert(
      fc.property(worlds(1_000, 300), (world) => {
        const { endMs } = runCell(world);
        const killedAtMs = watchCell(world, endMs);
        const stalledMs = world.stalls.reduce((sum, { forMs }) => sum + forMs, 0);
        expect(killedAtMs).toBeDefined();
        const boundMs = WATCHDOG.defaultBlockMs + 1_000 + 2 * SAMPLE_MS;
        expect((killedAtMs ?? 0) - endMs).toBeLessThanOrEqual(boundMs + stalledMs);
      }),
      { numRuns: 150 },
    );
  });
});
