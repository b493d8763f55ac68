/** Schedules of functions: a run for each tick, once, whatever ends meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ScheduleSummary } from "../../runtime/contract/index.ts";
import { processOf } from "../support/cells.ts";
import { isola } from "../support/isola-command.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

/** Says each tick in its log, once an attempt. */
const CLOCK = `export default (tick) => {
  console.log("tick " + tick.scheduledTime);
  return tick;
};`;
const EVERY_SECOND = "* * * * * *";

let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ cells: 1 });
}, 60_000);

afterAll(async () => {
  await platform.stop();
});

async function scheduleOf(name: string): Promise<ScheduleSummary | undefined> {
  const schedules = await platform.client.schedules();
  return schedules.find((one) => one.function === name);
}

/** The next tick of a function that begins a run. */
async function tickOf(name: string, afterMs: number): Promise<ScheduleSummary> {
  let found: ScheduleSummary | undefined;
  await until(async () => {
    found = await scheduleOf(name);
    return (found?.lastAtMs ?? 0) > afterMs;
  });
  if (!found) throw new Error(`${name} has no schedule`);
  return found;
}

async function ticksSaid(name: string): Promise<number[]> {
  const lines = await platform.client.logs({ function: name });
  return lines.flatMap(({ text }) => Number(/^tick (\d+)$/.exec(text)?.[1] ?? Number.NaN) || []);
}

describe("a schedule", () => {
  it("begins a run at each tick, whose input says which, whatever its auth", async () => {
    await platform.deploy("second", CLOCK, { cron: [EVERY_SECOND] });
    await platform.deploy("guarded-clock", CLOCK, { cron: [EVERY_SECOND], auth: "internal" });
    const first = await tickOf("second", 0);
    const second = await tickOf("second", first.lastAtMs ?? 0);
    expect((second.lastAtMs ?? 0) % 1_000).toBe(0);
    expect(second.lastRun).toMatch(/^\d+-[0-9a-f]{32}$/);
    const path = `/runs/${second.lastRun ?? ""}`;
    await until(async () => (await platform.http.call(path)).status === 200);
    expect(JSON.parse((await platform.http.call(path)).text)).toStrictEqual({
      cron: EVERY_SECOND,
      timeZone: "UTC",
      scheduledTime: second.lastAtMs,
    });
    await until(async () => (await ticksSaid("guarded-clock")).length > 1);
    const said = await ticksSaid("second");
    expect(new Set(said).size).toBe(said.length);
  });

  it("goes on when the gateway has come back, and makes up for what it missed once", async () => {
    const pid = processOf(platform, "gateway");
    if (pid === undefined) throw new Error("no gateway");
    const before = await tickOf("second", 0);
    process.kill(pid, "SIGSTOP");
    await sleep(3_500);
    process.kill(pid, "SIGKILL");
    await until(async () => (await scheduleOf("second").catch(() => undefined)) !== undefined);
    await tickOf("second", (before.lastAtMs ?? 0) + 4_000);
    await until(async () => (await ticksSaid("second")).length > 2);
    const said = (await ticksSaid("second")).toSorted((a, b) => a - b);
    expect(new Set(said).size).toBe(said.length);
    const gaps = said.slice(1).map((atMs, index) => atMs - (said[index] ?? 0));
    expect(Math.max(...gaps)).toBeGreaterThan(2_000);
  });

  it("is the live version's: it changes with a deploy and ends with the function", async () => {
    await platform.deploy("second", `${CLOCK}\n// two`, { cron: ["0 5 1 1 *"] });
    const yearly = await scheduleOf("second");
    expect(yearly).toMatchObject({ schedule: "0 5 1 1 *", lastRun: null });
    expect(new Date(yearly?.nextAtMs ?? 0).toISOString()).toMatch(/-01-01T05:00:00/);
    await platform.client.remove("guarded-clock");
    const { length } = await platform.client.schedules();
    expect(length).toBe(1);
  });

  it("is refused where it is none, and shown by the commands", async () => {
    const bad = platform.deploy("bad", CLOCK, { cron: [{ schedule: "0 25 * * *" }] });
    await expect(bad).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const cron = [{ schedule: "30 2 * * *", timeZone: "Europe/Berlin" }];
    await platform.deploy("nightly", CLOCK, { cron });
    const options = ["--url", platform.adminUrl, "--data", platform.dataDir];
    const listed = await isola(["schedules", ...options]);
    expect(listed.stdout).toMatch(/nightly +30 2 \* \* \* +Europe\/Berlin +\d{4}-\d\d-\d\dT0[012]/);
    const described = await isola(["describe", "nightly", ...options]);
    expect(described.stdout).toMatch(/schedule +30 2 \* \* \* \(Europe\/Berlin\), next \d{4}-/);
  });
});
