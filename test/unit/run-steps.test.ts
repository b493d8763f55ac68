/** Steps of a run as its history tells of them. */
import { describe, expect, it } from "vitest";
import type { RunHistoryLine } from "../../runtime/contract/index.ts";
import { StepList } from "../../runtime/gateway/internal.ts";

type Line = Omit<RunHistoryLine, "id" | "atMs">;

function stepsOf(lines: readonly Line[]): StepList {
  const steps = new StepList();
  for (const [at, line] of lines.entries()) steps.add({ id: `${String(at)}.0`, atMs: at, ...line });
  return steps;
}

const error = { name: "Error", message: "no" };

describe("the steps of a run", () => {
  it("have their attempts, times and the error of the last one that failed", () => {
    const steps = stepsOf([
      { type: "runStarted" },
      { type: "stepStarted", step: "a/0", what: "apply double" },
      { type: "attemptStarted", step: "a/0", attempt: 1 },
      { type: "attemptFailed", step: "a/0", attempt: 1, error, retryAtMs: 90 },
    ]);
    expect(steps.shown()).toStrictEqual([
      {
        id: "a/0",
        what: "apply double",
        status: "retrying",
        attempts: 1,
        startedAtMs: 1,
        error,
        retryAtMs: 90,
      },
    ]);
    for (const [atMs, type] of [
      [4, "attemptStarted"],
      [5, "stepCompleted"],
    ] as const) {
      steps.add({ id: "", atMs, type, step: "a/0", attempt: 2 });
    }
    expect(steps.shown()).toStrictEqual([
      {
        id: "a/0",
        what: "apply double",
        status: "completed",
        attempts: 2,
        startedAtMs: 1,
        endedAtMs: 5,
      },
    ]);
  });

  it("wait before they are attempted, and count interruptions apart", () => {
    const steps = stepsOf([
      { type: "stepStarted", step: "wait/0", what: "event go" },
      { type: "stepStarted", step: "b/0" },
      { type: "attemptStarted", step: "b/0", attempt: 1 },
      { type: "attemptInterrupted", step: "b/0" },
      { type: "attemptStarted", step: "b/0", attempt: 1 },
      { type: "stepStarted", step: "c/0" },
      { type: "attemptStarted", step: "c/0", attempt: 1, run: "0-x.1" },
      { type: "stepCanceled", step: "c/0" },
      { type: "stepStarted", step: "d/0" },
      { type: "stepFailed", step: "d/0", error },
    ]);
    expect(steps.shown({ "wait/0": 99 })).toMatchObject([
      { id: "wait/0", status: "waiting", attempts: 0, dueAtMs: 99 },
      { id: "b/0", status: "running", attempts: 1, interruptions: 1 },
      { id: "c/0", status: "canceled", run: "0-x.1" },
      { id: "d/0", status: "failed", error },
    ]);
  });

  it("begin again after a restart", () => {
    const steps = stepsOf([
      { type: "stepStarted", step: "a/0" },
      { type: "attemptStarted", step: "a/0", attempt: 1 },
      { type: "stepFailed", step: "a/0", error },
      { type: "runEnded", status: "failed" },
      { type: "runRestarted" },
    ]);
    expect(steps.shown()).toMatchObject([{ id: "a/0", status: "waiting" }]);
    steps.add({ id: "", atMs: 9, type: "stepStarted", step: "a/0" });
    expect(steps.shown()).toStrictEqual([
      { id: "a/0", status: "waiting", attempts: 0, startedAtMs: 9 },
    ]);
  });

  it("are cut to a number, those that did not complete first, in their order", () => {
    const lines = Array.from({ length: 9 }, (_v, at) => [
      { type: "stepStarted", step: `s/${String(at)}` },
      { type: at === 7 ? "stepFailed" : "stepCompleted", step: `s/${String(at)}` },
    ]).flat();
    const steps = stepsOf(lines);
    expect(steps.count).toBe(9);
    expect(steps.shown({}, 3).map(({ id }) => id)).toStrictEqual(["s/0", "s/1", "s/7"]);
  });
});
