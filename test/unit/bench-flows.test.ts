/** Figures of the suite `flows`, from journals whose answers are known. */
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, expect, it } from "vitest";
import {
  FIZZBUZZ_ASKS,
  Journal,
  LoadGenerator,
  answerOf,
  flowFaultsOf,
  flowFiguresOf,
  isMet,
} from "../../bench/internal.ts";

const load = (target: string, round: number, change: object = {}) => ({
  type: "load" as const,
  phase: "fizzbuzz" as const,
  round,
  target,
  clients: 32,
  callsPerSecond: 100,
  p50Ms: 1,
  p99Ms: 2,
  errors: 0,
  busy: 0.2,
  cpuMicroseconds: {},
  histogram: "",
  ...change,
});

const chain = (target: string, size: number, elapsedMs: number, wrong = 0) => ({
  type: "flow" as const,
  composition: "chain" as const,
  round: 0,
  target,
  size,
  elapsedMs,
  cpuMs: elapsedMs / 2,
  wrong,
});

function figureOf(journal: Journal, name: RegExp) {
  const found = flowFiguresOf(journal).find((figure) => name.test(figure.name));
  return found && { value: found.value, isMet: isMet(found) };
}

describe("figures of flows", () => {
  it("compares with the same round's prototype, not with its average", () => {
    const journal = new Journal();
    for (const [round, rate] of [1_000, 2_000, 500].entries()) {
      journal.add(load("prototype, step", round, { callsPerSecond: rate }));
      journal.add(load("isola, step", round, { callsPerSecond: rate * 0.6 }));
      journal.add(load("restate", round, { callsPerSecond: rate * 0.1 }));
    }
    expect(figureOf(journal, /32 clients: isola, step, of prototype/)).toEqual({
      value: 0.6,
      isMet: true,
    });
    const restate = figureOf(journal, /32 clients: isola, step, of restate/);
    expect(restate?.value).toBeCloseTo(6);
    expect(restate?.isMet).toBe(false);
  });

  it("takes a step's time as the slope over lengths, whatever a run costs by itself", () => {
    const journal = new Journal();
    for (const size of [1, 2, 6, 50]) {
      journal.add(chain("prototype, step", size, 2 + 0.5 * size));
      journal.add(chain("isola, step", size, 40 + 0.9 * size));
      journal.add(chain("isola, run", size, 7 + 0.25 * size));
    }
    const ratio = figureOf(journal, /isola, step, of prototype, step's$/);
    expect(ratio?.value).toBeCloseTo(1.8);
    expect(ratio?.isMet).toBe(true);
    const run = figureOf(journal, /sequence: isola, run/);
    expect(run?.value).toBeCloseTo(0.25);
    expect(run?.isMet).toBe(false);
  });

  it("takes disk and memory as slopes, and recovery from the new process on", () => {
    const journal = new Journal();
    for (const runs of [1_000, 2_000, 5_000]) {
      const target = "isola, step";
      journal.add({ type: "disk", target, runs, bytes: 9_000_000 + 2_048 * runs });
      const anonymousBytes = 300_000_000 + 1_536 * runs;
      journal.add({ type: "waiting", target, runs, anonymousBytes });
    }
    journal.add({
      type: "recovery",
      round: 0,
      runs: 8,
      restartMs: 400,
      firstStepMs: 1_500,
      wrong: 0,
    });
    expect(figureOf(journal, /on disk/)?.value).toBeCloseTo(2);
    expect(figureOf(journal, /memory per waiting run, 1000 to 5000/)?.value).toBeCloseTo(1.5);
    expect(figureOf(journal, /kill -9/)?.value).toBe(1_500);
    expect(figureOf(journal, /new cell's process/)).toEqual({ value: 1_100, isMet: false });
  });
});

describe("the verdict on a run of flows", () => {
  it("holds when every answer was right", () => {
    const journal = new Journal();
    for (const clients of [1, 32, 128]) journal.add(load("isola, step", 0, { clients }));
    journal.add(chain("isola, step", 2, 1));
    expect(flowFaultsOf(journal)).toEqual([]);
  });

  it.each([
    [load("isola, step", 0, { errors: 3 }), /wrong answers: fizzbuzz of isola, step with 32/],
    [load("restate", 0, { callsPerSecond: 0 }), /no answer/],
    [load("bundled", 0, { busy: 0.95 }), /saturated/],
    [chain("isola, run", 6, 1, 1), /wrong answers: chain of 6, isola, run/],
    [
      { type: "recovery", round: 2, runs: 8, restartMs: 1, firstStepMs: 2, wrong: 1 },
      /1 runs were lost/,
    ],
  ] as const)("calls a run invalid that proves nothing (%#)", (record, reason) => {
    const journal = new Journal();
    journal.add(record);
    expect(flowFaultsOf(journal).join()).toMatch(reason);
  });
});

describe("what flows asks", () => {
  it("knows what FizzBuzz, a chain and a fan-out have to answer", () => {
    expect(FIZZBUZZ_ASKS.map(({ answer }) => answer).slice(0, 5)).toEqual([
      '"1: 1"',
      '"2: 2"',
      '"3: Fizz"',
      '"4: 4"',
      '"5: Buzz"',
    ]);
    expect(FIZZBUZZ_ASKS.at(14)?.answer).toBe('"15: FizzBuzz"');
    expect(answerOf("chain", 50)).toBe(100);
    expect(answerOf("fan", 10)).toBe(55);
  });

  it("posts what it asks in turn, and counts every other answer as an error", async () => {
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      request.setEncoding("utf8").on("data", (body: string) => {
        bodies.push(body);
        // In two pieces, as streams answer.
        response.write(body === "3" ? '"wr' : '"ri');
        setTimeout(() => response.end(body === "3" ? 'ong"' : 'ght"'), 1);
      });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const generator = new LoadGenerator();
    const asks = ["1", "2", "3"].map((body) => ({ body, answer: '"right"' }));
    const url = `http://127.0.0.1:${port}/`;
    const report = await generator.run({ kind: "closed", url, clients: 2, durationMs: 200, asks });
    await generator.close();
    server.closeAllConnections();
    server.close();
    expect(new Set(bodies)).toEqual(new Set(["1", "2", "3"]));
    expect(report.errors).toBe(bodies.filter((body) => body === "3").length);
    expect(report.ok).toBe(report.scheduled - report.errors);
    expect(report.ok).toBeGreaterThan(0);
  });
});
