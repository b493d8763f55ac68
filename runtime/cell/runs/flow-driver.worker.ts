/**
 * What a run asks of its workflow's definition: the plan, and calls of hooks. In this cell, unless
 * the workflow has to run elsewhere.
 *
 * W1 A plan that a version gives every run alike is asked for once in a cell.
 * W2 What keeps a question from running at all, and what ends with a cell, is asked again: hooks
 *    and definitions are pure. A version that ends cells is quarantined, which ends the asking.
 */
import {
  type CallEnvelope,
  type ErrorData,
  IsolaError,
  type RouteTarget,
  type RunResult,
  type ThrownData,
  VALUE_TYPE,
  isWorkflow,
  toIsolaError,
  traceOfRun,
} from "../../contract/index.ts";
import type {
  HookResult,
  Pin,
  Plan,
  RunError,
  RunRef,
  RunReport,
  RunRequest,
} from "../../../workflow/index.ts";
import { planHash } from "../../../workflow/builder/index.ts";
import { type Cell, currentCell } from "../cell.worker.ts";
import type { LoadedIsolate } from "../isolates.worker.ts";
import { classifyRuntimeError } from "../runtime-error.ts";
import { within } from "../shard/system-timers.worker.ts";
import { checkResult } from "../shim-report.ts";
import type { FlowPlanned, FlowQuestion, FlowRun } from "../shim/flow-calls.worker.ts";
import { decodeValue, encodeValue } from "../value-codec.ts";
import { attemptOf } from "./apply-step.worker.ts";
import { drive, keepLogs } from "./driver.worker.ts";
import { pauseBefore, placeByGateway } from "./gateway-attempt.worker.ts";
import type { EffectOf } from "./performers.ts";
import { toWorkflowForm } from "./workflow-form.ts";
import { type PlanName, namesOf } from "./plan-names.ts";
import { NOT_RUN, notRun, runError } from "./run-errors.ts";
import { type StepCall, envelopeOf, mustLeave } from "./step-call.worker.ts";
import { liveTarget, targetOf } from "./targets.worker.ts";

/** How long a definition, or the hooks of one transition, may take. */
const ANSWER_MAX_MS = 30_000;
const KEPT_PLANS = 500;

/** What stands beside a run for its definition. */
export interface FlowContext {
  readonly run: RunRef;
  readonly request: RunRequest;
  readonly startedAtMs: number;
  /** Its input as a value. */
  readonly input: unknown;
}

/** Plans that a version gives every run, by version. */
const fixedPlans = new Map<string, FlowPlanned & { readonly names: readonly PlanName[] }>();
const hashes = new WeakMap<Plan, Promise<string>>();

/** The plan that every run of the version has, and its pins of now, where asking is no need. */
export function knownPlan(namespace: string, request: RunRequest): RunRequest["planned"] {
  const cell = currentCell();
  const { workflow, version = 0 } = request;
  const known = fixedPlans.get(versionKey(namespace, workflow, version));
  if (!cell || !known) return undefined;
  const pins: Record<string, Pin> = {};
  for (const { name, isWorkflow: asWorkflow } of known.names) {
    const target = liveTarget(cell, { namespace, name, version: undefined });
    if (!target || target.quarantined || (asWorkflow && !isWorkflow(target.form))) return undefined;
    pins[name] = toPin(target);
  }
  return { plan: known.plan, pins };
}

/** Never rejects: `planned` or `planFailed`. */
export async function planRun(context: FlowContext): Promise<RunReport> {
  try {
    const { run, request } = context;
    const { workflow, version = 0 } = request;
    const key = versionKey(run.namespace, workflow, version);
    const known = fixedPlans.get(key);
    const planned =
      known ?? ((await ask(context, { ask: "plan", run: flowRun(context) })) as FlowPlanned);
    if (planned.isFixed && !known) keepPlan(key, planned);
    const pins = await pinsOf(run, planned.plan);
    return { type: "planned", plan: planned.plan, pins };
  } catch (thrown) {
    return { type: "planFailed", error: faultOf(thrown) };
  }
}

/** Never rejects: `hooksReturned` or `hooksFailed`. */
export async function callHooks(
  context: FlowContext,
  plan: Plan,
  { batch, calls }: Pick<EffectOf<"hooks">, "batch" | "calls">,
): Promise<RunReport> {
  try {
    const hash = await hashOf(plan);
    const question = { ask: "hooks", run: flowRun(context), hash, calls } as const;
    const results = (await ask(context, question)) as HookResult[];
    return { type: "hooksReturned", batch, results };
  } catch (thrown) {
    return { type: "hooksFailed", batch, error: faultOf(thrown) };
  }
}

/** The versions that a plan's names stand for now. Errors: `FUNCTION_NOT_FOUND` with the path. */
export async function pinsOf(run: RunRef, plan: Plan): Promise<Record<string, Pin>> {
  const cell = cellHere();
  await cell.routing();
  const pins: Record<string, Pin> = {};
  for (const { name, path, isWorkflow: asWorkflow } of namesOf(plan)) {
    if (Object.hasOwn(pins, name)) continue;
    const pin = await pinOf(cell, run, name, path, asWorkflow);
    pins[name] = pin;
  }
  return pins;
}

async function pinOf(
  cell: Cell,
  { namespace }: RunRef,
  name: string,
  path: string,
  asWorkflow: boolean,
): Promise<Pin> {
  const found = await targetOf(cell, { namespace, name, version: undefined }).catch(
    (thrown: unknown) => {
      if (thrown instanceof IsolaError && thrown.code === "FUNCTION_NOT_FOUND") return undefined;
      throw thrown;
    },
  );
  const isFit = found && (!asWorkflow || isWorkflow(found.form));
  if (!isFit) throw unknownName(path, name, namespace, asWorkflow);
  return toPin(found);
}

function toPin({ version, retry, timeoutMs, form }: RouteTarget): Pin {
  return { version, retry, timeoutMs, ...(isWorkflow(form) && { form: toWorkflowForm(form) }) };
}

/** Asks until it ran. @throws what the isolate answered. */
async function ask(context: FlowContext, question: FlowQuestion): Promise<unknown> {
  const cell = cellHere();
  await cell.routing();
  for (;;) {
    const result = await askOnce(cell, context, question);
    if (result.ok) return result.value;
    const { error, thrown } = result;
    if (!NOT_RUN.has(error.code) && error.code !== "CELL_LOST") throw new FlowFault(error, thrown);
    await pauseBefore(error);
  }
}

async function askOnce(
  cell: Cell,
  { run, request }: FlowContext,
  question: FlowQuestion,
): Promise<RunResult> {
  try {
    const { workflow, version, chain = [] } = request;
    const target = await targetOf(cell, { namespace: run.namespace, name: workflow, version });
    const call: StepCall = {
      run,
      name: workflow,
      version: target.version,
      // A chain that is not empty: values come from the platform.
      chain: [...chain, workflow],
      trace: traceOfRun(run.id, request.headers["traceparent"]),
      step: { step: "", token: 0, epoch: run.epoch },
      attempt: 1,
      idempotencyKey: `${run.id}/${question.ask}`,
      deadlineMs: cell.now() + ANSWER_MAX_MS,
    };
    if (mustLeave(cell, run, workflow, target, false)) {
      return await askElsewhere(cell, call, target, question);
    }
    const envelope = envelopeOf(cell, call, { ...target, reuse: "shared" });
    const isolate = cell.isolates.loaded(envelope);
    if (isolate) return await askHere(cell, isolate, envelope, question);
    // Loading belongs to an invocation that outlives nobody.
    const driven = await drive({
      envelope,
      target,
      ask: (entry) => entry.flow(envelope, question),
      isRecorded: false,
    });
    return driven.result;
  } catch (thrown) {
    const error = thrown instanceof IsolaError ? thrown : classifyRuntimeError(thrown);
    return { ok: false, error: error.toData(), logs: [] };
  }
}

/**
 * Asked by the actor itself: a driver of its own would double what a call of hooks costs, and they
 * need none. What never answers is given up; it is dropped with its isolate.
 */
async function askHere(
  cell: Cell,
  isolate: LoadedIsolate,
  envelope: CallEnvelope,
  question: FlowQuestion,
): Promise<RunResult> {
  const live = cell.live.open(envelope, cell.now(), { isWatched: true });
  cell.isolates.enter(isolate);
  live.onLeave = () => cell.isolates.leave(isolate);
  cell.sayEntered(envelope);
  try {
    const answer = cell.isolates.entry(isolate).flow(envelope, question) as Promise<RunResult>;
    const settled = await within(answer, ANSWER_MAX_MS);
    const result = settled === undefined ? tooLate(envelope) : (checkResult(settled) ?? noResult());
    if (result.logs.length > 0 || (!result.ok && result.thrown)) {
      await keepLogs(envelope, result);
    }
    return result;
  } finally {
    cell.live.close(live, cell.now());
  }
}

function tooLate({ fn }: CallEnvelope): RunResult {
  const parts = {
    attempted: `ask ${fn} for its plan or hooks`,
    found: `no answer after ${String(ANSWER_MAX_MS)} ms`,
    required: "hooks that answer at once",
  };
  return { ok: false, error: new IsolaError("TIMEOUT", parts).toData(), logs: [] };
}

/** Only tenant code that replaced the shim answers so. */
function noResult(): RunResult {
  const parts = { attempted: "ask a workflow", found: "an answer that is no result" };
  return { ok: false, error: new IsolaError("RESULT_INVALID", parts).toData(), logs: [] };
}

async function askElsewhere(
  cell: Cell,
  call: StepCall,
  target: RouteTarget,
  question: FlowQuestion,
): Promise<RunResult> {
  const headers = [
    ["content-type", VALUE_TYPE],
    ["accept", VALUE_TYPE],
  ] as const;
  const request = { method: "POST", url: "http://function/", prefix: "", headers };
  const attempt = attemptOf(call, target, request);
  const never = new AbortController().signal;
  const placed = await placeByGateway(cell, attempt, encodeValue(question), never);
  switch (placed.kind) {
    case "answered":
      return { ok: true, value: decodeValue(placed.body), logs: [] };
    case "refused": {
      const { error, thrown } = placed;
      return { ok: false, error, ...(thrown && { thrown }), logs: [] };
    }
    case "interrupted":
      return { ok: false, error: placed.error, logs: [] };
    case "stays":
    case "canceled":
      return { ok: false, error: notRun("nobody waits for it"), logs: [] };
  }
}

function flowRun({ run, request, startedAtMs, input }: FlowContext): FlowRun {
  const { query, headers } = request;
  return { id: run.id, startedAtMs, input, query, headers };
}

function hashOf(plan: Plan): Promise<string> {
  let hash = hashes.get(plan);
  if (!hash) {
    hash = planHash(plan);
    hashes.set(plan, hash);
  }
  return hash;
}

function keepPlan(key: string, planned: FlowPlanned): void {
  const [oldest] = fixedPlans.keys();
  if (fixedPlans.size >= KEPT_PLANS && oldest !== undefined) fixedPlans.delete(oldest);
  fixedPlans.set(key, { ...planned, names: [...namesOf(planned.plan)] });
}

function versionKey(namespace: string, name: string, version: number): string {
  return `${namespace}/${name}@${String(version)}`;
}

/** Definitions and hooks are not tried again: what they throw is how the run fails. */
function faultOf(thrown: unknown): RunError {
  if (thrown instanceof FlowFault && thrown.thrown) {
    return { ...runError(thrown.toData(), thrown.thrown), isFinal: true };
  }
  const error = toIsolaError(thrown, "drive a run");
  const { attempted, found, required } = error.parts;
  const wanted = required === undefined ? "" : `; required: ${required}`;
  return { ...runError(error.toData()), message: `${attempted}: ${found}${wanted}`, isFinal: true };
}

/** What the isolate answered, with what its author's code threw. */
class FlowFault extends IsolaError {
  readonly thrown: ThrownData | undefined;

  constructor({ code, parts }: ErrorData, thrown: ThrownData | undefined) {
    super(code, parts);
    this.thrown = thrown;
  }
}

function cellHere(): Cell {
  const cell = currentCell();
  if (cell) return cell;
  throw new IsolaError("INTERNAL", { attempted: "drive a run", found: "no cell around it" });
}

function unknownName(
  path: string,
  name: string,
  namespace: string,
  asWorkflow: boolean,
): IsolaError {
  const what = asWorkflow ? "workflow" : "function";
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `plan the step ${path}`,
    found: `no ${what} ${name} in namespace ${namespace}`,
    required: `a ${what} that is deployed`,
  });
}
