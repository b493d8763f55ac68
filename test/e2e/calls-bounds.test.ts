/** Bounds of calls: how many at once, how many a second, how they are spread, what they hold. */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { CELL_CONTROL, type CellStatus } from "../../runtime/contract/index.ts";
import { askCell } from "../support/cell-control.ts";
import type { Answer } from "../support/http-calls.ts";
import { pause, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 1 });

const SLEEPER = `
  export default (ms) => new Promise((go) => setTimeout(() => go(ms), ms));`;
const COUNTER = `
  let n = 0;
  export default async (ms) => {
    const mine = ++n;
    if (ms) await new Promise((go) => setTimeout(go, ms));
    return mine;
  };`;

const statusesOf = (answers: readonly Answer[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { status, code } of answers) {
    const name = `${String(status)} ${code ?? ""}`.trim();
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
};

const residentMb = (pid: number): number => {
  const [, kb = "0"] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kb) / 1024;
};

async function pour(request: NodeJS.WritableStream): Promise<void> {
  const block = Buffer.alloc(1024 * 1024);
  for (let sent = 0; sent < 100; sent += 1) {
    if (!request.write(block)) await new Promise((go) => request.once("drain", go));
  }
  request.end();
}

/** Kills the cell as soon as it runs the call. */
async function callAndKill(name: string, json: unknown): Promise<Answer> {
  await until(async () => (await platform().status()).cells.every(({ state }) => state === "up"));
  await platform().idle();
  const answer = platform().call(name, { json, withinMs: 30_000 });
  await until(async () => {
    const status = (await askCell(platform(), 0, CELL_CONTROL.ping)) as CellStatus;
    return status.inFlight > 0;
  });
  const { cells } = await platform().status();
  const pid = cells.find(({ slot }) => slot === 0)?.pid;
  if (pid !== undefined) process.kill(pid, "SIGKILL");
  return answer;
}

describe("maxInFlight", () => {
  beforeAll(async () => {
    await platform().deploy("three", SLEEPER, { maxInFlight: 3 });
    await platform().deploy("asks-three", "export default (ms, ctx) => ctx.call('three', ms);");
    await platform().call("three", { json: 1 });
  });

  it("refuses the rest with 429 and says when to come back", async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => platform().call("three", { json: 400 })),
    );
    expect(statusesOf(answers)).toEqual({ "200": 3, "429 RATE_LIMITED": 7 });
    for (const { status, headers, json } of answers) {
      if (status === 200) continue;
      expect(headers["retry-after"]).toBe("1");
      expect(json).toMatchObject({ error: { retryable: true } });
      expect(headers["x-call-id"]).toMatch(/^[0-9a-f]{32}$/);
    }
    expect((await platform().call("three", { json: 1 })).status).toBe(200);
    await platform().idle();
  });

  it("bounds calls between functions too", async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => platform().call("asks-three", { json: 400 })),
    );
    expect(statusesOf(answers)).toEqual({ "200": 3, "500 FUNCTION_ERROR": 5 });
    await platform().idle();
  });
});

describe("quotas of a namespace", () => {
  it("bound calls a second and in flight", async () => {
    const quotas = { callsPerSecondMax: 20, inFlightMax: 5 };
    await platform().client.namespaces.create({ namespace: "small", quotas });
    await platform().deploy("slow", SLEEPER, {}, { namespace: "small" });
    const burst = await Promise.all(
      Array.from({ length: 12 }, () => platform().call("slow.small", { json: 200 })),
    );
    expect(statusesOf(burst)).toEqual({ "200": 5, "429 RATE_LIMITED": 7 });
    await platform().idle();
    await pause(1_100);
    const rapid: Answer[] = [];
    for (let at = 0; at < 60; at += 1) rapid.push(await platform().call("slow.small", { json: 0 }));
    const { "200": passed = 0 } = statusesOf(rapid);
    expect(passed).toBeGreaterThanOrEqual(20);
    expect(passed).toBeLessThan(60);
    await pause(1_100);
    expect((await platform().call("slow.small", { json: 0 })).status).toBe(200);
  });
});

describe("traffic", () => {
  it("is split as asked, within what chance allows", async () => {
    await platform().deploy("split", "export default () => 1;");
    await platform().deploy("split", "export default () => 2;", {}, { traffic: 20 });
    const calls = 2_000;
    const counts = new Map<unknown, number>();
    const one = async (): Promise<void> => {
      const { json, headers } = await platform().call("split");
      expect(headers["x-isola-version"]).toBe(String(json));
      counts.set(json, (counts.get(json) ?? 0) + 1);
    };
    for (let sent = 0; sent < calls; sent += 50) await Promise.all(Array.from({ length: 50 }, one));
    // Five standard deviations: a right split fails once in two million runs.
    const bound = 5 * Math.sqrt(calls * 0.2 * 0.8);
    expect(Math.abs((counts.get(2) ?? 0) - calls * 0.2)).toBeLessThan(bound);
    expect((counts.get(1) ?? 0) + (counts.get(2) ?? 0)).toBe(calls);
  });

  it("moves whole with promote and rollback", async () => {
    await platform().client.promote("split", 2);
    const versions = async (): Promise<Set<unknown>> =>
      new Set(
        (await Promise.all(Array.from({ length: 30 }, () => platform().call("split")))).map(
          ({ json }) => json,
        ),
      );
    expect(await versions()).toEqual(new Set([2]));
    await platform().client.rollback("split", 1);
    expect(await versions()).toEqual(new Set([1]));
  });
});

describe("deploys under load", () => {
  it("lose no call, and each call after one gets its version or a later one", async () => {
    await platform().deploy("moves", "export default () => 1;");
    let deployed = 1;
    let isOver = false;
    const statuses: Answer[] = [];
    const calling = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const least = deployed;
        const answer = await platform().call("moves");
        expect(answer.json).toBeGreaterThanOrEqual(least);
        expect(answer.headers["x-isola-version"]).toBe(String(answer.json));
        statuses.push(answer);
      }
    });
    for (let version = 2; version <= 25; version += 1) {
      const { version: made } = await platform().deploy(
        "moves",
        `export default () => ${version};`,
      );
      expect(made).toBe(version);
      deployed = version;
    }
    isOver = true;
    await Promise.all(calling);
    expect(statusesOf(statuses)).toEqual({ "200": statuses.length });
    expect(statuses.length).toBeGreaterThan(100);
    await platform().client.remove("moves");
    expect((await platform().call("moves")).code).toBe("FUNCTION_NOT_FOUND");
  });
});

describe("a cell that dies under a call", () => {
  it("answers 502, unless the function says that it may run twice", async () => {
    await platform().deploy("once", SLEEPER);
    await platform().deploy("again", SLEEPER, { idempotent: true });
    const once = await callAndKill("once", 1_500);
    expect([once.status, once.code]).toEqual([502, "CELL_LOST"]);
    expect(once.json).toMatchObject({ error: { retryable: true } });
    const again = await callAndKill("again", 1_500);
    expect([again.status, again.json]).toEqual([200, 1_500]);
    await until(async () => (await platform().status()).cells.every(({ state }) => state === "up"));
    await platform().idle();
  });
});

describe("isolates", () => {
  const names = [...Array(12).keys()].map((at) => `kept-${String(at)}`);

  it("are dropped while idle and never under a call", async () => {
    await until(async () => (await platform().status()).cells.every(({ state }) => state === "up"));
    for (const name of names) await platform().deploy(name, COUNTER);
    for (const name of names) {
      for (let at = 0; at < 4; at += 1) await platform().call(name);
    }
    const busy = names.slice(0, 6);
    const running = Promise.all(busy.map((name) => platform().call(name, { json: 1_200 })));
    await pause(150);
    const relieve = async (): Promise<number> => {
      const report = { residentBytes: 2, softLimitBytes: 1 };
      const told = await askCell(platform(), 0, CELL_CONTROL.pressure, report);
      return (told as { evicted: number }).evicted;
    };
    let evicted = 0;
    await until(async () => {
      const more = await relieve();
      evicted += more;
      return more === 0;
    });
    expect(evicted).toBeGreaterThanOrEqual(6);
    const answers = await running;
    for (const { status, json, headers } of answers) {
      expect([status, headers["x-isola-cold"]]).toEqual([200, "0"]);
      expect(json).toBeGreaterThan(1);
    }
    // What was dropped starts anew, with nothing of its past.
    const [idle = ""] = names.slice(-1);
    const anew = await platform().call(idle);
    expect([anew.json, anew.headers["x-isola-cold"]]).toEqual([1, "1"]);
  });

  it("stay while work goes on after an answer", async () => {
    await platform().deploy(
      "works-on",
      `let n = 0;
      export default (ms, ctx) => {
        const work = async () => {
          const untilMs = Date.now() + ms;
          while (Date.now() < untilMs) { n += 1; await new Promise((go) => setTimeout(go, 50)); }
        };
        if (ms > 0) ctx.waitUntil(work());
        return n;
      };`,
    );
    await platform().call("works-on", { json: 800 });
    await pause(100);
    const report = { residentBytes: 2, softLimitBytes: 1 };
    await askCell(platform(), 0, CELL_CONTROL.pressure, report);
    await pause(900);
    expect((await platform().call("works-on", { json: 0 })).json).toBeGreaterThan(8);
    await askCell(platform(), 0, CELL_CONTROL.pressure, report);
    expect((await platform().call("works-on", { json: 0 })).json).toBe(0);
  });

  it("survive being dropped and called at the same time", async () => {
    let isOver = false;
    const dropping = (async () => {
      while (!isOver) {
        const report = { residentBytes: 2, softLimitBytes: 1 };
        await askCell(platform(), 0, CELL_CONTROL.pressure, report);
      }
    })();
    const answers: Answer[] = [];
    for (let round = 0; round < 25; round += 1) {
      const calls = names.map((name) => platform().call(name, { json: round % 3 }));
      answers.push(...(await Promise.all(calls)));
    }
    isOver = true;
    await dropping;
    expect(statusesOf(answers)).toEqual({ "200": answers.length });
  });
});

describe("memory", () => {
  it("does not grow with what streams through", async () => {
    await platform().deploy(
      "pours",
      `export default { fetch(request) {
        if (request.method === "POST") return new Response(request.body);
        let left = 100;
        const block = new Uint8Array(1024 * 1024).fill(1);
        return new Response(new ReadableStream({
          pull(to) { if (left-- > 0) to.enqueue(block.slice()); else to.close(); },
        }, { highWaterMark: 0 }));
      } };`,
    );
    const { cells } = await platform().status();
    const pids = cells.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    const before = Math.max(...pids.map(residentMb));
    let most = 0;
    let bytes = 0;
    for (const method of ["GET", "POST"]) {
      const call = platform().http.open("/function/pours", { method });
      if (method === "POST") void pour(call.request);
      else call.request.end();
      for await (const chunk of await call.response) {
        const read = (chunk as Buffer).length;
        if (Math.floor(bytes / 1e7) !== Math.floor((bytes + read) / 1e7)) {
          most = Math.max(most, ...pids.map(residentMb));
        }
        bytes += read;
      }
    }
    expect(bytes).toBe(2 * 100 * 1024 * 1024);
    expect(most - before, "MB more than before").toBeLessThan(90);
    await platform().idle();
  });
});
