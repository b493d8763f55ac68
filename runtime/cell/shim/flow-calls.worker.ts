/**
 * A workflow in DAG form inside of its isolate: its definition becomes a plan, and its hooks are
 * called.
 *
 * F1 A definition sees nothing but the recorded request: the clock stands still, chance is seeded
 *    by the run, nothing leaves. A run is planned once; when its hooks are wanted and are not in
 *    memory, it is evaluated again and has to give the same plan.
 * F2 A definition that looked at neither request, clock nor chance gives every run the same plan
 *    (`isFixed`): it is evaluated once. Its hooks may read the request all the same, and find the
 *    one of the run that they are called for.
 */
import { type ErrorData, IsolaError, parseErrorData } from "../../contract/index.ts";
import {
  type Flow,
  type FlowRequest,
  type Hook,
  type HookCall,
  type HookResult,
  type Plan,
  planHash,
  runHooks,
} from "../../../workflow/builder/index.ts";
import { type UserModule, isFlow } from "./form.worker.ts";
import { CallStorage } from "./natives.worker.ts";
import { standingStill } from "./system-standstill.worker.ts";
import { validate } from "./validate.worker.ts";

/** A run as its definition sees it. */
export interface FlowRun extends FlowRequest<unknown> {
  readonly id: string;
  readonly startedAtMs: number;
}

export type FlowQuestion =
  | { readonly ask: "plan"; readonly run: FlowRun }
  | {
      readonly ask: "hooks";
      readonly run: FlowRun;
      /** Hash of the plan that was recorded. */
      readonly hash: string;
      readonly calls: readonly HookCall[];
    };

export interface FlowPlanned {
  readonly plan: Plan;
  readonly hash: string;
  readonly isFixed: boolean;
}

/** Of a definition that depends on more than it is checked with, no hash is known. */
export type FlowChecked =
  | { readonly ok: true; readonly hash?: string }
  | { readonly ok: false; readonly error: ErrorData };

interface Evaluated extends FlowPlanned {
  readonly hooks: ReadonlyMap<string, Hook>;
}

/** Evaluations by run, that of a fixed definition under no run; the latest used stay. */
const evaluated = new Map<string, Promise<Evaluated>>();
const KEPT = 256;
const FIXED = "";

/** What is asked at deploy, when there is no request yet. */
const SAMPLE: FlowRun = { id: "0-0", startedAtMs: 0, input: undefined, query: {}, headers: {} };

/** The run that a definition is evaluated for, or hooks are called for. */
const current = new CallStorage<FlowRun>();
/** The definition that is being evaluated looked at something that differs by run. */
let hasLooked = false;

const request: FlowRequest = {
  get input() {
    return look().input;
  },
  get query() {
    return look().query;
  },
  get headers() {
    return look().headers;
  },
};

function look(): FlowRun {
  hasLooked = true;
  return current.get() ?? SAMPLE;
}

/**
 * @throws IsolaError `PLAN_INVALID`, `PLAN_DIVERGED`, `INPUT_INVALID`; what the definition throws.
 */
export async function answerFlow(
  module: UserModule,
  question: FlowQuestion,
): Promise<FlowPlanned | HookResult[]> {
  const { run } = question;
  if (question.ask === "plan") {
    const validator = (module.config as { readonly input?: unknown } | undefined)?.input;
    if (validator !== undefined) await validate(validator, run.input, "INPUT_INVALID", "input");
    const { plan, hash, isFixed } = await evaluationOf(module, run);
    return { plan, hash, isFixed: isFixed && validator === undefined };
  }
  const { hash, hooks } = await evaluationOf(module, run);
  if (hash !== question.hash) throw diverged(run.id);
  return current.run(run, () => runHooks(hooks, question.calls));
}

/** Twice, so that what depends on anything else shows. */
export async function checkFlow(module: UserModule): Promise<FlowChecked> {
  try {
    const first = await evaluate(module, SAMPLE);
    const second = await evaluate(module, SAMPLE);
    if (first.hash === second.hash) return { ok: true, hash: first.hash };
    return { ok: false, error: impure().toData() };
  } catch (thrown) {
    // It depends on the request: what it makes of one is known when there is one.
    if (hasLooked) return { ok: true };
    const error = thrown instanceof IsolaError ? thrown : unusable(thrown);
    return { ok: false, error: error.toData() };
  }
}

function evaluationOf(module: UserModule, run: FlowRun): Promise<Evaluated> {
  const known = evaluated.get(FIXED) ?? evaluated.get(run.id);
  if (known) return known;
  const made = evaluate(module, run);
  keep(run.id, made);
  made.then(
    ({ isFixed }) => {
      if (isFixed) evaluated.set(FIXED, made);
    },
    () => evaluated.delete(run.id),
  );
  return made;
}

function keep(id: string, made: Promise<Evaluated>): void {
  evaluated.set(id, made);
  if (evaluated.size <= KEPT) return;
  for (const oldest of evaluated.keys()) {
    if (oldest === FIXED) continue;
    evaluated.delete(oldest);
    return;
  }
}

async function evaluate(module: UserModule, run: FlowRun): Promise<Evaluated> {
  const flow = module.default;
  if (!isFlow(flow)) throw noFlow();
  const { plan, hooks, isFixed } = evaluateAlone(flow, run);
  return { plan, hooks, isFixed, hash: await planHash(plan) };
}

/** F1. In one turn, so that nobody else meets the clock that stands. */
function evaluateAlone(flow: Flow, run: FlowRun): Omit<Evaluated, "hash"> {
  hasLooked = false;
  const noticed = (): void => {
    hasLooked = true;
  };
  try {
    return standingStill(run, noticed, () => {
      const { plan, hooks } = current.run(run, () => flow.evaluate(request));
      return { plan, hooks, isFixed: !hasLooked };
    });
  } catch (thrown) {
    throw asOurs(thrown);
  }
}

/** The builder is in another bundle: its errors are none of the class that this one knows. */
function asOurs(thrown: unknown): unknown {
  const { toData } = (thrown ?? {}) as { readonly toData?: unknown };
  if (thrown instanceof IsolaError || typeof toData !== "function") return thrown;
  const data = parseErrorData((toData as () => unknown).call(thrown));
  return data ? IsolaError.fromData(data) : thrown;
}

function diverged(run: string): IsolaError {
  return new IsolaError("PLAN_DIVERGED", {
    attempted: `go on with the run ${run}`,
    found: "another plan than when it began",
    required: "a definition that depends on its request alone",
  });
}

function impure(): IsolaError {
  return new IsolaError("PLAN_INVALID", {
    attempted: "evaluate the workflow twice",
    found: "two different plans",
    required: "a definition that depends on its request alone",
  });
}

function unusable(thrown: unknown): IsolaError {
  const found = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new IsolaError("PLAN_INVALID", {
    attempted: "evaluate the workflow",
    found: found.slice(0, 1_000),
    required: "a definition that makes a plan",
  });
}

function noFlow(): IsolaError {
  return new IsolaError("EXPORT_INVALID", {
    attempted: "plan a run",
    found: "a default export that is no flow",
    required: "export default flow(…)",
  });
}
