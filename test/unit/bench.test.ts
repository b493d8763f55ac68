/** The benchmark's own instruments: a wrong generator makes every figure wrong. */
import { once } from "node:events";
import { type Server, createServer } from "node:http";
import { afterAll, describe, expect, it } from "vitest";
import {
  FULL,
  Journal,
  LoadGenerator,
  faultsOf,
  figuresOf,
  isMet,
  merged,
  percentileMs,
  quantile,
  ratios,
  slopeOf,
  spreadOf,
} from "../../bench/internal.ts";

const generator = new LoadGenerator();
const servers: Server[] = [];

afterAll(async () => {
  await generator.close();
  for (const server of servers) server.closeAllConnections();
  await Promise.all(servers.map(async (server) => once(server.close(), "close")));
});

/** A server whose answer takes what `delayMs` says of the call with that number. */
async function serve(
  delayMs: (call: number) => number,
  status = 200,
  tookMs: number[] = [],
): Promise<string> {
  let calls = 0;
  const server = createServer((_request, response) => {
    const startedAtMs = performance.now();
    const answer = (): void => {
      tookMs.push(performance.now() - startedAtMs);
      response.writeHead(status).end("hello\n");
    };
    const delay = delayMs(calls++);
    if (delay === 0) answer();
    else setTimeout(answer, delay);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/`;
}

describe("the closed loop", () => {
  it("measures a server that takes 50 ms as 50 ms", async () => {
    const tookMs: number[] = [];
    const url = await serve(() => 50, 200, tookMs);
    const report = await generator.run({ kind: "closed", url, clients: 4, durationMs: 600 });
    const histogram = merged([report.histogram]);
    // What the server took, on a machine that runs other things too; the path adds little.
    const serverMs = tookMs.toSorted((one, other) => one - other)[tookMs.length >> 1] ?? 0;
    expect(percentileMs(histogram, 50)).toBeGreaterThan(48);
    expect(percentileMs(histogram, 50)).toBeLessThan(1.5 * serverMs + 15);
    expect(report.ok).toBe(report.scheduled);
    expect(report.ok).toBe(tookMs.length);
    expect(histogram.totalCount).toBe(report.ok);
  });

  it("counts answers other than 200 as errors", async () => {
    const url = await serve(() => 0, 503);
    const report = await generator.run({ kind: "closed", url, clients: 2, durationMs: 100 });
    expect(report.ok).toBe(0);
    expect(report.errors).toBe(report.scheduled);
    expect(report.errors).toBeGreaterThan(0);
  });

  it("says so when nobody listens", async () => {
    const url = "http://127.0.0.1:1/";
    const load = generator.run({ kind: "closed", url, clients: 1, durationMs: 100 });
    await expect(load).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe("the open loop", () => {
  it("charges a stall to every call that waited for it", async () => {
    let stalledUntilMs = 0;
    const url = await serve((call) => {
      if (call === 50) stalledUntilMs = performance.now() + 400;
      return Math.max(0, stalledUntilMs - performance.now());
    });
    const plan = { ratePerSecond: 200, durationMs: 1_000, maxInFlight: 200, seed: 7 };
    const report = await generator.run({ kind: "open", url, ...plan });
    const histogram = merged([report.histogram]);
    expect(report.ok + report.errors + report.dropped).toBe(report.scheduled);
    expect(report.scheduled).toBeGreaterThan(150);
    // About 80 of 200 calls arrive during the stall, 70 of them long before its end; a closed loop
    // would have seen one. How fast the others are is a matter of the machine.
    expect(percentileMs(histogram, 75)).toBeGreaterThan(50);
  });

  it("drops and counts what exceeds the bound in flight", async () => {
    const url = await serve(() => 200);
    const plan = { ratePerSecond: 500, durationMs: 300, maxInFlight: 10, seed: 7 };
    const report = await generator.run({ kind: "open", url, ...plan });
    expect(report.dropped).toBeGreaterThan(50);
    expect(report.ok + report.dropped).toBe(report.scheduled);
  });

  it("repeats its arrivals with the seed", async () => {
    const url = await serve(() => 0);
    const plan = { kind: "open", url, ratePerSecond: 300, maxInFlight: 50, durationMs: 200 };
    const runs = [
      await generator.run({ ...plan, kind: "open", seed: 3 }),
      await generator.run({ ...plan, kind: "open", seed: 3 }),
    ];
    expect(runs[0]?.scheduled).toBe(runs[1]?.scheduled);
  });
});

describe("statistics", () => {
  it("interpolates quantiles and shows the middle half of the rounds", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([7], 0.99)).toBe(7);
    expect(quantile([], 0.5)).toBeNaN();
    expect(spreadOf([5, 1, 2, 3, 4])).toEqual({ median: 3, low: 2, high: 4, rounds: 5 });
  });

  it("pairs ratios by round and finds a slope whatever the intercept", () => {
    expect(ratios([2, 9], [1, 3])).toEqual([2, 3]);
    const points = [1, 50, 200].map((x): [number, number] => [x, 300 + 2 * x]);
    expect(slopeOf(points)).toBeCloseTo(2);
  });
});

const load = (target: string, callsPerSecond: number, change: object = {}) => ({
  type: "load" as const,
  phase: "calls" as const,
  round: 0,
  target,
  clients: 32,
  callsPerSecond,
  p50Ms: 1,
  p99Ms: 2,
  errors: 0,
  busy: 0.2,
  cpuMicroseconds: {},
  histogram: "",
  ...change,
});

describe("the verdict", () => {
  it("judges the ratio to the prototype by its aim", () => {
    const journal = new Journal();
    journal.add(load("prototype", 1_000));
    journal.add(load("isola", 690));
    const [ratio] = figuresOf(journal, FULL);
    expect(ratio?.value).toBeCloseTo(0.69);
    expect(ratio && isMet(ratio)).toBe(false);
    expect(faultsOf(journal)).toEqual([]);
  });

  it.each([
    [load("isola", 1, { errors: 1 }), /errors/],
    [load("isola", 1, { busy: 0.95 }), /saturated/],
    [
      { type: "wrk", target: "isola", clients: 32, callsPerSecond: 130, ownCallsPerSecond: 100 },
      /wrk/,
    ],
    [{ type: "start", target: "isola", firstAnswerMs: 1, cold: false }, /warm/],
  ] as const)("calls a run invalid that proves nothing (%#)", (record, reason) => {
    const journal = new Journal();
    journal.add(record);
    expect(faultsOf(journal).join()).toMatch(reason);
  });
});
