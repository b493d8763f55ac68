/**
 * What the gateway places for a run like a call from outside, with its admission, suspects,
 * probation and records. What kept it from running at all is asked again, by whoever asked.
 */
import {
  type ErrorData,
  type RunAttempt,
  type RunAttempted,
  type RunOutputHead,
  type ThrownData,
  type TraceContext,
  formatTraceparent,
  frame,
  unframe,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import { NOT_RUN, notRun } from "./run-errors.ts";
import { cellsBeside } from "./stays.ts";

/** Between two tries of what did not get to run. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 5_000;

export type Placed =
  | { readonly kind: "answered"; readonly output: RunOutputHead; readonly body: Uint8Array }
  | { readonly kind: "refused"; readonly error: ErrorData; readonly thrown?: ThrownData }
  /** The process died under it. */
  | {
      readonly kind: "interrupted";
      readonly where: "cell" | "probation";
      readonly error: ErrorData;
    }
  /** It was to run in another cell, and found no room there. */
  | { readonly kind: "stays" }
  | { readonly kind: "canceled" };

/** The request under the run's own span. */
export function withTrace(
  request: RunAttempt["request"],
  trace: TraceContext,
): RunAttempt["request"] {
  const others = request.headers.filter(([name]) => name.toLowerCase() !== "traceparent");
  return { ...request, headers: [...others, ["traceparent", formatTraceparent(trace)]] };
}

/** Never rejects; asks again until it ran. @param signal it is to end. */
export async function placeByGateway(
  cell: Cell,
  attempt: RunAttempt,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<Placed> {
  const bytes = frame(attempt, body);
  for (;;) {
    const placed = await ask(cell, bytes, signal);
    if (signal.aborted) return { kind: "canceled" };
    if (placed.kind !== "refused" || !NOT_RUN.has(placed.error.code)) return placed;
    if (attempt.isAway) return { kind: "stays" };
    await pauseBefore(placed.error);
    if (signal.aborted) return { kind: "canceled" };
  }
}

/** Before it is tried again: as long as the refusal says, within a bound. */
export async function pauseBefore({ parts }: ErrorData): Promise<void> {
  const pauseMs = (parts.retryAfterSeconds ?? 0) * 1_000;
  await scheduler.wait(Math.min(Math.max(pauseMs, PAUSE_MS), PAUSE_MAX_MS));
}

async function ask(cell: Cell, asked: BodyInit, signal: AbortSignal): Promise<Placed> {
  try {
    const response = await cell.supply.attempt({ method: "POST", body: asked, signal });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.ok) return refused(notRun(`status ${String(response.status)}`));
    const { head, body } = unframe(bytes);
    const told = head as RunAttempted;
    if (told.others !== undefined) cellsBeside.count = told.others;
    if (told.ok) return { kind: "answered", output: told.output, body };
    const { error, thrown, where } = told;
    const died = where ?? (error.code === "CELL_LOST" ? "cell" : undefined);
    if (died) return { kind: "interrupted", where: died, error };
    return { kind: "refused", error, ...(thrown && { thrown }) };
  } catch (thrown) {
    // The gateway died, or was not there; what it had begun ended with its connection.
    return refused(notRun(String(thrown).slice(0, 200)));
  }
}

function refused(error: ErrorData): Placed {
  return { kind: "refused", error };
}
