/**
 * The plan: what a definition becomes. Data alone; the functions of its author stay behind in the
 * isolate as hooks, named by where they stand: `path/role`, `path/index/role` for an operation,
 * `from>to/forwarder` for an edge. A path is `node`, inside of a sub-DAG or for-each `outer.node`,
 * inside of a condition's branch `outer.branch.node`.
 */
export const PLAN_FORMAT = 1;

export type Backoff = "constant" | "linear" | "exponential";

/** After a failed attempt, `limit` more; the first after `delayMs`. */
export interface RetryPlan {
  readonly limit: number;
  readonly delayMs: number;
  readonly backoff: Backoff;
}

/** Roles of hooks. */
export type HookRole =
  | "modify"
  | "forwarder"
  | "aggregator"
  | "condition"
  | "split"
  | "while"
  | "duration"
  | "response"
  | "onFailure"
  | "finally";

/** What several operations have in common. */
interface Attempted {
  /** Absent: the function's own policy for `apply`, otherwise none. */
  readonly retry?: RetryPlan;
  /** Of one attempt. Absent: the function's own, otherwise none. */
  readonly timeoutMs?: number;
  /** There is a hook `onFailure` that may recover. */
  readonly onFailure?: true;
  readonly compensate?: CompensationPlan;
}

/** The function that undoes a step, called with `{input, output?, error}`. */
export interface CompensationPlan {
  readonly function: string;
  readonly retry?: RetryPlan;
  readonly timeoutMs?: number;
}

/** How an HTTP function or an address is called. */
interface HttpPlan {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, readonly string[]>>;
}

export interface ApplyPlan extends Attempted, HttpPlan {
  readonly op: "apply";
  readonly function: string;
  /** Absent: the version live when the run began. */
  readonly version?: number | "latest";
  /** May run again to make a lost value anew (G5). */
  readonly pure?: true;
}

export interface RequestPlan extends Attempted, HttpPlan {
  readonly op: "request";
  readonly url: string;
  /** There is a hook `response`; then no status is an error by itself. */
  readonly response?: true;
}

export interface InvokePlan extends Attempted {
  readonly op: "invoke";
  readonly workflow: string;
  readonly version?: number | "latest";
}

/** Without `forMs` the hook `duration` says how long. */
export interface SleepPlan {
  readonly op: "sleep";
  readonly forMs?: number;
}

export interface EventPlan {
  readonly op: "event";
  readonly type: string;
  readonly timeoutMs: number;
  readonly onFailure?: true;
}

/** The hook `modify` makes the value anew. */
export interface ModifyPlan {
  readonly op: "modify";
}

/** While the hook `while` says so, the operations since `from` run again. */
export interface RepeatPlan {
  readonly op: "repeat";
  readonly from: number;
  readonly limit: number;
}

export type OperationPlan =
  | ApplyPlan
  | RequestPlan
  | InvokePlan
  | SleepPlan
  | EventPlan
  | ModifyPlan
  | RepeatPlan;

interface NodeBase {
  readonly id: string;
  /** There is a hook: over parents by id, for branches over branches by name or key. */
  readonly aggregator?: true;
}

export interface ChainPlan extends NodeBase {
  readonly kind: "chain";
  readonly operations: readonly OperationPlan[];
}

export interface SubDagPlan extends NodeBase {
  readonly kind: "subDag";
  readonly dag: DagPlan;
}

/** The hook `condition` names the branches to take: none, one or several. */
export interface ConditionalPlan extends NodeBase {
  readonly kind: "conditional";
  readonly branches: readonly { readonly name: string; readonly dag: DagPlan }[];
}

/** The hook `split` gives the items; at most `concurrency` of them at once, if it is set. */
export interface ForEachPlan extends NodeBase {
  readonly kind: "forEach";
  readonly dag: DagPlan;
  readonly concurrency?: number;
}

export type NodePlan = ChainPlan | SubDagPlan | ConditionalPlan | ForEachPlan;

export interface EdgePlan {
  readonly from: string;
  readonly to: string;
  /** There is a hook `forwarder`. */
  readonly forwarder?: true;
  /** Orders, and carries no data. */
  readonly execution?: true;
}

/** Nodes and edges in the order of their definition. */
export interface DagPlan {
  readonly nodes: readonly NodePlan[];
  readonly edges: readonly EdgePlan[];
}

export interface Plan {
  readonly format: typeof PLAN_FORMAT;
  readonly durability: "step" | "run";
  readonly dag: DagPlan;
  readonly onFailure?: true;
  readonly finally?: true;
}

/** Path of a node, or of a branch, inside of another. */
export function pathWithin(outer: string, id: string): string {
  return outer === "" ? id : `${outer}.${id}`;
}

/** Name of a hook; `where` is a node's path, an operation's or an edge's. */
export function hookName(where: string, role: HookRole): string {
  return where === "" ? role : `${where}/${role}`;
}

/** Where an edge's hook stands. */
export function edgePath(dag: string, { from, to }: { from: string; to: string }): string {
  return `${pathWithin(dag, from)}>${to}`;
}
