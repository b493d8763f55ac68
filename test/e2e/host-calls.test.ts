/** Host, gateway and cells together: what a caller sees of drains, deaths and disconnects. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { LIMITS } from "../../runtime/contract/index.ts";
import { RESTART } from "../../runtime/host/internal.ts";
import {
  type TestPlatform,
  type TestPlatformOptions,
  startTestPlatform,
} from "../support/platform.ts";
import { until } from "../support/until.ts";

const HELLO = "export default () => 'hello';";
const SPIN = "export default () => { for (;;); };";
const WAIT = `export default async ({ ms }) => {
  await scheduler.wait(Number(ms));
  return "done";
};`;
const LATE = `export default async () => {
  await scheduler.wait(300);
  const untilMs = Date.now() + 200;
  while (Date.now() < untilMs);
  return "late";
};`;

async function start(options: TestPlatformOptions = {}): Promise<TestPlatform> {
  const platform = await startTestPlatform(options);
  onTestFinished(() => platform.stop());
  return platform;
}

async function call(
  platform: TestPlatform,
  target: string,
): Promise<{ status: number; text: string }> {
  const response = await fetch(`${platform.publicUrl}/function/${target}`);
  return { status: response.status, text: await response.text() };
}

describe("a platform that stops", () => {
  it("lets calls in flight end", async () => {
    const platform = await start();
    await platform.deploy("wait", WAIT);
    const answer = call(platform, "wait?ms=1500");
    await sleep(300);
    const fromMs = performance.now();
    await platform.stop();
    expect(performance.now() - fromMs).toBeGreaterThan(900);
    expect(await answer).toEqual({ status: 200, text: '"done"' });
  });

  it("does not wait longer than its bound", async () => {
    const platform = await start();
    await platform.deploy("wait", WAIT);
    const answer = call(platform, "wait?ms=29000").catch(() => ({ status: 0, text: "" }));
    await sleep(300);
    const fromMs = performance.now();
    await platform.stop();
    // Cells, gateway and egress end one after the other, each within its grace.
    const boundMs = LIMITS.drainMs + 3 * RESTART.graceMs + 1_000;
    expect(performance.now() - fromMs).toBeLessThan(boundMs);
    expect((await answer).status).not.toBe(200);
  });
});

describe("a client that goes away", () => {
  it("cancels its call, although it only closed its side", async () => {
    const platform = await start();
    await platform.deploy("wait", WAIT);
    const { hostname, port } = new URL(platform.publicUrl);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    socket.write("GET /function/wait?ms=25000 HTTP/1.1\r\nhost: a\r\n\r\n");
    await until(async () => (await platform.status()).inFlight === 1);
    socket.end();
    const noticedMs = await until(async () => (await platform.status()).inFlight === 0);
    socket.destroy();
    expect(noticedMs).toBeLessThan(3_000);
  });
});

describe("an endless loop", () => {
  it("is quarantined after its convictions; who shared its cell is not", async () => {
    const platform = await start();
    await platform.deploy("spin", SPIN);
    await platform.deploy("late", LATE);
    for (let round = 0; round < 6; round += 1) {
      const innocents = Array.from({ length: 3 }, () => call(platform, "late"));
      await call(platform, "spin");
      await Promise.all(innocents);
    }
    await until(async () => (await call(platform, "spin")).text.includes("QUARANTINED"));
    const functions = await platform.client.list();
    const states = functions.map(({ name, quarantined }) => [name, quarantined]);
    expect(Object.fromEntries(states)).toEqual({ late: false, spin: true });
    expect(await call(platform, "late")).toEqual({ status: 200, text: '"late"' });
  });
});

describe("busy functions", () => {
  it("of 200 ms each, fifty at once, never cost a cell", async () => {
    const platform = await start();
    await platform.deploy("late", LATE);
    const answers = await Promise.all(Array.from({ length: 50 }, () => call(platform, "late")));
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect((await platform.status()).cells.map(({ restarts }) => restarts)).toEqual([0, 0]);
  });
});

describe("a cell killed under load", () => {
  it("leaves no call without an answer, and is back within a second", async () => {
    const platform = await start();
    await platform.deploy("hello", HELLO);
    await platform.deploy("wait", WAIT);
    let running = true;
    const statuses = new Map<number, number>();
    const load = Array.from({ length: 8 }, async () => {
      while (running) {
        const { status } = await call(platform, "hello").catch(() => ({ status: -1 }));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    await sleep(300);
    const pid = (await platform.status()).cells.find(({ slot }) => slot === 0)?.pid;
    process.kill(pid ?? 0, "SIGKILL");
    const recoveredMs = await until(async () => {
      const cell = (await platform.status()).cells.find(({ slot }) => slot === 0);
      return cell?.state === "up" && cell.pid !== pid;
    });
    await sleep(500);
    running = false;
    await Promise.all(load);
    expect(recoveredMs).toBeLessThan(1_000);
    expect([...statuses.keys()].filter((status) => ![200, 502, 503].includes(status))).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(50);
  });
});
