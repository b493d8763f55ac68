/**
 * An attempt of a step that calls a function: a value in, a value out. In this cell, unless it has
 * to be placed elsewhere.
 */
import {
  type CallEnvelope,
  type ErrorData,
  IsolaError,
  type RouteTarget,
  type RunAttempt,
  type RunOutputHead,
  type RunResult,
  VALUE_TYPE,
  isWorkflow,
  toIsolaError,
  traceOfRun,
} from "../../contract/index.ts";
import type { Outcome, RunRef, RunReport, RunRequest } from "../../../workflow/index.ts";
import { type Cell, currentCell } from "../cell.worker.ts";
import { readValue } from "../forward-call.worker.ts";
import { classifyRuntimeError } from "../runtime-error.ts";
import { type HttpShape, httpParts } from "../shim/http-shape.ts";
import { encodeValue } from "../value-codec.ts";
import { drive, endDriven } from "./driver.worker.ts";
import { pauseBefore, placeByGateway, withTrace } from "./gateway-attempt.worker.ts";
import type { Dispatch } from "./performers.ts";
import { NOT_RUN, canceled, failed, notRun, runError } from "./run-errors.ts";
import { STAYS } from "./stays.ts";
import { type StepCall, envelopeOf, mustLeave } from "./step-call.worker.ts";
import { targetOf } from "./targets.worker.ts";
import { type WorkflowCall, startWorkflow } from "./workflow-call.worker.ts";

const NO_BODY_STATUS: ReadonlySet<number> = new Set([204, 205, 304]);

interface Applied {
  readonly cell: Cell;
  readonly run: RunRef;
  readonly effect: Dispatch;
  readonly call: StepCall;
  readonly http: HttpShape;
  readonly signal: AbortSignal;
}

/**
 * Never rejects.
 *
 * @param effect its input is a value.
 * @param signal the attempt is to end.
 */
export async function applyStep(
  run: RunRef,
  request: RunRequest,
  effect: Dispatch,
  signal: AbortSignal,
): Promise<RunReport> {
  const { step, token, operation } = effect;
  const cell = currentCell();
  const settled = (outcome: Outcome): RunReport => ({ type: "settled", step, token, outcome });
  if (!cell || operation.op !== "apply") return settled(failed(notRun("no cell around it")));
  const { method, headers, query, version } = operation;
  const call: StepCall = {
    run,
    name: operation.function,
    version: version === "latest" ? undefined : (version ?? effect.pin?.version),
    chain: [...(request.chain ?? []), request.workflow],
    trace: traceOfRun(run.id, request.headers["traceparent"]),
    step: { step, token, epoch: run.epoch },
    attempt: effect.attempt,
    idempotencyKey: effect.idempotencyKey,
    deadlineMs: effect.deadlineMs ?? 0,
  };
  const http = {
    ...(method !== undefined && { method }),
    ...(headers && { headers }),
    ...(query && { query }),
  };
  return apply({ cell, run, effect, call, http, signal });
}

async function apply(applied: Applied): Promise<RunReport> {
  const { effect, signal } = applied;
  const { step, token } = effect;
  for (;;) {
    const { report, notRun: why } = await applyOnce(applied);
    if (report) return report;
    if (!signal.aborted && why) await pauseBefore(why);
    if (signal.aborted) return { type: "settled", step, token, outcome: canceled() };
  }
}

type Tried =
  | { readonly report: RunReport; readonly notRun?: undefined }
  | { readonly report?: undefined; readonly notRun: ErrorData };

async function applyOnce(applied: Applied): Promise<Tried> {
  const { cell, run, effect, call } = applied;
  const { step, token } = effect;
  const settled = (outcome: Outcome): Tried => ({
    report: { type: "settled", step, token, outcome },
  });
  try {
    await cell.routing();
    const target = await targetOf(cell, { ...call, namespace: run.namespace });
    const { input: held } = effect;
    const input = "value" in held ? held.value : undefined;
    if (
      !isWorkflow(target.form) &&
      (effect.isAway || mustLeave(cell, run, call.name, target, effect.isSuspect))
    ) {
      return { report: await applyElsewhere(applied, target, input) };
    }
    const result = await applyHere(applied, target, input);
    if (result.ok) return settled(completed(result.value));
    if (NOT_RUN.has(result.error.code)) return { notRun: result.error };
    return settled(failed(result.error, result.thrown));
  } catch (thrown) {
    const error = thrown instanceof IsolaError ? thrown : classifyRuntimeError(thrown);
    if (NOT_RUN.has(error.code)) return { notRun: error.toData() };
    return settled(failed(error.toData()));
  }
}

async function applyHere(
  { cell, call, http, signal }: Applied,
  target: RouteTarget,
  input: unknown,
): Promise<RunResult> {
  const envelope = envelopeOf(cell, call, target);
  if (isWorkflow(target.form))
    return startWorkflow(cell, { envelope, target, input, ...attempted(envelope) });
  const end = (): void => endDriven(cell, envelope.id);
  signal.addEventListener("abort", end);
  const driven = await drive({
    envelope,
    target,
    ask: (entry) => entry.run(envelope, input, undefined, http),
    isRecorded: true,
    // The run's own timer ends it, unless the run knows of none.
    isWatched: call.deadlineMs > 0 || envelope.dl === 0,
  });
  signal.removeEventListener("abort", end);
  return driven.result;
}

function attempted(envelope: CallEnvelope): Pick<WorkflowCall, "attempt"> {
  const { rs } = envelope;
  return rs ? { attempt: { ...envelope, rs } } : {};
}

async function applyElsewhere(
  { cell, effect, call, http, signal }: Applied,
  target: RouteTarget,
  input: unknown,
): Promise<RunReport> {
  const { step, token } = effect;
  const isData = target.form !== "http" && target.form !== "entrypoint";
  const { request, body } = requestFor(isData, http, input);
  const { isAway } = effect;
  const attempt = { ...attemptOf(call, target, request), ...(isAway && { isAway }) };
  const placed = await placeByGateway(cell, attempt, body, signal);
  switch (placed.kind) {
    case "answered": {
      const result = await answerOf(placed.output, placed.body, call.name);
      const outcome = result.ok ? completed(result.value) : failed(result.error);
      return { type: "settled", step, token, outcome };
    }
    case "refused":
      return { type: "settled", step, token, outcome: failed(placed.error, placed.thrown) };
    case "canceled":
      return { type: "settled", step, token, outcome: canceled() };
    case "stays":
      return { type: "settled", step, token, outcome: STAYS };
    case "interrupted": {
      const { where, error } = placed;
      return { type: "interrupted", attempts: [{ step, token }], where, error: runError(error) };
    }
  }
}

function completed(value: unknown): Outcome {
  return { ok: true, output: { value } };
}

/** The head of an attempt for the gateway. */
export function attemptOf(
  { run, name, chain, trace, step, attempt, idempotencyKey, deadlineMs }: StepCall,
  { version }: Pick<RouteTarget, "version">,
  request: RunAttempt["request"],
): RunAttempt {
  return {
    namespace: run.namespace,
    function: name,
    version,
    attempt,
    idempotencyKey,
    request: withTrace(request, trace),
    step: { run: run.id, call: "", ...step, chain, deadlineMs },
  };
}

/** A request of the gateway's own kind: the value of a plain function, or a request as HTTP. */
function requestFor(
  isData: boolean,
  http: HttpShape,
  input: unknown,
): { readonly request: RunAttempt["request"]; readonly body: Uint8Array } {
  const base = { url: "http://function/", prefix: "" };
  if (isData) {
    const headers = [
      ["content-type", VALUE_TYPE],
      ["accept", VALUE_TYPE],
    ] as const;
    return { request: { ...base, method: "POST", headers }, body: encodeValue(input) };
  }
  const { method, search, headers, body } = httpParts(http, input);
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const request = { ...base, url: `${base.url}${search}`, method, headers };
  return { request, body: bytes ?? new Uint8Array(0) };
}

async function answerOf(
  { status, headers }: RunOutputHead,
  body: Uint8Array,
  name: string,
): Promise<RunResult> {
  const isEmpty = NO_BODY_STATUS.has(status);
  const response = new Response(isEmpty ? null : (body as Uint8Array<ArrayBuffer>), {
    status,
    headers: headers.map(([key, value]): [string, string] => [key, value]),
  });
  try {
    if (response.ok) return { ok: true, value: await readValue(response), logs: [] };
    const found = `status ${String(status)}: ${(await response.text()).slice(0, 500)}`;
    const parts = { attempted: `call ${name}`, found, required: "a status below 400" };
    return { ok: false, error: new IsolaError("FUNCTION_ERROR", parts).toData(), logs: [] };
  } catch (thrown) {
    return { ok: false, error: toIsolaError(thrown, `call ${name}`).toData(), logs: [] };
  }
}
