/** The demo as a user runs it: it ends with status 0, in time, and leaves nothing. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const DEMO_MAX_MS = 30_000;

const folder = mkdtempSync(join(tmpdir(), "isola-demo-test-"));
let output = "";
let status: number | null = -1;
let elapsedMs = 0;

beforeAll(async () => {
  const beganMs = performance.now();
  const child = spawn(process.execPath, [join(ROOT, "functions/demo/run.ts")], {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  }
  [status] = (await once(child, "close")) as [number | null];
  elapsedMs = performance.now() - beganMs;
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the demo", () => {
  it("ends with status 0 in less than 30 seconds", () => {
    expect(status, output).toBe(0);
    expect(elapsedMs).toBeLessThan(DEMO_MAX_MS);
  });

  it("accounts for every record of the films", () => {
    expect(output).toMatch(/in +3,201 records in 7 batches/);
    expect(output).toMatch(/rejected +187 records/);
    expect(output).toMatch(/out +3,014 films/);
    expect(output).toMatch(/read back: 3,014 films/);
    expect(output).toMatch(/152 +rating-missing/);
  });

  it("shows the time of each function of the pipeline", () => {
    for (const [name, calls] of [
      ["extract", 1],
      ["validate", 7],
      ["clean", 7],
      ["aggregate", 8],
      ["load", 1],
    ] as const) {
      expect(output).toMatch(new RegExp(`etl-${name} +${calls} calls +\\d+\\.\\d ms a call`));
    }
  });

  it("counts words that its functions hand over in the store", () => {
    expect(output).toMatch(/7\. Words: [\d,]+ in \d\d parts through the store, [\d,]+ different/);
  });

  it("answers FizzBuzz, a stream and a Hono application", () => {
    expect(output).toContain("1 2 Fizz 4 Buzz Fizz 7 8 Fizz Buzz 11 Fizz 13 14 FizzBuzz");
    expect(output).toMatch(/Stream: 50,000,000 bytes/);
    expect(output).toContain("A Discipline of Programming");
  });

  it("leaves no file behind", () => {
    expect(readdirSync(folder)).toEqual([]);
  });
});
