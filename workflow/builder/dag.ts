/**
 * The builder of DAGs: faas-flow's operations under their own names, and those it lacks. Misuse is
 * refused at once, with path and reason; what only the whole shows is refused by `validate.ts`.
 */
import { WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import { checkThat, eventType, functionName, id as idCheck, integer } from "./checks.ts";
import {
  type ApplyOptions,
  type Dynamic,
  type EventOptions,
  type FailureInfo,
  type InvokeOptions,
  type RequestOptions,
  attemptedPlan,
  checkOptions,
  durationMs,
  hookOf,
  httpPlan,
} from "./options.ts";
import {
  type DagPlan,
  type EdgePlan,
  type HookRole,
  type NodePlan,
  type OperationPlan,
  edgePath,
  hookName,
  pathWithin,
} from "./plan.ts";
import { refusePlan, shown } from "./refusals.ts";

/** A function of the author that runs inside of the workflow's isolate: pure, may repeat. */
export type Hook = (...values: readonly Dynamic[]) => unknown;

export interface NodeOptions<T = unknown> {
  /** Makes one value of the results of the parents, which it gets by their ids. */
  readonly aggregator?: (inputs: Dynamic) => T | Promise<T>;
}

export interface EdgeOptions {
  /** Changes the value on its way. @default as it is */
  readonly forwarder?: (value: Dynamic) => unknown;
  /** Orders only: carries no data. @default false */
  readonly execution?: boolean;
}

export interface ConditionalOptions<Name extends string> {
  /** Makes one value of the results of the branches that ran, by name. @default that object */
  readonly aggregator?: (results: Readonly<Partial<Record<Name, Dynamic>>>) => unknown;
}

export interface ForEachOptions {
  /** Makes one value of the results, by key in the order of the items. @default that object */
  readonly aggregator?: (results: Readonly<Record<string, Dynamic>>) => unknown;
  /** How many items run at once. @default all of them */
  readonly concurrency?: number;
}

/**
 * The result of a function, by the type of the function or by itself: `apply<typeof classify>` and
 * `apply<Branch>` say the same.
 */
export type ResultOf<Fn> = Fn extends (...values: never[]) => infer Result ? Awaited<Result> : Fn;

/** What may be given to a function: its first parameter where the type of a function is known. */
export type InputOf<Fn, Otherwise> = Fn extends (first: infer Input, ...rest: never[]) => unknown
  ? Input
  : Otherwise;

/** Hooks of a definition as they are collected, and the DAGs that are being compiled. */
interface Compilation {
  readonly hooks: Map<string, Hook>;
  readonly open: Set<Dag>;
  /** Nodes so far: a DAG that is placed twice counts twice. */
  nodes: number;
}

interface Vertex {
  compile(outer: string, into: Compilation): NodePlan;
}

/** An operation with its hooks by role. */
interface Built {
  readonly plan: OperationPlan;
  readonly hooks: Readonly<Partial<Record<HookRole, Hook>>>;
}

/** Registers the hooks that are there. */
function collect(into: Compilation, where: string, hooks: Built["hooks"]): void {
  for (const [role, hook] of Object.entries(hooks)) {
    if (hook) into.hooks.set(hookName(where, role as HookRole), hook);
  }
}

/**
 * A node: a chain of operations, each a step `node/0`, `node/1`, …; the result of one is the input
 * of the next. `T` is the type of the value so far.
 */
export class DagNode<T = Dynamic> {
  readonly id: string;
  readonly #aggregator: Hook | undefined;
  readonly #operations: Built[] = [];
  #loopStart = 0;

  /** @internal nodes are made by `dag.node`. */
  constructor(id: string, options: NodeOptions<T>) {
    this.id = id;
    checkOptions(id, "node", options);
    this.#aggregator = options.aggregator && hookOf(id, "aggregator", options.aggregator as Hook);
  }

  /**
   * Calls a function with the value; its result is the value from here on. With the function's
   * type, `apply<typeof classify>("classify")`, the value must be what it takes.
   */
  apply<Fn = Dynamic>(
    this: DagNode<InputOf<Fn, T>>,
    fn: string,
    options: ApplyOptions<T, ResultOf<Fn>> = {},
  ): DagNode<ResultOf<Fn>> {
    const path = this.#path();
    checkOptions(path, "apply", options);
    checkThat(`${path}, apply`, fn, functionName);
    const { version, pure, onFailure } = options;
    const plan = {
      op: "apply" as const,
      function: fn,
      ...(version !== undefined && { version }),
      ...(pure === true && { pure }),
      ...attemptedPlan(path, options),
      ...httpPlan(options),
    };
    return this.#add<ResultOf<Fn>>({ plan, hooks: { ...recovery(path, onFailure) } });
  }

  /** Changes the value by a function of the definition: pure, may repeat. */
  modify<Out>(change: (value: T) => Out): DagNode<Awaited<Out>> {
    const modify = hookOf(this.#path(), "modify", change as Hook);
    return this.#add<Awaited<Out>>({ plan: { op: "modify" }, hooks: { modify } });
  }

  /** Calls an address with the value as body; anything but 2xx fails, unless `onResponse`. */
  request<Out = Dynamic>(url: string, options: RequestOptions<T, Out> = {}): DagNode<Out> {
    const path = this.#path();
    checkOptions(path, "request", options);
    const { onResponse, onFailure } = options;
    const response = onResponse && hookOf(path, "onResponse", onResponse as unknown as Hook);
    const plan = {
      op: "request" as const,
      url,
      ...(response && { response: true as const }),
      ...attemptedPlan(path, options),
      ...httpPlan(options),
    };
    const hooks = { ...recovery(path, onFailure), ...(response && { response }) };
    return this.#add<Out>({ plan, hooks });
  }

  /** Runs a workflow as a run of its own, and waits for its result. */
  invoke<Out = Dynamic>(workflow: string, options: InvokeOptions<T, Out> = {}): DagNode<Out> {
    const path = this.#path();
    checkOptions(path, "invoke", options);
    checkThat(`${path}, invoke`, workflow, functionName);
    const { version, onFailure } = options;
    const plan = {
      op: "invoke" as const,
      workflow,
      ...(version !== undefined && { version }),
      ...attemptedPlan(path, options),
    };
    return this.#add<Out>({ plan, hooks: { ...recovery(path, onFailure) } });
  }

  /**
   * Waits; the value stays as it is. Milliseconds, a text such as `"10m"`, or a function that
   * answers milliseconds or a point in time.
   */
  sleep(duration: number | string | ((value: T) => number | Date)): DagNode<T> {
    if (typeof duration === "function") {
      const hooks = { duration: duration as Hook };
      return this.#add<T>({ plan: { op: "sleep" }, hooks });
    }
    const forMs = durationMs(`${this.#path()}, sleep`, duration);
    return this.#add<T>({ plan: { op: "sleep", forMs }, hooks: {} });
  }

  /** Waits for an event of that type; its payload is the value from here on. */
  waitForEvent<Out = Dynamic>(type: string, options: EventOptions<T, Out> = {}): DagNode<Out> {
    const path = this.#path();
    checkOptions(path, "event", options);
    checkThat(`${path}, waitForEvent`, type, eventType);
    const { timeout = WORKFLOW_LIMITS.eventTimeoutMs, onFailure } = options;
    const plan = {
      op: "event" as const,
      type,
      timeoutMs: durationMs(`${path}, timeout`, timeout),
      ...(onFailure && { onFailure: true as const }),
    };
    return this.#add<Out>({ plan, hooks: { ...recovery(path, onFailure) } });
  }

  /**
   * Runs the operations since the beginning of the node, or since its last `repeat`, again with
   * what they made, while `again` answers true. `round` is how often they ran, from 1. More than
   * `limit` rounds fail the run with `LOOP_LIMIT`.
   */
  repeat(again: (value: T, round: number) => boolean, options: { limit: number }): DagNode<T> {
    const path = this.#path();
    checkOptions(path, "repeat", options);
    checkThat(`${path}, limit`, options.limit, integer(1, WORKFLOW_LIMITS.loopMaxRounds));
    const from = this.#loopStart;
    if (from === this.#operations.length) refusePlan(path, "nothing to repeat", "an operation");
    const hooks = { while: hookOf(path, "repeat", again as Hook) };
    this.#loopStart = this.#operations.length + 1;
    return this.#add<T>({ plan: { op: "repeat", from, limit: options.limit }, hooks });
  }

  /** @internal */
  compile(outer: string, into: Compilation): NodePlan {
    const path = pathWithin(outer, this.id);
    if (this.#aggregator) collect(into, path, { aggregator: this.#aggregator });
    for (const [index, { hooks }] of this.#operations.entries()) {
      collect(into, `${path}/${String(index)}`, hooks);
    }
    return {
      kind: "chain",
      id: this.id,
      ...(this.#aggregator && { aggregator: true }),
      operations: this.#operations.map(({ plan }) => plan),
    };
  }

  #path(): string {
    return `${this.id}/${String(this.#operations.length)}`;
  }

  #add<Out>(operation: Built): DagNode<Out> {
    this.#operations.push(operation);
    return this as unknown as DagNode<Out>;
  }
}

function recovery(path: string, onFailure: unknown): Built["hooks"] {
  return onFailure === undefined ? {} : { onFailure: hookOf(path, "onFailure", onFailure as Hook) };
}

export class Dag {
  readonly #vertices = new Map<string, Vertex>();
  readonly #edges: { plan: EdgePlan; forwarder: Hook | undefined }[] = [];

  /** The node of that id, made if it is new; its options are given once. */
  node<T = Dynamic>(id: string, options?: NodeOptions<T>): DagNode<T> {
    const existing = this.#vertices.get(id);
    if (existing === undefined) {
      const made = new DagNode<T>(checkId(id), options ?? {});
      this.#vertices.set(id, made);
      return made;
    }
    if (!(existing instanceof DagNode)) refusePlan(id, "a branch of that id", "another id");
    if (options) refusePlan(id, "options for a node that exists", "them where it is made");
    return existing as DagNode<T>;
  }

  /** The one node of a workflow of one node. */
  syncNode<T = Dynamic>(options?: NodeOptions<T>): DagNode<T> {
    return this.node<T>("sync", options);
  }

  edge(from: string, to: string, options: EdgeOptions = {}): void {
    const path = `${from} > ${to}`;
    checkOptions(path, "edge", options);
    const { forwarder, execution } = options;
    if (forwarder && execution === true) {
      refusePlan(path, "a forwarder of an edge without data", "one or the other");
    }
    const hook = forwarder && hookOf(path, "forwarder", forwarder as Hook);
    const plan = {
      from,
      to,
      ...(hook && { forwarder: true as const }),
      ...(execution === true && { execution }),
    };
    this.#edges.push({ plan, forwarder: hook });
  }

  /** A DAG to fill and to place with `subDag` or `append`. */
  newDag(): Dag {
    return new Dag();
  }

  /** Runs a whole DAG as one node. */
  subDag(id: string, dag: Dag, options: NodeOptions = {}): void {
    checkOptions(id, "node", options);
    if (!(dag instanceof Dag)) refusePlan(id, shown(dag), "a DAG made by newDag");
    const aggregator = options.aggregator && hookOf(id, "aggregator", options.aggregator as Hook);
    this.#place(id, {
      compile: (outer, into) => {
        const path = pathWithin(outer, id);
        if (aggregator) collect(into, path, { aggregator });
        const inner = dag.compile(path, into);
        return { kind: "subDag", id, ...(aggregator && { aggregator: true }), dag: inner };
      },
    });
  }

  /** Takes over the nodes and edges of another DAG, as they are now. */
  append(dag: Dag): void {
    if (dag === this) refusePlan("append", "the DAG itself", "another DAG");
    for (const [id, vertex] of dag.#vertices) this.#place(id, vertex);
    this.#edges.push(...dag.#edges);
  }

  /**
   * Branches of which the condition takes none, one or several. With none it is done at once, and
   * its result is what the aggregator makes of nothing.
   */
  conditionalBranch<const Name extends string>(
    id: string,
    names: readonly Name[],
    condition: (value: Dynamic) => readonly NoInfer<Name>[],
    options: ConditionalOptions<NoInfer<Name>> = {},
  ): Record<Name, Dag> {
    checkOptions(id, "conditional", options);
    const aggregator = options.aggregator && hookOf(id, "aggregator", options.aggregator as Hook);
    const hooks = { condition: hookOf(id, "condition", condition as Hook), aggregator };
    if (!Array.isArray(names) || names.length === 0) {
      refusePlan(id, shown(names), "the names of its branches");
    }
    if (new Set(names).size < names.length) refusePlan(id, shown(names), "one of each name");
    const branches = names.map((name) => ({
      name: checkId(name, `a branch of ${id}`),
      dag: new Dag(),
    }));
    this.#place(id, {
      compile: (outer, into) => {
        const path = pathWithin(outer, id);
        collect(into, path, hooks as Built["hooks"]);
        const compiled = branches.map(({ name, dag }) => ({
          name,
          dag: dag.compile(pathWithin(path, name), into),
        }));
        const base = { id, ...(aggregator && { aggregator: true as const }) };
        return { kind: "conditional", ...base, branches: compiled };
      },
    });
    return Object.fromEntries(branches.map(({ name, dag }) => [name, dag])) as Record<Name, Dag>;
  }

  /**
   * A DAG that runs once for each item of what `split` answers: an object of items by key, or a
   * list. Over nothing it is done at once.
   */
  forEachBranch(
    id: string,
    split: (value: Dynamic) => Readonly<Record<string, unknown>> | readonly unknown[],
    options: ForEachOptions = {},
  ): Dag {
    checkOptions(id, "forEach", options);
    const { concurrency } = options;
    if (concurrency !== undefined) {
      checkThat(`${id}, concurrency`, concurrency, integer(1, WORKFLOW_LIMITS.forEachMaxItems));
    }
    const aggregator = options.aggregator && hookOf(id, "aggregator", options.aggregator as Hook);
    const hooks = { split: hookOf(id, "split", split as Hook), aggregator };
    const dag = new Dag();
    this.#place(id, {
      compile: (outer, into) => {
        const path = pathWithin(outer, id);
        collect(into, path, hooks as Built["hooks"]);
        return {
          kind: "forEach",
          id,
          ...(aggregator && { aggregator: true }),
          ...(concurrency !== undefined && { concurrency }),
          dag: dag.compile(path, into),
        };
      },
    });
    return dag;
  }

  /** @internal */
  compile(path: string, into: Compilation): DagPlan {
    if (into.open.has(this)) refusePlan(path, "a DAG inside of itself", "DAGs without recursion");
    if (into.open.size > WORKFLOW_LIMITS.planMaxDepth) {
      refusePlan(path, "more DAGs in one another", String(WORKFLOW_LIMITS.planMaxDepth));
    }
    into.nodes += this.#vertices.size;
    if (into.nodes > WORKFLOW_LIMITS.planMaxNodes) {
      refusePlan(path, "more nodes", `at most ${String(WORKFLOW_LIMITS.planMaxNodes)} in all`);
    }
    into.open.add(this);
    const nodes = [...this.#vertices.values()].map((vertex) => vertex.compile(path, into));
    for (const { plan, forwarder } of this.#edges) {
      if (forwarder) into.hooks.set(hookName(edgePath(path, plan), "forwarder"), forwarder);
    }
    into.open.delete(this);
    return { nodes, edges: this.#edges.map(({ plan }) => plan) };
  }

  #place(id: string, vertex: Vertex): void {
    if (this.#vertices.has(checkId(id))) refusePlan(id, "two nodes of that id", "one");
    this.#vertices.set(id, vertex);
  }
}

function checkId(id: string, what = "a node"): string {
  checkThat(what, id, idCheck);
  return id;
}

/** The outermost DAG of a workflow. */
export class RootDag extends Dag {
  #onFailure: Hook | undefined;
  #finally: Hook | undefined;

  /** Called when the run fails: what it returns is the run's result; or it throws. */
  onFailure(handle: (error: FailureInfo) => unknown): void {
    if (this.#onFailure) refusePlan("onFailure", "a second one", "one");
    this.#onFailure = hookOf("onFailure", "onFailure", handle as Hook);
  }

  /** Called last, with how the run ends. */
  finally(handle: (state: "completed" | "failed" | "terminated") => unknown): void {
    if (this.#finally) refusePlan("finally", "a second one", "one");
    this.#finally = hookOf("finally", "finally", handle as Hook);
  }

  /** @internal The plan of the whole, and whether it has handlers. */
  compileRoot(hooks: Map<string, Hook>) {
    const dag = this.compile("", { hooks, open: new Set(), nodes: 0 });
    const [onFailure, last] = [this.#onFailure, this.#finally];
    if (onFailure) hooks.set(hookName("", "onFailure"), onFailure);
    if (last) hooks.set(hookName("", "finally"), last);
    return {
      dag,
      ...(onFailure && { onFailure: true as const }),
      ...(last && { finally: true as const }),
    };
  }
}
