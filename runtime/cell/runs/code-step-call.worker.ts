/**
 * An attempt of a step in a session of code, as a call: what it writes to the store, and what it
 * calls writes, is staged with the step as it is with a function's attempt (G2).
 */
import { type CallEnvelope, IsolaError, newCallId } from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import type { LiveCall } from "../live-calls.worker.ts";

/** Errors: `CONFLICT`. */
export function openStepCall(cell: Cell, session: LiveCall, step: string, token: number): LiveCall {
  const { envelope, codeShard, codeEpoch: epoch } = session;
  if (codeShard === undefined) {
    throw new IsolaError("CONFLICT", { attempted: "open a step", found: "no session of code" });
  }
  const calls = (session.stepCalls ??= new Map());
  const key = keyOf(step, token);
  const known = calls.get(key);
  if (known) return known;
  const run = envelope.ik;
  const own: CallEnvelope = {
    ...envelope,
    id: newCallId(cell.random),
    rs: { run, step, token, epoch, call: "" },
  };
  const live = cell.live.open(own, cell.now(), {});
  calls.set(key, live);
  return live;
}

/** The attempt has settled: nothing writes with it any more. */
export function closeStepCall(
  cell: Cell,
  session: LiveCall | undefined,
  { step, token }: { readonly step: string; readonly token: number },
): void {
  const key = keyOf(step, token);
  const live = session?.stepCalls?.get(key);
  if (!live) return;
  session?.stepCalls?.delete(key);
  cell.live.close(live, cell.now());
}

export function closeStepCalls(cell: Cell, session: LiveCall): void {
  for (const live of session.stepCalls?.values() ?? []) cell.live.close(live, cell.now());
  session.stepCalls = undefined;
}

const keyOf = (step: string, token: number): string => `${step}\n${String(token)}`;
