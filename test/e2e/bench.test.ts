/** The suite `calls` at its smallest: every figure is there; what they are is not judged here. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { FEW, FULL, MANY, runCalls } from "../../bench/internal.ts";

const folder = mkdtempSync(join(tmpdir(), "isola-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("isola bench calls", () => {
  it("measures every target and computes every figure that has an aim", async () => {
    const smallest = {
      ...FULL,
      rounds: 1,
      warmUpMs: 100,
      oneClientMs: 100,
      manyClientsMs: 200,
      crossChecks: 1,
      starts: 2,
      isolates: [1, 3, 6],
      functions: 10,
      scaleRounds: 1,
    };
    const file = join(folder, "calls.ndjson");
    const { report } = await runCalls(smallest, () => undefined, file);
    const records = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; target?: string; errors?: number });
    const loads = records.filter(({ type }) => type === "load");
    expect(new Set(loads.map(({ target }) => target))).toEqual(
      new Set(["static", "loaded", "prototype", "isola", FEW, MANY]),
    );
    expect(loads.every(({ errors }) => errors === 0)).toBe(true);
    expect(records.filter(({ type }) => type === "start")).toHaveLength(4);
    expect(records.filter(({ type }) => type === "memory")).toHaveLength(6);
    expect(records[0]?.type).toBe("provenance");
    for (const figure of ["of the prototype's", "cold isolate", "memory per isolate", "deployed"]) {
      expect(report).toContain(figure);
    }
  });
});
