import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CellWatch, type CellExit, WATCHDOG, parseCrumbs } from "../../runtime/host/internal.ts";

const SHARED = 0;
const KEY = "default/f@1";
const LIMIT_MS = WATCHDOG.defaultBlockMs + WATCHDOG.marginMs;

function watch(probation = false): CellWatch {
  return new CellWatch(probation ? 99 : SHARED, probation);
}

function tell(cell: CellWatch, line: string): void {
  for (const crumb of parseCrumbs(line)) cell.crumb(crumb);
}

const exit = (changes: Partial<CellExit> = {}): CellExit => ({
  atMs: 0,
  signal: "SIGKILL",
  code: undefined,
  heapExhausted: false,
  memoryKilled: false,
  ...changes,
});

/** Burns `cpuMs` in samples of 100 ms from `fromMs` on; true if the watchdog killed. */
function burn(cell: CellWatch, fromMs: number, cpuMs: number): boolean {
  for (let at = 0; at <= cpuMs; at += 100) {
    const sample = { atMs: fromMs + at, cpuMs: fromMs + at, state: "R" };
    if (cell.sample(sample).kind === "kill") return true;
  }
  return false;
}

/** What ends a cell whose thread stays in `state` for ten seconds. */
function hang(state: string): string | undefined {
  const cell = watch();
  tell(cell, `E a ${KEY} 1000`);
  for (let at = 0; at < 10_000; at += 100) {
    const decision = cell.sample({ atMs: at, cpuMs: 20, state });
    if (decision.kind === "kill") return decision.cause;
  }
  return undefined;
}

describe("a blocked cell", () => {
  it("is ended once the call burned its block time and the margin", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    expect(burn(cell, 0, LIMIT_MS)).toBe(false);
    expect(burn(cell, LIMIT_MS, 400)).toBe(true);
  });

  it("is ended within a second after the block time", () => {
    for (const blockMs of [10, 1_000, 5_000]) {
      const cell = watch();
      tell(cell, `E a ${KEY} ${blockMs}`);
      burn(cell, 0, 0);
      expect(burn(cell, 0, blockMs + 1_000)).toBe(true);
    }
  });

  it("waits for the most patient call that is in it", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    tell(cell, "E b default/slow@1 4000");
    expect(burn(cell, 0, 4_500)).toBe(false);
    expect(burn(cell, 4_500, 600)).toBe(true);
  });

  it("does not save itself by printing (W1)", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    let killed = false;
    for (let at = 0; at <= 3_000 && !killed; at += 100) {
      tell(cell, `O a info ${at} "still here"`);
      killed = cell.sample({ atMs: at, cpuMs: at, state: "R" }).kind === "kill";
    }
    expect(killed).toBe(true);
  });

  it("does not save itself by timers that it says have fired (W1)", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    const boundMs = LIMIT_MS * (WATCHDOG.timersPerCall + 1) + 1_000;
    let killed = false;
    for (let at = 0; at <= boundMs && !killed; at += 100) {
      if (at % 1_000 === 0) tell(cell, "T");
      killed = cell.sample({ atMs: at, cpuMs: at, state: "R" }).kind === "kill";
    }
    expect(killed).toBe(true);
  });

  it("is not ended for timers of many calls that fire together", () => {
    const cell = watch();
    for (let call = 0; call < 50; call += 1) tell(cell, `E c${call} ${KEY} 1000`);
    for (let at = 0; at < 50 * 900; at += 100) {
      if (at % 900 === 0) tell(cell, "T");
      expect(cell.sample({ atMs: at, cpuMs: at, state: "R" }).kind).toBe("none");
    }
  });

  it("is not ended by one sample: evidence may lie unread (W3)", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    cell.sample({ atMs: 0, cpuMs: 0, state: "R" });
    expect(cell.sample({ atMs: 9_000, cpuMs: 9_000, state: "R" }).kind).toBe("none");
    tell(cell, "L a");
    expect(cell.sample({ atMs: 9_100, cpuMs: 9_100, state: "R" }).kind).toBe("none");
  });

  it("that starves for the processor is left alone (W2)", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    for (let at = 0; at < 120_000; at += 100) {
      const decision = cell.sample({ atMs: at, cpuMs: Math.floor(at / 100), state: "R" });
      expect(decision.kind).toBe("none");
    }
  });

  it("that neither runs nor answers is ended by wall time (W4)", () => {
    expect(hang("S")).toBe("MAX_BLOCK");
    expect(hang("T")).toBe("CELL_LOST");
    expect(hang("D")).toBeUndefined();
  });

  it("that idles and answers pings lives for ever", () => {
    const cell = watch();
    for (let at = 0; at < 600_000; at += 100) {
      if (at % 200 === 0) cell.answered();
      expect(cell.sample({ atMs: at, cpuMs: 20, state: "S" }).kind).toBe("none");
    }
  });
});

describe("suspects", () => {
  it("are the calls that were entered and not left, by version", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    tell(cell, `E b ${KEY} 1000`);
    tell(cell, "L a E c other/g@2 1000");
    tell(cell, "L c");
    const { verdict, withTenantCode } = cell.exit(exit({ signal: "SIGSEGV" }));
    expect(verdict).toMatchObject({ slot: 0, cause: "CELL_LOST" });
    expect(verdict.suspects).toEqual([{ key: KEY, callIds: ["b"] }]);
    expect(verdict.convicted).toBeUndefined();
    expect(withTenantCode).toBe(true);
  });

  it("stay while promises of waitUntil are open", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    tell(cell, "W a");
    tell(cell, "L a");
    expect(cell.openCalls).toBe(1);
    tell(cell, "X a");
    expect(cell.openCalls).toBe(0);
  });

  it("are those whose modules are evaluated", () => {
    const cell = watch();
    tell(cell, `I ${KEY}`);
    expect(cell.openCalls).toBe(1);
    tell(cell, `J ${KEY}`);
    expect(cell.openCalls).toBe(0);
  });

  it("of a cell that blocked after all had left are those that left last", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    tell(cell, "L a");
    expect(burn(cell, 0, 4_000)).toBe(true);
    expect(cell.exit(exit()).verdict.suspects).toEqual([{ key: KEY, callIds: ["a"] }]);
  });

  it("are none when a cell is killed from outside with nothing entered", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    tell(cell, "L a");
    const death = cell.exit(exit());
    expect(death.verdict).toMatchObject({ cause: "CELL_LOST", suspects: [] });
    expect(death.withTenantCode).toBe(false);
  });
});

/** Who is convicted when one call dies alone in the probation cell. */
function alone(died: Partial<CellExit>): string | undefined {
  const cell = watch(true);
  tell(cell, `E a ${KEY} 1000`);
  return cell.exit(exit(died)).verdict.convicted;
}

describe("conviction", () => {
  it("falls on the one call that died alone in the probation cell", () => {
    expect(alone({ signal: "SIGSEGV" })).toBe(KEY);
    expect(alone({ memoryKilled: true })).toBe(KEY);
    expect(alone({ heapExhausted: true, signal: "SIGABRT" })).toBe(KEY);
  });

  it("falls on the one that blocked there", () => {
    const cell = watch(true);
    tell(cell, `E a ${KEY} 1000`);
    expect(burn(cell, 0, 4_000)).toBe(true);
    const { verdict } = cell.exit(exit());
    expect(verdict).toMatchObject({ cause: "MAX_BLOCK", convicted: KEY });
  });

  it("falls on nobody when the process was killed from outside", () => {
    expect(alone({ signal: "SIGKILL" })).toBeUndefined();
    expect(alone({ signal: "SIGTERM" })).toBeUndefined();
  });

  it("falls on nobody when two versions were in the cell (W5)", () => {
    const cell = watch(true);
    tell(cell, `E a ${KEY} 1000`);
    tell(cell, "E b default/callee@1 1000");
    const { verdict } = cell.exit(exit({ memoryKilled: true }));
    expect(verdict.convicted).toBeUndefined();
    expect(verdict.suspects).toHaveLength(2);
  });
});

describe("console lines of a dead cell", () => {
  it("are those of its open calls, within bounds", () => {
    const cell = watch();
    tell(cell, "E a ns/f@3 1000");
    tell(cell, "E b ns/g@1 1000");
    for (let at = 0; at < 150; at += 1) tell(cell, `O a warn ${at} "line ${at}"`);
    tell(cell, 'O b info 7 "left"');
    tell(cell, "L b");
    const { logs } = cell.exit(exit());
    expect(logs).toHaveLength(WATCHDOG.linesPerCall);
    expect(logs.at(-1)).toEqual({
      callId: "a",
      namespace: "ns",
      function: "f",
      version: 3,
      atMs: 149,
      level: "warn",
      text: "line 149",
    });
  });

  it("are bounded in bytes", () => {
    const cell = watch();
    tell(cell, `E a ${KEY} 1000`);
    const text = JSON.stringify("x".repeat(10_000));
    for (let at = 0; at < 50; at += 1) tell(cell, `O a info ${at} ${text}`);
    const bytes = cell.exit(exit()).logs.reduce((sum, line) => sum + line.text.length, 0);
    expect(bytes).toBeLessThanOrEqual(WATCHDOG.bytesPerCall);
    expect(bytes).toBeGreaterThan(WATCHDOG.bytesPerCall / 2);
  });
});

describe("breadcrumbs", () => {
  it("are read in any order of records on a line", () => {
    expect(parseCrumbs("L a b E c ns/f@1 500 W c")).toEqual([
      { kind: "left", callIds: ["a", "b"] },
      { kind: "entered", callId: "c", key: "ns/f@1", blockMs: 500 },
      { kind: "background", callId: "c", open: true },
    ]);
  });

  it("carry console text as it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const [crumb] = parseCrumbs(`O a info 5 ${JSON.stringify(text)}`);
        expect(crumb).toEqual({ kind: "console", callId: "a", level: "info", atMs: 5, text });
      }),
    );
  });

  it("never throw, whatever stands on the line", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const cell = watch();
        tell(cell, text);
        expect(cell.exit(exit()).verdict.slot).toBe(SHARED);
      }),
    );
  });
});
