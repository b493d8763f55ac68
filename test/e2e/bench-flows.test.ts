/** The suite `flows` at its smallest: targets and figures are there; times are not judged here. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { FLOWS_QUICK_RUN, restateVersion, runFlows } from "../../bench/internal.ts";

const folder = mkdtempSync(join(tmpdir(), "isola-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Line {
  readonly type: string;
  readonly phase?: string;
  readonly target?: string;
  readonly clients?: number;
  readonly composition?: string;
  readonly size?: number;
  readonly errors?: number;
  readonly wrong?: number;
}

const TARGETS = [
  "prototype, step",
  "prototype, run",
  "by hand",
  "isola, step",
  "isola, run",
  "isola, code",
  ...(restateVersion() === undefined ? [] : ["restate"]),
  "bundled",
];

describe("isola bench flows", () => {
  it("measures every target, gets right answers, and computes every figure", async () => {
    const smallest = {
      ...FLOWS_QUICK_RUN,
      clients: [1, 32],
      sizes: { chain: [1, 6], fan: [10, 100] },
      rounds: 1,
      shapeRounds: 1,
      warmUpMs: 20,
      oneClientMs: 100,
      manyClientsMs: 100,
      shapeMs: 1,
      shapeRepeats: 1,
      creationMs: 50,
      diskPoints: 2,
      diskMs: 100,
      recoveries: 1,
      recoveryRuns: 4,
      waiting: [20, 40],
      memoryWarmUpMs: 100,
    };
    const file = join(folder, "flows.ndjson");
    const { report } = await runFlows(smallest, () => undefined, file);
    const lines = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
    const loads = lines.filter(({ phase }) => phase === "fizzbuzz");
    const shapes = lines.filter(({ type }) => type === "flow");
    for (const target of TARGETS) {
      const clients = loads.filter((line) => line.target === target).map((line) => line.clients);
      expect(clients, target).toEqual([1, 32]);
      const sizes = shapes
        .filter((line) => line.target === target)
        .map(({ composition = "", size = 0 }) => `${composition} ${size}`);
      expect(sizes, target).toEqual(["chain 1", "chain 6", "fan 10", "fan 100"]);
    }
    expect(lines.filter(({ errors = 0, wrong = 0 }) => errors + wrong > 0)).toEqual([]);
    for (const type of ["disk", "waiting", "recovery"]) {
      expect(lines.filter((line) => line.type === type).length).toBeGreaterThan(0);
    }
    const figures = [
      "FizzBuzz, 32 clients: isola, step, of prototype, step's rate",
      "FizzBuzz, 1 client",
      "of bundled's rate",
      "step in sequence: isola, run",
      "creation of runs",
      "on disk per finished run",
      "memory per waiting run",
      "kill -9 of the cell",
    ];
    for (const figure of figures) expect(report).toContain(figure);
  }, 120_000);
});
