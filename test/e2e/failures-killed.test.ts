/** Processes that are killed under load: who gets an answer, which, and how soon all is well. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { answersAgain, cellOf, killCell, processOf } from "../support/cells.ts";
import { countOutcomes, keepCalling } from "../support/load.ts";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const HELLO = `export default () => "hello";`;
const WAIT = `export default async () => { await scheduler.wait(100); return "waited"; };`;
/** Recovery is promised within a second; other tests share the machine. */
const RECOVERY_MS = 1_000;

/** Numbers for whoever reads the run: times on shared machines are told, ratios are tested. */
function tell(what: string, values: readonly number[]): void {
  process.stdout.write(`${what}: ${values.map((value) => `${Math.round(value)} ms`).join(", ")}\n`);
}

async function deployAll(platform: TestPlatform): Promise<void> {
  await platform.deploy("hello", HELLO);
  await platform.deploy("wait", WAIT);
  await platform.deploy("again", WAIT, { idempotent: true });
}

describe("a cell that is killed under load", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(() => deployAll(platform()), 30_000);

  it("costs the calls in flight an answer that says so; all others succeed", async () => {
    const loads = {
      wait: keepCalling(platform(), "/function/wait", 16),
      hello: keepCalling(platform(), "/function/hello", 2),
      health: keepCalling(platform(), "/healthz", 1),
    };
    const recovered: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      await sleep(700);
      recovered.push(await answersAgain(platform(), "hello", await killCell(platform(), 0)));
    }
    await sleep(700);
    const [wait, hello, health] = await Promise.all([
      loads.wait.stop(),
      loads.hello.stop(),
      loads.health.stop(),
    ]);
    tell("from a cell's death to the next answer", recovered);
    expect([wait.unanswered, hello.unanswered, health.unanswered]).toEqual([[], [], []]);
    const outcomes = countOutcomes([...wait.answers, ...hello.answers]);
    expect(Object.keys(outcomes).toSorted()).toEqual(["200", "CELL_LOST"]);
    // Three deaths, each with at most every client's one call in flight.
    expect(outcomes["CELL_LOST"]).toBeLessThanOrEqual(3 * 18);
    expect(countOutcomes(health.answers)).toEqual({ "200": health.answers.length });
    expect(Math.max(...recovered)).toBeLessThan(RECOVERY_MS);
    const lost = wait.answers.find(({ code }) => code === "CELL_LOST");
    const { error } = JSON.parse(lost?.text ?? "{}") as { error: unknown };
    expect(lost?.status).toBe(502);
    expect(error).toMatchObject({ code: "CELL_LOST", retryable: true });
  });

  it("costs idempotent calls nothing but time", async () => {
    const body = JSON.stringify({ some: "input" });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body };
    const load = keepCalling(platform(), "/function/again", 16, init);
    await sleep(400);
    await killCell(platform(), 0);
    await sleep(1_500);
    const { answers, unanswered } = await load.stop();
    expect(unanswered).toEqual([]);
    expect(countOutcomes(answers)).toEqual({ "200": answers.length });
  });

  it("leaves nothing counted as in flight, and nobody suspected for long", async () => {
    await platform().idle();
    const before = (await cellOf(platform(), 99)).cpuMs ?? 0;
    const load = keepCalling(platform(), "/function/wait", 8);
    await sleep(1_000);
    const { answers } = await load.stop();
    expect(countOutcomes(answers)).toEqual({ "200": answers.length });
    // One at a time there were ten at most: they run in the shared cell, side by side.
    expect(answers.length).toBeGreaterThan(30);
    expect((await cellOf(platform(), 99)).cpuMs ?? 0).toBeGreaterThanOrEqual(before);
  });
});

describe("one of two cells that is killed", () => {
  const platform = usePlatform({ cells: 2 });
  beforeAll(() => deployAll(platform()), 30_000);

  it("does not take the other's calls along", async () => {
    const wait = keepCalling(platform(), "/function/wait", 16);
    await sleep(400);
    const other = (await cellOf(platform(), 1)).pid;
    await killCell(platform(), 0);
    await sleep(1_000);
    const { answers, unanswered } = await wait.stop();
    const lost = countOutcomes(answers)["CELL_LOST"] ?? 0;
    expect(unanswered).toEqual([]);
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(16);
    expect(await cellOf(platform(), 1)).toMatchObject({ pid: other, restarts: 0 });
  });
});

describe("the gateway that is killed", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(() => deployAll(platform()), 30_000);

  it("refuses, comes back, and knows everything it knew", async () => {
    await platform().client.secrets.put("TOKEN", "value-of-the-token");
    const code = `export default (_, ctx) => ctx.env.TOKEN + ctx.env.PLAIN;`;
    await platform().deploy("env", code, { secrets: ["TOKEN"], env: { PLAIN: "!" } });
    const recovered: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const pid = processOf(platform(), "gateway") ?? 0;
      const load = keepCalling(platform(), "/function/hello", 4);
      await sleep(200);
      const atMs = performance.now();
      process.kill(pid, "SIGKILL");
      recovered.push(await answersAgain(platform(), "env", atMs));
      const { answers, unanswered } = await load.stop();
      expect(Object.keys(countOutcomes(answers))).toEqual(["200"]);
      for (const reason of unanswered)
        expect(reason).toMatch(/ECONNREFUSED|ECONNRESET|hang up|aborted/);
    }
    tell("from the gateway's death to the next answer", recovered);
    expect((await platform().call("env")).json).toBe("value-of-the-token!");
    const names = (await platform().client.list()).map(({ name }) => name);
    expect(names).toEqual(["again", "env", "hello", "wait"]);
    expect((await platform().deploy("hello", `export default () => "two";`)).version).toBe(2);
    expect((await platform().call("hello")).json).toBe("two");
    expect((await platform().client.cells()).every(({ restarts }) => restarts === 0)).toBe(true);
  });
});

describe("the egress that is killed", () => {
  const platform = usePlatform({ cells: 1, allowPrivate: ["127.0.0.1/32"] });

  it("fails what calls out, nothing else, and comes back", async () => {
    await deployAll(platform());
    const { port } = new URL(platform().publicUrl);
    const code = `export default async () => {
      try { return (await fetch("http://127.0.0.1:${port}/healthz")).status; }
      catch (error) { return String(error.message); }
    };`;
    await platform().deploy("out", code);
    expect((await platform().call("out")).json).toBe(200);
    const hello = keepCalling(platform(), "/function/hello", 2);
    const out = keepCalling(platform(), "/function/out", 2);
    const pid = processOf(platform(), "egress") ?? 0;
    process.kill(pid, "SIGKILL");
    await until(async () => {
      const next = processOf(platform(), "egress");
      return next !== undefined && next !== pid && (await platform().call("out")).json === 200;
    });
    const outReport = await out.stop();
    const helloReport = await hello.stop();
    expect([outReport.unanswered, helloReport.unanswered]).toEqual([[], []]);
    expect(countOutcomes(helloReport.answers)).toEqual({ "200": helloReport.answers.length });
    expect(countOutcomes(outReport.answers)).toEqual({ "200": outReport.answers.length });
    expect(outReport.answers.some(({ text }) => text !== "200")).toBe(true);
  });
});
