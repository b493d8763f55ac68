/**
 * The driver of a session of code: while its invocation lasts, the workflow's code is in memory.
 * When it returns, what is left of the code is dropped, without its `catch` or `finally`.
 *
 * V1 The session talks through the scope of its call (`Scope.code`), never through a stub that came
 *    with the call: of two stubs that hold one another's invocation neither would ever be dropped.
 * V2 Every call that is opened is closed, on each way out.
 */
import {
  type CallEnvelope,
  type CodeClosed,
  type CodeEvent,
  type ErrorData,
  IsolaError,
} from "../../contract/index.ts";
import type { Cell } from "../cell.worker.ts";
import type { LoadedIsolate } from "../isolates.worker.ts";
import type { LiveCall } from "../live-calls.worker.ts";
import { classifyRuntimeError } from "../runtime-error.ts";
import { closeStepCalls } from "./code-step-call.worker.ts";
import type { IsolaEntry } from "../shim/entry.worker.ts";
import { checkLines } from "../shim-report.ts";
import { startPulse, stopPulse } from "../system-timers.worker.ts";

export interface CodeSession {
  readonly envelope: CallEnvelope;
  readonly event: CodeEvent;
  /** Whose actor keeps the run. */
  readonly shard: number;
  /** The actor's opening: attempts of another one are over. */
  readonly epoch: number;
  /** Runs code that is no version yet: the id under which it was kept. */
  readonly replayOf?: string;
}

/** Code of replays, by the loader's id: it would be copied on its way to the driver. */
const replayed = new Map<string, () => WorkerLoaderWorkerCode>();

/** @param code undefined: no driver needs it any more. */
export function keepReplayCode(
  loaderId: string,
  code: (() => WorkerLoaderWorkerCode) | undefined,
): void {
  if (code) replayed.set(loaderId, code);
  else replayed.delete(loaderId);
}

/** Why a session is no more: it was closed, or what ended it. */
export type CodeDriven =
  | { readonly ok: true }
  /** `isLoaded`: the code had begun. */
  | { readonly ok: false; readonly error: ErrorData; readonly isLoaded: boolean };

/** Never rejects. @param ctx of an invocation for this session alone. */
export async function driveCode(
  cell: Cell,
  ctx: ExecutionContext,
  session: CodeSession,
): Promise<CodeDriven> {
  const { envelope, event, shard, epoch, replayOf } = session;
  let isLoaded = false;
  let live: LiveCall | undefined;
  let pulse: number | undefined;
  try {
    const isolate = replayOf === undefined ? await acquire(cell, ctx, envelope) : undefined;
    isLoaded = true;
    live = enter(cell, envelope, isolate);
    live.codeShard = shard;
    live.codeEpoch = epoch;
    live.isReplay = replayOf !== undefined;
    pulse = startPulse(live);
    const entry = isolate ? cell.isolates.entry(isolate) : replayEntry(cell, replayOf ?? "");
    const closed = entry.runCode(envelope, event) as Promise<CodeClosed>;
    const settled = await Promise.race([closed, live.end]);
    if (settled === "shutdown") throw ending(envelope.fn);
    const logs = checkLines((settled as Partial<CodeClosed> | undefined)?.logs);
    cell.addLogs(ctx, envelope, logs);
    return { ok: true };
  } catch (thrown) {
    const error = thrown instanceof IsolaError ? thrown : classifyRuntimeError(thrown);
    return { ok: false, error: error.toData(), isLoaded };
  } finally {
    if (pulse !== undefined) stopPulse(pulse);
    if (live) {
      closeStepCalls(cell, live);
      cell.live.close(live, cell.now());
    }
  }
}

async function acquire(
  cell: Cell,
  ctx: ExecutionContext,
  envelope: CallEnvelope,
): Promise<LoadedIsolate> {
  const { isolate, cold } = await cell.isolates.acquire(envelope, ctx);
  if (cold) ctx.waitUntil(cell.isolates.trim());
  return isolate;
}

function replayEntry({ bindings }: Cell, loaderId: string): Fetcher<IsolaEntry> {
  const stub = bindings.loader.get(loaderId, () => {
    const code = replayed.get(loaderId);
    if (code) return code();
    throw new IsolaError("CONFLICT", { attempted: "replay a run", found: "the deploy is over" });
  });
  return stub.getEntrypoint<IsolaEntry>("IsolaEntry");
}

function enter(cell: Cell, envelope: CallEnvelope, isolate: LoadedIsolate | undefined): LiveCall {
  const live = cell.live.open(envelope, cell.now(), { isInside: true });
  if (isolate) {
    cell.isolates.enter(isolate);
    live.onLeave = () => cell.isolates.leave(isolate);
  }
  cell.sayEntered(envelope);
  return live;
}

function ending(name: string): IsolaError {
  return new IsolaError("DRAINING", { attempted: `run ${name}`, found: "the cell is ending" });
}
