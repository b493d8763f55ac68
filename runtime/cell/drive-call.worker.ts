/**
 * The driver of a call within the cell: the invocation that this runs in is the one that runs the
 * tenant. When that ends, what is left of the tenant is dropped without running its `catch` or
 * `finally`: that is how a deadline and a cancellation end a call.
 *
 * D1 Every call that is opened is closed, on each way out; a driver that is dropped itself is found
 *    by its silence (LiveCalls C3).
 * D2 Whoever waits learns of the end at once; the tenant has `graceMs` to react to its signal.
 */
import {
  type CallEnvelope,
  IsolaError,
  type RouteTarget,
  type RunResult,
  functionKey,
} from "../contract/index.ts";
import { settleResult } from "./call-store.worker.ts";
import type { Cell } from "./cell.worker.ts";
import { endAfterGrace } from "./http-call.worker.ts";
import type { LoadedIsolate } from "./isolates.worker.ts";
import type { EndReason, LiveCall } from "./live-calls.worker.ts";
import { classifyRuntimeError } from "./runtime-error.ts";
import { checkLines, checkResult } from "./shim-report.ts";
import type { IsolaEntry } from "./shim/entry.worker.ts";
import { armDeadline, disarm, isLate, startPulse, stopPulse } from "./system-timers.worker.ts";

/** Calls in flight per function in this cell, for `maxInFlight`. */
const inFlight = new Map<string, number>();

export interface DrivenCall {
  readonly envelope: CallEnvelope;
  readonly target: RouteTarget;
  /** The call that made it, if it was one. */
  readonly caller?: LiveCall;
  /**
   * Whoever asked sees to its end: at the deadline, and when nobody waits for it any more. It has
   * neither timer nor pulse of its own then.
   */
  readonly isWatched?: boolean;
  /** What the isolate is asked. */
  readonly ask: (entry: Fetcher<IsolaEntry>) => Promise<RunResult>;
}

export interface DrivenResult {
  readonly result: RunResult;
  readonly cold: boolean;
  readonly loadMs: number;
  /** It had to be ended: what is left of it goes with the invocation, which must end now. */
  readonly isDropped?: true;
}

/** @param ctx of an invocation for this call alone: what is left of the callee ends with it. */
export async function driveCall(
  cell: Cell,
  ctx: ExecutionContext,
  call: DrivenCall,
): Promise<DrivenResult> {
  const { envelope, target, caller } = call;
  const fresh = envelope.fr === 1;
  const key = functionKey(envelope.ns, envelope.fn);
  const running = inFlight.get(key) ?? 0;
  if (target.maxInFlight > 0 && running >= target.maxInFlight) {
    return { result: failed(tooMany(envelope.fn, target)), cold: false, loadMs: 0 };
  }
  const { isWatched = false } = call;
  const origin = isWatched ? { isWatched } : { isInside: true };
  const live = cell.live.open(envelope, cell.now(), { ...origin, ...(caller && { caller }) });
  inFlight.set(key, running + 1);
  live.onLeave = () => countOut(key);
  const pulse = isWatched ? undefined : startPulse(live);
  try {
    const { isolate, cold, loadMs } = await cell.isolates.acquire(envelope, ctx);
    const ended = await run({ cell, ctx, isolate, live }, call);
    return { ...ended, cold: cold || fresh, loadMs };
  } catch (thrown) {
    cell.live.close(live, cell.now());
    const error = thrown instanceof IsolaError ? thrown : classifyRuntimeError(thrown);
    return { result: failed(error), cold: fresh, loadMs: 0 };
  } finally {
    if (pulse !== undefined) stopPulse(pulse);
  }
}

/** A call under way. */
interface Running {
  readonly cell: Cell;
  readonly ctx: ExecutionContext;
  readonly isolate: LoadedIsolate;
  readonly live: LiveCall;
}

async function run(
  running: Running,
  { ask, isWatched }: DrivenCall,
): Promise<Pick<DrivenResult, "result" | "isDropped">> {
  const { cell, ctx, isolate, live } = running;
  const { envelope } = live;
  cell.isolates.enter(isolate);
  const release = live.onLeave;
  live.onLeave = () => {
    release?.();
    cell.isolates.leave(isolate);
  };
  cell.sayEntered(envelope);
  const timer = isWatched === true ? undefined : armDeadline(live, cell.now());
  const entry =
    envelope.fr === 1 ? await cell.isolates.freshEntry(isolate) : cell.isolates.entry(isolate);
  const answer = ask(entry);
  const settled = await Promise.race([answer, live.end]);
  disarm(timer);
  const late = isLate(envelope, cell.now());
  if (late) live.finish("deadline");
  if (late || typeof settled === "string") {
    // The caller learns it at once; the callee has its grace.
    ctx.waitUntil(endLate(running, answer));
    return { result: failed(endedBy(await live.end, envelope)), isDropped: true };
  }
  const result = checkResult(settled) ?? notAResult(envelope);
  if (live.store) await settleResult(live.store, result.ok);
  cell.live.close(live, cell.now());
  return { result };
}

/** What the callee still says within its grace is kept. */
async function endLate({ cell, ctx, live }: Running, answer: Promise<RunResult>): Promise<void> {
  const late = await endAfterGrace(cell, live, answer);
  if (late) cell.addLogs(ctx, live.envelope, checkLines(late.logs));
}

function countOut(key: string): void {
  const left = (inFlight.get(key) ?? 1) - 1;
  if (left === 0) inFlight.delete(key);
  else inFlight.set(key, left);
}

function endedBy(reason: EndReason, { fn }: CallEnvelope): IsolaError {
  const attempted = `call ${fn}`;
  if (reason === "deadline") {
    return new IsolaError("TIMEOUT", {
      attempted,
      found: "no answer within its deadline",
      required: "an answer within timeoutMs of the function and of its caller",
    });
  }
  if (reason === "shutdown") {
    return new IsolaError("DRAINING", { attempted, found: "the cell is ending" });
  }
  return new IsolaError("CONFLICT", { attempted, found: "a caller that has gone" });
}

/** Only tenant code that replaced the shim answers so. */
function notAResult(envelope: CallEnvelope): RunResult & { ok: false } {
  return failed(
    new IsolaError("RESULT_INVALID", {
      attempted: `call ${envelope.fn}`,
      found: "an answer that is no result",
    }),
  );
}

function failed(error: IsolaError): RunResult & { ok: false } {
  return { ok: false, error: error.toData(), logs: [] };
}

function tooMany(name: string, target: RouteTarget): IsolaError {
  return new IsolaError("RATE_LIMITED", {
    attempted: `call ${name}`,
    found: `${target.maxInFlight} calls in flight`,
    required: "fewer than its maxInFlight",
    retryAfterSeconds: 1,
  });
}
