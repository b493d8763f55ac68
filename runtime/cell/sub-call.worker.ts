/**
 * Calls between functions: resolved in this cell's routing table, run in this cell.
 *
 * S1 A function reaches only its own namespace.
 * S2 The chain of callers travels along: deeper than `callDepthMax` or the same function more than
 *    `callRepeatMax` times is refused, so that cycles end.
 * S3 A sub-call never outlives its caller's deadline; when the caller's invocation ends, the
 *    sub-call's driver ends with it.
 */
import { WorkerEntrypoint, exports } from "cloudflare:workers";
import {
  type CallEnvelope,
  type ErrorData,
  type FunctionRoute,
  IsolaError,
  LIMITS,
  PROBATION_SLOT,
  type RouteTarget,
  type RunResult,
  type ScopeCallOptions,
  type ScopeCallResult,
  blockBoundMs,
  childTrace,
  formatTraceparent,
  functionKey,
  newCallId,
  parseTraceparent,
  pickTarget,
  suspectKey,
} from "../contract/index.ts";
import { type Cell, currentCell } from "./cell.worker.ts";
import { forwardCall } from "./forward-call.worker.ts";
import type { LiveCall } from "./live-calls.worker.ts";
import { classifyRuntimeError } from "./runtime-error.ts";
import type { SubCallRequest } from "./sub-call-request.ts";
import { checkLines, checkResult } from "./shim-report.ts";
import { recordSubCall } from "./sub-call-record.worker.ts";
import { armDeadline, disarm } from "./system-timers.worker.ts";

/** Calls in flight per function in this cell, for `maxInFlight`. */
const inFlight = new Map<string, number>();

export async function callFunction(
  cell: Cell,
  caller: LiveCall,
  ctx: ExecutionContext,
  request: SubCallRequest,
): Promise<ScopeCallResult> {
  const table = await cell.routing();
  const { ns } = caller.envelope;
  const route = typeof request.name === "string" ? table.route(ns, request.name) : undefined;
  if (!route) throw notFound(request.name, ns);
  const chain = checkChain(caller.envelope, request.name);
  const target = chooseTarget(cell, route, request.options);
  const envelope = subEnvelope(cell, caller.envelope, chain, request.name, target);
  keepApart(cell, caller.envelope, envelope);
  if (mustLeave(cell, envelope, target)) return forwardCall(cell, envelope, target, request);
  const key = functionKey(ns, request.name);
  const running = inFlight.get(key) ?? 0;
  if (target.maxInFlight > 0 && running >= target.maxInFlight) throw tooMany(request.name, target);
  inFlight.set(key, running + 1);
  try {
    const driver = (exports as unknown as DriverExports).Driver({ props: {} });
    const startedAtMs = cell.now();
    const { result, cold, loadMs } = await driver.run(
      envelope,
      request.input,
      request.options.method,
    );
    recordSubCall(cell, ctx, {
      envelope,
      target,
      caller: caller.envelope,
      result,
      cold,
      loadMs,
      startedAtMs,
    });
    cell.addLogs(ctx, envelope, result.logs);
    return result.ok
      ? { ok: true, value: result.value }
      : { ok: false, error: seenByCaller(result.error, request.name) };
  } finally {
    const left = (inFlight.get(key) ?? 1) - 1;
    if (left === 0) inFlight.delete(key);
    else inFlight.set(key, left);
  }
}

interface DriverExports {
  Driver(options: { props: object }): {
    run(envelope: CallEnvelope, input: unknown, method: string | undefined): Promise<DrivenResult>;
  };
}

export interface DrivenResult {
  readonly result: RunResult;
  readonly cold: boolean;
  readonly loadMs: number;
}

/** The invocation that runs one sub-call; when it returns, the tenant's invocation is dropped. */
export class Driver extends WorkerEntrypoint {
  async run(
    envelope: CallEnvelope,
    input: unknown,
    method: string | undefined,
  ): Promise<DrivenResult> {
    const cell = currentCell();
    if (!cell) throw new IsolaError("INTERNAL", { attempted: "run a call", found: "no cell" });
    const acquired = await cell.isolates.acquire(envelope, this.ctx);
    const { isolate, loadMs } = acquired;
    const live = cell.live.open(envelope, cell.now());
    cell.isolates.enter(isolate);
    cell.sayEntered(envelope);
    const timer = armDeadline(live, cell.now());
    try {
      const entry =
        envelope.fr === 1 ? await cell.isolates.freshEntry(isolate) : cell.isolates.entry(isolate);
      const answer = entry.run(envelope, input, method) as Promise<RunResult>;
      const settled = await Promise.race([answer, live.end.then(() => undefined)]);
      const result =
        settled === undefined
          ? await graceful(answer, envelope)
          : (checkResult(settled) ?? notAResult(envelope));
      return { result, cold: acquired.cold || envelope.fr === 1, loadMs };
    } catch (thrown) {
      const error = thrown instanceof IsolaError ? thrown : classifyRuntimeError(thrown);
      return { result: failed(error), cold: acquired.cold, loadMs };
    } finally {
      disarm(timer);
      cell.live.close(live, cell.now());
      cell.isolates.leave(isolate);
    }
  }
}

/** After the deadline the callee has its grace; its answer does not count any more. */
async function graceful(answer: Promise<RunResult>, envelope: CallEnvelope): Promise<RunResult> {
  const late = await Promise.race([answer.catch(() => undefined), scheduler.wait(LIMITS.graceMs)]);
  const logs = checkLines(late?.logs);
  const error = new IsolaError("TIMEOUT", {
    attempted: `call ${envelope.fn}`,
    found: "no answer within its deadline",
    required: "an answer within timeoutMs of the function and of its caller",
  });
  return { ...failed(error), logs };
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

/** What was thrown inside of the callee is the callee's: its caller learns that and by whom. */
function seenByCaller(error: ErrorData, name: string): ErrorData {
  if (error.code !== "FUNCTION_ERROR") return error;
  return new IsolaError("FUNCTION_ERROR", {
    attempted: `call ${name}`,
    found: error.parts.found,
  }).toData();
}

function checkChain(caller: CallEnvelope, name: string): readonly string[] {
  const chain = [...caller.ch, functionKey(caller.ns, caller.fn)];
  const key = functionKey(caller.ns, name);
  if (chain.length >= LIMITS.callDepthMax) {
    throw new IsolaError("CALL_DEPTH", {
      attempted: `call ${name}`,
      found: `a chain of ${chain.length} calls`,
      required: `at most ${LIMITS.callDepthMax}`,
    });
  }
  const repeats = chain.filter((one) => one === key).length;
  if (repeats >= LIMITS.callRepeatMax) {
    throw new IsolaError("CALL_LOOP", {
      attempted: `call ${name}`,
      found: `${repeats} calls of it in the chain ${chain.slice(-4).join(" → ")}`,
      required: `at most ${LIMITS.callRepeatMax}`,
    });
  }
  return chain;
}

function chooseTarget(cell: Cell, route: FunctionRoute, options: ScopeCallOptions): RouteTarget {
  if (options.version === undefined) {
    const target = pickTarget(route, cell.random.fraction());
    if (target) return target;
    throw notFound(route.name, route.namespace);
  }
  const target = route.targets.find(({ version }) => version === options.version);
  if (target) return target;
  throw new IsolaError("VERSION_NOT_FOUND", {
    attempted: `call version ${String(options.version)} of ${route.name}`,
    found: `live versions ${route.targets.map(({ version }) => version).join(", ")}`,
  });
}

function subEnvelope(
  cell: Cell,
  caller: CallEnvelope,
  chain: readonly string[],
  name: string,
  target: RouteTarget,
): CallEnvelope {
  const id = newCallId(cell.random);
  const own = target.timeoutMs === 0 ? 0 : cell.now() + target.timeoutMs;
  const parent = parseTraceparent(caller.tp);
  return {
    id,
    ns: caller.ns,
    fn: name,
    v: target.version,
    dl: earlier(own, caller.dl),
    tp: parent ? formatTraceparent(childTrace(parent, cell.random)) : caller.tp,
    at: 1,
    ik: id,
    ch: chain,
    sg: target.secretsGeneration,
    fr: target.reuse === "call" ? 1 : 0,
    mb: blockBoundMs(cell.table.namespace(caller.ns), target),
  };
}

/** The earlier of two deadlines, where 0 means none. */
function earlier(a: number, b: number): number {
  if (a === 0 || b === 0) return a + b;
  return Math.min(a, b);
}

/** Two that died in the probation cell together: nobody could tell which of them was it. */
function keepApart(cell: Cell, caller: CallEnvelope, callee: CallEnvelope): void {
  if (cell.apart.size === 0 || cell.bindings.slot !== PROBATION_SLOT) return;
  const [one, other] = [caller, callee].map(({ ns, fn, v }) => suspectKey(ns, fn, v));
  if (one === other || !cell.apart.has(one ?? "") || !cell.apart.has(other ?? "")) return;
  throw new IsolaError("CAPACITY", {
    attempted: `call ${callee.fn}`,
    found: "a function that is suspected of ending its cell, as its caller is",
    required: "one of the two to be cleared",
    retryAfterSeconds: 1,
  });
}

/**
 * In the probation cell a suspect's suspects stay with it: its one place is taken by their caller.
 */
function mustLeave(cell: Cell, envelope: CallEnvelope, target: RouteTarget): boolean {
  if (target.quarantined || target.backend !== "isolate") return true;
  if (cell.bindings.slot === PROBATION_SLOT) return false;
  return cell.suspects.has(suspectKey(envelope.ns, envelope.fn, envelope.v));
}

function notFound(name: unknown, namespace: string): IsolaError {
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `call ${JSON.stringify(name)} from a function`,
    found: `no such function in namespace ${namespace}`,
  });
}

function tooMany(name: string, target: RouteTarget): IsolaError {
  return new IsolaError("RATE_LIMITED", {
    attempted: `call ${name}`,
    found: `${target.maxInFlight} calls in flight`,
    required: "fewer than its maxInFlight",
    retryAfterSeconds: 1,
  });
}
