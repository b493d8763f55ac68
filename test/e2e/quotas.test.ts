/** Quotas, fairness between namespaces, and cells of a namespace's own (G6, G8). */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { IsolaError, LIMITS } from "../../runtime/contract/index.ts";
import type { Quotas } from "../../runtime/contract/index.ts";
import { killCell } from "../support/cells.ts";
import { HttpCaller } from "../support/http-calls.ts";
import { type LoadReport, countOutcomes, keepCalling, percentile } from "../support/load.ts";
import { SPINNERS } from "../support/misbehaving.ts";
import { usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const HELLO = `export default () => "hello";`;
const WAIT = `export default async (input) => {
  await scheduler.wait(Number(input?.ms ?? 300));
  return "waited";
};`;

async function codeOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return "NONE";
  } catch (error) {
    return error instanceof IsolaError ? error.code : String(error);
  }
}

/** Time within which nine of ten calls were answered. */
function p90({ answers }: LoadReport): number {
  return percentile(
    answers.map(({ sentAtMs, answeredAtMs }) => answeredAtMs - sentAtMs),
    0.9,
  );
}

describe("quotas of a namespace", () => {
  const platform = usePlatform({ cells: 1 });
  const create = async (namespace: string, quotas: Partial<Quotas>): Promise<void> => {
    await platform().client.namespaces.create({ namespace, quotas });
  };

  it("bound the calls of a second, with a burst of one second", async () => {
    await create("slow", { callsPerSecondMax: 10 });
    await platform().deploy("hello", HELLO, {}, { namespace: "slow" });
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => platform().call("hello.slow")),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(15);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(10);
    for (const { code, headers, json } of refused) {
      expect(code).toBe("RATE_LIMITED");
      expect(Number(headers["retry-after"])).toBeGreaterThan(0);
      expect(json).toMatchObject({ error: { retryable: true } });
    }
    await sleep(1_000);
    expect((await platform().call("hello.slow")).status).toBe(200);
  });

  it("bound the calls in flight, and count out what ended", async () => {
    await create("narrow", { inFlightMax: 3 });
    await platform().deploy("wait", WAIT, {}, { namespace: "narrow" });
    for (let round = 0; round < 2; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 9 }, () => platform().call("wait.narrow?ms=400")),
      );
      const outcomes = countOutcomes(
        answers.map(({ status, code, text }) => ({
          status,
          code,
          text,
          sentAtMs: 0,
          answeredAtMs: 0,
        })),
      );
      expect(outcomes).toEqual({ "200": 3, RATE_LIMITED: 6 });
    }
  });

  it("bound functions and the bytes of their bundles", async () => {
    await create("small", { functionsMax: 2, bundleTotalMaxBytes: 40_000 });
    const deploy = (name: string, bytes: number): Promise<string> => {
      const code = `${HELLO} // ${name}${"x".repeat(bytes)}`;
      return codeOf(platform().deploy(name, code, {}, { namespace: "small" }));
    };
    expect(await deploy("one", 10_000)).toBe("NONE");
    expect(await deploy("too-large", 60_000)).toBe("QUOTA_EXCEEDED");
    expect(await deploy("two", 10_000)).toBe("NONE");
    expect(await deploy("three", 10)).toBe("QUOTA_EXCEEDED");
    const listed = await platform().client.in("small").list();
    expect(listed.map(({ name }) => name)).toEqual(["one", "two"]);
    expect((await platform().call("two.small")).json).toBe("hello");
    await platform().client.in("small").remove("one");
    expect(await deploy("three", 10)).toBe("NONE");
  });

  it("of one function bound it alone", async () => {
    await platform().deploy("single", WAIT, { maxInFlight: 1 });
    await platform().deploy("hello", HELLO);
    const [first, second, other] = await Promise.all([
      platform().call("single"),
      sleep(100).then(() => platform().call("single")),
      sleep(100).then(() => platform().call("hello")),
    ]);
    expect([first.status, second.code, other.status]).toEqual([200, "RATE_LIMITED", 200]);
  });
});

describe("a namespace that floods", () => {
  const platform = usePlatform({ cells: 1 });

  it("waits behind itself: a quiet one takes its turn", async () => {
    for (const namespace of ["loud", "quiet"]) {
      await platform().client.namespaces.create({ namespace });
      await platform().deploy("wait", WAIT, {}, { namespace });
    }
    const quiet = async (forMs: number): Promise<LoadReport> => {
      const load = keepCalling(platform(), "/function/wait.quiet?ms=1", 1);
      await sleep(forMs);
      return load.stop();
    };
    const idle = await quiet(500);
    // Several times what a cell takes at once: the rest waits in the gateway.
    const http = new HttpCaller(platform().publicUrl, 1_000);
    const flood = keepCalling({ http }, "/function/wait.loud?ms=300", 3.5 * LIMITS.inFlightPerCell);
    await sleep(1_500);
    const during = await quiet(4_000);
    const loud = await flood.stop();
    http.close();
    expect([...during.unanswered, ...loud.unanswered]).toEqual([]);
    expect(countOutcomes(during.answers)).toEqual({ "200": during.answers.length });
    const [before = 0, under = 0, flooding = 1] = [idle, during, loud].map(p90);
    process.stdout.write(
      `p90 of the quiet ${before.toFixed(1)} → ${under.toFixed(1)} ms, ` +
        `of the loud ${flooding.toFixed(1)} ms\n`,
    );
    // It waits for the next free place, not for all those ahead of it.
    expect(under / flooding).toBeLessThan(0.6);
  }, 60_000);
});

describe("cells of a namespace's own", () => {
  const platform = usePlatform({ cells: 1 });
  const dedicatedSlots = async (): Promise<readonly number[]> =>
    (await platform().client.cells())
      .filter(({ namespace, state }) => namespace === "own" && state === "up")
      .map(({ slot }) => slot);

  beforeAll(async () => {
    await platform().client.namespaces.create({ namespace: "own", cells: "dedicated" });
    await platform().deploy("wait", WAIT, {}, { namespace: "own" });
    await platform().deploy("spin", SPINNERS.inItsBody, {}, { namespace: "own" });
    await platform().deploy("wait", WAIT);
  }, 30_000);

  it("run its functions; when one dies, the shared ones do not notice", async () => {
    await until(async () => (await dedicatedSlots()).length > 0);
    const [slot = -1] = await dedicatedSlots();
    const shared = keepCalling(platform(), "/function/wait?ms=20", 4);
    const own = keepCalling(platform(), "/function/wait.own?ms=100", 4);
    await sleep(500);
    await killCell(platform(), slot);
    await sleep(1_000);
    const [sharedReport, ownReport] = await Promise.all([shared.stop(), own.stop()]);
    expect([...sharedReport.unanswered, ...ownReport.unanswered]).toEqual([]);
    expect(countOutcomes(sharedReport.answers)).toEqual({ "200": sharedReport.answers.length });
    const outcomes = countOutcomes(ownReport.answers);
    expect(outcomes["CELL_LOST"]).toBeGreaterThan(0);
    expect(outcomes["CELL_LOST"]).toBeLessThanOrEqual(4);
    expect(ownReport.answers.at(-1)?.status).toBe(200);
  });

  it("keep its loops to itself", async () => {
    const shared = keepCalling(platform(), "/function/wait?ms=20", 4);
    const answer = await platform().call("spin.own");
    expect(answer.code).toBe("CELL_LOST");
    const { answers, unanswered } = await shared.stop();
    expect(unanswered).toEqual([]);
    expect(countOutcomes(answers)).toEqual({ "200": answers.length });
    // Nobody waited for the loop to be ended.
    const tookMs = answers.map(({ sentAtMs, answeredAtMs }) => answeredAtMs - sentAtMs);
    expect(Math.max(...tookMs)).toBeLessThan(1_000);
  });

  it("go when they are shared again", async () => {
    await platform().client.namespaces.update({ namespace: "own", cells: "shared" });
    await until(async () => (await platform().client.cells()).length === 2);
    expect((await platform().call("wait.own?ms=1")).status).toBe(200);
  });
});

/** Holds the thread while it is evaluated, some hundred milliseconds. */
const SLOW_MODULE = `let sum = 0;
  for (let i = 0; i < 2e8; i += 1) sum += i % 7;
  export default () => sum;`;

describe("deploys of a namespace", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(async () => {
    for (const namespace of ["alice", "mallory"]) {
      await platform().client.namespaces.create({ namespace });
    }
  }, 30_000);
  const deploy = (namespace: string, name: string, code: string): Promise<string> =>
    codeOf(platform().deploy(name, code, {}, { namespace }));

  it("whose modules never load fail; those of another do not", async () => {
    const theirs = Promise.all(
      ["one", "two", "three"].map((name) => deploy("mallory", name, "for (;;); export default 1;")),
    );
    for (const name of ["first", "second", "third"]) {
      await sleep(300);
      expect(await deploy("alice", name, HELLO)).toBe("NONE");
    }
    expect(await theirs).toEqual(["PROBE_TIMEOUT", "PROBE_TIMEOUT", "PROBE_TIMEOUT"]);
  });

  it("wait behind its own, not behind those of another", async () => {
    let waiting = 8;
    const many = Promise.all(
      Array.from({ length: waiting }, async (_, at) => {
        await deploy("mallory", `slow-${String(at)}`, SLOW_MODULE);
        waiting -= 1;
      }),
    );
    await sleep(100);
    expect(await deploy("alice", "quick", HELLO)).toBe("NONE");
    expect(waiting).toBeGreaterThanOrEqual(5);
    await many;
  });
});
