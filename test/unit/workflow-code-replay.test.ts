/** Whether other code goes on where the journal of an open run ends, judged on a copy. */
import { describe, expect, it } from "vitest";
import { CodeReplay, type ReplayReport, canReplay, shapeOf } from "../../workflow/index.ts";
import { type Code, WorkflowCodeWorld } from "../support/workflow-code-world.ts";

const order: Code = async (step, input) => {
  const paid = await step.do("pay", () => Number(input) * 2);
  await step.sleep("rest", 1_000_000);
  return step.do("ship", () => Number(paid) + 1);
};

async function resting(code: Code = order): Promise<WorkflowCodeWorld> {
  const world = new WorkflowCodeWorld(code, { input: 1 });
  while (!world.history("stepStarted").includes("sleep:rest-1") && (await world.act()));
  return world;
}

/** What code says that calls these steps one after the other. */
const called = (step: string, op: object): ReplayReport =>
  ({ type: "stepCalled", step, operation: op }) as ReplayReport;
const retry = { limit: 0, delayMs: 0, backoff: "constant" };
const PAY = called("do:pay-1", { op: "do", retry });
const REST = called("sleep:rest-1", { op: "sleep", forMs: 5 });
const CHARGE = called("do:charge-1", { op: "do", retry });

describe("a replay by other code", () => {
  it("agrees when it calls what the journal knows, and is told what came of it", async () => {
    const { run } = await resting();
    const before = JSON.stringify([...run.state.steps]);
    const replay = new CodeReplay(run.state);
    expect(replay.apply(PAY)).toMatchObject([{ step: "do:pay-1", outcome: { ok: true } }]);
    expect(replay.verdict).toBeUndefined();
    expect(replay.apply(REST)).toStrictEqual([]);
    expect(replay.verdict).toStrictEqual({ is: "agrees" });
    expect(JSON.stringify([...run.state.steps])).toBe(before);
    expect(run.status).toBe("waiting");
  });

  it("diverges when a step is renamed, left out, or the code ends before it", async () => {
    const { run } = await resting();
    const reports: readonly (readonly ReplayReport[])[] = [
      [CHARGE, { type: "codeIdle" }],
      [PAY, called("sleep:rest-1", { op: "event", type: "x", timeoutMs: 5 })],
      [PAY, { type: "codeEnded", outcome: { ok: true, output: { value: 1 } } }],
      [{ type: "codeIdle" }],
    ];
    for (const said of reports) {
      const replay = new CodeReplay(run.state);
      for (const report of said) replay.apply(report);
      expect(replay.verdict).toMatchObject({ is: "diverges" });
    }
  });

  it("judges nothing when the code fails by itself", async () => {
    const { run } = await resting();
    const replay = new CodeReplay(run.state);
    const error = { name: "TypeError", message: "no egress here" };
    replay.apply({ type: "codeEnded", outcome: { ok: false, error } });
    expect(replay.verdict).toStrictEqual({ is: "failed" });
  });

  it("is of open runs alone, by their shape", async () => {
    const [one, other] = [await resting(), await resting()];
    expect(shapeOf(one.run.state)).toBe(shapeOf(other.run.state));
    expect(canReplay(one.run.state)).toBe(true);
    one.report({ type: "terminate" });
    await one.settle();
    await one.finish();
    expect(canReplay(one.run.state)).toBe(false);
  });
});
