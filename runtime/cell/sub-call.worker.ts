/**
 * Calls between functions: resolved in this cell's routing table, run in this cell.
 *
 * S1 A function reaches only its own namespace.
 * S2 The chain of callers travels along: deeper than `callDepthMax` or the same function more than
 *    `callRepeatMax` times is refused, so that cycles end.
 * S3 A sub-call never outlives its caller's deadline, one made in its grace not that; when the
 *    caller's invocation ends, the sub-call's driver ends with it.
 */
import {
  type CallEnvelope,
  type ErrorData,
  type FunctionRoute,
  IsolaError,
  LIMITS,
  PROBATION_SLOT,
  type RouteTarget,
  type ScopeCallOptions,
  type ScopeCallResult,
  blockBoundMs,
  callUnder,
  childTrace,
  formatTraceparent,
  functionKey,
  isWorkflow,
  newCallId,
  parseTraceparent,
  pickTarget,
  suspectKey,
} from "../contract/index.ts";
import { sharedStore, storeOf } from "./call-store.worker.ts";
import type { Cell } from "./cell.worker.ts";
import { type DrivenResult, driveCall } from "./drive-call.worker.ts";
import { forwardCall } from "./forward-call.worker.ts";
import type { LiveCall } from "./live-calls.worker.ts";
import { type WorkflowCall, startWorkflow } from "./runs/workflow-call.worker.ts";
import type { SubCallRequest } from "./sub-call-request.ts";
import { recordCall } from "./sub-call-record.worker.ts";
import { giveTurn, isLate } from "./system-timers.worker.ts";

/** @param ctx of an invocation for this call alone: what is left of the callee ends with it. */
export async function callFunction(
  cell: Cell,
  caller: LiveCall,
  ctx: ExecutionContext,
  request: SubCallRequest,
): Promise<ScopeCallResult> {
  const table = await cell.routing();
  await giveTurn(cell.live, cell.now());
  const { ns } = caller.envelope;
  const route = typeof request.name === "string" ? table.route(ns, request.name) : undefined;
  if (!route) throw notFound(request.name, ns);
  const chain = checkChain(caller.envelope, request.name);
  const target = chooseTarget(cell, route, request.options);
  const envelope = subEnvelope(cell, caller.envelope, chain, request.name, target);
  // Its run is made by others: it is nobody's company here.
  if (isWorkflow(target.form)) {
    const call = { envelope, target, input: request.input, ...attemptOf(cell, caller) };
    return startWorkflow(cell, call);
  }
  keepAlone(cell, caller.envelope, envelope);
  const startedAtMs = cell.now();
  const driven = mustLeave(cell, envelope, target)
    ? await forwarded(cell, { envelope, target, caller, request })
    : await driveCall(cell, ctx, {
        envelope,
        target,
        caller,
        ask: (entry) => entry.run(envelope, request.input, request.options.method),
      });
  recordCall(cell, ctx, { envelope, target, caller: caller.envelope, startedAtMs, ...driven });
  const { result } = driven;
  cell.addLogs(ctx, envelope, result.logs);
  return result.ok
    ? { ok: true, value: result.value }
    : { ok: false, error: seenByCaller(result.error, request.name) };
}

/** The attempt of a run's step that the caller works for, with the place of its next call. */
function attemptOf(cell: Cell, caller: LiveCall): Pick<WorkflowCall, "attempt"> {
  let outermost = caller;
  while (outermost.caller) outermost = outermost.caller;
  const { rs } = outermost.envelope;
  const attempt = rs && storeOf(cell, caller).attempt;
  if (!attempt) return {};
  caller.callsMade += 1;
  const place = { run: rs.run, ...callUnder(attempt, caller.callsMade) };
  return { attempt: { ...outermost.envelope, rs: place } };
}

/** The other cell keeps its lines and knows whether it was cold; what is seen here is recorded. */
async function forwarded(
  cell: Cell,
  { envelope, target, caller, request }: Work,
): Promise<DrivenResult> {
  const shared = { ...envelope, ...(await sharedStore(cell, caller)) };
  const result = await forwardCall(cell, shared, target, request);
  return { result: { ...result, logs: [] }, cold: false, loadMs: 0 };
}

interface Work {
  readonly envelope: CallEnvelope;
  readonly target: RouteTarget;
  readonly caller: LiveCall;
  readonly request: SubCallRequest;
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
  const nowMs = cell.now();
  const own = target.timeoutMs === 0 ? 0 : nowMs + target.timeoutMs;
  const parent = parseTraceparent(caller.tp);
  return {
    id,
    ns: caller.ns,
    fn: name,
    v: target.version,
    dl: earlier(own, isLate(caller, nowMs) ? caller.dl + LIMITS.graceMs : caller.dl),
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

/** On trial a version runs alone: nobody could tell its end from that of whom it calls. */
function keepAlone(cell: Cell, caller: CallEnvelope, callee: CallEnvelope): void {
  if (cell.alone.size === 0 || cell.bindings.slot !== PROBATION_SLOT) return;
  const [one = "", other] = [caller, callee].map(({ ns, fn, v }) => suspectKey(ns, fn, v));
  if (one === other || !cell.alone.has(one)) return;
  throw new IsolaError("CAPACITY", {
    attempted: `call ${callee.fn}`,
    found: "a caller that is suspected of ending its cell, and runs alone until it is cleared",
    required: "its call to end without that",
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
