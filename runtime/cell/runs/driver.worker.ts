/**
 * The driver of what a run has its tenant do: an attempt of a function, the evaluation of a
 * definition, a call of hooks. Each in an invocation of its own, so that its end drops what is
 * left of the tenant: that is how timeout and cancellation work.
 *
 * Asked through a loopback entrypoint, because only an invocation that ends by itself can be ended;
 * what is asked and answered lies in this process's memory meanwhile, since values would otherwise
 * be copied once more each way.
 */
import { WorkerEntrypoint, exports } from "cloudflare:workers";
import { type CallEnvelope, IsolaError, type RunResult, assert } from "../../contract/index.ts";
import { type Cell, currentCell } from "../cell.worker.ts";
import { type DrivenCall, type DrivenResult, driveCall } from "../drive-call.worker.ts";
import { recordCall } from "../sub-call-record.worker.ts";
import { type CodeDriven, type CodeSession, driveCode } from "./code-driver.worker.ts";

export interface Asked extends DrivenCall {
  /** It is a call of its own for usage, metrics and traces. */
  readonly isRecorded: boolean;
}

interface Work {
  readonly call: Asked;
  driven?: DrivenResult;
}

/** What is asked of drivers, by the id of the call. */
const works = new Map<string, Work>();

const reports = new Map<string, { readonly envelope: CallEnvelope; readonly result: RunResult }>();

export class Driver extends WorkerEntrypoint {
  async drive(callId: string): Promise<void> {
    const work = works.get(callId);
    const cell = currentCell();
    if (!work || !cell) return;
    const startedAtMs = cell.now();
    const { envelope, target, isRecorded } = work.call;
    work.driven = await driveCall(cell, this.ctx, work.call);
    if (isRecorded) recordCall(cell, this.ctx, { envelope, target, startedAtMs, ...work.driven });
    addReport(cell, this.ctx, envelope, work.driven.result);
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
 * Runs a call in a driver of its own.
 *
 * @throws IsolaError what kept it from running.
 */
export async function drive(call: Asked): Promise<DrivenResult> {
  const { id } = call.envelope;
  const work: Work = { call };
  works.set(id, work);
  try {
    await entrypoints.Driver.drive(id);
  } finally {
    works.delete(id);
  }
  if (work.driven) return work.driven;
  throw new IsolaError("INTERNAL", {
    attempted: `run ${call.envelope.fn}`,
    found: "a driver that ended before it answered",
  });
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
