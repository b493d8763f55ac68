/** Functions that hold the thread: how long others wait, who is found guilty, who is not. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { killCell, restartsOf } from "../support/cells.ts";
import { countOutcomes, keepCalling } from "../support/load.ts";
import { SPINNERS, callUntilQuarantined, isQuarantined } from "../support/misbehaving.ts";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const HELLO = `export default () => "hello";`;
const SOMETIMES = `export default async (input) => {
  if (input?.go) for (;;);
  if (input?.wait) await scheduler.wait(Number(input.wait));
  return "fine";
};`;

async function outcomeOf(platform: TestPlatform, target: string): Promise<string> {
  const answer = await platform.call(target);
  return answer.code ?? String(answer.status);
}

describe("an endless loop", () => {
  const platform = usePlatform({ cells: 2 });

  it("costs its cell, then itself: suspicion, conviction, quarantine, release", async () => {
    await platform().deploy("hello", HELLO);
    await platform().deploy("loop", SOMETIMES);
    const hello = keepCalling(platform(), "/function/hello", 4);
    const health = keepCalling(platform(), "/healthz", 1);
    const sharedRestarts = async (): Promise<number> =>
      (await restartsOf(platform(), 0)) + (await restartsOf(platform(), 1));
    const before = await sharedRestarts();
    const fromMs = performance.now();
    const first = await platform().call("loop?go=1");
    const heldMs = performance.now() - fromMs;
    expect([first.status, first.code]).toEqual([502, "CELL_LOST"]);
    expect(heldMs).toBeGreaterThan(1_500);
    // Two seconds of CPU: on a machine that runs other tests they take longer.
    expect(heldMs).toBeLessThan(8_000);
    const during = hello.answers.filter(
      ({ sentAtMs, answeredAtMs }) => sentAtMs > fromMs && answeredAtMs < fromMs + heldMs,
    );
    expect(countOutcomes(during)["200"]).toBeGreaterThan(10);
    const trial = await callUntilQuarantined(platform(), "loop?go=1");
    expect(trial.isQuarantined).toBe(true);
    // How many turns it takes depends on who else is a suspect; how often it harms others does not.
    expect(trial.outcomes.filter((one) => one === "MAX_BLOCK")).toHaveLength(3);
    expect((await sharedRestarts()) - before).toBe(1);
    const lines = await platform().client.logs({ function: "loop" });
    const told = lines.map(({ text }) => text).filter((text) => text.includes("held the thread"));
    expect(told).toHaveLength(3);
    expect(told.at(-1)).toContain("quarantine");
    const refused = await platform().call("loop");
    expect([refused.status, refused.code]).toEqual([503, "FUNCTION_QUARANTINED"]);
    const answered = await hello.stop();
    expect(answered.unanswered).toEqual([]);
    expect(Object.keys(countOutcomes(answered.answers)).toSorted()).toEqual(["200", "CELL_LOST"]);
    const healthy = await health.stop();
    expect(countOutcomes(healthy.answers)).toEqual({ "200": healthy.answers.length });
    expect(await isQuarantined(platform(), "hello")).toBe(false);

    await platform().client.release("loop");
    expect(await outcomeOf(platform(), "loop")).toBe("200");
  });

  it("is lifted by a new version, whose record is its own", async () => {
    await platform().deploy("fixed", SOMETIMES);
    await outcomeOf(platform(), "fixed?go=1");
    expect((await callUntilQuarantined(platform(), "fixed?go=1")).isQuarantined).toBe(true);
    await platform().deploy("fixed", HELLO);
    expect(await outcomeOf(platform(), "fixed")).toBe("200");
    expect(await isQuarantined(platform(), "fixed")).toBe(false);
  });

  it("that is idempotent takes one cell along, not one after the other", async () => {
    const before = await Promise.all([0, 1].map((slot) => restartsOf(platform(), slot)));
    await platform().deploy("eager", SPINNERS.inItsBody, { idempotent: true });
    expect(await outcomeOf(platform(), "eager")).toMatch(/MAX_BLOCK|CELL_LOST/);
    const after = await Promise.all([0, 1].map((slot) => restartsOf(platform(), slot)));
    expect(after.reduce((sum, one) => sum + one)).toBe(before.reduce((sum, one) => sum + one) + 1);
  });
});

describe("a loop that no call is seen in", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(() => platform().deploy("hello", HELLO), 30_000);

  for (const place of [
    "inAStream",
    "inWaitUntil",
    "inAWaitUntilOfItsOwn",
    "inAnEntrypointsContext",
  ] as const) {
    it(`${place} is found as well`, async () => {
      const name = place.toLowerCase();
      await platform().deploy(name, SPINNERS[place]);
      const trial = await callUntilQuarantined(platform(), name);
      expect(trial, trial.outcomes.join(" ")).toMatchObject({ isQuarantined: true });
      expect(await isQuarantined(platform(), "hello")).toBe(false);
      expect(await outcomeOf(platform(), "hello")).toBe("200");
    }, 60_000);
  }

  for (const place of ["inMicrotasks", "inAPattern", "inATimerAfterTheAnswer"] as const) {
    it(`${place} ends its cell, and nothing else`, async () => {
      const name = place.toLowerCase();
      await platform().deploy(name, SPINNERS[place]);
      const before = await restartsOf(platform(), 0);
      await platform().call(name);
      await until(async () => (await restartsOf(platform(), 0)) === before + 1);
      expect(await outcomeOf(platform(), "hello")).toBe("200");
    });
  }
});

describe("a loop in a function that another calls", () => {
  const platform = usePlatform({ cells: 1 });

  it("convicts the callee, not its caller", async () => {
    await platform().deploy("callee", SPINNERS.inItsBody);
    await platform().deploy("caller", `export default (input, ctx) => ctx.call("callee", input);`);
    const outcomes: string[] = [];
    await until(async () => {
      await sleep(200);
      outcomes.push(await outcomeOf(platform(), "caller"));
      return isQuarantined(platform(), "callee");
    }, 50_000);
    expect(outcomes).not.toContain("200");
    expect(await isQuarantined(platform(), "caller")).toBe(false);
    await platform().deploy("callee", HELLO);
    await until(async () => (await outcomeOf(platform(), "caller")) === "200");
  }, 60_000);
});

describe("a crash of the probation cell", () => {
  const platform = usePlatform({ cells: 1 });

  it("convicts who ran there alone; a kill from outside convicts nobody", async () => {
    await platform().deploy("native", SOMETIMES);
    expect(await outcomeOf(platform(), "native?go=1")).toBe("CELL_LOST");
    const dieBy = async (signal: "SIGKILL" | "SIGSEGV"): Promise<string> => {
      const before = await restartsOf(platform(), 99);
      const answer = outcomeOf(platform(), "native?wait=5000");
      await until(async () => (await platform().status()).inFlight === 1);
      // In flight from its dispatch: its isolate loads meanwhile.
      await sleep(300);
      await killCell(platform(), 99, signal);
      await until(async () => (await restartsOf(platform(), 99)) > before);
      return answer;
    };
    expect(await dieBy("SIGKILL")).toBe("CELL_LOST");
    expect(await dieBy("SIGSEGV")).toBe("CELL_LOST");
    expect(await dieBy("SIGSEGV")).toBe("CELL_LOST");
    expect(await isQuarantined(platform(), "native")).toBe(false);
    expect(await dieBy("SIGSEGV")).toBe("CELL_LOST");
    await until(() => isQuarantined(platform(), "native"));
  }, 60_000);
});
