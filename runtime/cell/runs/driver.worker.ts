/**
 * Drivers of what runs have their tenants do: attempts of functions, definitions, calls of hooks.
 *
 * V1 A driver is an invocation of a loopback entrypoint, because only an invocation that ends by
 *    itself can be ended: with it goes what is left of the tenant. That is how timeout and
 *    cancellation work.
 * V2 A driver has one call at a time. After one that ended by itself it takes the next one: an
 *    invocation costs as much as a call. After one that had to be ended it ends.
 * V3 A driver that ends before its call has answered says so to whoever waits.
 *
 * What is asked and answered lies in this process's memory meanwhile, since values would otherwise
 * be copied once more each way.
 */
import { WorkerEntrypoint, exports } from "cloudflare:workers";
import { type CallEnvelope, IsolaError, type RunResult, assert } from "../../contract/index.ts";
import { type Cell, currentCell } from "../cell.worker.ts";
import { type DrivenCall, type DrivenResult, driveCall } from "../drive-call.worker.ts";
import { recordCall } from "../sub-call-record.worker.ts";
import { armLife, disarm } from "../system-timers.worker.ts";
import { type CodeDriven, type CodeSession, driveCode } from "./code-driver.worker.ts";

export interface Asked extends DrivenCall {
  /** It is a call of its own for usage, metrics and traces. */
  readonly isRecorded: boolean;
}

interface Work {
  readonly call: Asked;
  readonly done: (driven: DrivenResult) => void;
  readonly fail: (reason: unknown) => void;
}

/** One invocation of the entrypoint below. */
interface Driving {
  work: Work | undefined;
  /** Set while it waits for work; undefined ends it. */
  wake: ((work: Work | undefined) => void) | undefined;
  isOld: boolean;
}

/** How long a driver takes calls: what tenants may have left in it goes then. */
const LIFE_MS = 2_000;
/** Drivers that wait for work, at most. */
const IDLE_MAX = 64;

const drivings = new Map<string, Driving>();
/** Those that wait, the last used last. */
const idle: Driving[] = [];
let started = 0;

const reports = new Map<string, { readonly envelope: CallEnvelope; readonly result: RunResult }>();

export class Driver extends WorkerEntrypoint {
  /** Until its work is done, and nobody had more for it. */
  async serve(id: string): Promise<void> {
    const driving = drivings.get(id);
    const cell = currentCell();
    if (!driving || !cell) return;
    const life = armLife(LIFE_MS, () => {
      driving.isOld = true;
      end(driving);
    });
    while (driving.work) {
      const { call, done } = driving.work;
      const driven = await this.#drive(cell, call);
      driving.work = undefined;
      // Before its caller knows: what follows at once is this driver's, too.
      const next = driving.isOld || driven.isDropped ? undefined : nextWork(driving);
      done(driven);
      driving.work = await next;
    }
    disarm(life);
  }

  async #drive(cell: Cell, { isRecorded, ...call }: Asked): Promise<DrivenResult> {
    const { envelope, target } = call;
    const startedAtMs = cell.now();
    const driven = await driveCall(cell, this.ctx, call);
    if (isRecorded) recordCall(cell, this.ctx, { envelope, target, startedAtMs, ...driven });
    addReport(cell, this.ctx, envelope, driven.result);
    return driven;
  }

  /** Lines of a question that the actor asked itself. */
  async keepLogs(callId: string): Promise<void> {
    const said = reports.get(callId);
    const cell = currentCell();
    if (said && cell) addReport(cell, this.ctx, said.envelope, said.result);
  }

  /** A session of code. */
  code(session: CodeSession): Promise<CodeDriven> {
    const cell = currentCell();
    assert(cell !== undefined, "a cell drives its sessions");
    return driveCode(cell, this.ctx, session);
  }
}

/** This Worker's own entrypoint, as its code addresses it. */
const entrypoints = exports as unknown as { readonly Driver: Fetcher<Driver> };

/**
 * Runs a call in a driver.
 *
 * @throws IsolaError what kept it from running.
 */
export function drive(call: Asked): Promise<DrivenResult> {
  const { promise, resolve: done, reject: fail } = Promise.withResolvers<DrivenResult>();
  const work: Work = { call, done, fail };
  const waiting = idle.pop();
  if (waiting) {
    const { wake } = waiting;
    waiting.wake = undefined;
    waiting.work = work;
    wake?.(work);
  } else void begin(work);
  return promise;
}

/** Never rejects. */
async function begin(work: Work): Promise<void> {
  started += 1;
  const id = String(started);
  const driving: Driving = { work, wake: undefined, isOld: false };
  drivings.set(id, driving);
  let found = "a driver that ended before it answered";
  try {
    await entrypoints.Driver.serve(id);
  } catch (thrown) {
    found = String(thrown).slice(0, 200);
  }
  drivings.delete(id);
  end(driving);
  const { envelope } = (driving.work ?? work).call;
  // Of work that was done nobody hears this (V3).
  (driving.work ?? work).fail(
    new IsolaError("INTERNAL", { attempted: `run ${envelope.fn}`, found }),
  );
}

/** Resolves when somebody has more for it; with nothing, when it is to end. */
function nextWork(driving: Driving): Promise<Work | undefined> | undefined {
  if (idle.length >= IDLE_MAX) return undefined;
  idle.push(driving);
  return new Promise((resolve) => {
    driving.wake = resolve;
  });
}

/** It gets no more work. */
function end(driving: Driving): void {
  const at = idle.indexOf(driving);
  if (at !== -1) idle.splice(at, 1);
  driving.wake?.(undefined);
  driving.wake = undefined;
}

function addReport(
  cell: Cell,
  ctx: ExecutionContext,
  envelope: CallEnvelope,
  result: RunResult,
): void {
  cell.addLogs(ctx, envelope, result.logs);
  if (result.ok || !result.thrown) return;
  const { stack, name, message } = result.thrown;
  const text = stack || `${name}: ${message}`;
  cell.addLogs(ctx, envelope, [{ atMs: cell.now(), level: "error", text }]);
}

/** Console lines leave with an invocation, which an actor's own is not. */
export async function keepLogs(envelope: CallEnvelope, result: RunResult): Promise<void> {
  reports.set(envelope.id, { envelope, result });
  try {
    await entrypoints.Driver.keepLogs(envelope.id);
  } finally {
    reports.delete(envelope.id);
  }
}

/** Ends a call that is being driven: its signal fires, and after the grace it is dropped. */
export function endDriven(cell: Cell, callId: string): void {
  cell.live.get(callId)?.finish("canceled");
}
