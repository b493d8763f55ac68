/**
 * A lost value of a pure step, made again by the step's function (G5): with the policy of the step,
 * and with nothing that it puts. The history says so.
 */
import { IsolaError } from "../../contract/index.ts";
import type { Producer } from "../../../workflow/builder/index.ts";
import type { RunHome, RunReport, RunRequest } from "../../../workflow/index.ts";
import type { Attempter, Dispatch } from "./performers.ts";
import type { Remake, RunJobs } from "./run-store.ts";

interface RemakeSeams {
  readonly jobs: RunJobs;
  readonly attempt: Attempter;
  readonly report: (run: RunHome, report: RunReport) => void;
}

/** Attempts so far that make values again: their tokens are below those of all others. */
let made = 0;

export function remakeOf(
  { jobs, attempt, report }: RemakeSeams,
  run: RunHome,
  request: RunRequest,
): Remake {
  const never = new AbortController().signal;
  const remake: Remake = async (by) => {
    const input = { value: await jobs.resolve(run, by.input, remake) };
    const attempts = 1 + ((by.operation.retry ?? by.pin?.retry)?.limit ?? 0);
    let failure = "";
    for (let number = 1; number <= attempts; number += 1) {
      made += 1;
      const effect = dispatchOf(by, input, number, -made);
      jobs.attempted(run, effect);
      const told = await attempt(run, request, effect, never);
      jobs.settle(run, effect.step, effect.token, false);
      if (told.type === "settled" && told.outcome.ok && "value" in told.outcome.output) {
        report(run, { type: "valueRecomputed", step: by.step });
        return told.outcome.output.value;
      }
      if (told.type === "settled" && !told.outcome.ok) failure = told.outcome.error.message;
    }
    throw new IsolaError("VALUE_LOST", {
      attempted: `make the result of ${by.step} again, which memory alone held`,
      found: failure === "" ? "an attempt that was interrupted" : failure.slice(0, 500),
    });
  };
  return remake;
}

function dispatchOf(
  { step, operation, pin, idempotencyKey }: Producer,
  input: Dispatch["input"],
  attempt: number,
  token: number,
): Dispatch {
  return {
    do: "dispatch",
    step,
    token,
    operation,
    ...(pin && { pin }),
    input,
    attempt,
    idempotencyKey,
    isSuspect: false,
  };
}
