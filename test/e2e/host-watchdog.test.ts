/** The watchdog over real workerd cells that behave badly. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Verdict } from "../../runtime/contract/index.ts";
import type { PlatformOptions } from "../../runtime/host/index.ts";
import {
  type Capabilities,
  type PlatformParts,
  findCapabilities,
} from "../../runtime/host/internal.ts";
import { type FixturePlatform, startFixturePlatform } from "../support/fixture-platform.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

async function start(
  options: Partial<PlatformOptions> = {},
  parts: Partial<PlatformParts> = {},
): Promise<FixturePlatform> {
  const dataDir = join(temporaryFolder(), "data");
  const platform = await startFixturePlatform({ dataDir, ...options }, parts);
  onTestFinished(() => platform.stop());
  return platform;
}

const verdicts = async (platform: FixturePlatform): Promise<readonly Verdict[]> =>
  ((await platform.told())["/verdict"] ?? []) as readonly Verdict[];

const restartsOf = (platform: FixturePlatform, slot: number): number | undefined =>
  platform.cells().find((cell) => cell.slot === slot)?.restarts;

async function verdictOf(platform: FixturePlatform): Promise<Verdict> {
  await until(async () => (await verdicts(platform)).length > 0);
  const [verdict] = await verdicts(platform);
  if (verdict === undefined) throw new Error("no verdict");
  return verdict;
}

/** Time from the death until the cell answers again. */
const recovery = (platform: FixturePlatform, slot: number): Promise<number> =>
  until(async () => (await platform.get(`/cell/${slot}/hello`)).text === "hello");

describe("a call that holds the thread", () => {
  it("ends with its cell, which is back within a second; the suspects are named", async () => {
    const platform = await start();
    const fromMs = performance.now();
    const answer = await platform.get("/cell/0/burn/default%2Fspin@7?ms=60000");
    const heldMs = performance.now() - fromMs;
    expect(answer.status).toBe(502);
    // Two seconds of CPU; the rest is for a machine that runs other tests as well.
    expect(heldMs).toBeGreaterThan(1_500);
    expect(heldMs).toBeLessThan(6_000);
    expect(await recovery(platform, 0)).toBeLessThan(1_000);
    const verdict = await verdictOf(platform);
    expect(verdict).toMatchObject({ slot: 0, cause: "MAX_BLOCK" });
    expect(verdict.suspects.map(({ key }) => key)).toEqual(["default/spin@7"]);
    expect(verdict.convicted).toBeUndefined();
  });

  it("is not saved by its own console output, which is not lost", async () => {
    const platform = await start();
    expect((await platform.get("/cell/0/chatter?ms=60000")).status).toBe(502);
    expect(await verdictOf(platform)).toMatchObject({ cause: "MAX_BLOCK" });
    await until(async () => (await platform.told())["/telemetry"] !== undefined);
    const [batch] = (await platform.told())["/telemetry"] as { logs: { text: string }[] }[];
    expect(batch?.logs.at(-1)).toMatchObject({ text: "line", namespace: "default" });
    expect(batch?.logs.length).toBeLessThanOrEqual(100);
  });

  it("is convicted when it was alone in the probation cell", async () => {
    const platform = await start();
    expect((await platform.get("/cell/99/burn?ms=60000")).status).toBe(502);
    expect(await verdictOf(platform)).toMatchObject({ slot: 99, convicted: "default/f@1" });
  });
});

describe("busy, not blocked", () => {
  it("are fifty calls of 200 ms each, one after the other", async () => {
    const platform = await start();
    const calls = Array.from({ length: 50 }, () => platform.get("/cell/0/burn?ms=200"));
    const answers = await Promise.all(calls);
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(restartsOf(platform, 0)).toBe(0);
  });

  it("is a call that may hold the thread for longer", async () => {
    const platform = await start();
    const answer = await platform.get("/cell/0/burn?ms=2500&block=3000");
    expect(answer.status).toBe(200);
    expect(restartsOf(platform, 0)).toBe(0);
  });
});

describe("memory", () => {
  it("of a heap that has no end, ends with its cell", async () => {
    const platform = await start({ cellMemoryMb: 64 });
    expect((await platform.get("/cell/0/heap?block=60000")).status).toBe(502);
    expect(await verdictOf(platform)).toMatchObject({ slot: 0, cause: "MEMORY_LIMIT" });
    expect(await recovery(platform, 0)).toBeLessThan(1_000);
  });

  it("of buffers that have no end, ends with their cell, with and without cgroups", async () => {
    const found: Capabilities = await findCapabilities({ reachable: ["/nowhere"] });
    for (const capabilities of [found, { ...found, cgroups: undefined }]) {
      const platform = await start({ cellMemoryMb: 96 }, { capabilities });
      expect((await platform.get("/cell/0/buffers?block=60000")).status).toBe(502);
      expect(await verdictOf(platform)).toMatchObject({ slot: 0, cause: "MEMORY_LIMIT" });
      expect(await recovery(platform, 0)).toBeLessThan(1_000);
    }
  });

  it("above the soft limit is reported to the cell", async () => {
    const platform = await start({ cellMemoryMb: 96 });
    expect((await platform.get("/cell/0/hold?ms=90")).status).toBe(200);
    await until(async () => {
      const state = JSON.parse((await platform.get("/cell/0/state")).text) as { pressure: number };
      return state.pressure > 0;
    });
    expect(restartsOf(platform, 0)).toBe(0);
  });
});

describe("a cell that is killed", () => {
  it("under load costs only the calls in flight; the gateway answers throughout", async () => {
    const platform = await start({ cells: 2 });
    let gatewayFailures = 0;
    let otherFailures = 0;
    let running = true;
    const gateway = (async () => {
      while (running) {
        const answer = await platform.get("/settings").catch(() => ({ status: 0 }));
        if (answer.status !== 200) gatewayFailures += 1;
      }
    })();
    const other = (async () => {
      while (running) {
        if ((await platform.get("/cell/1/hello")).status !== 200) otherFailures += 1;
      }
    })();
    const slow = Array.from({ length: 20 }, () => platform.get("/cell/0/wait?ms=30000"));
    await sleep(200);
    process.kill(platform.cells().find(({ slot }) => slot === 0)?.pid ?? 0, "SIGKILL");
    const lost = await Promise.all(slow);
    const recoveredMs = await recovery(platform, 0);
    running = false;
    await Promise.all([gateway, other]);
    expect(lost.every(({ status }) => status === 502)).toBe(true);
    expect([gatewayFailures, otherFailures]).toEqual([0, 0]);
    expect(recoveredMs).toBeLessThan(1_000);
    const verdict = await verdictOf(platform);
    expect(verdict.cause).toBe("CELL_LOST");
    expect(verdict.suspects[0]?.callIds).toHaveLength(20);
  });

  it("again and again with nothing entered waits longer each time", async () => {
    const platform = await start();
    const pauses: number[] = [];
    for (let death = 0; death < 4; death += 1) {
      // That the last call has left is said with the next ping.
      await sleep(500);
      process.kill(platform.cells().find(({ slot }) => slot === 0)?.pid ?? 0, "SIGKILL");
      await until(() => platform.cells().find(({ slot }) => slot === 0)?.state !== "up");
      pauses.push(await recovery(platform, 0));
    }
    expect(pauses[0]).toBeLessThan(1_000);
    expect(pauses[3]).toBeGreaterThan(600);
  });

  it("by being stopped is noticed and replaced", async () => {
    const platform = await start();
    process.kill(platform.cells().find(({ slot }) => slot === 0)?.pid ?? 0, "SIGSTOP");
    await until(() => restartsOf(platform, 0) === 1, 20_000);
    expect(await verdictOf(platform)).toMatchObject({ cause: "CELL_LOST", suspects: [] });
  });
});
