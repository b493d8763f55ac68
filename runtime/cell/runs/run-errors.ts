/** Errors of calls as a run records them. */
import {
  ERRORS,
  type ErrorCode,
  type ErrorData,
  IsolaError,
  type ThrownData,
} from "../../contract/index.ts";
import type { Outcome, RunError } from "../../../workflow/index.ts";

/** Cloudflare's word for an error that no further attempt can mend. */
const FINAL = "NonRetryableError";

/** Nothing ran that would count: it is tried again, and is no attempt. */
export const NOT_RUN: ReadonlySet<ErrorCode> = new Set([
  "CELL_RESTARTING",
  "DRAINING",
  "CAPACITY",
  "QUEUE_FULL",
  "RATE_LIMITED",
]);

/** What the caller did wrong stays wrong, however often it is tried. */
export function runError({ code, parts }: ErrorData, thrown?: ThrownData): RunError {
  if (code === "FUNCTION_ERROR" && thrown) {
    const { name, message } = thrown;
    return { name, message, code, ...(name === FINAL && { isFinal: true as const }) };
  }
  const isFinal = ERRORS[code].fault === "caller" || code === "RESULT_INVALID";
  return { name: code, message: parts.found, code, ...(isFinal && { isFinal }) };
}

export function failed(error: ErrorData, thrown?: ThrownData): Outcome {
  return { ok: false, error: runError(error, thrown) };
}

export function canceled(): Outcome {
  return { ok: false, error: { name: "Canceled", message: "the attempt was ended" } };
}

export function notRun(found: string): ErrorData {
  return new IsolaError("CELL_RESTARTING", { attempted: "attempt a step", found }).toData();
}
