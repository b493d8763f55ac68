/** `isola runs` and asynchronous `isola invoke`: what they print, and how they end. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunDetail, RunInfo } from "../../runtime/contract/index.ts";
import { type CommandResult, isola, startIsola } from "../support/isola-command.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";

const FLAKY = `export default (input, ctx) => {
  if (ctx.attempt < 2) throw new Error("no");
  return { got: input };
};
export const config = { retry: { limit: 2, delayMs: 20, backoff: "constant" } };`;
const WAITING = `export default () => { throw new Error("later"); };
export const config = { retry: { limit: 5, delayMs: 3600000, backoff: "constant" } };`;

let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ cells: 1 });
  await platform.deploy("flaky", FLAKY);
  await platform.deploy("waiting", WAITING);
  await platform.deploy("broken", `export default () => { throw new Error("no"); };`);
}, 60_000);

afterAll(() => platform.stop());

const environment = (): Record<string, string> => ({
  ISOLA_URL: platform.adminUrl,
  ISOLA_TOKEN: platform.adminToken,
});

function run(args: readonly string[]): Promise<CommandResult> {
  return isola(args, { env: environment() });
}

async function ok(args: readonly string[]): Promise<string> {
  const result = await run(args);
  expect(result, `isola ${args.join(" ")}`).toMatchObject({ status: 0, stderr: "" });
  return result.stdout;
}

async function begin(name: string, input: unknown = 1): Promise<string> {
  const id = await ok(["invoke", name, "--async", "--data", JSON.stringify(input)]);
  expect(id).toMatch(/^0-[0-9a-f]{32}\n$/);
  return id.trim();
}

describe("isola invoke --async", () => {
  it("prints the id of the run, or with --wait what came of it", async () => {
    await begin("flaky");
    const args = ["invoke", "flaky", "--async", "--wait", "--data", "[1]"];
    expect(await ok(args)).toBe('{"got":[1]}');
    const failed = await run(["invoke", "broken", "--async", "--wait", "--data", "1"]);
    expect(failed).toMatchObject({ status: 1, stdout: "" });
    expect(failed.stderr).toContain("(FUNCTION_ERROR)");
    expect(await run(["invoke", "flaky", "--wait"])).toMatchObject({ status: 2 });
    expect(await run(["invoke", "nobody", "--async"])).toMatchObject({ status: 1 });
  });
});

describe("isola runs", () => {
  it("watches a run to its end, shows it, lists it and draws it", async () => {
    const id = await begin("flaky", { a: 1 });
    const lines = (await ok(["runs", "watch", id])).trimEnd().split("\n");
    const said = lines.map((line) => line.slice(14).replace(/ +/, " ").trimEnd());
    expect(said.map((line) => line.replace(/ at .*$/, ""))).toStrictEqual([
      "run started",
      "call/0 started: apply flaky",
      "call/0 attempt 1",
      expect.stringMatching(/^call\/0 attempt 1 failed: FUNCTION_ERROR: .*; again$/),
      "call/0 attempt 2",
      "call/0 completed",
      "run completed",
    ]);
    expect(await ok(["runs", "history", id])).toBe(`${lines.join("\n")}\n`);
    const page = await ok(["runs", "show", id]);
    expect(page).toMatch(/^run +0-\w+\nfunction +flaky v1 in default\nstatus +completed\n/);
    expect(page).toMatch(/\ninput +{"a":1}\noutput +{"got":{"a":1}}\n/);
    expect(page).toMatch(/\nSTEP +WHAT +STATUS +.*\ncall\/0 +apply flaky +completed +2 /);
    const detail = JSON.parse(await ok(["runs", "show", id, "--json"])) as RunDetail;
    expect(detail).toMatchObject({ id, status: "completed", stepCount: 1 });
    expect(await ok(["runs", "list", "--function", "flaky"])).toContain(id);
    expect(await ok(["runs", "list", "--status", "failed"])).not.toContain(id);
    expect(await ok(["runs", "graph", id])).toMatch(/^flowchart TD\n/);
    expect(await ok(["runs", "graph", id, "--format", "dot"])).toMatch(/^digraph workflow/);
  });

  it("fails with a run that failed, and restarts it", async () => {
    const id = await begin("broken");
    const watched = await run(["runs", "watch", id, "--json"]);
    expect(watched.status).toBe(1);
    const types = watched.stdout
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { type: string }).type);
    expect(types.at(-1)).toBe("runEnded");
    expect(await ok(["runs", "graph", id])).toContain(":::failed");
    const again = (await ok(["runs", "restart", id])).trim();
    expect(again).toMatch(/^0-[0-9a-f]{32}$/);
    expect(await ok(["runs", "restart", id, "--from", "failed", "--version", "broken=1"])).toBe(
      `run ${id} is running\n`,
    );
    expect((await run(["runs", "watch", id])).status).toBe(1);
    const nowhere = await run(["runs", "restart", id, "--from", "nowhere/0"]);
    expect(nowhere).toMatchObject({ status: 1, stdout: "" });
    expect(nowhere.stderr).toMatch(/\(STEP_NOT_FOUND\)\n {2}found: +.+\n/);
    const mixed = ["--version", "latest", "--version", "broken=1", "--from", "failed"];
    expect(await run(["runs", "restart", id, ...mixed])).toMatchObject({ status: 2 });
  });

  it("lists dead letters, and replays one once for a key", async () => {
    const id = await begin("broken", "letter");
    await run(["runs", "watch", id]);
    expect(await ok(["runs", "list", "--dead-letters"])).toContain(id);
    const again = await ok(["runs", "replay", id]);
    expect(await ok(["runs", "replay", id])).toBe(again);
    expect(await ok(["runs", "replay", id, "--key", "two"])).not.toBe(again);
    expect(await ok(["runs", "list", "--dead-letters"])).not.toContain(id);
    const detail = JSON.parse(await ok(["runs", "show", again.trim(), "--json"])) as RunDetail;
    expect(detail).toMatchObject({ replayOf: id, input: { value: "letter" } });
  });

  it("pauses, resumes, signals and ends what goes on", async () => {
    const id = await begin("waiting");
    const watching = startIsola(["runs", "watch", id], { env: environment() });
    await watching.said(/again at/);
    expect(await ok(["runs", "pause", id])).toBe(`run ${id} is paused\n`);
    await watching.said(/ paused\n/);
    expect(await ok(["runs", "resume", id])).toBe(`run ${id} is waiting\n`);
    await ok(["runs", "send-event", id, "go", "--payload", '{"ok":true}', "--id", "one"]);
    await ok(["runs", "signal", id, "stop"]);
    await watching.said(/event stop\n/);
    expect(await ok(["runs", "show", id])).toMatch(/\nunread +events go, stop\n/);
    const bad = await run(["runs", "send-event", id, "go", "--payload", "{"]);
    expect(bad).toMatchObject({ status: 2 });
    const info = JSON.parse(await ok(["runs", "terminate", id, "--rollback", "--json"])) as RunInfo;
    expect(info).toMatchObject({ id, status: "terminated" });
    expect(await watching.ended).toBe(1);
    expect((await run(["runs", "resume", id])).stderr).toContain("(RUN_STATE)");
  });

  it("says what it does not find", async () => {
    const unknown = await run(["runs", "show", `0-${"a".repeat(32)}`]);
    expect(unknown).toMatchObject({ status: 1, stdout: "" });
    expect(unknown.stderr).toContain("(RUN_NOT_FOUND)");
    expect(await ok(["runs", "list", "--function", "nobody"])).toBe("no runs\n");
    expect(await run(["runs", "list", "--status", "done"])).toMatchObject({ status: 2 });
    expect(await run(["runs"])).toMatchObject({ status: 2 });
  });
});
