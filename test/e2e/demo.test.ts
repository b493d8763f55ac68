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

  it("answers FizzBuzz the same in each form, a stream and a Hono application", () => {
    expect(output).toContain("1 2 Fizz 4 Buzz Fizz 7 8 Fizz Buzz 11 Fizz 13 14 FizzBuzz");
    for (const form of ["", "-coordinator", "-merged"]) {
      expect(output).toMatch(new RegExp(`fizzbuzz${form} +[\\d.]+ ms a call`));
    }
    expect(output).toContain("the run of 15 went through number > branch > branch.fizz-and-buzz");
    expect(output).toMatch(/Stream: 50,000,000 bytes/);
    expect(output).toContain("A Discipline of Programming");
  });

  it("builds chains by the request, and compares them with those that are no workflow", () => {
    expect(output).toMatch(/1: [\d.]+ ms, 2: [\d.]+ ms, 6: [\d.]+ ms, 50: [\d.]+ ms/);
    for (const form of ["", "-merged", "-direct", "-coordinator", "-events"]) {
      expect(output).toMatch(new RegExp(`chain${form} +[\\d.]+ ms a call of 6 links`));
    }
  });

  it("counts the words of a real text by map and reduce", () => {
    expect(output).toMatch(/[\d,]{5,} words in \d parts, [\d,]{5,} different/);
  });

  it("undoes orders that cannot be, and says why", () => {
    expect(output).toMatch(/o-1 +2 lamps to SE +shipped/);
    expect(output).toMatch(/o-2 +2 lamps to AQ +refused +no carrier goes to AQ/);
    expect(output).toMatch(/o-4 +9 lamps to DK +refused +3 left of shelf\/lamp/);
    expect(output).toContain("left on the shelf: 3 of 5 lamps");
  });

  it("waits for somebody who approves, as a DAG and as code", () => {
    for (const form of ["expense", "expense-code"]) {
      expect(output).toMatch(new RegExp(`${form} +80: by rule; 800: waiting, then by Grace`));
    }
  });

  it("accounts for every record of the films", () => {
    expect(output).toMatch(/in +3,201 records in 33 batches/);
    expect(output).toMatch(/rejected +187 records/);
    expect(output).toMatch(/out +3,014 films/);
    expect(output).toMatch(/152 +rating-missing/);
  });

  it("kills a cell and the sink in the middle of the films, and loads none twice", () => {
    expect(output).toMatch(/killed with -9 in the middle: cell \d \(process \d+\)/);
    expect(output).toMatch(/killed with -9 in the middle: the sink/);
    expect(output).toMatch(/SQLite +3,014 films, 187 rejects, each once/);
    expect(output).toMatch(/167 steps, each completed once/);
  });

  it("shows the time of each step of the pipeline", () => {
    for (const name of ["extract", "validate", "clean", "aggregate", "load"]) {
      expect(output).toMatch(new RegExp(`apply etl-${name} +33 +\\d+ +\\d+ +[\\d.]+ ms each`));
    }
  });

  it("leaves no file behind", () => {
    expect(readdirSync(folder)).toEqual([]);
  });
});
