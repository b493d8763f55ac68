/**
 * An attempt of an asynchronous call: a request as it came, placed by the gateway. What ended with
 * its cell is interrupted (G7).
 */
import {
  RUN_BODY_MAX_BYTES,
  type RunAttempt,
  type RunInputHead,
  type RunOutputHead,
  traceOfRun,
} from "../../contract/index.ts";
import type { Outcome, RunRef, RunReport, RunRequest } from "../../../workflow/index.ts";
import { currentCell } from "../cell.worker.ts";
import { placeByGateway, withTrace } from "./gateway-attempt.worker.ts";
import type { Dispatch } from "./performers.ts";
import { canceled, failed, notRun, runError } from "./run-errors.ts";

/** From this status on an HTTP function's answer is a failed attempt. */
const FAILURE_STATUS = 500;

/** Input of the run, and of its one step. */
export interface CallInput {
  readonly request: RunInputHead;
  readonly body: Uint8Array;
}

/** Result of the run. */
export interface CallOutput {
  readonly output: RunOutputHead;
  readonly body: Uint8Array;
}

/** Never rejects. @param signal the attempt is to end. */
export async function attemptCall(
  run: RunRef,
  { headers }: RunRequest,
  effect: Dispatch,
  signal: AbortSignal,
): Promise<RunReport> {
  const { step, token, operation, pin, input } = effect;
  const settled = (outcome: Outcome): RunReport => ({ type: "settled", step, token, outcome });
  const cell = currentCell();
  if (!cell || operation.op !== "apply" || !("value" in input)) {
    return settled(failed(notRun("no cell around it")));
  }
  const { request, body } = input.value as CallInput;
  const attempt: RunAttempt = {
    namespace: run.namespace,
    function: operation.function,
    version: pin?.version ?? 0,
    attempt: effect.attempt,
    idempotencyKey: effect.idempotencyKey,
    request: withTrace(request, traceOfRun(run.id, headers["traceparent"])),
    // Bounded by the function's own timeout, from when it runs.
    step: { run: run.id, step, token, epoch: run.epoch, call: "", chain: [], deadlineMs: 0 },
  };
  const placed = await placeByGateway(cell, attempt, body, signal);
  switch (placed.kind) {
    case "answered":
      return settled(answered(placed.output, placed.body));
    case "refused":
      return settled(failed(placed.error, placed.thrown));
    case "stays":
    case "canceled":
      return settled(canceled());
    case "interrupted": {
      const { where, error } = placed;
      const attempts = [{ step, token }];
      return { type: "interrupted", attempts, where, error: runError(error) };
    }
  }
}

function answered(output: RunOutputHead, body: Uint8Array): Outcome {
  if (output.status >= FAILURE_STATUS) {
    const message = `the function answered with status ${String(output.status)}`;
    return { ok: false, error: { name: "Error", message, code: "FUNCTION_ERROR" } };
  }
  if (body.byteLength > RUN_BODY_MAX_BYTES) {
    const message =
      `a result of ${String(body.byteLength)} bytes, ` +
      `where a run keeps at most ${String(RUN_BODY_MAX_BYTES)}`;
    return {
      ok: false,
      error: { name: "RESULT_INVALID", message, code: "RESULT_INVALID", isFinal: true },
    };
  }
  return { ok: true, output: { value: { output, body } satisfies CallOutput } };
}
