/** Where in a run a call stands, and ids that follow from it, the same for a repeated step. */
import { type CallEnvelope, type RunStepRef, callUnder, toHex } from "../../contract/index.ts";
import type { LiveCall } from "../live-calls.worker.ts";

const ID_BYTES = 16;

/** Of the run that the call works for, however deep it is called. */
export function attemptOf({ caller, envelope, number }: LiveCall): RunStepRef | undefined {
  if (!caller) return envelope.rs;
  const above = attemptOf(caller);
  return above && { ...callUnder(above, number), run: above.run };
}

/** The key of the attempt, where it is known: it is the same for every attempt of the step. */
export function keyOf(live: LiveCall, { run, step, token }: RunStepRef): string {
  let root = live;
  while (root.caller) root = root.caller;
  const isAttempt = root.envelope.rs?.call === "";
  return isAttempt ? root.envelope.ik : `${run} ${step} ${String(token)}`;
}

/** 32 hex digits; of each namespace its own. */
export async function digestOf(
  { ns }: Pick<CallEnvelope, "ns">,
  parts: readonly string[],
): Promise<string> {
  const text = new TextEncoder().encode(JSON.stringify([ns, ...parts]));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  return toHex(digest.subarray(0, ID_BYTES));
}

/** The home of a workflow with a limit; any of this cell otherwise. */
