/** Memory without end, modules that never load, and the end of a platform with calls in flight. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { IsolaError, LIMITS } from "../../runtime/contract/index.ts";
import { answersAgain, restartsOf } from "../support/cells.ts";
import { countOutcomes, keepCalling } from "../support/load.ts";
import { SPINNERS, callUntilQuarantined, isQuarantined } from "../support/misbehaving.ts";
import { type RunningCommand, startIsola } from "../support/isola-command.ts";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { processesOf } from "../support/process-list.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

const HELLO = `export default () => "hello";`;
const HEAP = `export default () => {
  const kept = [];
  for (;;) kept.push(new Array(10_000).fill(kept.length));
};`;
const BUFFERS = `export default async () => {
  const kept = [];
  for (;;) {
    kept.push(new Uint8Array(4 << 20).fill(1));
    await scheduler.wait(0);
  }
};`;

async function outcomeOf(platform: TestPlatform, target: string): Promise<string> {
  const answer = await platform.call(target);
  return answer.code ?? String(answer.status);
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return "NONE";
  } catch (error) {
    return error instanceof IsolaError ? error.code : String(error);
  }
}

describe("memory without end", () => {
  const platform = usePlatform({ cells: 1, cellMemoryMb: 128 });
  beforeAll(() => platform().deploy("hello", HELLO), 30_000);

  for (const [what, code] of Object.entries({ heap: HEAP, buffers: BUFFERS })) {
    it(`of the ${what} costs its cell, then the function itself`, async () => {
      await platform().deploy(what, code);
      const before = await restartsOf(platform(), 0);
      const first = await platform().call(what);
      const deadAtMs = performance.now();
      expect([first.status, first.code]).toEqual([502, "CELL_LOST"]);
      expect(await answersAgain(platform(), "hello", deadAtMs)).toBeLessThan(1_000);
      const trial = await callUntilQuarantined(platform(), what);
      expect(trial.isQuarantined).toBe(true);
      // How many turns it takes depends on who else is a suspect; how often it harms others not.
      expect(trial.outcomes.filter((one) => one === "MEMORY_LIMIT")).toHaveLength(3);
      expect((await restartsOf(platform(), 0)) - before).toBe(1);
      expect(await isQuarantined(platform(), "hello")).toBe(false);
    });
  }
});

describe("a module that does not load", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(() => platform().deploy("wait", `export default () => scheduler.wait(20);`), 30_000);

  it("is refused at its deploy, and harms no running call", async () => {
    const load = keepCalling(platform(), "/function/wait", 4);
    const codes = [
      await codeOf(platform().deploy("throws", `throw new Error("top"); export default () => 1;`)),
      await codeOf(platform().deploy("loops", `for (;;); export default () => 1;`)),
    ];
    expect(codes).toEqual(["LOAD_FAILED", "PROBE_TIMEOUT"]);
    expect(await codeOf(platform().deploy("waits", `await new Promise(() => {});`))).toMatch(
      /PROBE_TIMEOUT|LOAD_FAILED|EXPORT_INVALID/,
    );
    const bomb = `const kept = []; for (;;) kept.push(new Array(10_000).fill(1));`;
    expect(await codeOf(platform().deploy("bomb", bomb))).toMatch(/PROBE_TIMEOUT|LOAD_FAILED/);
    const { answers, unanswered } = await load.stop();
    expect(unanswered).toEqual([]);
    expect(countOutcomes(answers)).toEqual({ "204": answers.length });
    expect(await restartsOf(platform(), 0)).toBe(0);
    expect((await platform().client.list()).map(({ name }) => name)).toEqual(["wait"]);
    expect((await platform().deploy("after", HELLO)).version).toBe(1);
  }, 60_000);

  it("in a cell only is suspected, convicted and kept out like a call", async () => {
    const code = `import { env } from "cloudflare:workers"; if (env.BOOM === "1") for (;;);
      export default () => "never";`;
    await platform().deploy("late", code, { env: { BOOM: "1" } });
    const { outcomes, isQuarantined: isOut } = await callUntilQuarantined(platform(), "late");
    expect(isOut, outcomes.join(" ")).toBe(true);
    expect(outcomes.filter((one) => one === "MAX_BLOCK")).toHaveLength(3);
  });

  it("in a cell for another reason fails its calls, and costs no process", async () => {
    const code = `import { env } from "cloudflare:workers";
      if (env.BOOM === "1") throw new Error("no");
      export default () => "never";`;
    await platform().deploy("fails", code, { env: { BOOM: "1" } });
    const restarts = await restartsOf(platform(), 0);
    for (let call = 0; call < 3; call += 1) {
      expect(await outcomeOf(platform(), "fails")).toBe("FUNCTION_ERROR");
    }
    expect(await restartsOf(platform(), 0)).toBe(restarts);
  });

  it("any more, after it ended its own isolate, is loaded again", async () => {
    const code = `import { abortIsolate } from "cloudflare:workers";
      export default (input) => input?.go ? abortIsolate("for good") : "fine";`;
    await platform().deploy("aborts", code);
    const restarts = await restartsOf(platform(), 0);
    expect(await outcomeOf(platform(), "aborts?go=1")).toBe("FUNCTION_ERROR");
    expect(await outcomeOf(platform(), "aborts")).toBe("200");
    expect(await restartsOf(platform(), 0)).toBe(restarts);
  });
});

const WAIT_FILE = {
  "functions/wait.ts": `export default async (input) => {
    await scheduler.wait(Number(input.ms));
    return "done";
  };`,
};

interface Started {
  readonly running: RunningCommand;
  readonly url: string;
  readonly data: string;
}

/** The command as a user runs it, with functions that it deploys. */
async function startCommand(functions: Record<string, string>): Promise<Started> {
  const folder = temporaryFolder(functions);
  const data = join(folder, "data");
  const args = ["start", "--port", "0", "--admin-port", "0", "--data", data, "--cells", "1"];
  const running = startIsola([...args, "--dir", "functions"], { cwd: folder });
  const [, url = ""] = await running.said(/public +(http\S+)/);
  await running.said(/wait v1 deployed/);
  return { running, url, data };
}

describe("a signal with calls in flight", () => {
  it("lets them end, and refuses new ones meanwhile", async () => {
    const { running, url, data } = await startCommand(WAIT_FILE);
    const answer = fetch(`${url}/function/wait?ms=1500`).then((response) => response.text());
    await sleep(300);
    running.child.kill("SIGTERM");
    await sleep(300);
    const late = await fetch(`${url}/function/wait?ms=1`).catch(() => undefined);
    expect([undefined, "DRAINING"]).toContain(late?.headers.get("x-isola-error") ?? undefined);
    expect(late?.status ?? 503).toBe(503);
    expect(await answer).toBe('"done"');
    expect(await running.ended).toBe(0);
    expect(processesOf(data)).toEqual([]);
  });

  it("for the second time ends them at once, and leaves nothing", async () => {
    const { running, url, data } = await startCommand(WAIT_FILE);
    const answer = fetch(`${url}/function/wait?ms=20000`).then(
      (response) => response.status,
      () => 0,
    );
    await sleep(300);
    const fromMs = performance.now();
    running.child.kill("SIGTERM");
    // Two at once count as one.
    await sleep(1_500);
    running.child.kill("SIGTERM");
    await running.ended;
    expect(performance.now() - fromMs).toBeLessThan(LIMITS.drainMs);
    expect(await answer).not.toBe(200);
    await until(() => processesOf(data).length === 0, 2_000);
  });

  it("that cannot be caught leaves nothing, whatever the calls do", async () => {
    const { running, url, data } = await startCommand({
      ...WAIT_FILE,
      "functions/spin.ts": SPINNERS.inItsBody,
    });
    const calls = ["wait?ms=20000", "spin"].map((target) =>
      fetch(`${url}/function/${target}`).catch(() => undefined),
    );
    await sleep(400);
    running.child.kill("SIGKILL");
    await Promise.all(calls);
    expect(await until(() => processesOf(data).length === 0)).toBeLessThan(2_000);
  });
});
