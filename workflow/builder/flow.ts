/** `flow`: a workflow as a definition of a DAG, evaluated for each run by its request. */
import { type Hook, RootDag } from "./dag.ts";
import { type Dynamic, checkOptions, hookOf } from "./options.ts";
import { PLAN_FORMAT, type Plan } from "./plan.ts";
import { refusePlan } from "./refusals.ts";
import { checkThat, durability as durabilityCheck } from "./checks.ts";
import { validatePlan } from "./validate.ts";

/** What a run was asked for: recorded, so that its graph may depend on it. */
export interface FlowRequest<Input = Dynamic> {
  readonly input: Input;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
}

export interface FlowOptions {
  /**
   * `step`: a step's result is on disk before the next one starts. `run`: the start and the end
   * are; what is in between may repeat after a crash. @default "step"
   */
  readonly durability?: "step" | "run";
}

export interface Evaluation {
  readonly plan: Plan;
  readonly hooks: ReadonlyMap<string, Hook>;
}

/** Tells a flow that another copy of this module made. */
export const FLOW_BRAND = Symbol.for("isola.flow");

/** A workflow in DAG form: the default export of its module. */
export class Flow {
  /** @internal */
  readonly [FLOW_BRAND] = true;
  readonly #define: (dag: RootDag, request: FlowRequest) => void;
  readonly #durability: "step" | "run";

  /** @internal made by `flow`. */
  constructor(define: (dag: RootDag, request: FlowRequest) => void, options: FlowOptions) {
    checkOptions("the workflow", "flow", options);
    this.#define = hookOf("the workflow", "definition", define);
    this.#durability = options.durability ?? "step";
    checkThat("the workflow, durability", this.#durability, durabilityCheck);
  }

  /**
   * The plan for a request and the functions that it names.
   *
   * @throws IsolaError `PLAN_INVALID`; or what the definition throws.
   */
  evaluate(request: FlowRequest): Evaluation {
    const root = new RootDag();
    const answer: unknown = this.#define(root, request);
    if (answer instanceof Promise) {
      answer.catch(() => undefined);
      refusePlan("the workflow", "a definition that waits", "one that only depends on its request");
    }
    const hooks = new Map<string, Hook>();
    const compiled = root.compileRoot(hooks);
    const plan = { format: PLAN_FORMAT, durability: this.#durability, ...compiled };
    return { plan: validatePlan(plan), hooks };
  }
}

/**
 * A workflow in DAG form.
 *
 * @param define fills the DAG in. A pure function of the request: it is evaluated when a run
 *   begins, and again after a restart, when another plan fails the run with `PLAN_DIVERGED`.
 * @throws IsolaError `PLAN_INVALID` for unknown options.
 */
export function flow<Input = Dynamic>(
  define: (dag: RootDag, request: FlowRequest<Input>) => void,
  options: FlowOptions = {},
): Flow {
  return new Flow(define, options);
}
