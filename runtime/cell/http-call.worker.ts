/**
 * The driver of an HTTP call: the invocation that the gateway's request made is the one that runs
 * the tenant. When it returns, what is left of the tenant's invocation is dropped without running
 * its `catch` or `finally`: that is how a deadline ends a call.
 *
 * D1 Every call that is opened is closed, on each way out.
 * D2 At the deadline the caller gets its answer at once; the tenant has `graceMs` to react to its
 *    signal before it is dropped. Likewise when the client goes.
 * D3 The request passes untouched: the envelope stands in its `cf`, private headers were dropped
 *    by the gateway. Of the tenant's answer only what the shim reports is read.
 */
import {
  type CallEnvelope,
  type CallReply,
  type EnvelopeCarrier,
  type ErrorData,
  IsolaError,
  LIMITS,
  REPLY_HEADER,
  SHIM_HEADER,
  type ThrownData,
  unpackEnvelope,
} from "../contract/index.ts";
import { settleAnswer } from "./call-store.worker.ts";
import type { Cell } from "./cell.worker.ts";
import type { AcquiredIsolate } from "./isolates.worker.ts";
import type { EndReason, LiveCall } from "./live-calls.worker.ts";
import { classifyRuntimeError } from "./runtime-error.ts";
import { parseReport } from "./shim-report.ts";
import { armDeadline, disarm, isLate } from "./system-timers.worker.ts";

/** Body of an answer in which the platform speaks for the function. */
export interface FaultBody {
  readonly error: ErrorData;
  readonly thrown?: ThrownData;
}

/** @param cf of the request: its envelope; reading it takes its text apart each time. */
export async function handleHttpCall(
  cell: Cell,
  request: Request,
  cf: unknown,
  ctx: ExecutionContext,
): Promise<Response> {
  const carrier = cf as EnvelopeCarrier;
  const call = unpackEnvelope(carrier);
  const startedAtMs = cell.now();
  let acquired: AcquiredIsolate;
  try {
    const isolate = cell.isolates.loaded(call);
    acquired = isolate
      ? { isolate, cold: false, loadMs: 0 }
      : await cell.isolates.acquire(call, ctx);
  } catch (thrown) {
    const error = thrown instanceof IsolaError ? thrown : classifyRuntimeError(thrown);
    logOwn(cell, error, call, ctx);
    return fault({ error: error.toData() }, { cold: 1, loadMs: cell.now() - startedAtMs });
  }
  if (acquired.cold) ctx.waitUntil(cell.isolates.trim());
  return runHttpCall(cell, request, { call, text: carrier.c }, acquired, ctx);
}

async function runHttpCall(
  cell: Cell,
  request: Request,
  { call, text }: { readonly call: CallEnvelope; readonly text: string },
  acquired: AcquiredIsolate,
  ctx: ExecutionContext,
): Promise<Response> {
  const { isolate } = acquired;
  const live = cell.live.open(call, cell.now(), { text });
  cell.isolates.enter(isolate);
  live.onLeave = () => cell.isolates.leave(isolate);
  cell.sayEntered(call);
  const timer = armDeadline(live, cell.now());
  const fresh = call.fr === 1;
  const answer = (
    fresh
      ? cell.isolates.freshHttpEntry(isolate).then((entry) => entry.fetch(request))
      : cell.isolates.httpEntry(isolate).fetch(request)
  ).catch((thrown: unknown) => classifyRuntimeError(thrown));
  request.signal.addEventListener("abort", () => {
    live.finish("disconnect");
    ctx.waitUntil(endAfterGrace(cell, live, answer));
  });
  const settled = await Promise.race([answer, live.end]);
  disarm(timer);
  const nowMs = cell.now();
  const late = isLate(call, nowMs);
  if (late) live.finish("deadline");
  if (late || typeof settled === "string") {
    ctx.waitUntil(endAfterGrace(cell, live, answer));
    return ended(await live.end, live, nowMs);
  }
  const answered = live.store ? await settleAnswer(live.store, settled) : settled;
  cell.live.close(live, nowMs);
  const reply = {
    cold: acquired.cold || fresh ? 1 : 0,
    loadMs: acquired.loadMs,
    runMs: nowMs - live.startedAtMs,
  } as const;
  if (answered instanceof IsolaError) {
    logOwn(cell, answered, call, ctx);
    return fault({ error: answered.toData() }, reply);
  }
  return finish(cell, answered, call, reply, ctx);
}

/** What the runtime says of the function is for its owner alone, who looks into the logs. */
function logOwn(cell: Cell, error: IsolaError, call: CallEnvelope, ctx: ExecutionContext): void {
  if (error.code !== "FUNCTION_ERROR") return;
  const { attempted, found } = error.parts;
  cell.addLogs(ctx, call, [{ atMs: cell.now(), level: "error", text: `${attempted}: ${found}` }]);
}

/** The tenant's answer, with its report taken off and ours put on; most answers pass untouched. */
function finish(
  cell: Cell,
  response: Response,
  call: CallEnvelope,
  reply: Omit<CallReply, "error">,
  ctx: ExecutionContext,
): Response {
  const header = response.headers.get(SHIM_HEADER);
  if (header === null && reply.cold === 0 && !response.headers.has(REPLY_HEADER)) return response;
  const report = header === null ? {} : parseReport(header);
  if (report.logs) cell.addLogs(ctx, call, report.logs);
  if (report.error) {
    const { error, thrown } = report;
    if (thrown) {
      const text = thrown.stack || `${thrown.name}: ${thrown.message}`;
      cell.addLogs(ctx, call, [{ atMs: cell.now(), level: "error", text }]);
    }
    return fault(thrown ? { error, thrown } : { error }, reply);
  }
  const copy = new Response(response.body, response);
  copy.headers.delete(SHIM_HEADER);
  copy.headers.set(REPLY_HEADER, JSON.stringify(reply satisfies CallReply));
  return copy;
}

function fault(body: FaultBody, reply: { cold: 0 | 1; loadMs: number; runMs?: number }): Response {
  const header: CallReply = { runMs: 0, ...reply, error: body.error.code };
  return Response.json(body, {
    status: 500,
    headers: { [REPLY_HEADER]: JSON.stringify(header) },
  });
}

function ended(reason: EndReason, live: LiveCall, nowMs: number): Response {
  const tookMs = nowMs - live.startedAtMs;
  const error =
    reason === "deadline"
      ? new IsolaError("TIMEOUT", {
          attempted: `call ${live.envelope.fn}`,
          found: `no answer after ${tookMs} ms`,
          required: "an answer within its timeoutMs",
        })
      : new IsolaError("DRAINING", {
          attempted: `call ${live.envelope.fn}`,
          found: "the cell is ending",
          retryAfterSeconds: 1,
        });
  return fault({ error: error.toData() }, { cold: 0, loadMs: 0, runMs: tookMs });
}

/**
 * The tenant may still react; when this returns, its invocation is dropped.
 *
 * @returns its answer, if one came.
 */
export async function endAfterGrace<T>(
  cell: Cell,
  live: LiveCall,
  answer: Promise<T>,
): Promise<T | undefined> {
  const grace = scheduler.wait(LIMITS.graceMs).then(() => undefined);
  const late = await Promise.race([answer.catch(() => undefined), grace]);
  cell.live.close(live, cell.now());
  return late;
}
