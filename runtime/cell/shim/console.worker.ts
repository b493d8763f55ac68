/**
 * The tenant's console: every line belongs to the call that wrote it. Lines written while the
 * modules are evaluated belong to no call and are kept for the first one.
 */
import { LIMITS, type LogLevel } from "../../contract/index.ts";
import { createConsole } from "../../telemetry/index.ts";
import { now } from "./natives.worker.ts";
import { type IsolateCall, currentCall } from "./isolate-call.worker.ts";

const early: { level: LogLevel; text: string }[] = [];

function take(level: LogLevel, text: string): void {
  const call = currentCall.get();
  if (call) call.line(level, text);
  else if (early.length < LIMITS.logLinesPerFlush) early.push({ level, text });
}

/** Replaces the global console; called once, before tenant code. */
export function installConsole(): void {
  const replacement = createConsole(take, now);
  Object.assign(console, replacement);
}

/** Hands lines of module evaluation, or of timers that outlived their call, to a call. */
export function adoptEarlyLines(call: IsolateCall): void {
  if (early.length === 0) return;
  for (const { level, text } of early.splice(0)) call.line(level, text);
}
