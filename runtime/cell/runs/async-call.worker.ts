/**
 * An attempt of an asynchronous call: a request as it came, placed by the gateway like a call from
 * outside, with its admission, suspects, probation and records. What kept it from running at all
 * is tried again; what ended with its cell is interrupted (G7).
 */
import {
  ERRORS,
  type ErrorCode,
  type ErrorData,
  IsolaError,
  RUN_BODY_MAX_BYTES,
  type RunAttempt,
  type RunAttempted,
  type RunInputHead,
  type RunOutputHead,
  frame,
  unframe,
} from "../../contract/index.ts";
import type { Outcome, RunRef, RunReport } from "../../../workflow/index.ts";
import { currentCell } from "../cell.worker.ts";
import type { Dispatch } from "./performers.ts";

/** Between two tries of what did not get to run. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 5_000;
/** From this status on an HTTP function's answer is a failed attempt. */
const FAILURE_STATUS = 500;

/** The attempt did not run: nothing happened that would count. */
const NOT_RUN: ReadonlySet<ErrorCode> = new Set([
  "CELL_RESTARTING",
  "DRAINING",
  "CAPACITY",
  "QUEUE_FULL",
  "RATE_LIMITED",
]);

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
  effect: Dispatch,
  signal: AbortSignal,
): Promise<RunReport> {
  const { step, token } = effect;
  for (;;) {
    const answer = await ask(run, effect, signal);
    const { error } = answer;
    if (signal.aborted) return { type: "settled", step, token, outcome: canceled() };
    if (!error) return { type: "settled", step, token, outcome: answer.outcome };
    if (error.code === "CELL_LOST") {
      const lost = { name: error.code, message: error.parts.found, code: error.code };
      return { type: "interrupted", attempts: [{ step, token }], where: "cell", error: lost };
    }
    if (!NOT_RUN.has(error.code)) {
      return { type: "settled", step, token, outcome: failed(error) };
    }
    const pauseMs = (error.parts.retryAfterSeconds ?? 0) * 1_000;
    await scheduler.wait(Math.min(Math.max(pauseMs, PAUSE_MS), PAUSE_MAX_MS));
  }
}

type Asked =
  | { readonly error: ErrorData }
  | { readonly error?: undefined; readonly outcome: Outcome };

async function ask(run: RunRef, effect: Dispatch, signal: AbortSignal): Promise<Asked> {
  const cell = currentCell();
  const { operation, pin, input } = effect;
  if (!cell || operation.op !== "apply" || !("value" in input)) {
    return { error: notRun("no cell around it").toData() };
  }
  const { request, body } = input.value as CallInput;
  const attempt: RunAttempt = {
    namespace: run.namespace,
    function: operation.function,
    version: pin?.version ?? 0,
    attempt: effect.attempt,
    idempotencyKey: effect.idempotencyKey,
    request,
  };
  try {
    const response = await cell.supply.attempt({
      method: "POST",
      body: frame(attempt, body),
      signal,
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.ok) return { error: notRun(`status ${String(response.status)}`).toData() };
    const { head, body: answer } = unframe(bytes);
    const told = head as RunAttempted;
    return told.ok ? { outcome: settled(told.output, answer) } : { error: told.error };
  } catch (thrown) {
    // The gateway died, or was not there; what it had begun ended with its connection.
    return { error: notRun(String(thrown).slice(0, 200)).toData() };
  }
}

function settled(output: RunOutputHead, body: Uint8Array): Outcome {
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

/** What the caller did wrong stays wrong, however often it is tried. */
function failed({ code, parts }: ErrorData): Outcome {
  const isFinal = ERRORS[code].fault === "caller";
  const message = parts.found;
  return { ok: false, error: { name: code, message, code, ...(isFinal && { isFinal }) } };
}

function canceled(): Outcome {
  return { ok: false, error: { name: "Canceled", message: "the attempt was ended" } };
}

function notRun(found: string): IsolaError {
  return new IsolaError("CELL_RESTARTING", { attempted: "attempt a step", found });
}
